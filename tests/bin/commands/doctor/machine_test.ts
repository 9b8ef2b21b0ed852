// The doctor beside a server's clock, and in a company's network: through its HTTP proxy, with its certificate authority.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificateAuthority } from "../../../fakes/certificates.ts";
import { type ConnectProxy, startConnectProxy } from "../../../fakes/connect_proxy.ts";
import { systemWord } from "../../../../lib/remedies.ts";
import { useStage } from "../../../fixture.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { runDeno, runProgram } from "../../run_latchkey.ts";

interface Row {
  readonly id: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fix?: string;
}

/** Returns a row of the report. */
const rowIn = (stdout: string, id: string): Row =>
  (JSON.parse(stdout).checks as readonly Row[]).find((row) => row.id === id)!;

describe("latchkey doctor beside a server's clock", () => {
  /** A server that says what time it is. */
  const serveDate = (date: () => string) =>
    Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(null, { headers: { date: date() } }) });

  const clockOf = async (port: number) => {
    const words = ["bin/latchkey.ts", "doctor", "--format", "json", "--authority", `http://127.0.0.1:${port}/common`];
    return rowIn((await runDeno([`--allow-net=127.0.0.1:${port}`, ...words])).stdout, "clock");
  };

  test.each([
    [0, true, undefined],
    [240, true, undefined],
    [-3600, false, systemWord("setClock")],
    [3600, false, systemWord("setClock")],
  ])("of %d s more", async (offset, ok, fix) => {
    using server = serveDate(() => new Date(Date.now() + offset * 1000).toUTCString());
    const clock = await clockOf(server.port!);
    expect(clock).toMatchObject({ ok, ...(fix && { fix }) });
    expect(clock.detail).toContain(`127.0.0.1:${server.port}`);
  });

  test("is not troubled when the server is out of reach, or tells no time", async () => {
    using server = serveDate(() => "soon");
    for (const port of [server.port!, 1]) {
      const detail = expect.stringMatching(/^not checked: 127\.0\.0\.1/);
      expect(await clockOf(port)).toMatchObject({ ok: true, detail });
    }
  });
});

describe("latchkey doctor in a company's network", () => {
  const stage = useStage();
  let proxy: ConnectProxy, server: ReturnType<typeof Bun.serve>, authorityFile: string;
  beforeAll(async () => {
    const company = makeCertificateAuthority();
    server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: company.issue(["login.microsoftonline.com", "contoso.ciamlogin.com", "fabrikam.ciamlogin.com"]),
      fetch: (request) => {
        const { pathname } = new URL(request.url), at = "https://contoso.ciamlogin.com/contoso.onmicrosoft.com";
        if (/^\/(contoso|fabrikam)\.onmicrosoft\.com\/v2\.0\/\.well-known\/openid-configuration$/.test(pathname)) {
          return Response.json({
            issuer: `${at}/v2.0`,
            authorization_endpoint: `${at}/oauth2/v2.0/authorize`,
            token_endpoint: `${at}/oauth2/v2.0/token`,
          });
        }
        const isKnown = pathname === "/common/v2.0/.well-known/openid-configuration";
        return new Response("{}", { status: isKnown || request.method === "HEAD" ? 200 : 404 });
      },
    });
    proxy = await startConnectProxy({ port: server.port! });
    authorityFile = join(stage.folder, "authority.pem");
    writeFileSync(authorityFile, company.cert);
  });
  afterAll(async () => {
    proxy.stop();
    await server.stop(true);
  });

  const inCompany = async (program: readonly string[], line: string, env: Record<string, string> = {}) => {
    const words = ["bin/latchkey.ts", "doctor", "--format", "json", ...line.split(" ")];
    const proxied = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, ...env };
    const { stdout } = await runProgram([...program, ...words], proxied);
    return rowIn(stdout, "network");
  };

  test.each(RUNTIME_PATHS.map((path) => [path.name, path] as const))(
    "names the variable that a certificate asks for on %s, and the proxy",
    async (name, { program }) => {
      const variable = name.startsWith("Deno") ? "DENO_CERT" : "NODE_EXTRA_CA_CERTS";
      const unknown = await inCompany(program(), "--broker never");
      expect(unknown).toMatchObject({
        ok: false,
        detail: expect.stringContaining("its certificate is not signed by a trusted authority"),
      });
      expect(unknown.fix).toContain(variable);
      expect(await inCompany(program(), "--broker never", { [variable]: authorityFile })).toMatchObject({
        ok: true,
        detail: expect.stringMatching(
          new RegExp(`^login\\.microsoftonline\\.com answered through the proxy 127\\.0\\.0\\.1:${proxy.port} in`),
        ),
      });
    },
  );

  test("asks an authority as a sign-in does: another host's document is no answer, and Entra External ID has its own", async () => {
    const of = (authority: string) =>
      inCompany(RUNTIME_PATHS[0]!.program(), `--broker never --authority ${authority}`, { DENO_CERT: authorityFile });
    expect(await of("https://contoso.ciamlogin.com")).toMatchObject({
      ok: true,
      detail: expect.stringContaining("contoso.ciamlogin.com answered through the proxy"),
    });
    expect(await of("https://fabrikam.ciamlogin.com")).toMatchObject({
      ...{ ok: false, detail: "https://fabrikam.ciamlogin.com says that it is another issuer" },
    });
  });

  test("says when what answers is no authority", async () => {
    const line = "--broker never --authority https://login.microsoftonline.com/nobody";
    expect(await inCompany(RUNTIME_PATHS[0]!.program(), line, { DENO_CERT: authorityFile })).toMatchObject({
      ...{ ok: false, fix: "Check --authority", detail: expect.stringContaining("(status 404)") },
    });
  });
});

// The doctor where no broker is to serve: nothing is missed for want of one, and tokens are looked for in the cache.

// Deno's relay to a proxy: who gets through it.
import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import net, { type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProxy } from "../../../lib/http/proxy.ts";
import { runDeno } from "../../bin/run_latchkey.ts";
import { makeCertificateAuthority } from "../../fakes/certificates.ts";
import { startConnectProxy } from "../../fakes/connect_proxy.ts";

const PROXY = "http://proxy.contoso.com:8080";

/** The proxy for an address, without the slash at its end. */
async function find(url: string, variables: Readonly<Record<string, string>>): Promise<string | undefined> {
  const proxy = await findProxy(new URL(url), (name) => variables[name]);
  return proxy instanceof URL ? proxy.href.replace(/\/$/, "") : undefined;
}

describe("findProxy()", () => {
  test.each<[string, Record<string, string>, string | undefined]>([
    ["https://login.contoso.com", { HTTPS_PROXY: PROXY }, PROXY],
    ["https://login.contoso.com", { https_proxy: PROXY, HTTPS_PROXY: "http://other:1" }, PROXY],
    ["https://login.contoso.com", { ALL_PROXY: PROXY }, PROXY],
    ["https://login.contoso.com", { all_proxy: PROXY }, PROXY],
    ["https://login.contoso.com", { HTTPS_PROXY: PROXY, ALL_PROXY: "http://other:1" }, PROXY],
    ["https://login.contoso.com", { HTTPS_PROXY: "proxy.contoso.com:8080" }, PROXY],
    ["https://login.contoso.com", { HTTPS_PROXY: "https://proxy.contoso.com" }, "https://proxy.contoso.com"],
    ["https://login.contoso.com", { HTTP_PROXY: PROXY }, undefined],
    ["http://login.contoso.com", { HTTP_PROXY: PROXY }, PROXY],
    ["http://login.contoso.com", { HTTPS_PROXY: PROXY }, undefined],
    ["https://login.contoso.com", {}, undefined],
  ])("for %s with %j", async (url, variables, expected) => {
    expect(await find(url, variables)).toBe(expected);
  });

  test.each([
    "http://localhost:1",
    "https://localhost",
    "https://a.localhost",
    "http://127.0.0.1:1",
    "https://127.9.9.9",
    "http://[::1]:1",
  ])("asks none for %s", async (url) => {
    expect(await find(url, { HTTPS_PROXY: PROXY, HTTP_PROXY: PROXY })).toBeUndefined();
  });

  test.each<[string, string, boolean]>([
    ["*", "https://login.contoso.com", true],
    ["login.contoso.com", "https://login.contoso.com", true],
    ["LOGIN.contoso.com", "https://login.contoso.com", true],
    ["contoso.com", "https://login.contoso.com", true],
    [".contoso.com", "https://login.contoso.com", true],
    ["*.contoso.com", "https://login.contoso.com", true],
    ["a.example, contoso.com", "https://login.contoso.com", true],
    ["a.example contoso.com", "https://login.contoso.com", true],
    ["contoso.com:443", "https://login.contoso.com", true],
    ["contoso.com:8443", "https://login.contoso.com:8443", true],
    ["contoso.com:8443", "https://login.contoso.com", false],
    ["toso.com", "https://login.contoso.com", false],
    ["login.contoso.com.example", "https://login.contoso.com", false],
    ["a.login.contoso.com", "https://login.contoso.com", false],
    [".", "https://login.contoso.com", false],
    [",", "https://login.contoso.com", false],
    ["192.0.2.1", "https://192.0.2.1", true],
    ["192.0.2.0/24", "https://192.0.2.77", true],
    ["192.0.2.0/24", "https://192.0.3.77", false],
    ["192.0.2.0/33", "https://192.0.2.77", false],
    ["192.0.2.0/x", "https://192.0.2.77", false],
    ["10.0.0.0/8", "https://10.contoso.com", false],
    ["2001:db8::1", "https://[2001:db8::1]", true],
    ["[2001:db8::1]", "https://[2001:db8::1]", true],
    ["[2001:db8::1]:443", "https://[2001:db8::1]", true],
    ["[2001:db8::1]:80", "https://[2001:db8::1]", false],
    ["2001:db8::/32", "https://[2001:db8:1::1]", true],
    ["2001:db8::/32", "https://[2001:db9::1]", false],
    ["192.0.2.0/24", "https://[2001:db8::1]", false],
  ])("with NO_PROXY=%s for %s asks none: %p", async (exceptions, url, expected) => {
    expect(await find(url, { HTTPS_PROXY: PROXY, NO_PROXY: exceptions })).toBe(expected ? undefined : PROXY);
    expect(await find(url, { HTTPS_PROXY: PROXY, no_proxy: exceptions, NO_PROXY: "x" })).toBe(
      expected ? undefined : PROXY,
    );
  });

  test.each([
    "socks5://jane:secret@proxy.contoso.com",
    "http://jane:secret@",
    "file:///secret",
    "http://a b:secret",
    "http://jane:secret%@c",
  ])(
    "refuses %s without showing it",
    async (value) => {
      let error: unknown;
      try {
        await find("https://login.contoso.com", { HTTPS_PROXY: value });
      } catch (caught) {
        error = caught;
      }
      expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("HTTPS_PROXY") });
      expect(Bun.inspect(error)).not.toContain(value);
    },
  );
});

// Deno's relay to a proxy: who gets through it.

// It took the first connection, whosever it was, gave that one the proxy's password, and no other one after it.
test("openProxyRelay() lets our own client through, and no stranger before it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "relay-")), file = join(folder, "authority.pem");
  const authority = makeCertificateAuthority();
  writeFileSync(file, authority.cert);
  const server = https.createServer(authority.issue(["login.contoso.com"]), (_, response) => response.end("ok"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const proxy = await startConnectProxy({ port: (server.address() as AddressInfo).port });
  try {
    const program = "tests/lib/http/proxy_relay_program.ts";
    const { code, stdout, stderr } = await runDeno(["--allow-all", program, file, `${proxy.port}`, "guessed"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // The last one is asked for its password, and let go.
    expect(JSON.parse(stdout)).toEqual({ strangers: [[], [], [5, 2]], status: 200 });
    expect(proxy.requests.map(({ line }) => line)).toEqual(["CONNECT login.contoso.com:443"]);
  } finally {
    proxy.stop();
    server.close();
    rmSync(folder, { recursive: true });
  }
});

// The relay's end after 30 s passed for a failure of the network, which is retried: it took a minute.
test("a proxy that never answers is waited for once", async () => {
  const sockets: Socket[] = [], proxy = net.createServer((socket) => void sockets.push(socket));
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const { port } = proxy.address() as AddressInfo;
  try {
    const { stdout, stderr } = await runDeno(["--allow-all", "tests/lib/http/silent_proxy_program.ts", `${port}`]);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      ...{ code: "timed_out", message: `127.0.0.1:${port} did not answer within 30 seconds` },
    });
    expect(sockets).toHaveLength(1);
  } finally {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  }
});

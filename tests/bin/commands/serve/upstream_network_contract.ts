// The proxy that adds a token in a company's network: through its HTTP proxies, with its certificate authority, on every runtime.
import { afterEach, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { openUpstreamProxy } from "../../../../bin/commands/serve/upstream.ts";
import { readUpstream } from "../../../../bin/commands/serve/upstream_rules.ts";
import { makeCertificateAuthority } from "../../../fakes/certificates.ts";
import { startConnectProxy } from "../../../fakes/connect_proxy.ts";

const VARIABLES = ["NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"] as const;
const stops: (() => unknown)[] = [];
/** One for all tests: a program asks for its machine's authorities once. */
const authority = makeCertificateAuthority();

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** Sets variables for one test, and removes the others that name a proxy. */
function useEnvironment(variables: Partial<Record<(typeof VARIABLES)[number], string>>): void {
  for (const name of VARIABLES) {
    const before = process.env[name];
    stops.push(() => before === undefined ? delete process.env[name] : process.env[name] = before);
    if (variables[name] === undefined) delete process.env[name];
    else process.env[name] = variables[name];
  }
}

test.each([["http", false], ["https", true]] as const)("tunnels through an %s:// proxy", async (scheme, isSecure) => {
  const folder = mkdtempSync(join(tmpdir(), "upstream-network-"));
  stops.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "authority.pem"), path = join(folder, "socket");
  writeFileSync(file, authority.cert);
  const server = createServer(authority.issue(["api.contoso.com"]), (request, response) => request.pipe(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => server.close());
  const proxy = await startConnectProxy({
    port: (server.address() as AddressInfo).port,
    credentials: "jane:pass",
    ...(isSecure ? { certificate: authority.issue(["127.0.0.1"]) } : {}),
  });
  stops.push(() => proxy.stop());
  useEnvironment({ NODE_EXTRA_CA_CERTS: file, HTTPS_PROXY: `${scheme}://jane:pass@127.0.0.1:${proxy.port}` });

  const endpoint = await openUpstreamProxy({ path }, {
    upstreams: [readUpstream("https://api.contoso.com")],
    isLogged: false,
    onOutcome: () => {},
    acquire: () =>
      Promise.resolve({ accessToken: "t", expiresOn: new Date(Date.now() + 3_600_000), tokenType: "Bearer" } as never),
  });
  stops.push(() => endpoint.close());
  const socket = connect({ path });
  let received = "";
  socket.on("data", (chunk) => received += chunk);
  socket.write(
    "POST /api.contoso.com/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
  );
  await once(socket, "close");
  expect(received).toMatch(/^HTTP\/1\.1 200 [^]*hello/);
  expect(proxy.requests.at(-1)).toEqual({ line: "CONNECT api.contoso.com:443", credentials: "jane:pass" });
});

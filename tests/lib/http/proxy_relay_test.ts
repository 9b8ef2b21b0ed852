// Deno's relay to a proxy: who gets through it.
import { expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import net, { type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runDeno } from "../../bin/run_latchkey.ts";
import { makeCertificateAuthority } from "../../fakes/certificates.ts";
import { startConnectProxy } from "../../fakes/connect_proxy.ts";

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

// Attacks on the proxy that adds a token, by clients and through servers that read HTTP carelessly, on every runtime. Tokens are played.
import { afterEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IdentityEndpoint } from "../../../../bin/commands/serve/identity_endpoint.ts";
import { openUpstreamProxy } from "../../../../bin/commands/serve/upstream.ts";
import { readUpstream } from "../../../../bin/commands/serve/upstream_rules.ts";

const SECRET = "0123456789abcdef0123456789abcdef", TOKEN = "token-of-jane";
/** Connections that the proxy has at once. */
const FULL = 256;

const endpoints: IdentityEndpoint[] = [], servers: Server[] = [], sockets: Socket[] = [], folders: string[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const endpoint of endpoints.splice(0)) await endpoint.close();
  for (const server of servers.splice(0)) server.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** Opens the proxy on a port with a secret, or on a socket. Returns where. */
async function open(rule: string, on: "port" | "socket" = "port"): Promise<number | string> {
  const { endpoint, path } = await openEndpoint(rule, on);
  return on === "port" ? endpoint.port : path;
}

async function openEndpoint(
  rule: string,
  on: "port" | "socket",
): Promise<{ readonly endpoint: IdentityEndpoint; readonly path: string }> {
  const folder = mkdtempSync(join(tmpdir(), "upstream-attacks-")), path = join(folder, "socket");
  folders.push(folder);
  const endpoint = await openUpstreamProxy(on === "port" ? { port: 0, secret: SECRET } : { path }, {
    upstreams: [readUpstream(rule)],
    isLogged: false,
    onOutcome: () => {},
    acquire: () =>
      Promise.resolve(
        { accessToken: TOKEN, expiresOn: new Date(Date.now() + 3_600_000), tokenType: "Bearer" } as never,
      ),
  });
  endpoints.push(endpoint);
  return { endpoint, path };
}

/** A server that answers what it receives with bytes as they are, and keeps the connection open. */
async function rawServer(bytes: string): Promise<string> {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => socket.write(bytes));
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Waits until no request counts as being answered. */
async function untilIdle(endpoint: IdentityEndpoint): Promise<void> {
  for (;;) {
    const now = Date.now();
    if (endpoint.lastBusy() < now) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A server that takes whatever follows a head for the next request, and lists what it was asked with which token. */
async function carelessServer(): Promise<{ readonly host: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let received = "";
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      for (let end = received.indexOf("\r\n\r\n"); end !== -1; end = received.indexOf("\r\n\r\n")) {
        const head = received.slice(0, end);
        received = received.slice(end + 4);
        const [first] = head.split(" HTTP/1.1");
        asked.push(`${first} ${/^authorization: (.*)$/im.exec(head)?.[1] ?? "without a token"}`);
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function client(place: number | string): Promise<Socket> {
  const socket = typeof place === "string" ? connect({ path: place }) : connect({ host: "127.0.0.1", port: place });
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** All that is answered until the connection ends. */
async function answerTo(place: number | string, request: string): Promise<string> {
  const socket = await client(place);
  let received = "";
  socket.on("data", (chunk) => received += chunk.toString("latin1"));
  socket.write(request);
  await once(socket, "close");
  return received;
}

const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
const own = (port: number | string) => `Host: 127.0.0.1:${port}\r\nX-Latchkey-Secret: ${SECRET}\r\n`;

const WITH_LENGTH = (body: string) => `Content-Length: ${body.length}\r\n\r\n${body}`;
const IN_CHUNKS = (body: string) =>
  `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

// A server that does not read a body takes it for the next request on the connection, to which the proxy adds the token (CL.0).
test.each(
  ["GET", "HEAD", "POST", "PUT", "DELETE"].flatMap((method) =>
    [["with a length", WITH_LENGTH], ["in chunks", IN_CHUNKS]].map((framing) => [method, ...framing] as const)
  ) as [string, string, (body: string) => string][],
)("a %s whose body %s is a request never becomes one with the token", async (...[method, _, framed]) => {
  const { host, asked } = await carelessServer();
  const port = await open(`http://${host}/v1.0/me`);
  const hidden = "DELETE /v1.0/users HTTP/1.1\r\nX: ";
  await answerTo(port, `${method} /${host}/v1.0/me HTTP/1.1\r\n${own(port)}Connection: close\r\n${framed(hidden)}`);
  const next = `GET /${host}/v1.0/me HTTP/1.1\r\n${own(port)}Connection: close\r\n\r\n`;
  expect(statusOf(await answerTo(port, next))).toBe(200);
  expect(asked.filter((each) => each.includes(TOKEN) && each.includes("users"))).toEqual([]);
  expect(asked.at(-1)).toBe(`GET /v1.0/me Bearer ${TOKEN}`);
});

test.each(["GET", "HEAD"])("a %s with a body is refused", async (method) => {
  const { host, asked } = await carelessServer();
  const port = await open(`http://${host}`);
  for (const framed of ["Content-Length: 1\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]) {
    const request = `${method} /${host}/ HTTP/1.1\r\n${own(port)}Connection: close\r\n${framed}`;
    expect(statusOf(await answerTo(port, request))).toBe(400);
  }
  expect(asked).toEqual([]);
});

describe("a client without the secret", () => {
  test.each<[string, (port: number | string) => string, number]>([
    ["none", (port) => `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`, 401],
    ["another host", () => "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 421],
    ["a page", (port) => `GET / HTTP/1.1\r\n${own(port)}Origin: https://evil.example\r\n\r\n`, 403],
    ["a navigation", (port) => `GET / HTTP/1.1\r\n${own(port)}Sec-Fetch-Site: cross-site\r\n\r\n`, 403],
    ["a body", (port) => `POST / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 2\r\n\r\nhi`, 401],
  ])("is disconnected at once after the refusal: %s", async (_, request, status) => {
    const port = await open("http://127.0.0.1:1");
    expect(statusOf(await answerTo(port, request(port)))).toBe(status);
  });

  // Another user of the machine opened as many connections as there may be, and kept every client out.
  test("keeps no other client out, whether it asks or is silent", async () => {
    const { host } = await carelessServer();
    const port = await open(`http://${host}`);
    for (const request of ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""]) {
      const strangers = await Promise.all(Array.from({ length: FULL }, () => client(port)));
      for (const stranger of strangers) stranger.write(request);
      const answer = await answerTo(port, `GET /${host}/ HTTP/1.1\r\n${own(port)}Connection: close\r\n\r\n`);
      expect(statusOf(answer)).toBe(200);
      for (const stranger of strangers) stranger.destroy();
    }
  });

  test("is cut before an idle client that has shown it", async () => {
    const { host } = await carelessServer();
    const port = await open(`http://${host}`);
    const friend = await client(port), request = `GET /${host}/ HTTP/1.1\r\n${own(port)}\r\n`;
    friend.write(request);
    await once(friend, "data");
    const strangers = await Promise.all(Array.from({ length: FULL + 1 }, () => client(port)));
    await Promise.race(strangers.map((stranger) => once(stranger.resume(), "close")));
    friend.write(request);
    const [answer] = await once(friend, "data");
    expect(statusOf(String(answer))).toBe(200);
  });
});

// Behind a relay from a port to the socket, a page whose name has turned to 127.0.0.1 read what the proxy answered.
test("a socket takes requests for this machine and for an upstream only", async () => {
  const { host, asked } = await carelessServer();
  const path = await open(`http://${host}`, "socket");
  const status = async (...lines: readonly string[]) =>
    statusOf(await answerTo(path, `GET /${host}/ HTTP/1.1\r\n${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`));
  expect(await status("Host: rebind.evil.example:8080", "Sec-Fetch-Site: same-origin")).toBe(421);
  expect(await status("Host: rebind.evil.example:8080")).toBe(421);
  expect(await status("Host: localhost:8080", "Sec-Fetch-Site: same-origin")).toBe(403);
  expect(asked).toEqual([]);
  expect(await status("Host: localhost:8080")).toBe(200);
  expect(await status("Host: [::1]")).toBe(200);
  expect(await status(`Host: ${host}`)).toBe(200);
});

test("as many requests as a client sends without reading, and no more, are answered in their order", async () => {
  const { host } = await carelessServer();
  const path = await open(`http://${host}`, "socket");
  const one = `GET /${host}/ HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const last = `GET /${host}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  expect((await answerTo(path, one.repeat(20) + last)).match(/HTTP\/1\.1 200/g)?.length).toBe(21);
});

// The exchange was never over, past every limit: 256 of them kept every client out, and the proxy could not be closed.
test.each(["GET", "HEAD", "POST"])("a server that switches protocols after a %s ends the request", async (method) => {
  const host = await rawServer("HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nfree");
  const { endpoint } = await openEndpoint(`http://${host}`, "port");
  const length = method === "POST" ? "Content-Length: 0\r\n" : "";
  const request = `${method} /${host}/ HTTP/1.1\r\n${own(endpoint.port)}${length}Connection: close\r\n\r\n`;
  expect(statusOf(await answerTo(endpoint.port, request))).toBe(502);
  await untilIdle(endpoint);
});

// On Deno, the response to a request that waits for its turn does not emit `close` with its connection: the proxy never ended by
// itself.
describe("requests that came together are over with their connection", () => {
  test("of a client without the secret", async () => {
    const { endpoint } = await openEndpoint("http://127.0.0.1:1", "port");
    await answerTo(endpoint.port, `GET /x HTTP/1.1\r\nHost: 127.0.0.1:${endpoint.port}\r\n\r\n`.repeat(2));
    await untilIdle(endpoint);
  });

  test("of a client that disconnects", async () => {
    const host = await rawServer("");
    const { endpoint } = await openEndpoint(`http://${host}`, "port");
    const asked = once(servers.at(-1)!, "connection");
    const socket = await client(endpoint.port);
    socket.write(`GET /${host}/ HTTP/1.1\r\n${own(endpoint.port)}\r\n`.repeat(5));
    await asked;
    socket.destroy();
    await untilIdle(endpoint);
  });
});

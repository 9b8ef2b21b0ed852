// The proxy that adds a token, on every runtime: with a server over TLS that is node:https, with one that breaks every rule of HTTP,
// and with clients that do. Tokens are played.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Writable } from "node:stream";
import type { IdentityEndpoint } from "../../../../bin/commands/serve/identity_endpoint.ts";
import { openUpstreamProxy, type UpstreamProxyOptions } from "../../../../bin/commands/serve/upstream.ts";
import { readUpstream } from "../../../../bin/commands/serve/upstream_rules.ts";
import { LatchkeyError } from "../../../../lib/errors.ts";
import { makeCertificateAuthority } from "../../../fakes/certificates.ts";
import { startConnectProxy } from "../../../fakes/connect_proxy.ts";

const SECRET = "0123456789abcdef0123456789abcdef", CHALLENGE = '{"access_token":{"nbf":{"essential":true}}}';
type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** One for all tests: a program reads its machine's authorities once. */
const authority = makeCertificateAuthority();
const VARIABLES = ["NODE_EXTRA_CA_CERTS", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
const before = VARIABLES.map((name) => [name, process.env[name]] as const);
const opened: IdentityEndpoint[] = [], servers: Pick<Server, "close">[] = [], sockets: Socket[] = [];
let folder: string, tls: ReturnType<typeof createTlsServer>, handle: Handler, seen: IncomingMessage[] = [], count = 0;
let asked: (string | undefined)[] = [], fails: LatchkeyError | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "upstream-"));
  const file = join(folder, "authority.pem");
  writeFileSync(file, authority.cert);
  for (const name of VARIABLES) delete process.env[name];
  process.env["NODE_EXTRA_CA_CERTS"] = file;
  tls = createTlsServer(authority.issue(["127.0.0.1"]), (request, response) => {
    seen.push(request);
    handle(request, response);
  });
  tls.listen(0, "127.0.0.1");
  await once(tls, "listening");
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const endpoint of opened.splice(0)) await endpoint.close();
  for (const server of servers.splice(0)) server.close();
  seen = [];
  asked = [];
  fails = undefined;
});
afterAll(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  tls.close();
  rmSync(folder, { recursive: true });
});

const portOf = (server: Pick<Server, "address">) => (server.address() as AddressInfo).port;
const host = () => `127.0.0.1:${portOf(tls)}`;

/** Opens the proxy on a socket, for the server over TLS unless rules are given. */
async function open(
  rules: readonly string[] = [`https://${host()}`],
  more: Partial<UpstreamProxyOptions> = {},
): Promise<string> {
  const path = join(folder, `socket-${++count}`);
  opened.push(await openUpstreamProxy({ path }, { ...options(rules), ...more }));
  return path;
}

function options(rules: readonly string[]): UpstreamProxyOptions {
  return {
    upstreams: rules.map(readUpstream),
    isLogged: false,
    onOutcome: () => {},
    acquire: ({ claims }) => {
      asked.push(claims);
      if (fails) return Promise.reject(fails);
      const accessToken = `token-${asked.length}-of-jane`, expiresOn = new Date(Date.now() + 3_600_000);
      return Promise.resolve({ accessToken, expiresOn, tokenType: "Bearer" } as never);
    },
  };
}

/** A client that has written something. */
async function client(place: string | number, text: string | Uint8Array): Promise<Socket> {
  const socket = typeof place === "string" ? connect({ path: place }) : connect({ host: "127.0.0.1", port: place });
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(text);
  return socket;
}

/** All that is answered until the connection ends. */
async function answerTo(place: string | number, text: string | Uint8Array): Promise<string> {
  const socket = await client(place, text);
  let received = "";
  socket.on("data", (chunk) => received += chunk.toString("latin1"));
  await once(socket, "close");
  return received;
}

const request = (fields: readonly string[] = [], { method = "GET", path = "/x", body = "", to = host() } = {}) =>
  `${method} /${to}${path} HTTP/1.1\r\n${
    ["Host: localhost", "Connection: close", ...fields].join("\r\n")
  }\r\n\r\n${body}`;
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
const echo: Handler = (request, response) => void request.pipe(response);

/** A server that answers a connection with bytes as they are, once it has a request's head. */
async function hostile(answer: string | ((socket: Socket, received: string) => void)): Promise<string> {
  const server = createServer((socket) => {
    let received = "";
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const before = received.includes("\r\n\r\n");
      received += chunk;
      if (before || !received.includes("\r\n\r\n")) return;
      if (typeof answer === "string") socket.end(answer);
      else answer(socket, received);
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${portOf(server)}`;
}

describe("openUpstreamProxy(), requests", () => {
  test("adds the token, and removes what is the client's own or of one connection", async () => {
    handle = (_, response) => response.end("hello");
    const answer = await answerTo(
      await open(),
      request([
        "Connection: X-Named, close",
        "X-Named: 1",
        "Authorization: Bearer stolen",
        "Cookie: a=b",
        "Proxy-Authorization: Basic x",
        "X-Latchkey-Secret: y",
        "X-Forwarded-Host: evil.example",
        "TE: trailers",
        "Upgrade: websocket",
        "Accept: text/plain",
        "X-Kept: caf\xe9",
      ], { path: "/v1.0/me?$select=id" }),
    );
    expect({ status: statusOf(answer), body: answer.split("\r\n\r\n")[1] }).toEqual({ status: 200, body: "hello" });
    expect(seen[0]!.url).toBe("/v1.0/me?$select=id");
    const { connection: _, ...headers } = seen[0]!.headers;
    expect(headers).toEqual({
      host: host(),
      authorization: "Bearer token-1-of-jane",
      accept: "text/plain",
      "x-kept": "caf\xc3\xa9", // UTF-8, as it was sent
    });
  });

  test("serves one request after the other on a connection, also those that came together", async () => {
    handle = (request, response) => void response.end(request.url);
    const one = (path: string) => `GET /${host()}${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const answer = await answerTo(await open(), one("/1") + one("/2") + request([], { path: "/3" }));
    expect([...answer.matchAll(/\r\n\r\n(\/\d)/g)].map(([, path]) => path)).toEqual(["/1", "/2", "/3"]);
    // They share a connection to the upstream, too.
    expect(new Set(seen.map(({ socket }) => socket)).size).toBe(1);
  });

  test("passes bodies on as they come, in both directions and of both kinds", async () => {
    handle = echo;
    const path = await open(), body = "0123456789abcdef".repeat(20_000);
    const plain = await answerTo(path, request([`Content-Length: ${body.length}`], { method: "POST", body }));
    expect(plain.split("\r\n\r\n")[1]!.replace(/\r\n[\da-f]+\r\n|^[\da-f]+\r\n|\r\n0$/g, "").length).toBe(body.length);
    const chunked = `5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n`;
    const answer = await answerTo(path, request(["Transfer-Encoding: chunked"], { method: "PUT", body: chunked }));
    expect(answer.split("\r\n\r\n").slice(1).join("")).toMatch(/hello[^]* world/);
    expect(seen.map(({ headers }) => headers["transfer-encoding"] ?? headers["content-length"])).toEqual([
      `${body.length}`,
      "chunked",
    ]);
  });

  test("asks a client to continue that waits for it", async () => {
    handle = echo;
    const socket = await client(
      await open(),
      request(["Content-Length: 2", "Expect: 100-continue"], { method: "PUT" }),
    );
    const [interim] = await once(socket, "data");
    expect(String(interim)).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    socket.write("hi");
    let received = "";
    socket.on("data", (chunk) => received += chunk);
    await once(socket, "close");
    expect(received).toContain("hi");
    expect(seen[0]!.headers.expect).toBeUndefined();
  });

  const GET = "GET /H/x HTTP/1.1\r\n", POST = "POST /H/x HTTP/1.1\r\nHost: localhost\r\n", END = "\r\n0\r\n\r\n";
  test.each<[string, string]>([
    ["two lengths", `${POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`],
    ["a list of lengths", `${POST}Content-Length: 1, 1\r\n\r\na`],
    ["a length and chunks", `${POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n${END}`],
    ["a signed length", `${POST}Content-Length: +1\r\n\r\na`],
    ["another coding", `${POST}Transfer-Encoding: xchunked\r\n${END}`],
    ["two codings", `${POST}Transfer-Encoding: gzip, chunked\r\n${END}`],
    ["chunked twice", `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n${END}`],
    ["chunks of HTTP/1.0", `POST /H/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n${END}`],
    ["a space before the colon", `${POST}Transfer-Encoding : chunked\r\n${END}`],
    ["a folded header", `${GET}Host: localhost\r\nX: a\r\n b\r\n\r\n`],
    ["lines without CR", `${GET}Host: localhost\nX: a\r\n\r\n`],
    ["no host", `${GET}\r\n`],
    ["two hosts", `${GET}Host: localhost\r\nHost: i\r\n\r\n`],
    ["a whole URL", "GET https://H/x HTTP/1.1\r\nHost: H\r\n\r\n"],
    ["no path", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["a tunnel", "CONNECT H HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ["another method in a header", `${POST}X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n`],
    ["another path in a header", `${GET}Host: localhost\r\nX-Original-URL: /admin\r\n\r\n`],
    ["another version", "GET /H/x HTTP/2.0\r\nHost: localhost\r\n\r\n"],
    ["another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ])("refuses %s, and sends nothing on", async (_, text) => {
    handle = (_, response) => response.end();
    const answer = await answerTo(await open(), text.replaceAll("H/x", `${host()}/x`));
    expect(statusOf(answer)).toBe(400);
    expect(answer.toLowerCase()).toContain("connection: close");
    expect(seen).toEqual([]);
  });

  test("refuses a head that is too long, or too slow", async () => {
    const path = await open(undefined, { headLimitMs: 200 });
    expect(statusOf(await answerTo(path, request([`X: ${"x".repeat(20_000)}`])))).toBe(431);
    expect(await answerTo(path, "GET /slow HTTP/1.1\r\n")).toBe("");
  });

  test("breaks off where the chunks of a client are not chunks", async () => {
    const bodies: string[] = [];
    handle = (request) => {
      let body = "";
      request.on("data", (chunk) => body += chunk);
      request.on("end", () => bodies.push(body));
      request.on("error", () => {});
    };
    const path = await open();
    for (const body of ["5\r\nhelloX\r\n0\r\n\r\n", "zz\r\n", "5\nhello", "-1\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n"]) {
      const answer = await answerTo(path, request(["Transfer-Encoding: chunked"], { method: "POST", body }));
      expect(statusOf(answer)).toBe(400);
    }
    expect(bodies).toEqual([]);
  });
});

describe("openUpstreamProxy(), answers", () => {
  test("keeps cookies, connections and the token to itself, and leads back to it", async () => {
    handle = (request, response) => {
      response.writeHead(302, {
        "set-cookie": "session=1",
        "alt-svc": 'h3=":443"',
        "www-authenticate": "Bearer",
        "x-echo": request.headers.authorization!,
        "x-plain": "kept",
        connection: "X-Named",
        "x-named": "1",
        location: "/v1.0/next?x=1",
        "operation-location": `https://${host()}/operations/1`,
        "content-location": "https://other.example/x",
      });
      response.end();
    };
    const answer = await answerTo(await open(), request());
    expect(answer).not.toMatch(/set-cookie|alt-svc|www-authenticate|x-echo|x-named|token-1/i);
    const fields = Object.fromEntries(
      [...answer.matchAll(/^([\w-]+): (.*?)\r$/gm)].map(([, name, value]) => [name!.toLowerCase(), value]),
    );
    expect(fields).toMatchObject({
      "x-plain": "kept",
      location: `http://localhost/${host()}/v1.0/next?x=1`,
      "operation-location": `http://localhost/${host()}/operations/1`,
      "content-location": "https://other.example/x",
    });
  });

  test("a HEAD, a 204 and a 304 have no body", async () => {
    const path = await open();
    handle = (request, response) => {
      response.writeHead(request.method === "HEAD" ? 200 : Number(request.url!.slice(1)), { "x-x": "y" });
      response.end();
    };
    expect((await answerTo(path, request([], { method: "HEAD" }))).split("\r\n\r\n")[1]).toBe("");
    expect(await answerTo(path, request([], { path: "/204" }))).toMatch(/^HTTP\/1\.1 204 [^]*\r\n\r\n$/);
    expect(await answerTo(path, request([], { path: "/304" }))).toMatch(/^HTTP\/1\.1 304 [^]*\r\n\r\n$/);
  });

  test.each<[string, string, number]>([
    ["no HTTP", "hello\r\n\r\n", 502],
    ["another protocol", "HTTP/2 200\r\n\r\n", 502],
    ["a switch of protocols", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", 502],
    ["a length and chunks", "HTTP/1.1 200 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502],
    ["two lengths", "HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502],
    ["a folded field", "HTTP/1.1 200 x\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", 502],
    ["a long head", `HTTP/1.1 200 x\r\nA: ${"x".repeat(70_000)}\r\n\r\n`, 502],
    ["nothing", "", 502],
    ["half a head", "HTTP/1.1 200 x\r\nCont", 502],
    ["interim responses without end", "HTTP/1.1 103 x\r\n\r\n".repeat(20), 502],
    [
      "too many interim responses, and a response with them",
      `${"HTTP/1.1 103 x\r\n\r\n".repeat(200)}HTTP/1.1 204 x\r\n\r\n`,
      502,
    ],
    ["another version", "HTTP/2.0 200 x\r\nContent-Length: 0\r\n\r\n", 502],
    ["an interim response, and another one", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 204],
  ])("of a server that sends %s", async (_, bytes, status) => {
    const to = await hostile(bytes);
    expect(statusOf(await answerTo(await open([`http://${to}`]), request([], { to })))).toBe(status);
  });

  test.each<[string, string]>([
    ["of a length", "HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\nabc"],
    ["in chunks", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
    ["in chunks without an end", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"],
    ["in broken chunks", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n0\r\n\r\n"],
  ])("a body %s that breaks off does so for the client", async (_, bytes) => {
    const to = await hostile(bytes);
    const answer = await answerTo(await open([`http://${to}`]), request([], { to }));
    expect(statusOf(answer)).toBe(200);
    expect(answer.endsWith("0\r\n\r\n")).toBe(false);
  });

  test("what follows an answer is never taken for the next one", async () => {
    const to = await hostile((socket) => {
      socket.write("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\nevil");
    });
    const path = await open([`http://${to}`]);
    const one = `GET /${to}/x HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    expect(await answerTo(path, one + request([], { to }))).not.toContain("evil");
  });

  test("a server that is too slow, or cannot be reached, is told of", async () => {
    const to = await hostile(() => {});
    const path = await open([`http://${to}`, "http://127.0.0.1:1"], { stallLimitMs: 200 });
    expect(statusOf(await answerTo(path, request([], { to })))).toBe(504);
    expect(await answerTo(path, request([], { to: "127.0.0.1:1" }))).toMatch(
      /^HTTP\/1\.1 50\d [^]*Cannot reach 127\.0\.0\.1/,
    );
  });

  test("a connection that the server has closed meanwhile is not used again", async () => {
    let connections = 0;
    const to = await hostile((socket) => {
      connections++;
      socket.end("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok");
    });
    const path = await open([`http://${to}`]);
    for (let times = 1; times <= 3; times++) {
      expect(await answerTo(path, request([], { to }))).toMatch(/ok$/);
      expect(connections).toBe(times);
    }
  });

  test("a client that goes takes the request to the server with it", async () => {
    const gone = Promise.withResolvers<void>();
    handle = (request, response) => {
      request.on("error", () => {});
      response.on("close", gone.resolve);
      response.writeHead(200);
      response.write("begin");
    };
    const socket = await client(await open(), request());
    await once(socket, "data");
    socket.destroy();
    await gone.promise;
  });
});

describe("openUpstreamProxy(), the pace", () => {
  /** Writes as much as is taken, and returns how much that was once nothing has been taken for half a second. */
  async function writeMuch(stream: Writable): Promise<number> {
    const stopped = Promise.withResolvers<void>(), piece = new Uint8Array(65_536);
    let written = 0, timer: ReturnType<typeof setTimeout>;
    const more = () => {
      clearTimeout(timer);
      while (written < 400_000_000 && stream.write(piece)) written += piece.length;
      timer = setTimeout(stopped.resolve, 500);
    };
    stream.on("drain", more);
    more();
    await stopped.promise;
    return written;
  }
  const MOST = 50_000_000;

  // A proxy that reads ahead has all of it in memory.
  test("is the client's, of what a server sends", async () => {
    const written = Promise.withResolvers<number>();
    const to = await hostile((socket) => {
      socket.write("HTTP/1.1 200 x\r\nContent-Length: 999999999\r\n\r\n");
      written.resolve(writeMuch(socket));
    });
    const socket = await client(await open([`http://${to}`]), request([], { to }));
    socket.pause();
    expect(await written.promise).toBeLessThan(MOST);
  });

  // What a server over TLS sends is decrypted by the runtime, which must not do so ahead.
  test("is the client's, of what a server sends over TLS", async () => {
    const written = Promise.withResolvers<number>();
    handle = (_, response) => {
      response.writeHead(200, { "content-length": "999999999" });
      written.resolve(writeMuch(response));
    };
    const socket = await client(await open(), request());
    socket.pause();
    expect(await written.promise).toBeLessThan(MOST);
  });

  test("is the server's, of what a client sends", async () => {
    const to = await hostile((socket) => void socket.pause());
    const head = request(["Content-Length: 999999999"], { method: "POST", to });
    expect(await writeMuch(await client(await open([`http://${to}`]), head))).toBeLessThan(MOST);
  });
});

describe("openUpstreamProxy(), tokens", () => {
  const challenge = (response: ServerResponse) => {
    const claims = btoa(CHALLENGE);
    response.writeHead(401, { "www-authenticate": `Bearer error="insufficient_claims", claims="${claims}"` }).end("no");
  };

  test("answers a claims challenge with one new token, and goes on with that", async () => {
    handle = (request, response) => {
      if (request.headers.authorization === "Bearer token-1-of-jane") challenge(response);
      else request.pipe(response);
    };
    const path = await open(), body = "again";
    const post = request([`Content-Length: ${body.length}`], { method: "POST", body });
    expect(await answerTo(path, post)).toContain("again");
    expect(asked).toEqual([undefined, CHALLENGE]);
    expect(await answerTo(path, post)).toContain("again");
    expect(asked.length).toBe(2);
  });

  test("gives a second challenge to the client, and asks for no new token for the same claims", async () => {
    handle = (_, response) => challenge(response);
    const path = await open();
    expect(statusOf(await answerTo(path, request()))).toBe(401);
    expect(asked).toEqual([undefined, CHALLENGE]);
    // Entra takes many requests for the same token for a loop.
    expect(statusOf(await answerTo(path, request()))).toBe(401);
    expect(asked).toEqual([undefined, CHALLENGE]);
  });

  test("answers the challenge of a body that cannot be sent again with the next request", async () => {
    handle = (request, response) => {
      request.resume();
      request.on(
        "end",
        () => request.headers.authorization!.includes("-1-") ? challenge(response) : response.end("ok"),
      );
    };
    const path = await open(),
      upload = request(["Transfer-Encoding: chunked"], { method: "PUT", body: "2\r\nhi\r\n0\r\n\r\n" });
    expect(statusOf(await answerTo(path, upload))).toBe(401);
    expect(statusOf(await answerTo(path, upload))).toBe(200);
    expect(asked).toEqual([undefined, CHALLENGE]);
  });

  test("says why there is none, and sends nothing", async () => {
    handle = (_, response) => response.end();
    fails = new LatchkeyError("interaction_required", "A person has to sign in", { remedy: { kind: "sign_in" } });
    const answer = await answerTo(await open(), request());
    expect(statusOf(answer)).toBe(502);
    expect(answer).toContain("A person has to sign in");
    expect(seen).toEqual([]);
  });
});

test("openUpstreamProxy() on a port takes the secret in two fields, and no page's request", async () => {
  handle = (_, response) => response.end("ok");
  const endpoint = await openUpstreamProxy({ port: 0, secret: SECRET }, options([`https://${host()}`]));
  opened.push(endpoint);
  const { port } = endpoint,
    status = async (fields: readonly string[]) => {
      const text = `GET /${host()}/x HTTP/1.1\r\n${["Connection: close", ...fields].join("\r\n")}\r\n\r\n`;
      return statusOf(await answerTo(port, text));
    };
  const right = [`Host: 127.0.0.1:${port}`, `X-Latchkey-Secret: ${SECRET}`];
  expect(await status(right)).toBe(200);
  expect(await status([`Host: localhost:${port}`, `Authorization: Bearer ${SECRET}`])).toBe(200);
  expect(JSON.stringify(seen.map(({ rawHeaders }) => rawHeaders))).not.toContain(SECRET);
  expect(await status([right[0]!])).toBe(401);
  expect(await status([right[0]!, "Authorization: Bearer other"])).toBe(401);
  expect(await status([...right, "X-Latchkey-Secret: other"])).toBe(400);
  expect(await status(["Host: evil.example", right[1]!])).toBe(421);
  expect(await status([...right, "Origin: https://evil.example"])).toBe(403);
  expect(seen.length).toBe(2);
});

// The proxy that adds a token in a company's network: through its HTTP proxies, with its certificate authority, on every runtime.

test.each([["http", false], ["https", true]] as const)(
  "openUpstreamProxy() tunnels through an %s:// proxy",
  async (scheme, isSecure) => {
    const server = createTlsServer(authority.issue(["api.contoso.com"]), (request, response) => request.pipe(response));
    servers.push(server.listen(0, "127.0.0.1"));
    await once(server, "listening");
    const proxy = await startConnectProxy({
      port: portOf(server),
      credentials: "jane:pass",
      ...(isSecure ? { certificate: authority.issue(["127.0.0.1"]) } : {}),
    });
    try {
      process.env["HTTPS_PROXY"] = `${scheme}://jane:pass@127.0.0.1:${proxy.port}`;
      const path = await open(["https://api.contoso.com"]);
      const post = request(["Content-Length: 5"], { method: "POST", body: "hello", to: "api.contoso.com" });
      expect(await answerTo(path, post)).toMatch(/^HTTP\/1\.1 200 [^]*hello/);
      expect(proxy.requests.at(-1)).toEqual({ line: "CONNECT api.contoso.com:443", credentials: "jane:pass" });
    } finally {
      delete process.env["HTTPS_PROXY"];
      await proxy.stop();
    }
  },
);

// The loopback listener, asked over real sockets on every runtime.
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import net, { type AddressInfo, type ListenOptions, type Server, type Socket } from "node:net";
import {
  listenOnLoopback,
  type LoopbackListener,
  type LoopbackOptions,
  type LoopbackRequest,
} from "../../../lib/http/loopback.ts";
import { exchangeAsOtherUser, showsOwners } from "../../tools/other_user.ts";
import { rejection } from "../../fixture.ts";

/** The addresses that this machine has. */
const addresses = ["127.0.0.1"];
const opened: LoopbackListener[] = [];
const sockets: Socket[] = [];

beforeAll(async () => {
  const server = net.createServer();
  const hasIPv6 = await listen(server, { host: "::1", port: 0 }) === undefined;
  if (hasIPv6) addresses.push("::1");
  server.close();
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of opened.splice(0)) await listener.close();
});

/** A server's error, or `undefined` when it listens. */
async function listen(server: Server, options: ListenOptions): Promise<string | undefined> {
  return await new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen(options, () => resolve(undefined));
  });
}

async function open(options: Partial<LoopbackOptions> = {}): Promise<LoopbackListener> {
  const onRequest = ({ method, url, form }: LoopbackRequest) => ({
    status: 200,
    body: `${method} ${url.href} ${form}`,
  });
  const listener = await listenOnLoopback({ onRequest, ...options });
  opened.push(listener);
  return listener;
}

async function connect(port: number, host = "127.0.0.1"): Promise<Socket> {
  const socket = net.connect(port, host);
  sockets.push(socket);
  socket.on("error", () => {}); // some connections are cut
  await once(socket, "connect");
  return socket;
}

/** Sends a text and returns all that comes until the connection ends. */
async function exchange(port: number, text: string, host?: string): Promise<string> {
  const socket = await connect(port, host), ended = untilEnd(socket);
  socket.write(text);
  return await ended;
}

async function untilEnd(socket: Socket): Promise<string> {
  let received = "";
  socket.on("data", (chunk) => received += chunk);
  await new Promise((resolve) => socket.once("close", resolve));
  return received;
}

const get = (port: number, path = "/") => `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`;
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);

describe("listenOnLoopback()", () => {
  test("answers on each loopback address", async () => {
    const { port } = await open();
    for (const host of addresses) {
      const answer = await exchange(port, get(port, "/?code=a"), host);
      expect(statusOf(answer)).toBe(200);
      expect(answer.split("\r\n\r\n")[1]).toBe(`GET http://localhost:${port}/?code=a `);
    }
  });

  test("answers fetch, which posts a form", async () => {
    const { port } = await open();
    const body = new URLSearchParams({ code: "ä", state: "b" });
    const answer = await fetch(`http://localhost:${port}/`, { method: "POST", body });
    expect(await answer.text()).toBe(`POST http://localhost:${port}/ ${body}`);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
  });

  test("takes a request that comes byte by byte", async () => {
    const { port } = await open();
    const socket = await connect(port), ended = untilEnd(socket);
    socket.setNoDelay(true);
    for (const character of get(port)) await new Promise((resolve) => socket.write(character, resolve));
    expect(statusOf(await ended)).toBe(200);
  });

  test("takes header fields of the answer, without a line break in them", async () => {
    const headers = { location: "/done\r\nSet-Cookie: a=b", "Content-Type": "text/plain" };
    const { port } = await open({ onRequest: () => ({ status: 303, headers, body: "" }) });
    const fields = (await exchange(port, get(port))).split("\r\n");
    expect(fields).toContain("location: /doneSet-Cookie: a=b");
    expect(fields.filter((field) => /^content-type:/i.test(field))).toEqual(["content-type: text/plain"]);
  });

  test("turns foreign hosts, origins and methods away without telling its user", async () => {
    const asked: LoopbackRequest[] = [];
    const { port } = await open({
      allowedOrigins: ["https://login.contoso.com"],
      onRequest(request) {
        asked.push(request);
        return { status: 200, body: "" };
      },
    });
    const form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n";
    const post = (origin: string) =>
      `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nOrigin: ${origin}\r\n${form}\r\na=b`;
    expect(statusOf(await exchange(port, `GET / HTTP/1.1\r\nHost: evil.example:${port}\r\n\r\n`))).toBe(421);
    expect(statusOf(await exchange(port, post("https://evil.example")))).toBe(403);
    expect(statusOf(await exchange(port, get(port).replace("GET", "PUT")))).toBe(405);
    expect(asked).toEqual([]);
    expect(statusOf(await exchange(port, post("https://login.contoso.com")))).toBe(200);
    expect(statusOf(await exchange(port, post("null")))).toBe(200);
    expect(asked.length).toBe(2);
  });

  test("turns a huge body away while it still comes", async () => {
    const { port } = await open();
    const head = `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: 3000000\r\n\r\n`;
    expect(statusOf(await exchange(port, head + "x".repeat(3_000_000)))).toBe(413);
  });

  test("answers one request of a connection", async () => {
    const { port } = await open();
    const answer = await exchange(port, get(port, "/1") + get(port, "/2"));
    expect(answer.match(/HTTP\/1\.1 /g)?.length).toBe(1);
    expect(answer).toContain("/1");
  });

  test.each([["nothing", ""], ["half a head", "GET / HTTP/1.1\r\nHost:"], [
    "half a body",
    "POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na",
  ]])("lets a client go that sends %s", async (_what, text) => {
    const { port } = await open({ clientLimitMs: 20 });
    expect(await exchange(port, text.replace("PORT", `${port}`))).toBe("");
  });

  // Clients that connected and sent nothing kept the person's browser out, and they could do so again and again.
  test("takes no more than 32 connections at a time: the oldest idle one makes room", async () => {
    const { port } = await open();
    const idle: Socket[] = [];
    for (let number = 0; number < 32; number++) idle.push(await connect(port));
    const ends = idle.map((socket) => once(socket, "close")), oldest = idle[0]!;
    expect(statusOf(await exchange(port, get(port)))).toBe(200);
    await ends[0];
    expect(idle.filter((socket) => socket.destroyed)).toEqual([oldest]);
    // So does one that was answered and does not go: it does not count as busy.
    const answered = await connect(port), received = untilEnd(answered);
    answered.pause();
    answered.write(get(port));
    for (let number = 0; number < 64; number++) await connect(port);
    answered.resume();
    await received;
    expect(statusOf(await exchange(port, get(port)))).toBe(200);
  });

  test("cuts off who comes while it answers 32 others", async () => {
    const answer = Promise.withResolvers<void>(), busy = Promise.withResolvers<void>();
    let asked = 0;
    const { port } = await open({
      async onRequest() {
        if (++asked === 32) busy.resolve();
        await answer.promise;
        return { status: 200, body: "" };
      },
    });
    const answers = Array.from({ length: 32 }, () => exchange(port, get(port)));
    await busy.promise;
    expect(await exchange(port, get(port))).toBe("");
    answer.resolve();
    expect((await Promise.all(answers)).map(statusOf)).toEqual(Array(32).fill(200));
  });

  test("says nothing of an error of its user's", async () => {
    const { port } = await open({
      onRequest() {
        throw new Error("secret");
      },
    });
    const answer = await exchange(port, get(port));
    expect(statusOf(answer)).toBe(500);
    expect(answer).not.toContain("secret");
  });

  test("has the port for itself", async () => {
    const { port } = await open();
    const places: ListenOptions[] = [...addresses, "0.0.0.0"].flatMap((host) => [{ host }, { host, reusePort: true }]);
    for (const place of places) {
      const second = net.createServer();
      expect(await listen(second, { ...place, port })).toBe("EADDRINUSE");
    }
  });

  test("tells that a port is taken, on either address", async () => {
    for (const host of addresses) {
      const other = net.createServer();
      await listen(other, { host, port: 0 });
      const { port } = other.address() as AddressInfo;
      expect(await rejection(open({ port }))).toMatchObject({
        name: "LatchkeyError",
        code: "configuration",
        message: `Cannot listen on port ${port} of the loopback interface: another program uses it`,
      });
      // And it let go of what it had.
      await new Promise((resolve) => other.close(resolve));
      expect((await open({ port })).port).toBe(port);
    }
  });

  test("throws the reason of a signal that is aborted already", async () => {
    const reason = new Error("enough");
    expect(await rejection(open({ signal: AbortSignal.abort(reason) }))).toBe(reason);
  });
});

// `state` stands in the command line of the browser, which every user of the machine can read: one of them could answer first,
// with an account of theirs, and the person's programs would have worked with that.
describe("listenOnLoopback(), asked by another user of the machine", () => {
  const isShown = showsOwners();

  /** A listener, and who came through. */
  async function openAndTell(): Promise<{ readonly port: number; readonly paths: readonly string[] }> {
    const paths: string[] = [];
    const { port } = await open({
      onRequest({ url }) {
        paths.push(url.pathname);
        return { status: 200, body: "" };
      },
    });
    return { port, paths };
  }

  test.each(["127.0.0.1", "::1", "::ffff:127.0.0.1"])("refuses what comes to %s, and goes on", async (host) => {
    if (host === "::1" && !addresses.includes(host)) return expect(addresses).toEqual(["127.0.0.1"]);
    const { port, paths } = await openAndTell();
    const text = get(port, "/other?error=access_denied&state=x");
    const answer = await exchangeAsOtherUser(text, { host, port });
    const own = await exchange(port, get(port, "/own"), host);
    if (!isShown) return expect([statusOf(answer), statusOf(own), paths]).toEqual([200, 200, ["/other", "/own"]]);
    expect([statusOf(answer), statusOf(own), paths]).toEqual([403, 200, ["/own"]]);
    expect(answer).toContain("another user of this machine");
  });

  // A connection that was closed at once is shown as root's, and one that was reset not at all.
  test.each(["closes", "resets"] as const)("takes no request of a client that %s at once", async (farewell) => {
    const { port, paths } = await openAndTell();
    for (let number = 0; number < 5; number++) {
      await exchangeAsOtherUser(get(port, "/other"), { host: "127.0.0.1", port, farewell });
    }
    expect(statusOf(await exchange(port, get(port, "/own")))).toBe(200);
    if (isShown) expect(paths).toEqual(["/own"]);
    else expect(paths).toContain("/own");
  });
});

describe("LoopbackListener.close()", () => {
  test("ends idle connections and frees the port", async () => {
    const listener = await open();
    const idle = await connect(listener.port), ended = untilEnd(idle);
    await listener.close();
    expect(await ended).toBe("");
    expect((await open({ port: listener.port })).port).toBe(listener.port);
  });

  test("sends the answer that is due first", async () => {
    const asked = Promise.withResolvers<void>(), answer = Promise.withResolvers<{ status: number; body: string }>();
    const listener = await open({
      onRequest() {
        asked.resolve();
        return answer.promise;
      },
    });
    const received = exchange(listener.port, get(listener.port));
    await asked.promise;
    const closed = listener.close();
    answer.resolve({ status: 200, body: "x".repeat(100_000) });
    expect((await received).split("\r\n\r\n")[1]).toBe("x".repeat(100_000));
    await closed;
  });

  test("may be called twice, and after everybody has gone", async () => {
    const listener = await open();
    await exchange(listener.port, get(listener.port));
    await Promise.all([listener.close(), listener.close()]);
  });

  test("happens when the signal is aborted", async () => {
    const controller = new AbortController();
    const { port, close } = await open({ signal: controller.signal });
    const idle = await connect(port), ended = untilEnd(idle);
    controller.abort();
    expect(await ended).toBe("");
    await close();
    expect((await open({ port })).port).toBe(port);
  });
});

// Servers for programs of this machine, asked over real sockets on every runtime.
import { afterEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { HttpService } from "../../../lib/http/server.ts";
import { type Endpoint, type EndpointAddress, openEndpoint } from "../../../lib/http/unix_socket.ts";
import { failure, useStage } from "../../fixture.ts";

interface Line {
  readonly line: string;
}

const stage = useStage();
const opened: Endpoint[] = [], sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const endpoint of opened.splice(0)) await endpoint.close();
});

const newFolder = () => join(stage.newFolder(), "endpoint");
const newPath = () => join(newFolder(), "socket");

/** Opens one that reads a line and answers with it. */
async function open(address: EndpointAddress, service: Partial<HttpService<Line>> = {}): Promise<Endpoint> {
  const endpoint = await openEndpoint<Line>(address, {
    headers: {},
    read(received) {
      const [line, ...rest] = new TextDecoder().decode(received).split("\n");
      return rest.length > 0 ? { line: line! } : undefined;
    },
    onRequest: ({ line }) => ({ status: 200, body: line }),
    ...service,
  });
  opened.push(endpoint);
  return endpoint;
}

async function connected(path: string): Promise<Socket> {
  const socket = connect({ path });
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

async function untilEnd(socket: Socket): Promise<string> {
  let received = "";
  socket.on("data", (chunk) => received += chunk);
  await new Promise((resolve) => socket.once("close", resolve));
  return received;
}

async function exchange(path: string, text: string): Promise<string> {
  const socket = await connected(path), ended = untilEnd(socket);
  socket.write(text);
  return await ended;
}

/** Asks until a server has noticed that others have gone, which is later than they did. */
async function untilAnswered(path: string): Promise<string> {
  for (;;) {
    const answer = await exchange(path, "hello\n");
    if (answer.endsWith("hello")) return answer;
  }
}

describe("openEndpoint() on a Unix socket", () => {
  test("answers on a socket that nobody else can reach, and removes it", async () => {
    const path = newPath(), endpoint = await open({ path });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, "..")).mode & 0o777).toBe(0o700);
    expect(await exchange(path, "hello\n")).toMatch(/^HTTP\/1\.1 200 \r\n[^]*\r\n\r\nhello$/);
    await endpoint.close();
    expect(existsSync(path)).toBe(false);
  });

  test("refuses a path that another server listens on, and lets that one be", async () => {
    const path = newPath();
    await open({ path });
    const { code, message } = await failure(open({ path }));
    expect({ code, message }).toEqual({
      code: "configuration",
      message: `Cannot listen on ${path}: another server does`,
    });
    expect(await exchange(path, "first\n")).toContain("first");
  });

  test("takes over what a server that has ended left behind; of several at once, one does", async () => {
    const path = newPath();
    mkdirSync(join(path, ".."), { mode: 0o700 });
    // A server that ends removes its file, but for one that was renamed meanwhile.
    const dead = createServer();
    dead.listen({ path: `${path}.old` });
    await once(dead, "listening");
    renameSync(`${path}.old`, path);
    await new Promise((resolve) => dead.close(resolve));
    expect(existsSync(path)).toBe(true);
    const outcomes = await Promise.allSettled([open({ path }), open({ path }), open({ path })]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(await exchange(path, "mine\n")).toContain("mine");
  });

  test("leaves a socket to whoever made another one in its place", async () => {
    const path = newPath(), first = await open({ path });
    rmSync(path);
    await open({ path });
    await first.close();
    expect(await exchange(path, "second\n")).toContain("second");
  });

  test.each<[string, (path: string) => void, RegExp]>([
    ["a file is", (path) => writeFileSync(path, "mine"), /is not a socket/],
    ["a link is", (path) => symlinkSync("/nowhere", path), /is not a socket/],
    ["a folder is", (path) => mkdirSync(path), /is not a socket/],
    ["others can enter its folder, which", (path) => chmodSync(join(path, ".."), 0o755), /others can enter/],
    ["others can write to its folder, which", (path) => chmodSync(join(path, ".."), 0o777), /others can write/],
  ])("refuses a path where %s there, and changes nothing", async (_, prepare, message) => {
    const path = newPath();
    mkdirSync(join(path, ".."), { mode: 0o700 });
    prepare(path);
    const isThere = existsSync(path);
    expect(await failure(open({ path }))).toMatchObject({
      code: "configuration",
      message: expect.stringMatching(message),
    });
    expect(existsSync(path)).toBe(isThere);
  });

  test("refuses a path that is too long for a socket", async () => {
    const error = await failure(open({ path: join(newFolder(), "x".repeat(120)) }));
    expect(error).toMatchObject({ code: "configuration", message: expect.stringContaining("at most") });
  });
});

describe("openEndpoint() on a port", () => {
  test("is on 127.0.0.1, and refuses a port that is taken", async () => {
    const { port } = await open({ port: 0 });
    const socket = connect(port, "127.0.0.1"), ended = untilEnd(socket);
    socket.write("hello\n");
    expect(await ended).toContain("hello");
    expect(await failure(open({ port }))).toMatchObject({ code: "configuration" });
  });
});

describe("openEndpoint()", () => {
  const onTrouble = (trouble: string) => ({ status: 503, body: trouble });

  test.each([["nothing", ""], ["half a request", "hel"]])("tells a client that sent %s in time", async (_, sent) => {
    const path = newPath();
    await open({ path }, { onTrouble, clientLimitMs: 50 });
    expect(await exchange(path, sent)).toMatch(/^HTTP\/1\.1 503 [^]*slow$/);
  });

  test("answers while others are slow", async () => {
    const path = newPath();
    await open({ path }, { onTrouble });
    const slow = await connected(path);
    slow.write("hel");
    await connected(path);
    expect(await exchange(path, "hello\n")).toMatch(/^HTTP\/1\.1 200 [^]*hello$/);
  });

  test("tells those that are too many, until others have gone", async () => {
    const path = newPath();
    const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>()], all = begun.values();
    await open({ path }, {
      onTrouble,
      maxConnections: 2,
      async onRequest({ line }, signal) {
        if (line === "hello") return { status: 200, body: line };
        all.next().value?.resolve();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        throw signal.reason;
      },
    });
    const [first, second] = [await connected(path), await connected(path)];
    for (const socket of [first, second]) socket.write("wait\n");
    await Promise.all(begun.map(({ promise }) => promise));
    expect(await exchange(path, "hello\n")).toMatch(/^HTTP\/1\.1 503 [^]*crowded$/);
    first.destroy();
    expect(await untilAnswered(path)).toMatch(/^HTTP\/1\.1 200 [^]*hello$/);
  });

  // They had their places until their time was over, however many others came.
  test("cuts the slowest clients off for others", async () => {
    const path = newPath();
    await open({ path }, { onTrouble, maxConnections: 2, clientLimitMs: 600_000 });
    const ended = [];
    for (const text of ["hel", ""]) {
      const slow = await connected(path);
      slow.write(text);
      ended.push(untilEnd(slow));
    }
    expect(await untilAnswered(path)).toMatch(/^HTTP\/1\.1 200 [^]*hello$/);
    expect(await Promise.race(ended)).toBe("");
  });

  // A request that came while all were busy was refused at once.
  test("lets a request wait for its turn, and tells it when it has none in time", async () => {
    const path = newPath(), begun = Promise.withResolvers<void>(), first = Promise.withResolvers<void>();
    await open({ path }, {
      onTrouble,
      maxRequests: 1,
      clientLimitMs: 500,
      async onRequest({ line }) {
        begun.resolve();
        if (line === "first") await first.promise;
        return { status: 200, body: line };
      },
    });
    const answers = [exchange(path, "first\n")];
    await begun.promise;
    expect(await exchange(path, "second\n")).toMatch(/^HTTP\/1\.1 503 [^]*crowded$/);
    answers.push(exchange(path, "third\n"), exchange(path, "fourth\n"));
    first.resolve();
    expect((await Promise.all(answers)).map((answer) => answer.split("\r\n").at(-1))).toEqual([
      "first",
      "third",
      "fourth",
    ]);
  });

  test("gives up the turn of a client that does not wait for it", async () => {
    const path = newPath(), lines: string[] = [], first = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    await open({ path }, {
      maxRequests: 1,
      async onRequest({ line }) {
        lines.push(line);
        begun.resolve();
        if (line === "first") await first.promise;
        return { status: 200, body: line };
      },
    });
    const answer = exchange(path, "first\n");
    await begun.promise;
    const gone = await connected(path);
    gone.write("gone\n");
    gone.end();
    await untilEnd(gone); // the server has seen its end
    first.resolve();
    await answer;
    expect(await exchange(path, "last\n")).toContain("last");
    expect(lines).toEqual(["first", "last"]);
  });

  test("survives a thousand connections that say nothing", async () => {
    const path = newPath();
    await open({ path }, { onTrouble, maxConnections: 100 });
    const all = Array.from({ length: 1000 }, () => {
      const socket = connect({ path });
      socket.on("error", () => {});
      sockets.push(socket);
      return socket;
    });
    await Promise.all(all.map((socket) =>
      new Promise((resolve) => {
        socket.once("connect", resolve).once("close", resolve);
      })
    ));
    const ended = all.map((socket) =>
      new Promise((resolve) => socket.destroyed ? resolve(0) : socket.once("close", resolve))
    );
    for (const socket of all) socket.destroy();
    await Promise.all(ended);
    expect(await untilAnswered(path)).toMatch(/^HTTP\/1\.1 200 [^]*hello$/);
  });

  test.each([["closes", (socket: Socket) => socket.end()], ["is killed", (socket: Socket) => socket.destroy()]])(
    "tells by the signal that a client %s",
    async (_, leave) => {
      const path = newPath(), begun = Promise.withResolvers<void>(), left = Promise.withResolvers<string>();
      await open({ path }, {
        async onRequest(_, signal) {
          begun.resolve();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          left.resolve(signal.reason.message);
          throw signal.reason;
        },
      });
      const socket = await connected(path);
      socket.write("hello\n");
      await begun.promise;
      leave(socket);
      expect(await left.promise).toBe("The client has disconnected");
    },
  );

  test("answers a client that still sends, however much", async () => {
    const path = newPath();
    await open({ path }, { read: (received) => received.length > 10 ? { status: 431, body: "long" } : undefined });
    expect(await exchange(path, "x".repeat(3_000_000))).toMatch(/^HTTP\/1\.1 431 [^]*long$/);
  });
});

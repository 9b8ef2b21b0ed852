/**
 * An HTTP/1.1 server for one request a connection, on a loopback port or a Unix socket.
 *
 * It is not `node:http`, which fails on the oldest supported runtimes: Deno 2.6.0 makes no socket file after `listen({ path })`,
 * and its `close()` hangs; Deno 2.6.0 and Bun 1.3.0 never cut off a client that sends nothing. `latchkey serve --upstream`, which
 * needs newer runtimes, uses `node:http`.
 *
 * @module
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { isLoopbackHost } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";

/** An answer to a request. */
export interface HttpReply {
  readonly status: number;
  /** Header fields beside those of every answer. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent as UTF-8. */
  readonly body: string;
}

/** The behaviour and limits of a server. */
export interface HttpService<Request> {
  /** Header fields of every answer, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Parses all bytes so far: returns the request, an answer that rejects it, or `undefined` if more has to come. */
  readonly read: (received: Uint8Array) => Request | HttpReply | undefined;
  /** Answers a request. It must not wait for `close`, which waits for it; `signal` aborts when the client disconnects. */
  readonly onRequest: (request: Request, signal: AbortSignal, socket: Socket) => HttpReply | Promise<HttpReply>;
  /** Answers a client that sends its request too slowly, or exceeds a limit. @default the client is disconnected */
  readonly onTrouble?: ((trouble: "slow" | "crowded") => HttpReply) | undefined;
  /** Time limit in ms for a client to send its request and to read the answer, in the queue, and for `close`. @default 10_000 */
  readonly clientLimitMs?: number | undefined;
  /** Maximum of open connections. The slowest clients are disconnected for new ones. @default 32 */
  readonly maxConnections?: number | undefined;
  /** Maximum of requests that are answered at once; more are queued. @default no limit */
  readonly maxRequests?: number | undefined;
}

interface HttpConnections {
  accept(socket: Socket): void;
  /** Rejects new connections, sends the answers that are due, and ends all connections. */
  close(): Promise<void>;
}

const CLIENT_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 32;
/** Time in which a client that sends its request is not disconnected for another one. */
const SLOW_MS = 2000;
/** Maximum of rejected clients that are told so at once; further ones are disconnected. */
const MAX_REJECTIONS = 256;

/** Serves the connections that are passed to `accept`. */
export function httpConnections<Request extends object>(service: HttpService<Request>): HttpConnections {
  const { onTrouble, maxConnections = MAX_CONNECTIONS, maxRequests = Infinity } = service;
  const connections = new Set<Connection>();
  const rejections = new Set<Connection>();
  const semaphore = makeSemaphore(maxRequests);
  let closed: Promise<void> | undefined;

  function add(to: Set<Connection>, connection: Connection): void {
    to.add(connection);
    void connection.gone.then(() => to.delete(connection));
  }

  /** Returns true if there is room for one more connection. If necessary, it disconnects the oldest idle one. */
  function makeRoom(among: Set<Connection>, max: number): boolean {
    if (among.size < max) return true;
    for (const connection of among) if (connection.cutIfIdle()) return among.delete(connection);
    return false;
  }

  async function closeAll(): Promise<void> {
    const all = [...connections, ...rejections];
    for (const connection of all) connection.end();
    await Promise.all(all.map(({ gone }) => gone));
  }

  return {
    accept(socket) {
      if (closed !== undefined) return void socket.destroy();
      if (makeRoom(connections, maxConnections)) return add(connections, serve(socket, service, semaphore));
      if (!onTrouble || !makeRoom(rejections, MAX_REJECTIONS)) return void socket.destroy();
      add(rejections, serve(socket, { ...service, read: () => onTrouble("crowded") }, semaphore));
    },
    close() {
      closed ??= closeAll();
      return closed;
    },
  };
}

interface Semaphore {
  /** Waits for a permit; `false` if the signal aborts first. */
  acquire(signal: AbortSignal): boolean | Promise<boolean>;
  release(): void;
}

function makeSemaphore(permits: number): Semaphore {
  const waiting = new Set<() => void>();
  let free = permits;
  return {
    acquire(signal) {
      if (free > 0) {
        free--;
        return true;
      }
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const next = () => resolve(true);
      waiting.add(next);
      signal.addEventListener("abort", () => resolve(!waiting.delete(next)), { once: true });
      return promise;
    },
    release() {
      const [next] = waiting;
      if (!next) return void free++;
      waiting.delete(next);
      next();
    },
  };
}

interface Connection {
  /** Resolves when the connection has ended. */
  readonly gone: Promise<void>;
  /** Disconnects the client if it was answered, or is too slow with its request. */
  cutIfIdle(): boolean;
  /** Ends the connection, after an answer that is due. */
  end(): void;
}

function serve<Request extends object>(socket: Socket, service: HttpService<Request>, permits: Semaphore): Connection {
  const { read, onRequest, onTrouble, clientLimitMs = CLIENT_LIMIT_MS } = service;
  const begin = performance.now();
  const disconnected = new AbortController();
  const gone = Promise.withResolvers<void>();
  const late = new AbortController();
  // A client that is told of the crowd waits. One that is not would be kept out by those that connect and stay silent.
  const slowMs = onTrouble ? SLOW_MS : 0;
  let received: Uint8Array = new Uint8Array();
  let answering = false;
  let ending = false;
  const cut = () => void socket.destroy();
  let timer = setTimeout(onTrouble ? () => reject(onTrouble("slow")) : cut, clientLimitMs);

  socket.on("error", () => {}); // the client may disconnect at any time
  socket.on("close", () => {
    clearTimeout(timer);
    disconnected.abort(new Error("The client has disconnected"));
    late.abort();
    gone.resolve();
  });
  socket.on("data", (chunk: Uint8Array) => {
    if (answering) return;
    received = Buffer.concat([received, chunk]);
    const request = read(received);
    if (!request) return;
    if ("status" in request) return reject(request);
    answering = true;
    restartTimer(() => late.abort());
    void answer(request);
  });

  async function answer(request: Request): Promise<void> {
    if (!await permits.acquire(late.signal)) return onTrouble ? send(onTrouble("crowded")) : cut();
    clearTimeout(timer);
    try {
      send(await onRequest(request, disconnected.signal, socket));
    } catch {
      send({ status: 500, body: "" }); // the client must not see the failure
    } finally {
      permits.release();
    }
  }

  function reject(reply: HttpReply): void {
    answering = true;
    send(reply);
  }

  function send(reply: HttpReply): void {
    if (socket.destroyed) return;
    restartTimer(cut);
    // Further bytes are read and dropped: a client that is still sending would not read the answer before it is done.
    socket.end(bytesOf(reply, service.headers), () => ending && socket.destroy());
  }

  function restartTimer(listener: () => void): void {
    clearTimeout(timer);
    timer = setTimeout(listener, clientLimitMs);
  }

  return {
    gone: gone.promise,
    cutIfIdle() {
      if (answering ? !socket.writableFinished : performance.now() - begin < slowMs) return false;
      cut();
      return true;
    },
    end() {
      ending = true;
      if (!answering || socket.writableFinished) return cut();
      late.abort();
      restartTimer(cut);
    },
  };
}

function bytesOf({ status, headers = {}, body }: HttpReply, always: Readonly<Record<string, string>>): Uint8Array {
  const content = new TextEncoder().encode(body);
  const fields = new Map<string, string>(Object.entries(always));
  for (const [name, value] of Object.entries(headers)) fields.set(name.toLowerCase(), value.replace(/[^\t -~]/g, ""));
  fields.set("content-length", `${content.length}`).set("connection", "close");
  const lines = [...fields].map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} \r\n${lines.join("")}\r\n`, "latin1"), content]);
}

/** Address of a server: a port of a loopback address, or a Unix socket. The port 0 lets the system choose one. */
type ServerAddress = { readonly host: "127.0.0.1" | "::1"; readonly port: number } | { readonly path: string };

/** Listens at an address with a server, or one that passes its connections on, or throws the system's error. */
export async function openServer(
  address: ServerAddress,
  handler: Server | ((socket: Socket) => void),
): Promise<Server> {
  const ipv6Only = "host" in address && address.host === "::1";
  const server = typeof handler === "function" ? (await import("node:net")).createServer(handler) : handler;
  return await new Promise((resolve, reject) => {
    // A later error concerns a connection that could not be accepted, as with too many open files. The client sees it.
    server.on("error", reject).once("listening", () => resolve(server));
    // `exclusive`: otherwise the workers of a cluster share the port.
    server.listen({ ...address, backlog: 4096, exclusive: true, ipv6Only });
  });
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Turns the failure to listen on a loopback port into a {@linkcode LatchkeyError}. */
export function portError(port: number, error: unknown): LatchkeyError {
  const { code } = error as { code?: string };
  const why = code === "EADDRINUSE" ? "another program uses it" : `the system refuses it (${code})`;
  return new LatchkeyError("configuration", `Cannot listen on port ${port} of the loopback interface: ${why}`, {
    remedy: "Choose another port, or none, so that the system chooses one",
  });
}

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** The path as it was sent. `//host` stays a path. */
  readonly path: string;
  /** The query as it was sent, with its question mark. */
  readonly query: string;
  /** Headers by their lower-case names. */
  readonly fields: ReadonlyMap<string, string>;
  /** Length of the head in bytes: there the body begins. */
  readonly length: number;
}

const MAX_HEAD_BYTES = 16 * 1024;
/** Fields by which a request is judged. If one comes twice, two readers could each take another. */
const ONCE =
  /^(host|origin|authorization|content-length|content-type|transfer-encoding|x-identity-header|sec-fetch-.*)$/;

/** Reads the head of a request, or returns the status that rejects it; `undefined` if more has to come. */
export function readRequestHead(received: Uint8Array): RequestHead | 400 | 431 | undefined {
  const text = Buffer.from(received.subarray(0, MAX_HEAD_BYTES)).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return received.length >= MAX_HEAD_BYTES ? 431 : undefined;
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const [, method, path, query = ""] = /^([A-Z]+) (\/[!->@-~]*)(\?[!-~]*)? HTTP\/1\.[01]$/.exec(first) ?? [];
  const fields = fieldsByName(lines);
  return method && path && fields ? { method, path, query, fields, length: end + 4 } : 400;
}

/** @returns `undefined` if a header is invalid, or one of {@linkcode ONCE} comes twice. */
function fieldsByName(lines: readonly string[]): ReadonlyMap<string, string> | undefined {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)$/.exec(line) ?? [];
    const key = name?.toLowerCase();
    if (key === undefined || fields.has(key) && ONCE.test(key)) return undefined;
    fields.set(key, value.replace(/^[\t ]+|[\t ]+$/g, ""));
  }
  return fields;
}

/**
 * Returns the valid Host fields for names of the loopback interface, without a port, and the port that is listened on. Through
 * any other name that resolves to loopback, another site's page could read the answers (DNS rebinding).
 */
export function hostsOf(names: readonly string[], port: number): readonly string[] {
  return names.flatMap((name) => port === 80 ? [name, `${name}:80`] : `${name}:${port}`);
}

/**
 * Returns true for a Host header that names this machine, with any port or none: what a client of a Unix socket sends, directly or
 * through a relay on a port. A page that reaches such a relay by DNS rebinding sends its own site's name.
 */
export function isLoopbackAuthority(authority: string): boolean {
  return isLoopbackHost(authority.replace(/:\d{1,5}$/, "").toLowerCase());
}

/** Returns a function that compares a string with a secret, in a time that tells no more of the secret than its length. */
export async function secretComparer(secret: string): Promise<(value: string) => boolean> {
  const { timingSafeEqual } = await import("node:crypto");
  const right = Buffer.from(secret);
  return (value) => {
    const bytes = Buffer.from(value);
    return bytes.length === right.length && timingSafeEqual(bytes, right);
  };
}

/**
 * Secrets compared so that the time it takes tells nothing of how much of one was right.
 *
 * @module
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";

/**
 * Makes what compares with a secret.
 *
 * @param secret The secret.
 * @returns Whether a text is the same.
 */
export async function secretComparer(secret: string): Promise<(text: string) => boolean> {
  const { createHash, timingSafeEqual } = await import("node:crypto");
  // Of one length, whatever was sent.
  const digestOf = (text: string) => createHash("sha256").update(text).digest(), right = digestOf(secret);
  return (text) => timingSafeEqual(digestOf(text), right);
}

/** What is answered to a request. */
export interface HttpReply {
  /** HTTP status. */
  readonly status: number;
  /** Header fields beside those that every answer has. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The content, sent as UTF-8. */
  readonly body: string;
}

/** What a server does. */
export interface HttpService<Request> {
  /** Header fields of every answer, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Reads a request out of all that came so far: the request, an answer that turns it away, or `undefined` for more. */
  readonly read: (received: Uint8Array) => Request | HttpReply | undefined;
  /** Answers a request. It must not wait for `close`, which waits for it; `signal` aborts when the client has gone. */
  readonly onRequest: (request: Request, signal: AbortSignal, socket: Socket) => HttpReply | Promise<HttpReply>;
  /** Answers a client that sends no whole request in time, or is one too many. @default they are cut off */
  readonly onTrouble?: ((trouble: "slow" | "crowded") => HttpReply) | undefined;
  /**
   * How long a client may take to send its request, and to read the answer, and how long a request waits for its turn, in
   * milliseconds; and `close` at most. @default 10_000
   */
  readonly clientLimitMs?: number | undefined;
  /** How many connections there may be at once. The slowest clients are cut off for new ones. @default 32 */
  readonly maxConnections?: number | undefined;
  /** How many requests are answered at once; more of them wait for their turn. @default all */
  readonly maxRequests?: number | undefined;
}

/** The connections of a server. */
interface HttpConnections {
  /** Takes a new one. */
  accept(socket: Socket): void;
  /** Takes no more, sends the answers that are still due, and ends all. */
  close(): Promise<void>;
}

interface Connection {
  /** Resolves when it has ended. */
  readonly gone: Promise<void>;
  /** Cuts it off if nothing is due to its client: it was answered, or has sent no whole request for too long. */
  cutIfIdle(): boolean;
  /** Ends it, once an answer that is due is sent. */
  end(): void;
}

const CLIENT_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 32;
/** How long a client has to send its request before it can be cut off for another one. */
const SLOW_MS = 2000;
/** Of those that are one too many, how many are told so at once; the others are cut off. */
const MAX_TOLD = 256;

/**
 * Serves the connections of a server.
 *
 * @param service What it does.
 */
export function httpConnections<Request extends object>(service: HttpService<Request>): HttpConnections {
  const { onTrouble, maxConnections = MAX_CONNECTIONS, maxRequests = Infinity } = service;
  const connections = new Set<Connection>(), told = new Set<Connection>(), turns = turnsOf(maxRequests);
  let closed: Promise<void> | undefined;

  function add(to: Set<Connection>, connection: Connection): void {
    to.add(connection);
    void connection.gone.then(() => to.delete(connection));
  }

  /** Returns true if there is room for one more. If need be, it cuts off the oldest to which nothing is due. */
  function makeRoom(among: Set<Connection>, max: number): boolean {
    if (among.size < max) return true;
    for (const connection of among) if (connection.cutIfIdle()) return among.delete(connection);
    return false;
  }

  async function closeAll(): Promise<void> {
    const all = [...connections, ...told];
    for (const connection of all) connection.end();
    await Promise.all(all.map(({ gone }) => gone));
  }

  return {
    accept(socket) {
      if (closed) return void socket.destroy();
      if (makeRoom(connections, maxConnections)) return add(connections, serve(socket, service, turns));
      if (!onTrouble || !makeRoom(told, MAX_TOLD)) return void socket.destroy();
      add(told, serve(socket, { ...service, read: () => onTrouble("crowded") }, turns));
    },
    close: () => closed ??= closeAll(),
  };
}

/** Who is answered, and who waits for it. */
interface Turns {
  /** Waits for a turn; `false` if the signal aborts before there is one. */
  take(signal: AbortSignal): boolean | Promise<boolean>;
  /** Gives a turn that was taken to the next one. */
  give(): void;
}

function turnsOf(count: number): Turns {
  const waiting = new Set<() => void>();
  let free = count;
  return {
    take(signal) {
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
    give() {
      const [next] = waiting;
      if (!next) return void free++;
      waiting.delete(next);
      next();
    },
  };
}

function serve<Request extends object>(socket: Socket, service: HttpService<Request>, turns: Turns): Connection {
  const { read, onRequest, onTrouble, clientLimitMs = CLIENT_LIMIT_MS } = service, begin = performance.now();
  const left = new AbortController(), gone = Promise.withResolvers<void>(), late = new AbortController();
  // A client that is told of a crowd waits; one that is not told would be kept out by those that connect and stay silent.
  const slowMs = onTrouble ? SLOW_MS : 0;
  let received: Uint8Array = new Uint8Array(), answering = false, ending = false;
  const cut = () => void socket.destroy();
  let timer = setTimeout(onTrouble ? () => turnAway(onTrouble("slow")) : cut, clientLimitMs);

  socket.on("error", () => {}); // the client may go at any time
  socket.on("close", () => {
    clearTimeout(timer);
    left.abort(new Error("The client has gone"));
    late.abort();
    gone.resolve();
  });
  socket.on("data", (chunk: Uint8Array) => {
    if (answering) return;
    received = Buffer.concat([received, chunk]);
    const request = read(received);
    if (!request) return;
    if (isReply(request)) return turnAway(request);
    answering = true;
    restartTimer(() => late.abort());
    void answer(request);
  });

  async function answer(request: Request): Promise<void> {
    if (!await turns.take(late.signal)) return onTrouble ? send(onTrouble("crowded")) : cut();
    clearTimeout(timer);
    try {
      send(await onRequest(request, left.signal, socket));
    } catch {
      send({ status: 500, body: "" }); // what went wrong is for no client to tell
    } finally {
      turns.give();
    }
  }

  function turnAway(reply: HttpReply): void {
    answering = true;
    send(reply);
  }

  function send(reply: HttpReply): void {
    if (socket.destroyed) return;
    restartTimer(cut);
    // What still comes is read and forgotten: a client that is sending would not read the answer before it is done.
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

function isReply(value: object): value is HttpReply {
  return "status" in value;
}

function bytesOf({ status, headers = {}, body }: HttpReply, always: Readonly<Record<string, string>>): Uint8Array {
  const content = new TextEncoder().encode(body);
  const fields = new Map<string, string>(Object.entries(always));
  for (const [name, value] of Object.entries(headers)) fields.set(name.toLowerCase(), value.replace(/[^\t -~]/g, ""));
  fields.set("content-length", `${content.length}`).set("connection", "close");
  const lines = [...fields].map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} \r\n${lines.join("")}\r\n`, "latin1"), content]);
}

/** Where a server listens: a port of an address, or a Unix socket. */
type ServerAddress =
  | { readonly host: "127.0.0.1" | "::1"; readonly port: number }
  | { readonly path: string };

/**
 * Opens a server.
 *
 * @param address Where; the port 0 lets the system choose one.
 * @param onConnection Takes the connections.
 * @returns The server, which listens.
 * @throws {Error} the system's own.
 */
export async function openServer(address: ServerAddress, onConnection: (socket: Socket) => void): Promise<Server> {
  const { createServer } = await import("node:net");
  return await new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    // Later ones are of a connection that could not be taken, as with too many files open: whoever made it has its error.
    server.on("error", reject).once("listening", () => resolve(server));
    // `exclusive`: the workers of a cluster would share the port.
    server.listen({
      ...address,
      backlog: 4096,
      exclusive: true,
      ipv6Only: "host" in address && address.host === "::1",
    });
  });
}

/** The port that a server listens on. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Why a port of the loopback interface cannot be listened on. */
export function portError(port: number, error: unknown): LatchkeyError {
  const { code } = error as { code?: string };
  const why = code === "EADDRINUSE" ? "another program has it" : `the system does not give it (${code})`;
  return new LatchkeyError("configuration", `Cannot listen on port ${port} of the loopback interface: ${why}`, {
    hint: "Choose another port, or none, so that the system chooses one",
  });
}

/** What a request begins with. */
export interface RequestHead {
  /** Such as `GET`. */
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: string;
  /** Header fields by their lower-case names. */
  readonly fields: ReadonlyMap<string, string>;
  /** Where the body begins, in bytes. */
  readonly length: number;
}

const MAX_HEAD_BYTES = 16 * 1024;
/** Fields by which a request is judged: whoever sends one twice means two readers to take one each. */
const ONCE = /^(host|origin|content-length|content-type|transfer-encoding|x-identity-header|sec-fetch-.*)$/;

/**
 * Reads the head of a request.
 *
 * @param received All that was received so far.
 * @returns The head; the HTTP status that turns it away; `undefined` while more has to come.
 */
export function readRequestHead(received: Uint8Array): RequestHead | 400 | 431 | undefined {
  const text = new TextDecoder("latin1").decode(received.subarray(0, MAX_HEAD_BYTES));
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return received.length >= MAX_HEAD_BYTES ? 431 : undefined;
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const [, method, target] = /^([A-Z]+) (\/[!-~]*) HTTP\/1\.[01]$/.exec(first) ?? [];
  const fields = readFields(lines);
  return method && target && fields ? { method, target, fields, length: end + 4 } : 400;
}

/**
 * Path and query of a target. They are taken apart, so that a path such as `//host` stays one.
 *
 * @returns The query with its question mark; both as they were sent.
 */
export function splitTarget(target: string): readonly [path: string, query: string] {
  const mark = target.indexOf("?");
  return mark === -1 ? [target, ""] : [target.slice(0, mark), target.slice(mark)];
}

/**
 * What a client that was told a port may call the loopback interface in a Host field. Another name that leads there is how a
 * page of someone else's would get to read the answers (DNS rebinding).
 *
 * @param names The names, without a port.
 * @param port The port that is listened on.
 */
export function hostsOf(names: readonly string[], port: number): readonly string[] {
  return names.flatMap((name) => port === 80 ? [name, `${name}:80`] : `${name}:${port}`);
}

/** `undefined` when a line is none, or a field that counts comes twice. */
function readFields(lines: readonly string[]): ReadonlyMap<string, string> | undefined {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\u0080-\uffff]*)$/.exec(line) ?? [];
    if (!name) return undefined;
    const key = name.toLowerCase();
    if (fields.has(key) && ONCE.test(key)) return undefined;
    fields.set(key, value!.trim());
  }
  return fields;
}

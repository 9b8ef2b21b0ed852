/**
 * Connections to a server of ours, each good for one HTTP/1.1 request: to keep one for another request would make `close` wait
 * for it.
 *
 * Not by `node:http`: Deno 2.6's listens on no Unix socket, and neither that one nor Bun 1.3's says of a connection before its
 * request is whole, so that nothing could cut a client that never sends it.
 *
 * @module
 */
import type { Socket } from "node:net";

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
export interface HttpConnections {
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

/**
 * Connections to a server of ours, each good for one HTTP/1.1 request: to keep one for another request would make `close` wait
 * for it.
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
  /** How long a client may take to send its request, and to read the answer, in milliseconds; and `close` at most. @default 10_000 */
  readonly clientLimitMs?: number | undefined;
  /** How many clients there may be at once. For one more, the oldest that is idle is cut off. @default 32 */
  readonly maxConnections?: number | undefined;
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
  /** Returns true if no request of it is being answered. */
  isIdle(): boolean;
  /** Ends it at once. */
  cut(): void;
  /** Ends it, once an answer that is due is sent. */
  end(): void;
}

const CLIENT_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 32;
/** Of those that are one too many, how many are told so at once, and for how long; the others are cut off. */
const MAX_TOLD = 32, TOLD_MS = 1000;

/**
 * Serves the connections of a server.
 *
 * @param service What it does.
 */
export function httpConnections<Request extends object>(service: HttpService<Request>): HttpConnections {
  const { onTrouble, maxConnections = MAX_CONNECTIONS } = service;
  const connections = new Set<Connection>(), told = new Set<Connection>();
  let closed: Promise<void> | undefined;

  function add(to: Set<Connection>, connection: Connection): void {
    to.add(connection);
    void connection.gone.then(() => to.delete(connection));
  }

  /** Clients that are told of a crowd wait; where they are not, whoever connects and stays silent would keep all others out. */
  function hasPlace(): boolean {
    if (connections.size < maxConnections) return true;
    const oldest = onTrouble ? undefined : connections.values().find((connection) => connection.isIdle());
    if (!oldest) return false;
    connections.delete(oldest);
    oldest.cut();
    return true;
  }

  async function closeAll(): Promise<void> {
    const all = [...connections, ...told];
    for (const connection of all) connection.end();
    await Promise.all(all.map(({ gone }) => gone));
  }

  return {
    accept(socket) {
      if (!closed && hasPlace()) return add(connections, serve(socket, service));
      if (closed || !onTrouble || told.size >= MAX_TOLD) return void socket.destroy();
      add(told, serve(socket, { ...service, clientLimitMs: TOLD_MS, read: () => onTrouble("crowded") }));
    },
    close: () => closed ??= closeAll(),
  };
}

function serve<Request extends object>(socket: Socket, service: HttpService<Request>): Connection {
  const { read, onRequest, onTrouble, clientLimitMs = CLIENT_LIMIT_MS } = service;
  const left = new AbortController(), gone = Promise.withResolvers<void>();
  let received: Uint8Array = new Uint8Array(), answering = false, ending = false;
  const cut = () => void socket.destroy(), isIdle = () => !answering || socket.writableFinished;
  let timer = setTimeout(onTrouble ? () => turnAway(onTrouble("slow")) : cut, clientLimitMs);

  socket.on("error", () => {}); // the client may go at any time
  socket.on("close", () => {
    clearTimeout(timer);
    left.abort(new Error("The client has gone"));
    gone.resolve();
  });
  socket.on("data", (chunk: Uint8Array) => {
    if (answering) return;
    received = Buffer.concat([received, chunk]);
    const request = read(received);
    if (!request) return;
    if (isReply(request)) return turnAway(request);
    answering = true;
    clearTimeout(timer);
    void answer(request);
  });

  async function answer(request: Request): Promise<void> {
    try {
      send(await onRequest(request, left.signal, socket));
    } catch {
      send({ status: 500, body: "" }); // what went wrong is for no client to tell
    }
  }

  function turnAway(reply: HttpReply): void {
    answering = true;
    send(reply);
  }

  function send(reply: HttpReply): void {
    if (socket.destroyed) return;
    restartTimer();
    // What still comes is read and forgotten: a client that is sending would not read the answer before it is done.
    socket.end(bytesOf(reply, service.headers), () => ending && socket.destroy());
  }

  function restartTimer(): void {
    clearTimeout(timer);
    timer = setTimeout(cut, clientLimitMs);
  }

  return {
    ...{ gone: gone.promise, isIdle, cut },
    end() {
      ending = true;
      if (isIdle()) return cut();
      restartTimer();
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

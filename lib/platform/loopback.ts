/**
 * Listens for the browser that comes back from a sign-in (RFC 8252, 7.3): on the loopback interface alone, on 127.0.0.1 and
 * on ::1, since a browser takes either for `localhost`.
 *
 * Deno needs `--allow-net=127.0.0.1,[::1]`; without the second, ::1 is left out.
 *
 * @module
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { type LoopbackReply, type LoopbackRequest, readLoopbackRequest } from "./loopback_request.ts";
import { isPermitted, requirePermission } from "./permission.ts";

export type { LoopbackReply, LoopbackRequest };

/** What is listened for. */
export interface LoopbackOptions {
  /** The port. @default one that the system chooses */
  readonly port?: number | undefined;
  /** Origins that may post forms, beside our own and `null`. @default none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** Answers a request. It must not wait for `close`, which waits for it. */
  readonly onRequest: (request: LoopbackRequest) => LoopbackReply | Promise<LoopbackReply>;
  /** How long a client may take to send its request, and to read the answer, in milliseconds; and `close` at most. @default 10_000 */
  readonly clientLimitMs?: number | undefined;
  /** Closes the listener. */
  readonly signal?: AbortSignal | undefined;
}

/** A listener. */
export interface LoopbackListener {
  /** Its port, on both addresses. */
  readonly port: number;
  /** Listens no longer, sends the answers that are still due, and ends all connections. */
  close(): Promise<void>;
  /** The same. */
  [Symbol.asyncDispose](): Promise<void>;
}

const CLIENT_LIMIT_MS = 10_000;
const MAX_CONNECTIONS = 32;
/** How often another port is tried when ::1 has the one that 127.0.0.1 had free. */
const MAX_ATTEMPTS = 20;

/**
 * Listens on the loopback interface.
 *
 * @param options For what.
 * @returns The listener.
 * @throws {LatchkeyError} `configuration` when the port is taken or may not be used; `missing_dependency` when Deno does not permit it.
 * @throws {RangeError} when it is no port.
 */
export async function listenOnLoopback(options: LoopbackOptions): Promise<LoopbackListener> {
  const { port: wanted = 0, signal } = options;
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > 65_535) throw new RangeError("port has to be 0 to 65535");
  signal?.throwIfAborted();
  const connections = new Set<Connection>();
  let port = wanted, closed: Promise<void> | undefined;
  const servers = await openServers(wanted, (socket) => {
    if (closed || connections.size >= MAX_CONNECTIONS) return void socket.destroy();
    const connection = serve(socket, { ...options, port });
    connections.add(connection);
    void connection.gone.then(() => connections.delete(connection));
  });
  port = portOf(servers[0]!);

  const close = (): Promise<void> => closed ??= closeAll();
  async function closeAll(): Promise<void> {
    signal?.removeEventListener("abort", close);
    // Deno 2.6 never calls back when a connection came and went before.
    for (const server of servers) server.close();
    for (const connection of connections) connection.end();
    await Promise.all([...connections].map(({ gone }) => gone));
  }
  signal?.addEventListener("abort", close);
  if (signal?.aborted) {
    await close();
    throw signal.reason;
  }
  return { port, close, [Symbol.asyncDispose]: close };
}

/** One server for each address, on the same port. */
async function openServers(port: number, onConnection: (socket: Socket) => void): Promise<readonly Server[]> {
  const suffix = port === 0 ? "" : `:${port}`;
  requirePermission({ name: "net", host: `127.0.0.1:${port}` }, `127.0.0.1${suffix},[::1]${suffix}`);
  for (let attempt = 1;; attempt++) {
    const first = await openServer({ host: "127.0.0.1", port }, onConnection).catch((error) => {
      throw portError(port, error);
    });
    try {
      const second = { host: "::1", port: portOf(first) };
      const both = isPermitted({ name: "net", host: `[::1]:${second.port}` });
      return both ? [first, await openServer(second, onConnection)] : [first];
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== "EADDRINUSE") return [first]; // there is no IPv6 here
      first.close();
      if (port !== 0 || attempt === MAX_ATTEMPTS) throw portError(port, error);
    }
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

async function openServer(address: Address, onConnection: (socket: Socket) => void): Promise<Server> {
  const { createServer } = await import("node:net");
  return await new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    server.once("error", reject).once("listening", () => resolve(server));
    // `exclusive`: the workers of a cluster would share the port.
    server.listen({ ...address, exclusive: true, ipv6Only: address.host === "::1" });
  });
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function portError(port: number, error: unknown): LatchkeyError {
  const { code } = error as { code?: string };
  const why = code === "EADDRINUSE" ? "another program has it" : `the system does not give it (${code})`;
  return new LatchkeyError("configuration", `Cannot listen on port ${port} of the loopback interface: ${why}`, {
    hint: "Choose another port, or none, so that the system chooses one",
  });
}

interface Connection {
  /** Resolves when it has ended. */
  readonly gone: Promise<void>;
  /** Ends it, once an answer that is due is sent. */
  end(): void;
}

/** Reads one request and answers it. The connection is not kept for another one: `close` would have to wait for it. */
function serve(socket: Socket, options: LoopbackOptions & { readonly port: number }): Connection {
  const { port, allowedOrigins = [], onRequest, clientLimitMs = CLIENT_LIMIT_MS } = options;
  const startTimer = () => setTimeout(() => socket.destroy(), clientLimitMs), gone = Promise.withResolvers<void>();
  let received: Uint8Array = new Uint8Array(), answering = false, ending = false, timer = startTimer();

  socket.on("error", () => {}); // the browser may go at any time
  socket.on("close", () => {
    clearTimeout(timer);
    gone.resolve();
  });
  socket.on("data", (chunk: Uint8Array) => {
    if (answering) return;
    received = Buffer.concat([received, chunk]);
    const request = readLoopbackRequest(received, { port, allowedOrigins });
    if (!request) return;
    answering = true;
    clearTimeout(timer);
    void answer(request);
  });

  async function answer(request: LoopbackRequest | LoopbackReply): Promise<void> {
    const reply = "status" in request ? request : await replyTo(request);
    if (socket.destroyed) return;
    clearTimeout(timer);
    timer = startTimer();
    socket.end(bytesOf(reply), () => ending && socket.destroy());
  }

  async function replyTo(request: LoopbackRequest): Promise<LoopbackReply> {
    try {
      return await onRequest(request);
    } catch {
      return { status: 500, body: "" }; // what went wrong is for no page to tell
    }
  }

  return {
    gone: gone.promise,
    end() {
      ending = true;
      if (!answering || socket.writableFinished) return void socket.destroy();
      clearTimeout(timer);
      timer = startTimer();
    },
  };
}

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

function bytesOf({ status, headers = {}, body }: LoopbackReply): Uint8Array {
  const content = new TextEncoder().encode(body);
  const fields = new Map<string, string>(Object.entries(HEADERS));
  for (const [name, value] of Object.entries(headers)) fields.set(name.toLowerCase(), value.replace(/[^\t -~]/g, ""));
  fields.set("content-length", `${content.length}`).set("connection", "close");
  const lines = [...fields].map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} \r\n${lines.join("")}\r\n`, "latin1"), content]);
}

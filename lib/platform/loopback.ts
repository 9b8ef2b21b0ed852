/**
 * Listens for the browser that comes back from a sign-in (RFC 8252, 7.3): on the loopback interface alone, on 127.0.0.1 and
 * on ::1, since a browser takes either for `localhost`.
 *
 * Deno needs `--allow-net=127.0.0.1,[::1]`; without the second, ::1 is left out.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { httpConnections, type HttpReply } from "./http_connections.ts";
import { type LoopbackRequest, readLoopbackRequest } from "./loopback_request.ts";
import { openServer, portError, portOf } from "./open_server.ts";
import { isPermitted, requirePermission } from "./permission.ts";

export type { HttpReply as LoopbackReply, LoopbackRequest };

/** What is listened for. */
export interface LoopbackOptions {
  /** The port. @default one that the system chooses */
  readonly port?: number | undefined;
  /** Origins that may post forms, beside our own and `null`. @default none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** Answers a request, with UTF-8 HTML unless a header field says otherwise. It must not wait for `close`, which waits for it. */
  readonly onRequest: (request: LoopbackRequest) => HttpReply | Promise<HttpReply>;
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

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
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
  const { port: wanted = 0, allowedOrigins = [], onRequest, clientLimitMs, signal } = options;
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > 65_535) throw new RangeError("port has to be 0 to 65535");
  signal?.throwIfAborted();
  let port = wanted, closed: Promise<void> | undefined;
  const connections = httpConnections<LoopbackRequest>({
    headers: HEADERS,
    read: (received) => readLoopbackRequest(received, { port, allowedOrigins }),
    onRequest,
    clientLimitMs,
  });
  const servers = await openServers(wanted, connections.accept);
  port = portOf(servers[0]!);

  const close = (): Promise<void> => closed ??= closeAll();
  async function closeAll(): Promise<void> {
    signal?.removeEventListener("abort", close);
    // Deno 2.6 never calls back when a connection came and went before.
    for (const server of servers) server.close();
    await connections.close();
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
      const second = { host: "::1", port: portOf(first) } as const;
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

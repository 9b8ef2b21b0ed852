/**
 * One request to `latchkey serve --upstream` while it is answered, and the clients that send them.
 *
 * @module
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { jsonForTerminal } from "../../../lib/control_characters.ts";
import type { Refusal } from "./identity_endpoint.ts";

/** The end of an exchange with a status of its own. */
export class RefusedRequest extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** A request, and what became of it so far. */
export class Exchange {
  readonly client: Client;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly beginMs: number = performance.now();
  /** True once the sender may call through the proxy. */
  isAdmitted = false;
  /** True if the client waits for `100 Continue` before it sends the body. */
  readonly isContinueExpected: boolean;
  /** Status for the log. */
  status = 0;
  /** The request to the upstream. */
  outgoing: ClientRequest | undefined;
  readonly #end = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  /** Time of the last byte, of `performance.now()`. During a request for a token there is no limit. */
  #lastByteMs = Infinity;

  constructor(
    client: Client,
    { request, response, isContinueExpected }: {
      readonly request: IncomingMessage;
      readonly response: ServerResponse;
      readonly isContinueExpected: boolean;
    },
  ) {
    this.client = client;
    this.request = request;
    this.response = response;
    this.isContinueExpected = isContinueExpected;
    request.on("error", ignoreError);
    response.on("error", ignoreError).once("close", () => this.end());
  }

  /** Ends what is not sent yet: the connection to the client is closed. */
  end(): void {
    if (!this.response.writableFinished) this.fail(new RefusedRequest(GONE));
    this.#closed.resolve();
  }

  /** Aborts with the reason why the exchange fails. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Resolves once the response is sent, or the connection is lost. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Starts, or restarts, the time in which a byte has to come or go. */
  readonly touch = (): void => {
    this.#lastByteMs = performance.now();
  };

  /** Stops that time. */
  pauseLimit(): void {
    this.#lastByteMs = Infinity;
  }

  /** Fails if no byte came or went for too long. */
  checkLimit(nowMs: number, stallLimitMs: number): void {
    if (nowMs - this.#lastByteMs > stallLimitMs) this.fail(new RefusedRequest(TOO_SLOW));
  }

  /** Ends the exchange. What was begun cannot be taken back: then the client sees that the connection breaks. */
  fail(reason: Error): void {
    if (this.signal.aborted) return;
    this.#end.abort(reason);
    this.outgoing?.destroy(reason);
    if (this.response.headersSent) this.client.socket.destroy();
  }

  /** Reads a short body. */
  async readBody(): Promise<Uint8Array> {
    const { request, signal } = this;
    const pieces: Uint8Array[] = [];
    return await new Promise((resolve, reject) => {
      this.touch();
      request.on("data", (piece: Uint8Array) => {
        this.touch();
        pieces.push(piece);
      });
      request.once("end", () => resolve(Buffer.concat(pieces)));
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (signal.aborted) reject(signal.reason);
    });
  }

  /** Sends a refusal. `hasBody`: true if the client may still send. It would not read the response before it is done. */
  refuse({ statusCode, message, allow }: Refusal, { isKept, hasBody }: { isKept: boolean; hasBody: boolean }): void {
    const { request, response } = this;
    const body = Buffer.from(jsonForTerminal({ statusCode, message }));
    response.sendDate = false;
    response.writeHead(statusCode, refusalHeaders(body, { isKept, allow }));
    if (request.method === "HEAD") response.end();
    else if (hasBody) response.write(body);
    else response.end(body);
    if (!hasBody || response.writableEnded) return;
    this.client.drainingSinceMs = performance.now();
    request.once("end", () => response.end()).resume();
  }

  /** Waits until the client has sent what is of no use any more. */
  async drain(): Promise<void> {
    const { request, client } = this;
    if (client.socket.destroyed) return;
    client.drainingSinceMs = performance.now();
    await new Promise<void>((resolve) => {
      request.once("end", resolve).once("close", resolve);
      client.socket.once("close", () => resolve());
      request.removeAllListeners("data").on("data", ignoreError).resume();
    });
    client.drainingSinceMs = Infinity;
  }
}

/** Status for a client that disconnected, as in nginx. */
const GONE: Refusal = { statusCode: 499, message: "The client has disconnected" };
const TOO_SLOW: Refusal = { statusCode: 504, message: "The upstream or the client is too slow" };

/** The failure is seen where the stream closes. */
function ignoreError(): void {}

function refusalHeaders(
  body: Uint8Array,
  { isKept, allow }: Pick<Refusal, "allow"> & { readonly isKept: boolean },
): string[] {
  return [
    ...["Content-Type", "application/json; charset=utf-8", "Cache-Control", "no-store"],
    ...["Content-Length", `${body.length}`],
    ...(allow ? ["Allow", allow.join(", ")] : []),
    ...(isKept ? [] : ["Connection", "close"]),
  ];
}

/** Passes a body on, at the pace of the slower side. */
export function pump(from: Readable, to: Writable, onBytes: () => void): void {
  from.on("data", (piece: Uint8Array) => {
    onBytes();
    if (!to.write(piece)) from.pause();
  });
  to.on("drain", () => {
    onBytes();
    from.resume();
  });
  from.once("end", () => to.end());
}

/** A client's connection. */
export class Client {
  readonly socket: Socket;
  /** True once it has shown the secret. */
  isAdmitted = false;
  /** Requests that came, and are not answered yet: the first one is being answered. */
  readonly #exchanges = new Set<Exchange>();
  /** Resolves once all requests so far are answered: they are answered one after the other. */
  turn: Promise<void> = Promise.resolve();
  /** Time of `performance.now()` since which there is no request. */
  idleSinceMs: number = performance.now();
  /** Time since which only the rest of a body is waited for. */
  drainingSinceMs: number = Infinity;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Number of requests that came, and are not answered yet. */
  get pending(): number {
    return this.#exchanges.size;
  }

  /** The request that is being answered. */
  get exchange(): Exchange | undefined {
    const [first] = this.#exchanges;
    return first;
  }

  add(exchange: Exchange): void {
    this.#exchanges.add(exchange);
  }

  remove(exchange: Exchange): void {
    this.#exchanges.delete(exchange);
    this.idleSinceMs = performance.now();
  }

  /** Ends all requests: on Deno, the responses to those that wait for their turn do not emit `close` with the connection. */
  end(): void {
    for (const exchange of this.#exchanges) exchange.end();
  }

  get isIdle(): boolean {
    return this.pending === 0 || this.drainingSinceMs < Infinity;
  }

  /** Refuses what is not HTTP. */
  refuseRaw({ statusCode, message }: Refusal): void {
    const { socket } = this;
    const body = Buffer.from(jsonForTerminal({ statusCode, message }));
    const fields = refusalHeaders(body, { isKept: false });
    const lines = fields.flatMap((name, at) => at % 2 === 0 ? [`${name}: ${fields[at + 1]}\r\n`] : []);
    socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${statusCode} \r\n${lines.join("")}\r\n`), body]));
    this.drainingSinceMs = performance.now();
    socket.resume();
  }
}

const MAX_CLIENTS = 256;

/** The connections of all clients. */
export class Clients {
  readonly #clients = new Map<Socket, Client>();

  /** Adds a connection. If there are too many, one is cut: of a client that has not shown the secret, and is idle the longest. */
  add(socket: Socket): void {
    if (this.#clients.size >= MAX_CLIENTS && !this.#makeRoom()) return void socket.destroy();
    const client = new Client(socket);
    this.#clients.set(socket, client);
    socket.on("error", ignoreError).once("close", () => {
      this.#clients.delete(socket);
      client.end();
    });
  }

  #makeRoom(): boolean {
    const [first] = [...this.#clients.values()].filter(({ isIdle }) => isIdle).sort((one, other) =>
      Number(one.isAdmitted) - Number(other.isAdmitted) || one.idleSinceMs - other.idleSinceMs
    );
    if (!first) return false;
    this.#clients.delete(first.socket);
    first.socket.destroy();
    return true;
  }

  of(socket: Socket): Client | undefined {
    return this.#clients.get(socket);
  }

  /** Ends what takes too long. */
  checkLimits({ stallLimitMs, headLimitMs }: { readonly stallLimitMs: number; readonly headLimitMs: number }): void {
    const nowMs = performance.now();
    for (const { socket, exchange, drainingSinceMs } of this.#clients.values()) {
      if (nowMs - drainingSinceMs > headLimitMs) socket.destroy();
      else exchange?.checkLimit(nowMs, stallLimitMs);
    }
  }

  /** Ends all connections, and waits until no request is answered any more. */
  async close(): Promise<void> {
    const clients = [...this.#clients.values()];
    for (const { socket } of clients) socket.destroy();
    await Promise.all(clients.map(({ turn }) => turn));
  }
}

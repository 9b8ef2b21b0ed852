/**
 * A connection for HTTP/1.1 messages of any length: opened to a server, through the proxy and with TLS, and read and written piece
 * by piece. Neither side is read faster than the other one takes it.
 *
 * The runtimes' own servers and clients would do if they all passed tests/bin/serve/upstream_contract.ts. Those of Deno 2.6 take
 * messages with two lengths, `Deno.serve` waits for a silent client for ever, `Bun.serve` resolves `..` before anybody can refuse
 * it, and `fetch` changes how a body is framed or encoded.
 *
 * @module
 */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, readEnvironment, requirePermission } from "../runtime/host.ts";
import { trustedCertificates } from "./client.ts";
import { findProxy, openTunnelByDeno } from "./proxy.ts";
import {
  hostOf,
  httpFailure,
  type HttpRoute,
  isUnknownIssuer,
  passwordWanted,
  portOf,
  proxyAuthorization,
} from "./request.ts";
import { type HeaderField, splitHead } from "./server.ts";

/** Bytes that are kept for a reader before the socket is paused. */
const HIGH_WATER_BYTES = 256 * 1024;

/** The other side has gone in the middle of a message, or sent something that is not HTTP. */
export class BrokenMessage extends Error {
  override readonly name = "BrokenMessage";
  /** True if the other side was too slow. */
  readonly isSlow: boolean;

  constructor(message: string, { isSlow = false }: { readonly isSlow?: boolean } = {}) {
    super(message);
    this.isSlow = isSlow;
  }
}

/** The length of a body in bytes, or the way in which it ends. */
export type Framing = number | "chunked" | "until close";

/** A socket that is read on demand. */
export class Connection {
  readonly socket: Duplex;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #state: "open" | "ended" | "lost" = "open";
  #wake: () => void = () => {};

  constructor(socket: Duplex) {
    this.socket = socket;
    socket.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
      if (this.#size >= HIGH_WATER_BYTES) socket.pause();
      this.#wake();
    });
    socket.on("end", () => this.#settle("ended"));
    socket.on("error", () => this.#settle("lost"));
    socket.on("close", () => this.#settle("lost"));
  }

  /** Returns true if it is open, and the other side has sent nothing that was not read. */
  get isQuiet(): boolean {
    return this.#state === "open" && this.#size === 0 && !this.socket.destroyed;
  }

  #settle(state: "ended" | "lost"): void {
    if (this.#state === "open") this.#state = state;
    this.#wake();
  }

  /** Waits until `isDone`. */
  async #until(isDone: () => boolean, limitMs: number): Promise<void> {
    if (isDone()) return;
    await new Promise<void>((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#wake = () => {};
        settle();
      };
      const timer = setTimeout(
        () => finish(() => reject(new BrokenMessage("It is too slow", { isSlow: true }))),
        limitMs,
      );
      this.#wake = () => isDone() && finish(resolve);
    });
  }

  /** Returns the next bytes; `undefined` once the other side has ended. @throws {BrokenMessage} if it is lost or too slow. */
  async read(limitMs: number): Promise<Uint8Array | undefined> {
    await this.#until(() => this.#size > 0 || this.#state !== "open", limitMs);
    const chunk = this.#chunks.shift();
    if (!chunk) {
      if (this.#state === "ended") return undefined;
      throw new BrokenMessage("The connection is lost");
    }
    this.#size -= chunk.length;
    if (this.#size < HIGH_WATER_BYTES) this.socket.resume();
    return chunk;
  }

  /** Puts bytes back that belong to what follows. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.unshift(bytes);
    this.#size += bytes.length;
  }

  /** Returns all bytes up to the end of a message's head; `undefined` if the other side ends before the first. */
  async readHead(maxBytes: number, limits: { readonly idleMs: number; readonly headMs: number }): Promise<
    Uint8Array | undefined
  > {
    let received: Uint8Array = new Uint8Array(), begin = 0;
    for (;;) {
      const left = begin === 0 ? limits.idleMs : Math.max(1, begin + limits.headMs - performance.now());
      const chunk = await this.read(left);
      if (!chunk) {
        if (received.length === 0) return undefined;
        throw new BrokenMessage("It ended in a head");
      }
      begin ||= performance.now();
      received = Buffer.concat([received, chunk]);
      const end = Buffer.from(received.buffer, received.byteOffset, received.length).indexOf("\r\n\r\n");
      if (end === -1 && received.length < maxBytes) continue;
      const length = end === -1 ? maxBytes : Math.min(end + 4, maxBytes); // a head that is too long has no end
      this.unread(received.subarray(length));
      return received.subarray(0, length);
    }
  }

  /** Reads up to the end of a line, without it. */
  async #readLine(limitMs: number): Promise<string> {
    let line = "";
    for (;;) {
      const chunk = await this.read(limitMs);
      if (!chunk) throw new BrokenMessage("It ended in a chunk");
      const at = chunk.indexOf(0x0a);
      line += Buffer.from(at === -1 ? chunk : chunk.subarray(0, at + 1)).toString("latin1");
      if (line.length > MAX_LINE_BYTES) throw new BrokenMessage("A line of a chunked body is too long");
      if (at === -1) continue;
      this.unread(chunk.subarray(at + 1));
      if (!line.endsWith("\r\n")) throw new BrokenMessage("A line of a chunked body ends without CR");
      return line.slice(0, -2);
    }
  }

  /** Yields exactly `length` bytes. */
  async *#readExactly(length: number, limitMs: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0;) {
      const chunk = await this.read(limitMs);
      if (!chunk) throw new BrokenMessage("It ended in a body");
      const piece = chunk.subarray(0, left);
      this.unread(chunk.subarray(left));
      left -= piece.length;
      yield piece;
    }
  }

  /** Yields a body, without chunks' lengths and trailers. */
  async *readBody(framing: Framing, limitMs: number): AsyncGenerator<Uint8Array> {
    if (typeof framing === "number") return yield* this.#readExactly(framing, limitMs);
    if (framing === "until close") {
      for (let chunk; (chunk = await this.read(limitMs));) yield chunk;
      return;
    }
    for (;;) {
      // RFC 9112, 7.1. Extensions are dropped.
      const [, digits] = /^([\da-fA-F]{1,13})(?:[\t ]*;[\t -~]*)?$/.exec(await this.#readLine(limitMs)) ?? [];
      if (digits === undefined) throw new BrokenMessage("The length of a chunk is invalid");
      const length = Number.parseInt(digits, 16);
      if (length === 0) break;
      yield* this.#readExactly(length, limitMs);
      if (await this.#readLine(limitMs) !== "") throw new BrokenMessage("A chunk is longer than its length");
    }
    for (let fields = 0; await this.#readLine(limitMs) !== ""; fields++) {
      if (fields > MAX_TRAILERS) throw new BrokenMessage("There are too many trailers");
    }
  }

  /** Writes bytes, and waits until there is room for more. @throws {BrokenMessage} if the other side is lost or too slow. */
  async write(bytes: Uint8Array, limitMs: number): Promise<void> {
    if (this.socket.destroyed || this.#state === "lost") throw new BrokenMessage("The connection is lost");
    if (this.socket.write(bytes)) return;
    await drained(this.socket, limitMs);
  }

  /** Writes a head: a first line and fields, as latin1. */
  async writeHead(first: string, fields: readonly HeaderField[], limitMs: number): Promise<void> {
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
    await this.write(Buffer.from(`${first}\r\n${lines.join("")}\r\n`, "latin1"), limitMs);
  }

  /** Writes a body piece by piece; one of unknown length in chunks. */
  async writeBody(pieces: AsyncIterable<Uint8Array>, isChunked: boolean, limitMs: number): Promise<void> {
    for await (const piece of pieces) {
      if (piece.length === 0) continue;
      await this.write(isChunked ? chunkOf(piece) : piece, limitMs);
    }
    if (isChunked) await this.write(Buffer.from("0\r\n\r\n"), limitMs);
  }
}

const MAX_LINE_BYTES = 4096;
const MAX_TRAILERS = 64;

function chunkOf(piece: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]);
}

async function drained(socket: Duplex, limitMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.off("drain", onDrain);
      socket.off("close", onClose);
      settle();
    };
    const onDrain = () => finish(resolve);
    const onClose = () => finish(() => reject(new BrokenMessage("The connection is lost")));
    const timer = setTimeout(
      () => finish(() => reject(new BrokenMessage("It is too slow", { isSlow: true }))),
      limitMs,
    );
    socket.on("drain", onDrain);
    socket.on("close", onClose);
    if (socket.destroyed) onClose();
  });
}

/**
 * Returns how a body is delimited (RFC 9112, 6.3); `undefined` if the fields say two things, or one that is not understood: another
 * reader could take another end (request smuggling).
 */
export function framingOf(lines: readonly HeaderField[], otherwise: Framing): Framing | undefined {
  const all = (name: string) => lines.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
  const codings = all("transfer-encoding"), lengths = all("content-length");
  if (codings.length > 0) {
    return codings.length === 1 && lengths.length === 0 && codings[0]!.toLowerCase() === "chunked"
      ? "chunked"
      : undefined;
  }
  if (lengths.length === 0) return otherwise;
  return lengths.length === 1 && /^\d{1,15}$/.test(lengths[0]!) ? Number(lengths[0]) : undefined;
}

/** The head of a response. */
export interface ResponseHead {
  readonly status: number;
  readonly lines: readonly HeaderField[];
  readonly version: "1.0" | "1.1";
}

/** Reads the head of a response; `undefined` if it is not one. */
export function readResponseHead(received: Uint8Array): ResponseHead | undefined {
  const head = splitHead(received, received.length);
  const [, version, status] = /^HTTP\/(1\.[01]) (\d{3})(?: [\t -~\x80-\xff]*)?$/.exec(head?.first ?? "") ?? [];
  if (!head?.lines || Number(status) < 100 || status === undefined) return undefined;
  return { status: Number(status), lines: head.lines, version: version as ResponseHead["version"] };
}

/** Time limit in ms to connect, of each of: the connection, the proxy's answer, and TLS. */
const CONNECT_LIMIT_MS = 20_000;
const MAX_HEAD_BYTES = 16 * 1024;

/** The certificates to trust beside the runtime's own, once a server needed them. */
let certificates: readonly string[] | undefined;

/** Opens a connection to the server of a URL. @throws {LatchkeyError} as `makeFetch` does. */
export async function openConnection(url: URL, signal: AbortSignal): Promise<Connection> {
  requirePermission({ name: "net", host: `${url.hostname}:${portOf(url)}` });
  let proxy: HttpRoute["proxy"];
  try {
    proxy = await findProxy(url, readEnvironment);
    try {
      return await connectBy({ proxy, certificates }, url, signal);
    } catch (error) {
      // The handshake failed before anything was sent.
      if (certificates || !isUnknownIssuer(error)) throw error;
      certificates = await trustedCertificates(readEnvironment);
      return await connectBy({ proxy, certificates }, url, signal);
    }
  } catch (error) {
    throw httpFailure(error, { url, signal }, { proxy });
  }
}

async function connectBy(route: HttpRoute, url: URL, signal: AbortSignal): Promise<Connection> {
  const { proxy } = route, isSecure = url.protocol === "https:", deno = denoNamespace();
  const isNested = proxy instanceof URL && proxy.protocol === "https:";
  if (deno && isSecure && !isNested) return new Connection(await connectByDeno(deno, route, url, signal));
  const tcp = await openTcp(proxy instanceof URL ? proxy : url, signal);
  try {
    let socket = tcp;
    if (proxy instanceof URL) {
      if (proxy.protocol === "https:") socket = await startTls(socket, proxy, route, signal);
      await openTunnel(socket, proxy, url);
    }
    return new Connection(isSecure ? await startTls(socket, url, route, signal) : socket);
  } catch (error) {
    tcp.destroy();
    throw error;
  }
}

/** Opens a connection with Deno's own TLS. That of its `node:tls` reads on while nobody takes the bytes. */
async function connectByDeno(deno: typeof Deno, route: HttpRoute, url: URL, signal: AbortSignal): Promise<Duplex> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_LIMIT_MS)]),
    caCerts = [...route.certificates ?? []];
  const { promise: late, reject } = Promise.withResolvers<never>();
  let open: Deno.Conn | undefined;
  const onAbort = () => {
    closeQuietly(open);
    reject(limit.reason);
  };
  const connect = async () => {
    const tcp = await openTunnelByDeno(deno, url, { proxy: route.proxy, caCerts }, (far) => {
      open = far;
      if (limit.aborted) closeQuietly(far);
    });
    const options = { hostname: hostOf(url), caCerts, alpnProtocols: ["http/1.1"] };
    const secured = open = await deno.startTls(tcp as Deno.TcpConn, options);
    await secured.handshake();
    return secured;
  };
  limit.addEventListener("abort", onAbort);
  if (limit.aborted) onAbort();
  try {
    return await duplexOf(await Promise.race([connect(), late]));
  } catch (error) {
    closeQuietly(open);
    throw error;
  } finally {
    limit.removeEventListener("abort", onAbort);
  }
}

const READ_BYTES = 64 * 1024;

/** Returns the stream of a connection. It reads no more than is asked for. */
async function duplexOf(connection: Deno.Conn): Promise<Duplex> {
  const { Duplex } = await import("node:stream"), buffer = new Uint8Array(READ_BYTES);
  return new Duplex({
    async read() {
      try {
        const count = await connection.read(buffer);
        this.push(count === null ? null : buffer.slice(0, count));
      } catch (error) {
        this.destroy(error as Error);
      }
    },
    write(chunk: Uint8Array, _, done) {
      const writeAll = async () => {
        for (let left = chunk; left.length > 0;) left = left.subarray(await connection.write(left));
      };
      writeAll().then(() => done(), done);
    },
    destroy(error, done) {
      closeQuietly(connection);
      done(error);
    },
  });
}

function closeQuietly(connection: Deno.Conn | undefined): void {
  try {
    connection?.close();
  } catch {
    // It was closed before.
  }
}

async function openTcp(url: URL, signal: AbortSignal): Promise<Socket> {
  const { connect } = await import("node:net");
  const socket = connect({ host: hostOf(url), port: portOf(url) });
  await opened(socket, "connect", signal);
  socket.setNoDelay(true);
  return socket;
}

async function startTls(socket: Socket, url: URL, route: HttpRoute, signal: AbortSignal): Promise<Socket> {
  const [{ connect }, { isIP }, trust] = await Promise.all([import("node:tls"), import("node:net"), trustOf(route)]);
  const host = hostOf(url), name = isIP(host) ? {} : { servername: host };
  const secured: TLSSocket = connect({ ...trust, ...name, host, socket, ALPNProtocols: ["http/1.1"] });
  await opened(secured, "secureConnect", signal);
  return secured;
}

/** On Node and Bun `ca` replaces the runtime's own certificates, and is parsed once. */
async function trustOf(route: HttpRoute): Promise<ConnectionOptions> {
  if (!route.certificates) return {};
  if (denoNamespace()) return { ca: [...route.certificates] };
  return (await import("./node.ts")).trustOf(route);
}

async function opened(socket: Socket, event: "connect" | "secureConnect", signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_LIMIT_MS)]);
  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown) => {
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(limit.reason);
    socket.once(event, () => {
      socket.off("error", fail);
      limit.removeEventListener("abort", onAbort);
      resolve();
    });
    socket.once("error", fail);
    socket.once("close", () => fail(new TypeError("connection closed")));
    limit.addEventListener("abort", onAbort);
    if (limit.aborted) onAbort();
  });
}

/** Asks a proxy for a tunnel (RFC 9110, 9.3.6). */
async function openTunnel(socket: Socket, proxy: URL, url: URL): Promise<void> {
  const target = `${url.hostname}:${portOf(url)}`, authorization = proxyAuthorization(proxy);
  const fields: readonly HeaderField[] = [
    ["Host", target],
    ...(authorization ? [["Proxy-Authorization", authorization] as const] : []),
  ];
  const connection = new Connection(socket), limits = { idleMs: CONNECT_LIMIT_MS, headMs: CONNECT_LIMIT_MS };
  await connection.writeHead(`CONNECT ${target} HTTP/1.1`, fields, CONNECT_LIMIT_MS);
  const head = readResponseHead(await connection.readHead(MAX_HEAD_BYTES, limits) ?? new Uint8Array());
  const isQuiet = connection.isQuiet;
  for (const event of ["data", "end"]) socket.removeAllListeners(event);
  if (head?.status === 407) throw passwordWanted({ url }, proxy);
  if (head && head.status >= 200 && head.status < 300 && isQuiet) return;
  throw new LatchkeyError("no_network", `Cannot reach ${hostOf(url)}: the proxy ${proxy.host} does not connect to it`, {
    hint: "Ask the administrator of the proxy, or add the host to NO_PROXY",
  });
}

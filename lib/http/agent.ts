/**
 * An agent for `node:http` that connects as `makeFetch` does: through the proxy that the environment names, and with the machine's
 * certificate authorities. Bodies of any length go through at the pace of the reader.
 *
 * @module
 */
import { Agent, type ClientRequest, type ClientRequestArgs } from "node:http";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { denoNamespace, readEnvironment, requirePermission } from "../runtime/host.ts";
import { trustedCertificates } from "./client.ts";
import { openTunnel, trustOf } from "./node.ts";
import { findProxy, openTunnelByDeno } from "./proxy.ts";
import { hostOf, type HttpRoute, portOf } from "./route.ts";
import { httpFailure, isUnknownIssuer } from "./errors.ts";

/** Time limit in ms to connect, of each of: the connection, the proxy's response, and TLS. */
const CONNECT_LIMIT_MS = 20_000;
/** Time in ms after which a server may have closed an unused connection. */
const IDLE_LIMIT_MS = 10_000;
const MAX_IDLE = 256;

/** The certificates to trust in addition to the runtime's own, once a server needed them. */
let certificates: readonly string[] | undefined;

/**
 * Connections to one server. Requests go through `node:http` also where the URL has `https:`: the agent speaks TLS. A request fails
 * with a {@linkcode LatchkeyError} if there is no connection.
 */
export class ServerAgent extends Agent {
  readonly #url: URL;
  /** The idle connections, and since when: the first is idle the longest. */
  readonly #idle = new Map<Duplex, number>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param options `isKept`: true to use connections again. */
  constructor(url: URL, { isKept }: { readonly isKept: boolean }) {
    super({ keepAlive: isKept, maxFreeSockets: MAX_IDLE });
    this.#url = url;
  }

  override createConnection(
    _: ClientRequestArgs,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    openConnection(this.#url, AbortSignal.timeout(3 * CONNECT_LIMIT_MS)).then(
      (socket) => {
        // An idle connection is of no use once its server sends what no request asked for.
        socket.on("data", () => this.#idle.has(socket) && socket.destroy());
        socket.on("close", () => this.#idle.delete(socket));
        callback?.(null, socket);
      },
      (error) => callback?.(error, undefined as never),
    );
  }

  override keepSocketAlive(socket: Duplex): boolean {
    if ((super.keepSocketAlive(socket) as unknown) === false) return false;
    this.#idle.set(socket, performance.now());
    this.#timer ??= setInterval(() => this.#endIdle(), IDLE_LIMIT_MS / 10);
    return true;
  }

  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    this.#idle.delete(socket);
    super.reuseSocket(socket, request);
  }

  #endIdle(): void {
    const sinceMs = performance.now() - IDLE_LIMIT_MS;
    for (const [socket, idleSinceMs] of this.#idle) if (idleSinceMs < sinceMs) socket.destroy();
    if (this.#idle.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  override destroy(): void {
    clearInterval(this.#timer);
    for (const socket of this.#idle.keys()) socket.destroy();
    super.destroy();
  }
}

/** Opens a connection to the server of a URL. @throws {LatchkeyError} as `makeFetch` does. */
async function openConnection(url: URL, signal: AbortSignal): Promise<Duplex> {
  let proxy: HttpRoute["proxy"];
  try {
    requirePermission({ name: "net", host: `${url.hostname}:${portOf(url)}` });
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

async function connectBy(route: HttpRoute, url: URL, signal: AbortSignal): Promise<Duplex> {
  const { proxy } = route;
  const deno = denoNamespace();
  const isSecure = url.protocol === "https:";
  const isNested = proxy instanceof URL && proxy.protocol === "https:";
  if (deno && isSecure && !isNested) return await connectByDeno(deno, route, url, signal);
  const trust = secureContextOf(route);
  const raw = proxy instanceof URL ? await openTunnel(proxy, { url, signal }, trust) : await openTcp(url, signal);
  if (!isSecure) return raw;
  try {
    return await startTls(raw, url, trust, signal);
  } catch (error) {
    raw.destroy();
    throw error;
  }
}

/** On Node and Bun `ca` replaces the runtime's own certificates, and is parsed once. */
function secureContextOf(route: HttpRoute): ConnectionOptions {
  if (!route.certificates) return {};
  return denoNamespace() ? { ca: [...route.certificates] } : trustOf(route);
}

/** Opens a connection with Deno's own TLS. That of its `node:tls` reads on while nothing takes the bytes. */
async function connectByDeno(deno: typeof Deno, route: HttpRoute, url: URL, signal: AbortSignal): Promise<Duplex> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_LIMIT_MS)]);
  const caCerts = [...route.certificates ?? []];
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
    const secured = await deno.startTls(tcp as Deno.TcpConn, {
      hostname: hostOf(url),
      caCerts,
      alpnProtocols: ["http/1.1"],
    });
    open = secured;
    await secured.handshake();
    return secured;
  };
  limit.addEventListener("abort", onAbort);
  if (limit.aborted) onAbort();
  try {
    return new DenoSocket(await Promise.race([connect(), late]));
  } catch (error) {
    closeQuietly(open);
    throw error;
  } finally {
    limit.removeEventListener("abort", onAbort);
  }
}

const READ_BYTES = 64 * 1024;

/** A connection of Deno's as `node:http` takes it. It reads no more than is asked for. */
class DenoSocket extends Duplex {
  readonly #connection: Deno.TlsConn;
  readonly #buffer = new Uint8Array(READ_BYTES);

  constructor(connection: Deno.TlsConn) {
    super();
    this.#connection = connection;
  }

  override _read(): void {
    this.#connection.read(this.#buffer).then(
      (count) => this.push(count === null ? null : Buffer.from(this.#buffer.subarray(0, count))),
      (error) => this.destroy(error),
    );
  }

  override _write(chunk: Uint8Array, _: string, done: (error?: Error | null) => void): void {
    this.#writeAll(chunk).then(() => done(), done);
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    for (let left = chunk; left.length > 0;) left = left.subarray(await this.#connection.write(left));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    closeQuietly(this.#connection);
    done(error);
  }

  // What `node:http` calls of a socket's. Times are limited by those who use the agent.
  setTimeout(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function closeQuietly(connection: Deno.Conn | undefined): void {
  try {
    connection?.close();
  } catch {
    // It was closed before.
  }
}

async function openTcp(url: URL, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({ host: hostOf(url), port: portOf(url) });
  await opened(socket, "connect", signal);
  socket.setNoDelay(true);
  return socket;
}

async function startTls(socket: Duplex, url: URL, trust: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  const host = hostOf(url);
  const name = isIP(host) ? {} : { servername: host };
  const secured = connectTls({ ...trust, ...name, host, socket, ALPNProtocols: ["http/1.1"] });
  await opened(secured, "secureConnect", signal);
  return secured;
}

async function opened(socket: Socket, event: "connect" | "secureConnect", signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_LIMIT_MS)]);
  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown) => {
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(limit.reason);
    const onClose = () => fail(new TypeError("connection closed"));
    socket.once(event, () => {
      socket.off("error", fail).off("close", onClose);
      limit.removeEventListener("abort", onAbort);
      resolve();
    });
    socket.once("error", fail).once("close", onClose);
    limit.addEventListener("abort", onAbort);
    if (limit.aborted) onAbort();
  });
}

/**
 * The loopback listener to which a browser returns after a sign-in. It rejects what a redirected browser would not send.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { isPermitted, operatingSystem, readEnvironment, requirePermission } from "../runtime/host.ts";
import { hostsOf, httpConnections, type HttpReply, openServer, portError, portOf, readRequestHead } from "./server.ts";

/** A request to the loopback listener. */
export interface LoopbackRequest {
  readonly method: "GET" | "POST";
  /** The URL, with the host of the browser's Host field: `http://localhost:PORT/…`, `127.0.0.1` or `[::1]`. */
  readonly url: URL;
  /** The fields of a posted form. */
  readonly form: URLSearchParams;
}

type LoopbackRules = Pick<LoopbackOptions, "allowedOrigins"> & { readonly port: number };

/** Options of {@linkcode listenOnLoopback}. */
export interface LoopbackOptions {
  /** @default one that the system chooses */
  readonly port?: number | undefined;
  /** Origins that may post forms, beside our own and `null`. @default none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** Answers a request of this user, by default with UTF-8 HTML. It must not wait for `close`, which waits for it. */
  readonly onRequest: (request: LoopbackRequest) => HttpReply | Promise<HttpReply>;
  /** Time limit in milliseconds for a client to send its request and to read the answer, and for `close`. @default 10_000 */
  readonly clientLimitMs?: number | undefined;
  /** Closes the listener. */
  readonly signal?: AbortSignal | undefined;
}

/** A listener on the loopback interface. */
export interface LoopbackListener {
  /** Its port, on both addresses. */
  readonly port: number;
  /** Stops listening, sends the answers that are due, and ends all connections. */
  close(): Promise<void>;
}

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
const MAX_BODY_BYTES = 64 * 1024;
/** Limit of attempts to find a port that is free on both 127.0.0.1 and ::1. */
const MAX_ATTEMPTS = 20;
/** Errors on a machine without IPv6, where nobody else can listen on ::1 either. */
const NO_IPV6 = ["EADDRNOTAVAIL", "EAFNOSUPPORT"];
/** Limit of reads of the system's connections if a client is not among them. */
const MAX_READS = 3;
const OTHER_USER: HttpReply = {
  status: 403,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: "This sign-in belongs to another user of this machine. Open its address in that user's browser.\n",
};

/**
 * Listens on the loopback interface.
 *
 * @throws {LatchkeyError} `configuration` if the port is taken or refused; `missing_dependency` if Deno does not permit it.
 */
export async function listenOnLoopback(options: LoopbackOptions): Promise<LoopbackListener> {
  const { port: wanted = 0, allowedOrigins, onRequest, clientLimitMs, signal } = options;
  signal?.throwIfAborted();
  let port = wanted;
  let closed: Promise<void> | undefined;
  const connections = httpConnections<LoopbackRequest>({
    headers: HEADERS,
    read: (received) => readLoopbackRequest(received, { port, allowedOrigins }),
    onRequest: async (request, _signal, socket) =>
      await isFromOtherUser(socket, port) ? OTHER_USER : await onRequest(request),
    clientLimitMs,
  });
  const servers = await openServers(wanted, connections.accept);
  port = portOf(servers[0]!);

  const close = (): Promise<void> => {
    closed ??= closeAll();
    return closed;
  };
  async function closeAll(): Promise<void> {
    signal?.removeEventListener("abort", close);
    // Deno 2.6 never calls back if a connection came and went before.
    for (const server of servers) server.close();
    await connections.close();
  }
  signal?.addEventListener("abort", close);
  if (signal?.aborted) {
    await close();
    throw signal.reason;
  }
  return { port, close };
}

/** Reads a request from all bytes so far, or returns an answer that rejects it; `undefined` if more has to come. */
export function readLoopbackRequest(
  received: Uint8Array,
  { port, allowedOrigins = [] }: LoopbackRules,
): LoopbackRequest | HttpReply | undefined {
  const head = readRequestHead(received);
  if (!head) return undefined;
  if (typeof head === "number") return reject(head);
  const { method, path, query, fields } = head;
  const host = fields.get("host")?.toLowerCase() ?? "";
  const hosts = hostsOf(["localhost", "127.0.0.1", "[::1]"], port);
  if (!hosts.includes(host)) return reject(421);
  if (method !== "GET" && method !== "POST") return reject(405, { allow: "GET, POST" });
  if (isCrossSite(fields, [...hosts.map((host) => `http://${host}`), ...allowedOrigins])) return reject(403);

  const url = new URL(`http://${host}`);
  [url.pathname, url.search] = [path, query];
  if (method === "GET") return { method, url, form: new URLSearchParams() };
  const length = fields.get("content-length") ?? "";
  if (fields.has("transfer-encoding") || !/^\d{1,9}$/.test(length)) return reject(411);
  if (Number(length) > MAX_BODY_BYTES) return reject(413);
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(fields.get("content-type") ?? "")) return reject(415);
  const body = received.subarray(head.length, head.length + Number(length));
  return body.length < Number(length)
    ? undefined
    : { method, url, form: new URLSearchParams(new TextDecoder().decode(body)) };
}

/**
 * Returns true if an unknown page sent a request. A provider's form has the origin `null`, since it goes from https to http
 * (Fetch Standard, "append a request Origin header"), or its own. Images, scripts and frames of other pages never belong to a
 * sign-in.
 */
function isCrossSite(fields: ReadonlyMap<string, string>, origins: readonly string[]): boolean {
  const origin = fields.get("origin") ?? "null";
  const site = fields.get("sec-fetch-site") ?? "none";
  const isPage = (fields.get("sec-fetch-dest") ?? "document") === "document";
  return !(origin === "null" || origins.includes(origin)) || !(isPage || site === "none" || site === "same-origin");
}

function reject(status: number, headers?: Readonly<Record<string, string>>): HttpReply {
  return { status, headers: { "content-type": "text/plain", ...headers }, body: "" };
}

/** Opens a server for each address, on the same port. */
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
      const code = await codeOfIPv6(error, portOf(first));
      if (NO_IPV6.includes(code ?? "")) return [first];
      first.close();
      if (port !== 0 || attempt === MAX_ATTEMPTS) throw portError(port, { code });
    }
  }
}

/**
 * Returns the reason why ::1 cannot be listened on. Bun 1.4 gives no code if the system has no such sockets, and Deno 2.9 gives
 * `EINVAL` if it has no ::1. For UDP both give the right code.
 */
async function codeOfIPv6(error: unknown, port: number): Promise<string | undefined> {
  const { code } = error as { code?: string };
  if (code !== undefined && code !== "EINVAL") return code;
  const { createSocket } = await import("node:dgram");
  return await new Promise((resolve) => {
    const socket = createSocket("udp6");
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.bind(port, "::1", () => socket.close(() => resolve(code)));
  });
}

/** A connection of a client, by its address and port, to the listener, by the local ones. */
export interface TcpConnection {
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** Returns true if another user runs the client, or it did not wait for an answer, which no browser does. */
async function isFromOtherUser({ remoteAddress, remotePort }: Socket, localPort: number): Promise<boolean> {
  if (operatingSystem() !== "linux") return false;
  if (remoteAddress === undefined || remotePort === undefined) return true;
  const localAddress = remoteAddress.includes(":") ? "::1" : "127.0.0.1";
  const connection = { address: remoteAddress, port: remotePort, localAddress, localPort };
  for (let read = 1; read <= MAX_READS; read++) {
    // The read is not atomic: a client can end, or be left out, meanwhile.
    const owner = ownerOf(connection, await readConnections(), readEnvironment("SUDO_UID"));
    if (owner !== "unknown") return owner !== "this user";
  }
  return false;
}

async function readConnections(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const texts = ["/proc/net/tcp", "/proc/net/tcp6"].map(async (path) => {
    if (!isPermitted({ name: "read", path })) return "";
    return await readFile(path, "utf8").catch(() => ""); // Deno permits it with --allow-all only
  });
  return (await Promise.all(texts)).join("\n");
}

/**
 * Returns the owner of the client of a connection, by `/proc/net/tcp` and `/proc/net/tcp6` (proc_net_tcp.rst). This user is the
 * owner of the listener. Root counts as this user: it could do all of this anyway, and a forwarder of browser connections often
 * runs as root, as in WSL and Kubernetes.
 *
 * @param sudoUser User id of the user who called sudo: a browser runs as that user, never as root.
 * @returns `unknown` if the table lacks the listener (it could not be read), or the client, which then is in another network
 * namespace (WSL with mirrored networking).
 */
export function ownerOf(
  connection: TcpConnection,
  table: string,
  sudoUser?: string,
): "this user" | "another user" | "gone" | "unknown" {
  const local = endOf(connection.localAddress, connection.localPort);
  const remote = endOf(connection.address, connection.port);
  const rows = rowsOf(table, connection.localPort);
  const listener = rows.find(({ from, state }) => from === local && state === LISTEN);
  const client = rows.find(({ from, to }) => from === remote && to === local);
  const server = rows.find(({ from, to }) => from === local && to === remote);
  if (!listener) return "unknown";
  // A client that closed its end with unread bytes is shown as root's, or not at all.
  if (!client) return server?.state === ESTABLISHED ? "unknown" : "gone";
  if (client.inode === "0") return "gone";
  const own = [listener.user, "0", ...(listener.user === "0" && sudoUser ? [sudoUser] : [])];
  return own.includes(client.user) ? "this user" : "another user";
}

const ESTABLISHED = "01";
const LISTEN = "0A";

/** A row of a table. The inode is `0` once no process has the connection open. */
type TcpRow = Readonly<Record<"from" | "to" | "state" | "user" | "inode", string>>;

const END = /(?:[\dA-F]{8}|[\dA-F]{32}):[\dA-F]{4}/.source;
const ROW = new RegExp(`^ *\\d+: (${END}) (${END}) ([\\dA-F]{2}) \\S+ \\S+ \\S+ +(\\d+) +\\d+ +(\\d+)`);

/** Returns the rows that have a port at one of their ends. */
function rowsOf(table: string, port: number): readonly TcpRow[] {
  const end = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table.split("\n").filter((line) => line.includes(end)).flatMap((line) => {
    const [, from = "", to = "", state = "", user = "", inode = ""] = ROW.exec(line) ?? [];
    const isAbout = from.endsWith(end) || to.endsWith(end);
    return isAbout ? [{ from: readEnd(from), to: readEnd(to), state, user, inode }] : [];
  });
}

/** Reads `0100007F:C0DE`: an address in words of 32 bits, each in this machine's byte order, and a port. */
function readEnd(text: string): string {
  const [words = "", port = ""] = text.split(":");
  const numbers = words.match(/.{8}/g)!.map((word) => Number.parseInt(word, 16));
  const bytes = new Uint8Array(Uint32Array.from(numbers).buffer);
  const view = new DataView(bytes.buffer);
  const address = bytes.length === 4
    ? bytes.join(".")
    : Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(2 * at).toString(16)).join(":");
  return endOf(address, Number.parseInt(port, 16));
}

/** Returns an end of a connection as a text in canonical form, with an IPv4 address as its IPv6 equivalent. */
function endOf(address: string, port: number): string {
  const plain = address.replace(/%.*$/, "");
  return `${new URL(`http://[${plain.includes(":") ? plain : `::ffff:${plain}`}]`).host} ${port}`;
}

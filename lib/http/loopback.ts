/**
 * The one HTTP/1.1 request of a connection to the loopback listener, read from bytes; what a browser that was redirected to us
 * would not send is turned away.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { isPermitted, operatingSystem, readEnvironment, requirePermission } from "../runtime/host.ts";
import {
  hostsOf,
  httpConnections,
  type HttpReply,
  openServer,
  portError,
  portOf,
  readRequestHead,
  type RequestHead,
  splitTarget,
} from "./server.ts";

/** A request to the loopback listener. */
export interface LoopbackRequest {
  /** How it was sent. */
  readonly method: "GET" | "POST";
  /** What was asked for, with the Host that the browser named: `http://localhost:PORT/…`, `127.0.0.1` or `[::1]`. */
  readonly url: URL;
  /** The fields of a posted form. */
  readonly form: URLSearchParams;
}

/** Who may ask. */
interface RequestRules {
  /** The port that is listened on, which a Host field has to name. */
  readonly port: number;
  /** Origins that may post forms, beside our own and `null`. */
  readonly allowedOrigins: readonly string[];
}

const MAX_BODY_BYTES = 64 * 1024;

/**
 * Reads a request.
 *
 * @param received All that was received so far.
 * @param rules Who may ask.
 * @returns The request; the answer that turns it away; `undefined` while more has to come.
 */
export function readLoopbackRequest(
  received: Uint8Array,
  rules: RequestRules,
): LoopbackRequest | HttpReply | undefined {
  const read = readRequestHead(received);
  if (!read) return undefined;
  if (typeof read === "number") return turnAway(read);
  const head = judge(read, rules);
  if ("status" in head) return head;
  const { method, url, length } = head, body = received.subarray(read.length);
  if (body.length < length) return undefined;
  return { method, url, form: new URLSearchParams(new TextDecoder().decode(body.subarray(0, length))) };
}

interface Head {
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** Length of the body in bytes. */
  readonly length: number;
}

function judge({ method, target, fields }: RequestHead, { port, allowedOrigins }: RequestRules): Head | HttpReply {
  const hosts = hostsOf(["localhost", "127.0.0.1", "[::1]"], port);
  const host = fields.get("host")?.toLowerCase() ?? "";
  if (!hosts.includes(host)) return turnAway(421);
  if (method !== "GET" && method !== "POST") return turnAway(405, { allow: "GET, POST" });
  if (isFromElsewhere(fields, [...hosts.map((host) => `http://${host}`), ...allowedOrigins])) return turnAway(403);

  const url = new URL(`http://${host}`);
  [url.pathname, url.search] = splitTarget(target);
  if (method === "GET") return { method, url, length: 0 };
  const length = fields.get("content-length") ?? "";
  if (fields.has("transfer-encoding") || !/^\d{1,9}$/.test(length)) return turnAway(411);
  if (Number(length) > MAX_BODY_BYTES) return turnAway(413);
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(fields.get("content-type") ?? "")) return turnAway(415);
  return { method, url, length: Number(length) };
}

/**
 * Whether a page that we know nothing of sent it. A provider's form comes with the origin `null`, since it goes from https
 * to http (Fetch Standard, "append a request Origin header"), or with its own. Images, scripts and frames of other pages
 * never belong to a sign-in.
 */
function isFromElsewhere(fields: ReadonlyMap<string, string>, origins: readonly string[]): boolean {
  const origin = fields.get("origin") ?? "null", site = fields.get("sec-fetch-site") ?? "none";
  const isPage = (fields.get("sec-fetch-dest") ?? "document") === "document";
  return !(origin === "null" || origins.includes(origin)) || !(isPage || site === "none" || site === "same-origin");
}

function turnAway(status: number, headers?: Readonly<Record<string, string>>): HttpReply {
  return { status, headers: { "content-type": "text/plain", ...headers }, body: "" };
}

export type { HttpReply as LoopbackReply };

/** What is listened for. */
export interface LoopbackOptions {
  /** The port. @default one that the system chooses */
  readonly port?: number | undefined;
  /** Origins that may post forms, beside our own and `null`. @default none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** Answers a request of this user's, with UTF-8 HTML unless a header field says otherwise. It must not wait for `close`, which waits for it. */
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
/** How often another port is tried when the one that 127.0.0.1 had free is not to be had on ::1. */
const MAX_ATTEMPTS = 20;
/** Errors that say that this machine has no IPv6: then nobody else listens on ::1 either. */
const NO_IPV6 = ["EADDRNOTAVAIL", "EAFNOSUPPORT"];
/** How often the system's connections are read when a client is not among them. */
const MAX_LOOKS = 3;
const REFUSED: HttpReply = {
  status: 403,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: "This sign-in belongs to another user of this machine. Open its address in a browser of theirs.\n",
};

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
    onRequest: async (request, _signal, socket) => await isOfOther(socket, port) ? REFUSED : await onRequest(request),
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
      const code = await codeOfIPv6(error, portOf(first));
      if (NO_IPV6.includes(code ?? "")) return [first];
      first.close();
      if (port !== 0 || attempt === MAX_ATTEMPTS) throw portError(port, { code });
    }
  }
}

/**
 * Returns why ::1 cannot be listened on. Where there can be no socket, Bun 1.4 tells no code, and where there is no ::1, Deno
 * 2.9 tells EINVAL. For UDP both tell the right one.
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

/** Both ends of a connection. */
export interface TcpConnection {
  /** Address of the client. */
  readonly address: string;
  /** Port of the client. */
  readonly port: number;
  /** Address of the listener. */
  readonly localAddress: string;
  /** Port of the listener. */
  readonly localPort: number;
}

/** Returns true if the client belongs to another user, or did not wait for an answer, which no browser does. */
async function isOfOther({ remoteAddress, remotePort }: Socket, localPort: number): Promise<boolean> {
  if (operatingSystem() !== "linux") return false;
  if (remoteAddress === undefined || remotePort === undefined) return true;
  const localAddress = remoteAddress.includes(":") ? "::1" : "127.0.0.1";
  const connection = { address: remoteAddress, port: remotePort, localAddress, localPort };
  for (let look = 1; look <= MAX_LOOKS; look++) {
    // The system does not show all of them at one moment: a client can end, or be left out, while they are read.
    const owner = ownerOf(connection, await readConnections(), readEnvironment("SUDO_UID"));
    if (owner !== "unknown") return owner !== "this user";
  }
  return false;
}

/** The connections of this machine in the system's words; empty if they cannot be read. */
async function readConnections(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const texts = ["/proc/net/tcp", "/proc/net/tcp6"].map(async (path) => {
    if (!isPermitted({ name: "read", path })) return "";
    return await readFile(path, "utf8").catch(() => ""); // Deno permits it with --allow-all only
  });
  return (await Promise.all(texts)).join("\n");
}

/**
 * Returns whose the client of a connection is, which is to be read out of `/proc/net/tcp` and `/proc/net/tcp6` (proc_net_tcp.rst).
 * This user is the one whom the listener belongs to there. Root counts as this user: it could do all of this anyway, and what
 * passes a browser's connections on is often root's, as in WSL and in Kubernetes.
 *
 * @param connection The connection.
 * @param table The text of both files.
 * @param sudoUser User id of the person who called sudo: a browser is theirs, and never root's.
 * @returns `unknown` if the table does not have the listener (it was not to be read), or not the client, which is in another
 * network namespace (WSL with mirrored networking).
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
  // Who closes a connection at once, with what was sent yet to be read, is shown as root, or not at all.
  if (!client) return server?.state === ESTABLISHED ? "unknown" : "gone";
  if (client.inode === "0") return "gone";
  const own = [listener.user, "0", ...(listener.user === "0" && sudoUser ? [sudoUser] : [])];
  return own.includes(client.user) ? "this user" : "another user";
}

const ESTABLISHED = "01", LISTEN = "0A";

interface TcpRow {
  /** This end of it, and the other, as {@linkcode endOf} has them. */
  readonly from: string;
  readonly to: string;
  readonly state: string;
  readonly user: string;
  /** `0` once no program has it open. */
  readonly inode: string;
}

const END = /(?:[\dA-F]{8}|[\dA-F]{32}):[\dA-F]{4}/.source;
const ROW = new RegExp(`^ *\\d+: (${END}) (${END}) ([\\dA-F]{2}) \\S+ \\S+ \\S+ +(\\d+) +\\d+ +(\\d+)`);

/** The rows that have a port at one of their ends. */
function rowsOf(table: string, port: number): readonly TcpRow[] {
  const end = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return table.split("\n").filter((line) => line.includes(end)).flatMap((line) => {
    const [, from = "", to = "", state = "", user = "", inode = ""] = ROW.exec(line) ?? [];
    const isAbout = from.endsWith(end) || to.endsWith(end);
    return isAbout ? [{ from: readEnd(from), to: readEnd(to), state, user, inode }] : [];
  });
}

/** `0100007F:C0DE`: an address in words of 32 bits, each in the order of this machine's bytes, and a port. */
function readEnd(text: string): string {
  const [words = "", port = ""] = text.split(":");
  const numbers = words.match(/.{8}/g)!.map((word) => Number.parseInt(word, 16));
  const bytes = new Uint8Array(Uint32Array.from(numbers).buffer), view = new DataView(bytes.buffer);
  const address = bytes.length === 4
    ? bytes.join(".")
    : Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(2 * at).toString(16)).join(":");
  return endOf(address, Number.parseInt(port, 16));
}

/** An end of a connection, such that equal ones are the same text. IPv4 addresses are written as IPv6 has them. */
function endOf(address: string, port: number): string {
  const plain = address.replace(/%.*$/, "");
  return `${new URL(`http://[${plain.includes(":") ? plain : `::ffff:${plain}`}]`).host} ${port}`;
}

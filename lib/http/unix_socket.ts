/**
 * A private HTTP endpoint on a Unix socket or a loopback port, and a client for the socket.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { errorCodeOf, fileFailure, type LocalFiles, OTHERS_WRITE, PRIVATE_FILE } from "../files/files.ts";
import { withLock } from "../files/lock.ts";
import { chmodCommand, makePrivateFolder, openLocalFiles } from "../files/permissions.ts";
import { isPermitted, missingFlags, operatingSystem, requireFlags, requirePermission } from "../runtime/host.ts";
import { folderOf } from "../runtime/path.ts";
import { httpConnections, type HttpReply, type HttpService, openServer, portError, portOf } from "./server.ts";

/** Address of an endpoint; the port 0 lets the system choose one. */
export type EndpointAddress = { readonly path: string } | { readonly port: number };

/** An endpoint that listens. */
export interface Endpoint {
  /** 0 on a socket. */
  readonly port: number;
  /** Stops listening, sends the answers that are due, and ends all connections. */
  close(): Promise<void>;
}

/** Opens an endpoint. Throws `configuration` if its place is taken, refused or not safe, `missing_dependency` if Deno refuses. */
export async function openEndpoint<Request extends object>(
  address: EndpointAddress,
  service: HttpService<Request>,
): Promise<Endpoint> {
  const connections = httpConnections(service);
  const { port, stop } = await listenAt(address, connections.accept);
  return {
    port,
    close() {
      stop();
      return connections.close();
    },
  };
}

/** Listens at an address. Returns the port, 0 on a socket, and a function that stops listening; throws as `openEndpoint` does. */
export async function listenAt(
  address: EndpointAddress,
  handler: Handler,
): Promise<{ readonly port: number; readonly stop: Stop }> {
  if ("path" in address) return { port: 0, stop: await listenOnPrivateSocket(address.path, handler) };
  return await listenOnPort(address.port, handler);
}

/** A server that does not listen yet, or what serves a connection. */
type Handler = Server | ((socket: Socket) => void);
type Stop = () => void;

async function listenOnPort(port: number, handler: Handler): Promise<{ port: number; stop: Stop }> {
  const host = "127.0.0.1";
  requirePermission({ name: "net", host: `${host}:${port}` }, port === 0 ? host : `${host}:${port}`);
  const server = await openServer({ host, port }, handler).catch((error) => {
    throw portError(port, error);
  });
  return { port: portOf(server), stop: () => void server.close() };
}

/** Longest path of a socket in bytes, without the terminating zero (`sun_path`). */
const MAX_PATH_BYTES: Readonly<Record<string, number>> = { linux: 107, darwin: 103 };

/** Listens on a Unix socket. Creates its folder if it is missing, and removes the socket of a server that has ended. */
async function listenOnPrivateSocket(path: string, handler: Handler): Promise<Stop> {
  const folder = folderOf(path);
  requirePossible(path);
  const files = await openLocalFiles(folder, "write");
  requireFlags(missingSocketFlags(path), `listen on ${path}`);
  try {
    makePrivateFolder(files, folder);
    requireClosedFolder(files, folder);
    // Of two servers that find an abandoned socket, the second would remove the socket of the first.
    return await withLock(`${path}.lockfile`, async () => {
      await removeAbandonedSocket(files, path);
      return await listen(files, path, handler);
    });
  } catch (error) {
    throw fileFailure(error, { doing: "listen on", path });
  }
}

function requirePossible(path: string): void {
  const longest = MAX_PATH_BYTES[operatingSystem()] ?? 103;
  if (operatingSystem() === "win32") throw unusable("latchkey has no Unix sockets on Windows", "Use a loopback port");
  if (new TextEncoder().encode(path).length <= longest) return;
  throw unusable(`The path of a Unix socket has at most ${longest} bytes: ${path}`, "Choose a shorter path");
}

function requireClosedFolder(files: LocalFiles, folder: string): void {
  const facts = files.lstat(folder);
  if (!facts || ((facts.mode ?? 0) & 0o077) === 0) return;
  const command = chmodCommand("700", folder, { ...facts, user: files.ownUser() });
  throw unusable(
    `${folder} is not safe for a socket: others can enter it`,
    `${command === undefined ? "Choose" : `Run ${command}, or choose`} a folder that does not exist yet`,
  );
}

async function removeAbandonedSocket(files: LocalFiles, path: string): Promise<void> {
  if (!files.lstat(path)) return;
  const { lstatSync } = await import("node:fs");
  const cannot = `Cannot listen on ${path}`;
  if (!lstatSync(path).isSocket()) {
    throw unusable(`${cannot}: it exists and is not a socket`, "Choose another path, or move away what is there");
  }
  if (await isListenedOn(path)) {
    throw unusable(`${cannot}: another server does`, "Use that one, end it, or choose another path");
  }
  files.remove(path);
}

function unusable(message: string, remedy: string): LatchkeyError {
  return new LatchkeyError("configuration", message, { remedy });
}

/** Returns true if a server listens, even if it is busy or stopped. */
async function isListenedOn(path: string): Promise<boolean> {
  const { connect } = await import("node:net");
  return await new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => {
      const name = errorCodeOf(error);
      if (name === "ECONNREFUSED" || name === "ENOENT") resolve(false);
      else if (name === "EAGAIN") resolve(true); // its backlog is full
      else reject(error);
    });
  });
}

async function listen(files: LocalFiles, path: string, handler: Handler): Promise<Stop> {
  const server: Server = await openServer({ path }, handler);
  const { chmodSync } = await import("node:fs");
  chmodSync(path, PRIVATE_FILE);
  const id = files.lstat(path)?.id;
  const isOurs = () => files.lstat(path)?.id === id;
  return () => {
    // Closing removes whatever has the path. After a removal by hand, that may be another server's socket.
    if (!isOurs()) return void server.unref();
    server.close();
    if (isOurs()) files.remove(path); // Deno before 2.9 leaves it
  };
}

/** More than any answer with a token has. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Checks that Deno permits to connect to a socket. @throws {LatchkeyError} `missing_dependency` with all missing flags. */
export function requireSocketPermissions(path: string): void {
  const flags = missingSocketFlags(path).filter((flag) => !flag.startsWith("--allow-read="));
  requireFlags([...missingFlags(folderOf(path), "read"), ...flags], `connect to ${path}`);
}

const OWN_SOCKET = "a socket in a folder of your own";
const MAKE_SOCKET = `Choose ${OWN_SOCKET}: see latchkey serve --help`;

/**
 * Checks that a socket belongs to this user or root, and that nobody else can replace it, or throws `configuration`: another
 * server could hand out tokens of another account. A socket that cannot be read cannot be connected to: that reports it.
 */
export async function requireTrustedSocket(path: string): Promise<void> {
  const folder = folderOf(path);
  const own = (await openLocalFiles(folder, "read")).ownUser();
  if (own === undefined) return;
  const { lstatSync, statSync } = await import("node:fs");
  let place;
  try {
    place = statSync(folder);
  } catch {
    return;
  }
  const places = [place];
  try {
    places.push(lstatSync(path), statSync(path));
  } catch {
    // There is no socket yet. Its folder is checked anyway.
  }
  const isThere = places.length > 1;
  const refuse = (reason: string, remedy: string): never => {
    const message = isThere
      ? `${path} is not safe to ask for tokens: ${reason}`
      : `There is no socket at ${path}, and ${reason}`;
    throw unusable(message, isThere ? remedy : MAKE_SOCKET);
  };
  // Also in a sticky folder: others can put a socket there as long as there is none.
  if ((place.mode & OTHERS_WRITE) !== 0) {
    const command = chmodCommand("go-w", folder, { kind: "folder", mode: place.mode, owner: place.uid, user: own });
    refuse("others can write to its folder", command === undefined ? `Choose ${OWN_SOCKET}` : `Run ${command}`);
  }
  const stranger = places.map(({ uid }) => uid).find((uid) => uid !== own && uid !== 0);
  if (stranger === undefined || own === 0 && stranger === place.uid && isRootsFolder(`${folder}/..`)) return;
  const owner = isThere ? "it, or its folder," : "its folder";
  refuse(
    `${owner} belongs to user ${stranger}, and this is user ${own}`,
    `Run this as that user, or choose ${OWN_SOCKET}`,
  );

  /** Returns true if only root can have put another user's folder there, as a mount of a container. */
  function isRootsFolder(path: string): boolean {
    const { uid, mode } = statSync(path);
    return uid === 0 && (mode & OTHERS_WRITE) === 0;
  }
}

/**
 * Sends a request to a server on a Unix socket that closes the connection after its answer: a GET, or a POST of JSON.
 *
 * @param target Path and query of the request.
 * @throws {LatchkeyError} `temporarily_unavailable` if no server answers; `invalid_response` if the answer is incomplete, too
 * long, or not HTTP.
 */
export async function requestFromSocket(
  path: string,
  { target, json, signal }: {
    readonly target: string;
    readonly json?: string | undefined;
    readonly signal: AbortSignal;
  },
): Promise<HttpReply> {
  signal.throwIfAborted();
  const length = new TextEncoder().encode(json).length;
  const content = json === undefined ? "" : `Content-Type: application/json\r\nContent-Length: ${length}\r\n`;
  const head = `${json === undefined ? "GET" : "POST"} ${target} HTTP/1.1\r\nHost: localhost\r\n`;
  const text = `${head}${content}Connection: close\r\n\r\n${json ?? ""}`;
  const answer = readAnswer(await exchange(path, text, signal));
  if (answer) return answer;
  throw new LatchkeyError("invalid_response", `The server at ${path} is not latchkey's`, {
    remedy: "Check that latchkey serve --socket listens there, and keeps running",
  });
}

/** Returns all bytes until the connection ends, or until they are too many. */
async function exchange(path: string, text: string, signal: AbortSignal): Promise<Uint8Array> {
  const { connect } = await import("node:net");
  const chunks: Uint8Array[] = [];
  let length = 0;
  return await new Promise((resolve, reject) => {
    const socket = connect({ path });
    const leave = () => void socket.destroy();
    signal.addEventListener("abort", leave);
    socket.once("connect", () => socket.write(text));
    socket.on("data", (chunk: Uint8Array) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES) socket.destroy();
    });
    socket.once("error", (error) => length === 0 && reject(failureOf(error, path)));
    socket.once("close", () => {
      signal.removeEventListener("abort", leave);
      if (signal.aborted) reject(signal.reason);
      else resolve(Buffer.concat(chunks));
    });
    if (signal.aborted) leave();
  });
}

/** Reads an answer, and of its header only `retry-after`. Returns `undefined` if the answer is incomplete or invalid. */
function readAnswer(received: Uint8Array): HttpReply | undefined {
  const text = new TextDecoder("latin1").decode(received);
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...fields] = text.slice(0, Math.max(0, end)).split("\r\n");
  const status = /^HTTP\/1\.1 (\d{3})( |$)/.exec(first)?.[1];
  const length = fields.map((field) => /^content-length: *(\d{1,9})$/i.exec(field)?.[1]).find(Boolean);
  const retryAfter = fields.map((field) => /^retry-after: *(\d{1,9})$/i.exec(field)?.[1]).find(Boolean);
  const body = received.subarray(end + 4);
  if (status === undefined || body.length !== Number(length)) return undefined;
  const headers = retryAfter ? { "retry-after": retryAfter } : undefined;
  return { status: Number(status), headers, body: new TextDecoder().decode(body) };
}

function failureOf(error: unknown, path: string): LatchkeyError {
  const name = errorCodeOf(error) || "the connection is closed";
  return new LatchkeyError("temporarily_unavailable", `No server answers at ${path} (${name})`, {
    remedy: name === "EACCES" || name === "EPERM"
      ? "Run this with the user id of the server"
      : "Run latchkey serve --socket there. In a container, mount its folder, not only the socket",
  });
}

function missingSocketFlags(path: string): readonly string[] {
  return [
    ...(isPermitted({ name: "read", path }) ? [] : [`--allow-read=${path}`]),
    ...(isPermitted({ name: "write", path }) ? [] : [`--allow-write=${path}`]),
    ...(mayConnect(path) ? [] : [`--allow-net=unix:${path}`]),
  ];
}

/** Returns true if Deno permits it. Before 2.9 a socket is a file only, and the query throws. */
function mayConnect(path: string): boolean {
  try {
    return isPermitted({ name: "net", host: `unix:${path}` });
  } catch {
    return true;
  }
}

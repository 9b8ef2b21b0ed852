/**
 * What Deno has to permit for a Unix socket.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { errorCodeOf, fileFailure, type LocalFiles } from "../files/files.ts";
import { withLock } from "../files/lock.ts";
import { folderOf, makePrivateFolder, missingFlags, openLocalFiles } from "../files/private_files.ts";
import { isPermitted, operatingSystem, quoteCommand, requirePermission, shellWord } from "../runtime/host.ts";
import { httpConnections, type HttpService, openServer, portError, portOf } from "./server.ts";

/**
 * The flags that are missing for a Unix socket.
 *
 * @param path The socket's path.
 * @returns The flags; none where all is permitted.
 */
function missingSocketFlags(path: string): readonly string[] {
  return [
    ...(isPermitted({ name: "read", path }) ? [] : [`--allow-read=${path}`]),
    ...(isPermitted({ name: "write", path }) ? [] : [`--allow-write=${path}`]),
    ...(mayConnect(path) ? [] : [`--allow-net=unix:${path}`]),
  ];
}

/** Before 2.9 a socket is a file and no host, and cannot even be asked for. */
function mayConnect(path: string): boolean {
  try {
    return isPermitted({ name: "net", host: `unix:${path}` });
  } catch {
    return true;
  }
}

/** What a server answered. */
export interface SocketAnswer {
  /** HTTP status. */
  readonly status: number;
  /** Of its header fields: when to come back. */
  readonly headers?: { readonly "retry-after": string };
  /** The content, as UTF-8. */
  readonly body: string;
}

/** More than any answer with a token has. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/**
 * Makes sure that Deno permits to ask a server on a socket.
 *
 * @param path The socket's path.
 * @throws {LatchkeyError} `missing_dependency` with all flags that it takes.
 */
export function requireSocketPermissions(path: string): void {
  const flags = [
    ...missingFlags(folderOf(path), "read"),
    ...missingSocketFlags(path).filter((flag) => !flag.startsWith("--allow-read=")),
  ];
  if (flags.length === 0) return;
  throw new LatchkeyError("missing_dependency", `Deno may not connect to ${path}`, {
    hint: `Run deno with ${quoteCommand(flags)}`,
  });
}

/** Permission bits by which group and others may write, and by which they may not remove what is another's. */
const OTHERS_WRITE = 0o022, STICKY = 0o1000;

/**
 * Makes sure that a socket is this user's or root's, and that nobody else can put another one in its place: its server could
 * hand out tokens of another account. What cannot be looked at cannot be connected to either, and is left to that.
 *
 * @param path The socket's path.
 * @throws {LatchkeyError} `configuration` if it is not.
 */
export async function requireTrustedSocket(path: string): Promise<void> {
  const folder = folderOf(path), own = (await openLocalFiles(folder, "read")).ownUser();
  if (own === undefined) return;
  const { lstatSync, statSync } = await import("node:fs");
  let place, all;
  try {
    place = statSync(folder);
    all = [place, lstatSync(path), statSync(path)];
  } catch {
    return;
  }
  if ((place.mode & OTHERS_WRITE) !== 0 && (place.mode & STICKY) === 0) {
    throw untrusted(path, "others may write its folder", `Run chmod go-w ${shellWord(folder)}`);
  }
  const stranger = all.map(({ uid }) => uid).find((uid) => uid !== own && uid !== 0);
  if (stranger === undefined || own === 0 && stranger === place.uid && isRootsFolder(`${folder}/..`)) return;
  throw untrusted(
    path,
    `it, or its folder, belongs to user ${stranger}, and this is user ${own}`,
    "Run this as that user, or name a socket in a folder of your own",
  );

  /** Only root can have put another user's folder there, as a mount of a container. */
  function isRootsFolder(path: string): boolean {
    const { uid, mode } = statSync(path);
    return uid === 0 && (mode & OTHERS_WRITE) === 0;
  }
}

function untrusted(path: string, reason: string, hint: string): LatchkeyError {
  return new LatchkeyError("configuration", `${path} is not safe to ask for tokens: ${reason}`, { hint });
}

/**
 * Asks a server on a Unix socket, which closes the connection when it has answered.
 *
 * @param path The socket's path.
 * @param target Path and query of the request.
 * @param signal Gives up, with its reason.
 * @returns What it answered.
 * @throws {LatchkeyError} `temporarily_unavailable` when nobody answers; `invalid_response` when the answer is cut off, too
 * long, or no HTTP.
 */
export async function requestFromSocket(path: string, target: string, signal: AbortSignal): Promise<SocketAnswer> {
  signal.throwIfAborted();
  const received = await exchange(
    path,
    `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    signal,
  );
  const answer = readAnswer(received);
  if (answer) return answer;
  throw new LatchkeyError("invalid_response", `What answers at ${path} is no server of latchkey's`, {
    hint: "See that latchkey serve --socket listens there, and does not end meanwhile",
  });
}

/** All that comes until the connection ends, or that has come when it is too much. */
async function exchange(path: string, text: string, signal: AbortSignal): Promise<Uint8Array> {
  const { connect } = await import("node:net"), chunks: Uint8Array[] = [];
  let length = 0;
  return await new Promise((resolve, reject) => {
    const socket = connect({ path }), leave = () => void socket.destroy();
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

/** `undefined` when it is not the whole of one. */
function readAnswer(received: Uint8Array): SocketAnswer | undefined {
  const text = new TextDecoder("latin1").decode(received), end = text.indexOf("\r\n\r\n");
  const [first = "", ...fields] = text.slice(0, Math.max(0, end)).split("\r\n");
  const status = /^HTTP\/1\.1 (\d{3})( |$)/.exec(first)?.[1];
  const length = fields.map((field) => /^content-length: *(\d{1,9})$/i.exec(field)?.[1]).find(Boolean);
  const retryAfter = fields.map((field) => /^retry-after: *(\d{1,9})$/i.exec(field)?.[1]).find(Boolean);
  const body = received.subarray(end + 4);
  if (status === undefined || body.length !== Number(length)) return undefined;
  return {
    status: Number(status),
    ...(retryAfter && { headers: { "retry-after": retryAfter } }),
    body: new TextDecoder().decode(body),
  };
}

function failureOf(error: unknown, path: string): LatchkeyError {
  const name = errorCodeOf(error) || "it is closed";
  return new LatchkeyError("temporarily_unavailable", `Nobody answers at ${path} (${name})`, {
    hint: name === "EACCES" || name === "EPERM"
      ? "Run this as the user, by number, who runs the server"
      : "Run latchkey serve --socket there; in a container, its folder has to be mounted, not the socket alone",
  });
}

/** A socket that is listened on. */
interface PrivateSocket {
  /** Listens no longer, and removes the socket if it is still the one that was made. */
  close(): void;
}

/** How long the path of a socket can be, in bytes, less the zero at its end (`sun_path`). */
const MAX_PATH_BYTES: Readonly<Record<string, number>> = { linux: 107, darwin: 103 };

/**
 * Listens on a Unix socket.
 *
 * @param path Its path. Its folder is made when it is missing; what a server that has ended left there is removed.
 * @param onConnection Takes the connections.
 * @returns The socket.
 * @throws {LatchkeyError} `configuration` when somebody listens there, others could reach it, something else is there, or it
 * cannot be made; `missing_dependency` when Deno does not permit it.
 */
async function listenOnPrivateSocket(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<PrivateSocket> {
  const folder = folderOf(path);
  requirePossible(path);
  const files = await openLocalFiles(folder, "write");
  const flags = missingSocketFlags(path);
  if (flags.length > 0) {
    throw new LatchkeyError("missing_dependency", `Deno may not listen on ${path}`, {
      hint: `Run deno with ${quoteCommand(flags)}`,
    });
  }
  try {
    makePrivateFolder(files, folder);
    requireClosedFolder(files, folder);
    // Of two that find a socket left behind, the later would remove the one that the earlier made.
    return await withLock(`${path}.lockfile`, async () => {
      await removeLeftBehind(files, path);
      return await listen(files, path, onConnection);
    });
  } catch (error) {
    throw fileFailure(error, { doing: "listen on", path });
  }
}

function requirePossible(path: string): void {
  const longest = MAX_PATH_BYTES[operatingSystem()] ?? 103;
  if (operatingSystem() === "win32") {
    throw new LatchkeyError("configuration", "There are no Unix sockets on Windows", { hint: "Use a loopback port" });
  }
  if (new TextEncoder().encode(path).length <= longest) return;
  throw new LatchkeyError("configuration", `The path of a Unix socket has at most ${longest} bytes, unlike ${path}`, {
    hint: "Choose a shorter path",
  });
}

function requireClosedFolder(files: LocalFiles, folder: string): void {
  const { mode = 0 } = files.lstat(folder) ?? {};
  if ((mode & 0o077) === 0) return;
  throw new LatchkeyError("configuration", `${folder} is not safe for a socket: others may enter it`, {
    hint: `Run ${quoteCommand(["chmod", "700", folder])}, or name a folder that is not there yet`,
  });
}

async function removeLeftBehind(files: LocalFiles, path: string): Promise<void> {
  if (!files.lstat(path)) return;
  const { lstatSync } = await import("node:fs");
  if (!lstatSync(path).isSocket()) {
    throw new LatchkeyError("configuration", `Cannot listen on ${path}: there is something else that is no socket`, {
      hint: "Name another path, or move away what is there",
    });
  }
  if (await isListenedOn(path)) {
    throw new LatchkeyError("configuration", `Cannot listen on ${path}: another server does`, {
      hint: "Use that one, end it, or name another path",
    });
  }
  files.remove(path);
}

/** A server that is busy, or stopped, counts as well. */
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
      else if (name === "EAGAIN") resolve(true); // so many wait for it that it takes no more
      else reject(error);
    });
  });
}

async function listen(
  files: LocalFiles,
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<PrivateSocket> {
  const server: Server = await openServer({ path }, onConnection), { chmodSync } = await import("node:fs");
  chmodSync(path, 0o600);
  const id = files.lstat(path)?.id;
  return {
    close() {
      const isOurs = () => files.lstat(path)?.id === id;
      // Whoever made another one there, after this one was removed by hand, keeps it: to close would remove whatever is there.
      if (!isOurs()) return void server.unref();
      server.close();
      if (isOurs()) files.remove(path); // Deno before 2.9 leaves it
    },
  };
}

/** Where it listens; the port 0 lets the system choose one. */
export type EndpointAddress = { readonly path: string } | { readonly port: number };

/** An endpoint that listens. */
export interface Endpoint {
  /** Its port; 0 on a socket. */
  readonly port: number;
  /** Listens no longer, sends the answers that are still due, and ends all connections. */
  close(): Promise<void>;
}

/**
 * Opens an endpoint.
 *
 * @param address Where it listens.
 * @param service What it does.
 * @returns The endpoint.
 * @throws {LatchkeyError} `configuration` when the port or the path is taken, not safe, or not to be had; `missing_dependency`
 * when Deno does not permit it.
 */
export async function openEndpoint<Request extends object>(
  address: EndpointAddress,
  service: HttpService<Request>,
): Promise<Endpoint> {
  const connections = httpConnections(service);
  if ("path" in address) {
    const socket = await listenOnPrivateSocket(address.path, connections.accept);
    return {
      port: 0,
      close() {
        socket.close();
        return connections.close();
      },
    };
  }
  const { port } = address, host = "127.0.0.1";
  requirePermission({ name: "net", host: `${host}:${port}` }, port === 0 ? host : `${host}:${port}`);
  const server = await openServer({ host, port }, connections.accept).catch((error) => {
    throw portError(port, error);
  });
  return {
    port: portOf(server),
    close() {
      server.close();
      return connections.close();
    },
  };
}

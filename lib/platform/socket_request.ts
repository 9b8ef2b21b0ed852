/**
 * HTTP requests to a server of ours on a Unix socket. Not by `node:http`: before 2.9, Deno's asks for the network, and connects
 * to a port.
 *
 * On Deno they need `--allow-read=FOLDER --allow-write=PATH --allow-net=unix:PATH --allow-sys=uid`, before 2.9 without the third.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { quoteCommand } from "./host.ts";
import { errorNameOf } from "./local_files.ts";
import { missingFlags, openLocalFiles } from "./open_local_files.ts";
import { folderOf } from "./private_folder.ts";
import { shellWord } from "./host.ts";
import { missingSocketFlags } from "./socket_permissions.ts";

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
  const name = errorNameOf(error) || "it is closed";
  return new LatchkeyError("temporarily_unavailable", `Nobody answers at ${path} (${name})`, {
    hint: name === "EACCES" || name === "EPERM"
      ? "Run this as the user, by number, who runs the server"
      : "Run latchkey serve --socket there; in a container, its folder has to be mounted, not the socket alone",
  });
}

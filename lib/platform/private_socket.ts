/**
 * A Unix socket that only its owner can reach: it is in a folder that nobody else can enter, so that there is no moment at which
 * others could connect to it.
 *
 * On Deno it needs `--allow-read=FOLDER --allow-write=FOLDER --allow-net=unix:PATH --allow-sys=uid`;
 * before 2.9 without the third.
 *
 * @module
 */
import type { Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { fileFailure } from "./file_failure.ts";
import { operatingSystem, quoteCommand } from "./host.ts";
import { errorNameOf, type LocalFiles } from "./local_files.ts";
import { withLock } from "./lock.ts";
import { openLocalFiles } from "./open_local_files.ts";
import { openServer } from "./open_server.ts";
import { folderOf, makePrivateFolder } from "./private_folder.ts";
import { missingSocketFlags } from "./socket_permissions.ts";

/** A socket that is listened on. */
export interface PrivateSocket {
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
export async function listenOnPrivateSocket(
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
  const { mode = 0 } = files.look(folder) ?? {};
  if ((mode & 0o077) === 0) return;
  throw new LatchkeyError("configuration", `${folder} is not safe for a socket: others may enter it`, {
    hint: `Run ${quoteCommand(["chmod", "700", folder])}, or name a folder that is not there yet`,
  });
}

async function removeLeftBehind(files: LocalFiles, path: string): Promise<void> {
  if (!files.look(path)) return;
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
      const name = errorNameOf(error);
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
  const id = files.look(path)?.id;
  return {
    close() {
      const isOurs = () => files.look(path)?.id === id;
      // Whoever made another one there, after this one was removed by hand, keeps it: to close would remove whatever is there.
      if (!isOurs()) return void server.unref();
      server.close();
      if (isOurs()) files.remove(path); // Deno before 2.9 leaves it
    },
  };
}

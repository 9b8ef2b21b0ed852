/**
 * The file system by Node's functions, on Bun and Node.
 *
 * @module
 */
import fs, { type Stats } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import {
  BOOT_ID_PATH,
  isFlushUnsupported,
  errorCodeOf,
  type FileFacts,
  isNotFound,
  type LocalFiles,
  type OpenFile,
  PID_NAMESPACE_PATH,
  locateProcess,
  type ProcessLocation,
  readWhole,
} from "./files.ts";

const flush = promisify(fs.fsync);
let place: ProcessLocation | undefined;

/** The file system, on Bun and Node. */
export function nodeFiles(): LocalFiles {
  const isWindows = globalThis.process.platform === "win32";
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants;

  const factsOf = (stats: Stats): FileFacts => ({
    kind: stats.isSymbolicLink() ? "link" : stats.isFile() ? "file" : stats.isDirectory() ? "folder" : "other",
    id: `${stats.dev}:${stats.ino}`,
    owner: isWindows ? undefined : stats.uid,
    mode: isWindows ? undefined : stats.mode & 0o7777,
    size: stats.size,
    changedMs: stats.mtimeMs,
  });

  const handle = (file: number): OpenFile => ({
    facts: () => factsOf(fs.fstatSync(file)),
    read: () => readWhole(fs.fstatSync(file).size, (buffer, at) => fs.readSync(file, buffer, 0, buffer.length, at)),
    write(bytes) {
      for (let at = 0; at < bytes.length;) at += fs.writeSync(file, bytes, at, bytes.length - at, at);
    },
    resize: (size) => fs.ftruncateSync(file, size),
    touch: () => fs.futimesSync(file, new Date(), new Date()),
    flush: () => flush(file),
    close: () => fs.closeSync(file),
  });

  const look = (path: string): FileFacts | undefined => {
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    return stats && factsOf(stats);
  };

  return {
    ownUser: () => globalThis.process.getuid?.(),
    processLocation: () =>
      place ??= locateProcess({
        host: hostname,
        bootId: () => fs.readFileSync(BOOT_ID_PATH, "utf8"),
        pidNamespace: () => fs.readlinkSync(PID_NAMESPACE_PATH),
      }),
    lstat: look,
    open(path) {
      // Windows cannot open without following a link.
      if (isWindows && look(path)?.kind === "link") throw Object.assign(new Error("A link"), { code: "ELOOP" });
      try {
        return handle(fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    create: (path) => handle(fs.openSync(path, "wx+", 0o600)),
    rename: (from, to) => fs.renameSync(from, to),
    remove(path) {
      try {
        fs.unlinkSync(path);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
    setChanged: (path, changedMs) => fs.utimesSync(path, new Date(changedMs), new Date(changedMs)),
    makeFolder,
    list: (path) =>
      fs.readdirSync(path, { withFileTypes: true }).map((each) => ({ name: each.name, isFile: each.isFile() })),
    async flushFolder(path) {
      if (isWindows) return;
      const folder = fs.openSync(path, O_RDONLY);
      try {
        await flush(folder);
      } catch (error) {
        if (!isFlushUnsupported(error)) throw error;
      } finally {
        fs.closeSync(folder);
      }
    },
  };
}

/** Not by `recursive`, which on Node says of a read-only file system that the folder is not there. */
function makeFolder(path: string): void {
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const above = dirname(path);
    if (errorCodeOf(error) === "EEXIST") return; // what it is is looked at by the caller
    if (!isNotFound(error) || above === path) throw error;
    makeFolder(above);
    makeFolder(path);
  }
}

/**
 * The file system through `node:fs`, on Bun and Node.
 *
 * @module
 */
import fs, { type BigIntStats } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import {
  errorCodeOf,
  type FileFacts,
  isFlushUnsupported,
  type LocalFiles,
  locateProcessOnce,
  type OpenFile,
  PRIVATE_FILE,
  PRIVATE_FOLDER,
  readProcessFacts,
  readWhole,
  undefinedIfNotFound,
} from "./files.ts";

const flush = promisify(fs.fsync);
/** Facts as a bigint: a number cannot hold nanoseconds, nor every inode of NTFS and of network file systems. */
const EXACT = { bigint: true } as const;
const NANOSECONDS_PER_MS = 1e6;

/** Returns the file system on Bun and Node. */
export function nodeFiles(): LocalFiles {
  const isWindows = globalThis.process.platform === "win32";
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants;

  const factsOf = (stats: BigIntStats): FileFacts => ({
    kind: kindOf(stats),
    id: `${stats.dev}:${stats.ino}`,
    owner: isWindows ? undefined : Number(stats.uid),
    mode: isWindows ? undefined : Number(stats.mode) & 0o7777,
    size: Number(stats.size),
    changedMs: Number(stats.mtimeNs) / NANOSECONDS_PER_MS,
    timestamps: `${stats.mtimeNs} ${stats.ctimeNs}`,
  });

  const handle = (file: number): OpenFile => ({
    facts: () => factsOf(fs.fstatSync(file, EXACT)),
    read: () => readWhole(fs.fstatSync(file).size, (buffer, at) => fs.readSync(file, buffer, 0, buffer.length, at)),
    write(bytes) {
      for (let at = 0; at < bytes.length;) at += fs.writeSync(file, bytes, at, bytes.length - at, at);
    },
    resize: (size) => fs.ftruncateSync(file, size),
    touch: () => fs.futimesSync(file, new Date(), new Date()),
    flush: () => flush(file),
    close: () => fs.closeSync(file),
  });

  const lstat = (path: string): FileFacts | undefined => {
    const stats = fs.lstatSync(path, { ...EXACT, throwIfNoEntry: false });
    return stats && factsOf(stats);
  };

  const readers = {
    readFile: (path: string) => fs.readFileSync(path, "utf8"),
    readLink: (path: string) => fs.readlinkSync(path),
  };

  return {
    ownUser: () => globalThis.process.getuid?.(),
    processLocation: () => locateProcessOnce({ hostname, ...readers }),
    processFacts: (pid) => readProcessFacts(pid, { ownPid: globalThis.process.pid, ...readers }),
    lstat,
    readLink: readers.readLink,
    open(path) {
      // Windows cannot open without following a link.
      if (isWindows && lstat(path)?.kind === "link") throw Object.assign(new Error("A link"), { code: "ELOOP" });
      return undefinedIfNotFound(() => handle(fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)));
    },
    create: (path) => handle(fs.openSync(path, "wx+", PRIVATE_FILE)),
    rename: (from, to) => fs.renameSync(from, to),
    remove: (path) => undefinedIfNotFound(() => fs.unlinkSync(path)),
    setChanged: (path, changedMs) => fs.utimesSync(path, new Date(changedMs), new Date(changedMs)),
    makeFolder: (path) => makeFolder(path),
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

/** Creates a folder. With `recursive`, Node reports `ENOENT` for a read-only file system. */
function makeFolder(path: string): void {
  const above = dirname(path);
  try {
    makeLastFolder(path);
  } catch (error) {
    if (errorCodeOf(error) !== "ENOENT" || above === path) throw error;
    makeFolder(above);
    makeLastFolder(path); // fails again if the parent is a link to nothing
  }
}

function makeLastFolder(path: string): void {
  try {
    fs.mkdirSync(path, { mode: PRIVATE_FOLDER });
  } catch (error) {
    if (errorCodeOf(error) !== "EEXIST") throw error; // the caller checks the kind of what is there
  }
}

function kindOf(stats: BigIntStats): FileFacts["kind"] {
  if (stats.isSymbolicLink()) return "link";
  if (stats.isFile()) return "file";
  return stats.isDirectory() ? "folder" : "other";
}

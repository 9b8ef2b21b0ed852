/**
 * The interface to the file system that private files and locks use. Deno has an implementation of its own.
 *
 * Everything is synchronous except flushing: the files are small and local, and a promise costs more than the call. A function
 * that fails throws the runtime's own error.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { advice, isSystemWord, type SystemWord, systemWord } from "../remedies.ts";
import { operatingSystem } from "../runtime/host.ts";

export interface LocalFiles {
  /** Returns the user id of this process; `undefined` on Windows. */
  ownUser(): number | undefined;
  /** Returns the location of this process. */
  processLocation(): ProcessLocation;
  /** Returns what Linux tells of a process; `undefined` elsewhere, if there is none, or if it cannot be read. */
  processFacts(pid: number): ProcessFacts | undefined;
  /** Returns the facts about a path without following a link; `undefined` if it does not exist. */
  lstat(path: string): FileFacts | undefined;
  /** Returns the target of a link. */
  readLink(path: string): string;
  /**
   * Opens a file for reading; `undefined` if it does not exist. It neither follows a link, which gives an error with code
   * `ELOOP`, nor waits for the writer of a pipe.
   */
  open(path: string): OpenFile | undefined;
  /** Creates a file that only its owner can read and write; `EEXIST` if the path exists, even as a dangling link. */
  create(path: string): OpenFile;
  /** Renames a file, and replaces a file that has the new name. */
  rename(from: string, to: string): void;
  /** Removes a file, if it exists. */
  remove(path: string): void;
  /** Sets the modification time of a file, in milliseconds since 1970. */
  setChanged(path: string, changedMs: number): void;
  /** Creates a folder, and its missing parents, with mode 700. */
  makeFolder(path: string): void;
  /** Lists the entries of a folder; `isFile` is false for a link to a file. */
  list(path: string): readonly { readonly name: string; readonly isFile: boolean }[];
  /** Waits until the renames in a folder are on the disk. Does nothing if the system cannot, as on Windows. */
  flushFolder(path: string): Promise<void>;
}

export interface FileFacts {
  readonly kind: "file" | "folder" | "link" | "other";
  /** Device and inode. */
  readonly id: string;
  /** User id of its owner; `undefined` on Windows. */
  readonly owner: number | undefined;
  /** Permission bits; `undefined` on Windows. */
  readonly mode: number | undefined;
  readonly size: number;
  /** Modification time in milliseconds since 1970, by the clock of the file system. */
  readonly changedMs: number;
  /**
   * Times of the last write and of the last change of the inode, as exactly as the runtime gives them. Equal timestamps mean
   * that there was no write, or two within the resolution of the file system's clock.
   */
  readonly timestamps: string;
}

export interface OpenFile {
  /** Returns the facts about the open file, even if another file has its name now. */
  facts(): FileFacts;
  read(): Uint8Array<ArrayBuffer>;
  /** Writes from the beginning of the file. */
  write(bytes: Uint8Array): void;
  resize(size: number): void;
  /** Sets the modification time to now. */
  touch(): void;
  /** Waits until the file is on the disk. */
  flush(): Promise<void>;
  close(): void;
}

/** Location of a process: elsewhere its pid means another process. A field that cannot be read is missing. */
export interface ProcessLocation {
  /** Name of the machine or container. */
  readonly host?: string | undefined;
  /** Id that Linux gives to each boot. */
  readonly bootId?: string | undefined;
  /** Number of the pid namespace on Linux. Each container has its own. */
  readonly pidNamespace?: string | undefined;
}

/** State of a process at a location. */
export interface ProcessFacts {
  /** Start of the process in clock ticks since the boot: a later process with the same pid has another one. */
  readonly start: string;
  /** True if the process has ended, and its parent has not asked for its exit code yet. */
  readonly hasEnded: boolean;
}

/** Reads `/proc/PID/stat` (proc_pid_stat(5)), with functions that may throw. */
export function readProcessFacts(
  pid: number,
  { ownPid, readFile, readLink }: Omit<LocationReader, "hostname"> & { readonly ownPid: number },
): ProcessFacts | undefined {
  let stat: string;
  try {
    // In a pid namespace without a /proc of its own, the pids there are of other processes.
    if (readLink("/proc/self") !== String(ownPid)) return undefined;
    stat = readFile(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // The second of the fields is the program's name in parentheses, which can contain spaces and parentheses.
  const [state = "", ...others] = stat.slice(stat.lastIndexOf(")") + 1).trim().split(" ");
  const start = others[START_TIME];
  return start !== undefined && /^\d+$/.test(start) ? { start, hasEnded: ENDED.includes(state) } : undefined;
}

/** Place of the start time, field 22, among the fields after the state, which is field 3. */
const START_TIME = 18;
/** Zombie, and dead. */
const ENDED: readonly string[] = ["Z", "X", "x"];

/** Permission bits of a file, and of a folder, that only its owner can use. */
export const PRIVATE_FILE = 0o600, PRIVATE_FOLDER = 0o700;
/** Permission bits by which group and others can write. */
export const OTHERS_WRITE = 0o022;

interface LocationReader {
  hostname(): string;
  readFile(path: string): string;
  readLink(path: string): string;
}

let location: ProcessLocation | undefined;

/** Returns the location of this process. Only the first call reads it, with functions that may throw. */
export function locateProcessOnce({ hostname, readFile, readLink }: LocationReader): ProcessLocation {
  const attempt = (read: () => string): string | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  location ??= {
    host: attempt(hostname),
    bootId: attempt(() => readFile("/proc/sys/kernel/random/boot_id"))?.trim(),
    pidNamespace: /\d+/.exec(attempt(() => readLink("/proc/self/ns/pid")) ?? "")?.[0],
  };
  return location;
}

/** Reads to the end of a file, even if it grows meanwhile. `read` returns the number of bytes, 0 at the end. */
export function readWhole(size: number, read: (buffer: Uint8Array, at: number) => number): Uint8Array<ArrayBuffer> {
  // One byte more, so that the end shows without another buffer.
  let bytes = new Uint8Array(size + 1);
  let length = 0;
  for (;;) {
    const count = read(bytes.subarray(length), length);
    if (count <= 0) return bytes.subarray(0, length);
    length += count;
    if (length === bytes.length) bytes = new Uint8Array(bytes.buffer.transfer(length * 2));
  }
}

/** Errors for which Deno gives only the number, in the message. */
const BY_NUMBER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  linux: { 5: "EIO", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 116: "ESTALE", 122: "EDQUOT" },
  darwin: { 5: "EIO", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 69: "EDQUOT", 70: "ESTALE" },
  win32: { 5: "EACCES", 32: "EBUSY", 33: "EBUSY", 112: "ENOSPC", 1295: "EDQUOT" },
};

/** Returns the system's code of an error, such as `ENOENT`, or `E` and its number; empty if it has none. */
export function errorCodeOf(error: unknown): string {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (typeof code === "string") return code;
  const [, number] = /\(os error (\d+)\)/.exec(String(message)) ?? [];
  return number ? BY_NUMBER[operatingSystem()]?.[number] ?? `E${number}` : "";
}

/** Calls a function. @returns its result; `undefined` if a file was not found. */
export function undefinedIfNotFound<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (errorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Returns true if an error of flushing a folder says that this file system cannot do it. */
export function isFlushUnsupported(error: unknown): boolean {
  return ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(errorCodeOf(error));
}

interface FileTask {
  /** The verb, such as `read`. */
  readonly doing: string;
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
  /** System that the hint is for. @default this one */
  readonly system?: string | undefined;
}

const ELSEWHERE = "choose a writable folder";
const SPACE = "Free some space and try again";

/** Reason and hint for the system's error codes. */
const REASONS: Readonly<Record<string, readonly [reason: string, remedy: string | SystemWord]>> = {
  EACCES: ["permission denied", "lookAtAccess"],
  EROFS: ["its file system is read-only", `Mount it for writing, or ${ELSEWHERE}`],
  ENOSPC: ["the disk is full", SPACE],
  EDQUOT: ["this user's disk quota is exceeded", SPACE],
  EFBIG: ["it would exceed the limit for the size of a file", "raiseFileSize"],
  ENAMETOOLONG: ["its name is too long", "Choose a shorter path"],
  ENOTDIR: ["a component of its path is a file", "Choose another path"],
  EISDIR: ["it is a folder", "Choose the path of a file"],
  ENOENT: ["it does not exist, or was removed", "Try again. If that does not help, choose another folder"],
  ELOOP: ["it is a symbolic link", "Give the path of the file itself"],
  EBUSY: ["another program is using it", "Close that program, or try again when it is done"],
  EMFILE: ["this program has too many open files", "raiseOpenFiles"],
  ENFILE: ["this machine has too many open files", "Close some programs and try again"],
  EIO: ["the disk has failed", "Look for the disk's errors in the system log"],
  ESTALE: ["the file server has lost it", "Try again"],
};
const ALIASES: Readonly<Record<string, string>> = { EPERM: "EACCES", ETXTBSY: "EBUSY", EEXIST: "ENOTDIR" };

/**
 * Turns an error of the system, or of Deno's permissions, into a {@linkcode LatchkeyError}, without a cause: the code says all
 * there is to know. Returns any other error as it is, or the signal's reason if the call was aborted.
 */
export function fileFailure(
  error: unknown,
  { doing, path, signal, system }: FileTask,
): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof LatchkeyError || !(error instanceof Error)) return error;
  const cannot = `Cannot ${doing} ${path}`;
  // Some paths, such as folders below /proc, no other flag permits.
  if (error.name === "NotCapable") {
    return new LatchkeyError("missing_dependency", `${cannot}: Deno does not permit it`, {
      remedy: { kind: "run_deno_with", flags: "--allow-all", or: advice("Choose another folder") },
    });
  }
  const code = errorCodeOf(error);
  if (!/^E[A-Z\d]+$/.test(code)) return error;
  const [reason, remedy] = REASONS[ALIASES[code] ?? code] ?? [`the system says ${code}`, "Choose another folder"];
  return new LatchkeyError("configuration", `${cannot}: ${reason}`, {
    remedy: isSystemWord(remedy) ? systemWord(remedy, system) : remedy,
  });
}

/**
 * The few things that private files and locks ask of a file system, which Deno gives by functions of its own.
 *
 * All but the flushing is synchronous: the files are small and on this machine, and a promise costs more than the call. What
 * fails throws the runtime's own error.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { operatingSystem } from "../runtime/host.ts";

/** What is known of something in a folder. */
export interface FileFacts {
  /** What it is; a symbolic link is not followed. */
  readonly kind: "file" | "folder" | "link" | "other";
  /** The same text for as long as it is the same file. */
  readonly id: string;
  /** User id of its owner; `undefined` on Windows. */
  readonly owner: number | undefined;
  /** Permission bits; `undefined` on Windows. */
  readonly mode: number | undefined;
  /** In bytes. */
  readonly size: number;
  /** When its content was last changed, in milliseconds since 1970, by the clock of the file system. */
  readonly changedMs: number;
}

/** An open file. */
export interface OpenFile {
  /** What is known of the file that is open, whatever has its name by now. */
  facts(): FileFacts;
  /** All that is in it. */
  read(): Uint8Array<ArrayBuffer>;
  /** Writes from the beginning of it. */
  write(bytes: Uint8Array): void;
  /** Cuts or lengthens it to a size. */
  resize(size: number): void;
  /** Sets the time of its last change to now. */
  touch(): void;
  /** Waits until it is on the disk. */
  flush(): Promise<void>;
  /** Closes it. */
  close(): void;
}

/** A name in a folder. */
interface FolderEntry {
  /** The name alone. */
  readonly name: string;
  /** Whether it is a file, not a link to one. */
  readonly isFile: boolean;
}

/** Where a process runs: its pid means another process elsewhere. What cannot be read is missing. */
export interface ProcessLocation {
  /** Name of the machine, or of the container. */
  readonly host?: string | undefined;
  /** Id that Linux gives to each start of a machine. */
  readonly bootId?: string | undefined;
  /** Number of the pid namespace on Linux. Each container has its own. */
  readonly pidNamespace?: string | undefined;
}

/** File with the id of this start of the machine, and the link that names the pid namespace, on Linux. */
export const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id", PID_NAMESPACE_PATH = "/proc/self/ns/pid";

/** Makes the place out of ways to read it. Those that throw cannot be used here. */
export function locateProcess(
  reads: { readonly host: () => string; readonly bootId: () => string; readonly pidNamespace: () => string },
): ProcessLocation {
  const attempt = (read: () => string): string | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  return {
    host: attempt(reads.host),
    bootId: attempt(reads.bootId)?.trim(),
    pidNamespace: /\d+/.exec(attempt(reads.pidNamespace) ?? "")?.[0],
  };
}

/** A file system. */
export interface LocalFiles {
  /** User id of this process; `undefined` on Windows. */
  ownUser(): number | undefined;
  /** Where this process runs. */
  processLocation(): ProcessLocation;
  /** What is there, links not followed; `undefined` when nothing is. */
  lstat(path: string): FileFacts | undefined;
  /**
   * Opens what is there for reading: neither what it links to, nor ever waiting for somebody to write into a pipe.
   *
   * @returns `undefined` when nothing is there.
   * @throws an error with code `ELOOP` for a symbolic link.
   */
  open(path: string): OpenFile | undefined;
  /** Makes a file that only its owner can read and write; `EEXIST` when there is anything, be it a dangling link. */
  create(path: string): OpenFile;
  /** Renames a file, in place of whatever file has the new name. */
  rename(from: string, to: string): void;
  /** Removes a file, if it is still there. */
  remove(path: string): void;
  /** Sets when a file was last changed, in milliseconds since 1970. */
  setChanged(path: string, changedMs: number): void;
  /** Makes a folder and those above it, where they are missing, for their owner alone. */
  makeFolder(path: string): void;
  /** What is in a folder. */
  list(path: string): readonly FolderEntry[];
  /** Waits until what was renamed in a folder is on the disk. Where that is not to be had, as on Windows, does nothing. */
  flushFolder(path: string): Promise<void>;
}

/** Errors that Deno gives by number alone, in the message. */
const BY_NUMBER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  linux: { 5: "EIO", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 116: "ESTALE", 122: "EDQUOT" },
  darwin: { 5: "EIO", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 69: "EDQUOT", 70: "ESTALE" },
  win32: { 112: "ENOSPC", 1295: "EDQUOT" },
};

/** The system's name of an error, such as `ENOENT`, or `E` and its number; empty when it has none. */
export function errorCodeOf(error: unknown): string {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (typeof code === "string") return code;
  const [, number] = /\(os error (\d+)\)/.exec(String(message)) ?? [];
  return number ? BY_NUMBER[operatingSystem()]?.[number] ?? `E${number}` : "";
}

/** Whether an error says that nothing is there. */
export function isNotFound(error: unknown): boolean {
  return errorCodeOf(error) === "ENOENT";
}

/** Whether an error of flushing a folder says that this file system has no such thing. */
export function isFlushUnsupported(error: unknown): boolean {
  return ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(errorCodeOf(error));
}

/**
 * Reads to the end, wherever that is by then.
 *
 * @param size How many bytes are expected.
 * @param read Reads into a buffer what begins at a place in the file; gives how many bytes it read, 0 at the end.
 */
export function readWhole(
  size: number,
  read: (buffer: Uint8Array, at: number) => number,
): Uint8Array<ArrayBuffer> {
  // One byte more, so that the end shows without another buffer.
  let bytes = new Uint8Array(size + 1), length = 0;
  for (let more; (more = read(bytes.subarray(length), length)) > 0;) {
    length += more;
    if (length === bytes.length) bytes = grown(bytes);
  }
  return bytes.subarray(0, length);
}

function grown(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}

/** What was being done. */
interface FileTask {
  /** Such as `read`. */
  readonly doing: string;
  /** With which file or folder. */
  readonly path: string;
  /** Whose reason is the failure, once it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

const ELSEWHERE = "choose a folder that can be written";

/** What is said of a system's error, and what helps. */
const REASONS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  EACCES: [
    "this user may not",
    "See who may with ls -ld on the file and the folders above it, or choose another folder",
  ],
  EROFS: ["its file system is read-only", `Mount it for writing, or ${ELSEWHERE}`],
  ENOSPC: ["the disk is full", "Free some space and try again"],
  EDQUOT: ["this user's quota of the disk is used up", "Free some space and try again"],
  EFBIG: ["a file may not become so large", "Raise the limit with ulimit -f"],
  ENAMETOOLONG: ["its name is too long", "Choose a shorter path"],
  ENOTDIR: ["a part of its path is a file, not a folder", "Choose a path whose folders are folders"],
  EISDIR: ["it is a folder", "Name a file"],
  ENOENT: ["it is not there, or not any more", "Try again; choose another folder when that does not help"],
  ELOOP: ["it is a symbolic link", "Give the path of the file itself"],
  EBUSY: ["another program has it", "Try again when the other program is done"],
  EMFILE: ["this program has too many files open", "Close some, or raise the limit with ulimit -n"],
  ENFILE: ["this machine has too many files open", "Close some programs and try again"],
  EIO: ["the disk has failed", "Look into the system's log for what the disk says"],
  ESTALE: ["the file server has lost it", "Try again"],
};
const ALIASES: Readonly<Record<string, string>> = { EPERM: "EACCES", ETXTBSY: "EBUSY", EEXIST: "ENOTDIR" };

/**
 * A failure as an error of ours. Without a cause, since nothing more is known than the error's name.
 *
 * @param error What the runtime threw.
 * @param task What was being done.
 * @returns `configuration` for what the system says, `missing_dependency` for what Deno does not permit; what is neither, as
 * it is; the signal's reason when the call was aborted.
 */
export function fileFailure(error: unknown, { doing, path, signal }: FileTask): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof LatchkeyError || !(error instanceof Error)) return error;
  const cannot = `Cannot ${doing} ${path}`;
  // Deno's, for what no flag but this one permits, such as folders below /proc.
  if (error.name === "NotCapable") {
    return new LatchkeyError("missing_dependency", `${cannot}: Deno does not permit it`, {
      hint: "Run deno with --allow-all, or choose another folder",
    });
  }
  const name = errorCodeOf(error);
  if (!/^E[A-Z\d]+$/.test(name)) return error;
  const [reason, hint] = REASONS[ALIASES[name] ?? name] ?? [`the system says ${name}`, "Choose another folder"];
  return new LatchkeyError("configuration", `${cannot}: ${reason}`, { hint });
}

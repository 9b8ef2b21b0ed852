/**
 * Why a file could not be read or written, out of what Deno, Bun and Node say of it.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { errorNameOf } from "./local_files.ts";

/** What was being done. */
export interface FileTask {
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
  const name = errorNameOf(error);
  if (!/^E[A-Z\d]+$/.test(name)) return error;
  const [reason, hint] = REASONS[ALIASES[name] ?? name] ?? [`the system says ${name}`, "Choose another folder"];
  return new LatchkeyError("configuration", `${cannot}: ${reason}`, { hint });
}

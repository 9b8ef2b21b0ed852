/**
 * Lock files that processes left behind which did not live to remove them.
 *
 * @module
 */
import { isHeldHere, takeLock } from "./held_lock.ts";
import { errorNameOf, type LocalFiles } from "./local_files.ts";
import { isStale } from "./lock_holder.ts";
import { openRegularFile } from "./private_folder.ts";
import { isProcessGone, ownPid } from "./process_life.ts";

/** A look at a lock file that somebody else made. */
export interface LockSight {
  /** The file's id. */
  readonly id: string;
  /** When it last changed, in milliseconds since 1970, by the clock of its file system. */
  readonly changedMs: number;
  /** What is written in it, the beginning of it; `undefined` when it may not be read. */
  readonly text: string | undefined;
}

/** A watch over a lock: for how long it has been the same. */
export interface LockWatch {
  /** For how long a lock has been as it is now seen, in milliseconds. */
  unchangedMs(path: string, sight: LockSight): number;
}

/** The take-over of a lock is a lock itself, whose holder can die as well; more than that has not been seen. */
const MAX_DEPTH = 3;
/** What is longer is not from MSAL: a number and a program's path. */
const MAX_TEXT_BYTES = 8192;

/** Begins to watch. */
export function watchLocks(): LockWatch {
  const seen = new Map<string, { readonly mark: string; readonly sinceMs: number }>();
  return {
    unchangedMs(path, { id, changedMs, text }) {
      const mark = JSON.stringify([id, changedMs, text]), now = performance.now(), before = seen.get(path);
      if (before?.mark === mark) return now - before.sinceMs;
      seen.set(path, { mark, sinceMs: now });
      return 0;
    },
  };
}

/**
 * Looks at a lock.
 *
 * @returns `undefined` when it is not there.
 * @throws {LatchkeyError} `configuration` when it is no file.
 */
export function lookAtLock(files: LocalFiles, path: string): LockSight | undefined {
  let file;
  try {
    file = openRegularFile(files, path);
  } catch (error) {
    // Made by sudo, say. It is in a folder of ours all the same.
    const facts = ["EACCES", "EPERM"].includes(errorNameOf(error)) ? files.look(path) : undefined;
    if (facts) return { id: facts.id, changedMs: facts.changedMs, text: undefined };
    throw error;
  }
  if (!file) return undefined;
  try {
    const { id, changedMs, size } = file.facts();
    return { id, changedMs, text: size > MAX_TEXT_BYTES ? "" : new TextDecoder().decode(file.read()) };
  } finally {
    file.close();
  }
}

/** How a lock is judged. */
export interface StaleLockOptions {
  /** Has seen the lock, and goes on watching it. */
  readonly watch: LockWatch;
  /** After how many milliseconds without a change nobody can be at work any more, when no more is known. */
  readonly staleMs: number;
  /** How many locks are above this one. @default 0 */
  readonly depth?: number;
}

/**
 * Removes a lock when nobody holds it any more. Of all who wait for it one does so, and looks once more: whoever made the
 * lock's `.takeover` file. Nothing is awaited in between.
 *
 * @param path The lock.
 * @param sight What it was found to be.
 * @param options How it is judged.
 * @returns Whether it was removed.
 */
export function removeStaleLock(
  files: LocalFiles,
  { path, sight }: { readonly path: string; readonly sight: LockSight },
  { watch, staleMs, depth = 0 }: StaleLockOptions,
): boolean {
  const judge = (sight: LockSight, nowMs: number) => {
    const { id, changedMs, text } = sight, watchedMs = watch.unchangedMs(path, sight);
    // With this process's number, yet not of its making: of one before it, as happens in containers, or of a worker's.
    const isGone = (pid: number) => pid === ownPid() ? !isHeldHere(id) : isProcessGone(pid);
    return isStale({ text, isGone, ageMs: nowMs - changedMs, watchedMs, staleMs });
  };
  // By this machine's clock for now; the file system's, which may be another machine's, is asked by making a file.
  if (!judge(sight, Date.now())) return false;

  const takeover = `${path}.takeover`, turn = takeLock(files, takeover);
  if (turn) {
    try {
      const now = lookAtLock(files, path);
      if (!now || !judge(now, turn.madeMs)) return false;
      files.remove(path);
      return true;
    } finally {
      turn.release();
    }
  }
  const other = depth < MAX_DEPTH ? lookAtLock(files, takeover) : undefined;
  if (other) removeStaleLock(files, { path: takeover, sight: other }, { watch, staleMs, depth: depth + 1 });
  return false;
}

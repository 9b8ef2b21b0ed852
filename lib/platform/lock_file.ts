/**
 * Work that one process at a time does, seen to by a lock file as MSAL's: whoever makes it has the lock, and removes it.
 *
 * MSAL for Python waits 5 seconds for it, then goes on all the same; MSAL for Node waits 50.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { fileFailure } from "./file_failure.ts";
import { type HeldLock, takeLock } from "./held_lock.ts";
import { inTurn } from "./in_turn.ts";
import type { LocalFiles } from "./local_files.ts";
import { holderOf } from "./lock_holder.ts";
import { openLocalFiles } from "./open_local_files.ts";
import { folderOf, makePrivateFolder } from "./private_folder.ts";
import { lookAtLock, removeStaleLock, watchLocks } from "./stale_lock.ts";

/** How a lock is waited for. */
export interface LockOptions {
  /** Ends the waiting with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for it, in milliseconds. @default 15,000: an empty lock counts for 10,000 */
  readonly waitMs?: number | undefined;
  /**
   * After how many milliseconds without a sign of life of its holder the lock counts as left behind, when nothing else is
   * known of that process. Ours give one twice a second for as long as they work. @default 60,000
   */
  readonly staleMs?: number | undefined;
}

/** The lock, while it is worked under. */
export type Lock = Pick<HeldLock, "isHeld">;

const WAIT_MS = 15_000;
const STALE_MS = 60_000;
/** How long to wait between two looks at a lock, in milliseconds: at first, and at most. */
const FIRST_PAUSE_MS = 2, LONGEST_PAUSE_MS = 50;

/**
 * Works while nobody else does, in this process or another, on this machine or, where they share the folder, on others.
 *
 * @param path The lock's own path, such as `tokens.json.lockfile`. Its folder is made when it is missing.
 * @param work What is to be done. It may take long, as long as it does not stop the process: others take the lock over then, which
 * `isHeld` tells; what must not undo what they did is done right after asking it.
 * @param options How long to wait.
 * @returns What `work` gives.
 * @throws {LatchkeyError} `timed_out` when others held it for too long; `configuration` when it cannot be made, or when others
 * could remove it; `missing_dependency` when Deno does not permit it.
 */
export async function withLockFile<T>(
  path: string,
  work: (lock: Lock) => Promise<T>,
  { signal, waitMs = WAIT_MS, staleMs = STALE_MS }: LockOptions = {},
): Promise<T> {
  const folder = folderOf(path);
  if (!(waitMs >= 0)) throw new RangeError(`waitMs must not be negative: ${waitMs}`);
  if (!(staleMs > 0)) throw new RangeError(`staleMs must be more than 0: ${staleMs}`);
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "write");
  const limit: Limit = { signal, staleMs, untilMs: performance.now() + waitMs };
  return await inTurn(path, async () => {
    const lock = await untilTaken(files, { path, folder }, limit);
    lock.keepAlive();
    let result: T;
    try {
      result = await work(lock);
    } catch (error) {
      giveUp(lock);
      throw error;
    }
    letGo(lock, path);
    return result;
  }, { signal, waitMs, onTooLate: () => tooLate(path, "this program itself") });
}

interface Limit {
  readonly signal: AbortSignal | undefined;
  readonly staleMs: number;
  /** By `performance.now()`. */
  readonly untilMs: number;
}

async function untilTaken(
  files: LocalFiles,
  { path, folder }: { readonly path: string; readonly folder: string },
  { signal, staleMs, untilMs }: Limit,
): Promise<HeldLock> {
  const watch = watchLocks();
  try {
    makePrivateFolder(files, folder);
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS)) {
      const lock = takeLock(files, path);
      if (lock) return lock;
      const sight = lookAtLock(files, path);
      if (sight && removeStaleLock(files, { path, sight }, { watch, staleMs })) continue;
      if (performance.now() >= untilMs) throw tooLate(path, holderIn(sight?.text));
      // Not all at the same time.
      await pause(pauseMs * (0.5 + Math.random()), signal);
    }
  } catch (error) {
    throw fileFailure(error, { doing: "lock", path, signal });
  }
}

function letGo(lock: HeldLock, path: string): void {
  try {
    lock.release();
  } catch (error) {
    throw fileFailure(error, { doing: "remove", path });
  }
}

/** What the work failed with says more than that its lock stays, which others take over. */
function giveUp(lock: HeldLock): void {
  try {
    lock.release();
  } catch {
    // See above.
  }
}

function holderIn(text = ""): string {
  const pid = holderOf(text);
  return pid === undefined ? "another program" : `process ${pid}`;
}

function tooLate(path: string, holder: string): LatchkeyError {
  return new LatchkeyError("timed_out", `Cannot lock ${path}: ${holder} has it`, {
    hint: `Try again. If ${holder} does not run on any machine that has this folder, remove ${path}`,
  });
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      signal?.aborted ? reject(signal.reason) : resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}

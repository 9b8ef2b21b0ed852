/**
 * Locks between processes, as lock files like MSAL's: the process that creates the file has the lock, and removes it when done.
 *
 * MSAL for Python waits 5 seconds for it, then goes on regardless; MSAL for Node waits 50. Both write `PID PROGRAM` into it.
 * Our text also names the machine, boot and pid namespace of the pid. Only if they match this process's own does a missing
 * process mean that nobody holds the lock: elsewhere it may run in another container, or on another machine that shares the
 * folder. Any other lock counts as held until its file has not changed for a while, by the clock of the process that watches it.
 *
 * @module
 */
import { delayWithJitter, withinTime } from "../async.ts";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, isProcessGone, operatingSystem, ownPid } from "../runtime/host.ts";
import { errorCodeOf, fileFailure, type LocalFiles, type OpenFile, type ProcessLocation } from "./files.ts";
import { folderOf, makePrivateFolder, openLocalFiles, openRegularFile } from "./private_files.ts";

/** Options of {@linkcode withLock}. */
export interface LockOptions {
  /** Ends the wait with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait in milliseconds. @default 15,000: long enough to take over an abandoned lock */
  readonly waitMs?: number | undefined;
}

/** A lock that this process holds. */
export interface Lock {
  /** Returns false if another process has taken the lock over, as it does if this one was stopped or its machine slept. */
  isHeld(): boolean;
}

const WAIT_MS = 15_000;
/** First and longest delay between two checks of a lock, in milliseconds. */
const FIRST_DELAY_MS = 3, LONGEST_DELAY_MS = 65;
/** Interval at which a holder touches the lock file. */
const HEARTBEAT_MS = 500;
/** Time without a change after which a lock counts as abandoned. MSAL holds its locks for a moment. */
const SILENT_MS = 10_000;
/** The same for MSAL's lock if no process here has its pid: MSAL does not say which machine the pid is on. */
const MSAL_GONE_MS = 2000;
/** A watcher that has not looked for this long was itself stopped, and cannot count that time. */
const GAP_MS = 2000;
/** A longer text is not MSAL's, which is a pid and the path of a program. */
const MAX_TEXT_BYTES = 8192;
const NAME = "latchkey";

/**
 * Calls a function while this caller alone holds the lock: in this process or another, on any machine that shares the folder.
 *
 * @param path Path of the lock file, such as `tokens.json.lockfile`. Its folder is created if it is missing.
 * @param work Checks `isHeld` right before it replaces anything: a process that was stopped loses the lock.
 * @throws {LatchkeyError} `timed_out` if others held it for too long; `configuration` if it cannot be created, or others
 * could remove it; `missing_dependency` if Deno does not permit it.
 */
export async function withLock<T>(
  path: string,
  work: (lock: Lock) => Promise<T>,
  { signal, waitMs = WAIT_MS }: LockOptions = {},
): Promise<T> {
  const folder = folderOf(path);
  if (!(waitMs >= 0)) throw new RangeError(`waitMs must not be negative: ${waitMs}`);
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "write"), untilMs = performance.now() + waitMs;
  return await withMutex(path, async () => {
    const lock = await waitForLock(files, path, { signal, untilMs });
    lock.keepAlive();
    let result: T;
    try {
      result = await work(lock);
    } catch (error) {
      try {
        lock.release();
      } catch {
        // The failure of the work says more. Another process takes the lock over.
      }
      throw error;
    }
    try {
      lock.release();
    } catch (error) {
      throw fileFailure(error, { doing: "remove", path });
    }
    return result;
  }, { signal, waitMs, onTimeout: () => timedOut(path, "this program itself") });
}

async function waitForLock(
  files: LocalFiles,
  path: string,
  { signal, untilMs }: { readonly signal: AbortSignal | undefined; readonly untilMs: number },
): Promise<HeldLock> {
  const watches = { lock: watchLock(), takeover: watchLock() };
  try {
    makePrivateFolder(files, folderOf(path));
    for (let delayMs = FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 1.5, LONGEST_DELAY_MS)) {
      const lock = createLock(files, path);
      if (lock) return lock;
      const look = lookAtLock(files, path);
      if (look && removeAbandonedLock(files, path, look, watches)) continue;
      if (performance.now() >= untilMs) throw timedOut(path, nameOfHolder(files, look?.text));
      await delayWithJitter(delayMs, signal);
    }
  } catch (error) {
    throw fileFailure(error, { doing: "lock", path, signal });
  }
}

function timedOut(path: string, holder: string): LatchkeyError {
  return new LatchkeyError("timed_out", `Cannot lock ${path}: ${holder} has it`, {
    hint: `Try again. If ${holder} does not run on any machine that has this folder, remove ${path}`,
  });
}

function nameOfHolder(files: LocalFiles, text = ""): string {
  const holder = readLockText(text), host = /\bhost=(\S+)/.exec(holder?.location ?? "")?.[1];
  if (!holder) return "another program";
  const isElsewhere = host !== undefined && host !== encodeURIComponent(files.processLocation().host ?? "");
  return `process ${holder.pid}${isElsewhere ? ` on ${host}` : ""}`;
}

interface HeldLock extends Lock {
  /** Touches the file at intervals until the release. */
  keepAlive(): void;
  /** Removes the file, unless another process has taken the lock over. */
  release(): void;
}

/** Creates a lock file. @returns `undefined` if it exists. */
function createLock(files: LocalFiles, path: string): HeldLock | undefined {
  const file = createIfFree(files, path);
  if (!file) return undefined;
  const { id } = file.facts(), text = writeLockText(ownPid(), files.processLocation());
  let first: AbortSignal | undefined, timer: ReturnType<typeof setInterval> | undefined;

  // The file stays open while the lock is held, so that no other file gets its id. The path is opened again each time: for an
  // open file, a network file system may show old content. MSAL for Python writes its own pid into the existing file once it
  // has waited long enough.
  const isOurs = () => {
    const look = lookAtLock(files, path);
    return look?.id === id && look.text === text;
  };
  const touch = () => {
    try {
      // Setting the time reaches a file server at once; a write may stay on this machine.
      if (isOurs()) file.touch();
    } catch {
      // Others see that the file does not change.
    }
  };
  const startTouching = () => {
    touch();
    timer = setInterval(touch, HEARTBEAT_MS);
    const deno = denoNamespace(); // the timer does not keep the process alive
    deno ? deno.unrefTimer(Number(timer)) : (timer as { unref?(): unknown }).unref?.();
  };
  const lock: HeldLock = {
    keepAlive() {
      // Most work ends earlier. The first timer costs Deno 4 ms, AbortSignal.timeout() 0.3.
      first = AbortSignal.timeout(HEARTBEAT_MS);
      first.addEventListener("abort", startTouching);
    },
    isHeld() {
      try {
        return isOurs();
      } catch {
        return false; // a file that cannot be read may be another process's
      }
    },
    release() {
      first?.removeEventListener("abort", startTouching);
      clearInterval(timer);
      try {
        if (isOurs()) files.remove(path);
      } finally {
        file.close();
      }
    },
  };
  try {
    file.write(new TextEncoder().encode(text));
  } catch (error) {
    files.remove(path);
    file.close();
    throw error;
  }
  return lock;
}

function createIfFree(files: LocalFiles, path: string): OpenFile | undefined {
  try {
    return files.create(path);
  } catch (error) {
    // On Windows a removed file is in the way until everybody has closed it.
    const taken = operatingSystem() === "win32" ? ["EEXIST", "EPERM", "EACCES", "EBUSY"] : ["EEXIST"];
    if (taken.includes(errorCodeOf(error))) return undefined;
    throw error;
  }
}

interface LockLook {
  readonly id: string;
  /** Modification time by any clock: it is only compared with itself. */
  readonly changedMs: number;
  /** Its text; `undefined` if this user may not read it. */
  readonly text: string | undefined;
}

/** @returns `undefined` if the file does not exist. @throws {LatchkeyError} `configuration` if it is not a regular file. */
function lookAtLock(files: LocalFiles, path: string): LockLook | undefined {
  let file;
  try {
    file = openRegularFile(files, path);
  } catch (error) {
    // A process under sudo may have created it. The folder is ours even so.
    const facts = ["EACCES", "EPERM"].includes(errorCodeOf(error)) ? files.lstat(path) : undefined;
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

/**
 * Removes an abandoned lock. Of all processes that wait, only the one that creates the `.takeover` file does so, after another
 * check, and without an await in between. A takeover file that stays is abandoned too, and is only removed.
 */
function removeAbandonedLock(
  files: LocalFiles,
  path: string,
  look: LockLook,
  watches: { readonly lock: LockWatch; readonly takeover: LockWatch },
): boolean {
  const isLeft = (look: LockLook, watch: LockWatch) =>
    isAbandoned({ text: look.text, unchangedMs: watch(look), ownLocation: files.processLocation(), isProcessGone });
  if (!isLeft(look, watches.lock)) return false;

  const takeover = `${path}.takeover`, turn = createLock(files, takeover);
  if (!turn) {
    const other = lookAtLock(files, takeover);
    if (other && isLeft(other, watches.takeover)) files.remove(takeover);
    return false;
  }
  try {
    const now = lookAtLock(files, path);
    if (!now || !isLeft(now, watches.lock)) return false;
    files.remove(path);
    return true;
  } finally {
    turn.release();
  }
}

/** Returns the time for which a lock has been seen unchanged, in milliseconds. */
type LockWatch = (look: LockLook, clocks?: Clocks) => number;

interface Clocks {
  /** It stands still while the machine sleeps. */
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** Starts to watch a lock. Another machine's clock does not count, nor does time in which this process was stopped. */
export function watchLock(): LockWatch {
  let seen: string | undefined, sinceMs = 0, last: Clocks = { monotonicMs: 0, wallMs: 0 };
  return ({ id, changedMs, text }, clocks = { monotonicMs: performance.now(), wallMs: Date.now() }) => {
    const mark = JSON.stringify([id, changedMs, text]);
    const gapMs = Math.max(clocks.monotonicMs - last.monotonicMs, Math.abs(clocks.wallMs - last.wallMs));
    if (mark !== seen || gapMs > GAP_MS) seen = mark, sinceMs = clocks.monotonicMs;
    last = clocks;
    return clocks.monotonicMs - sinceMs;
  };
}

interface LockSigns extends Pick<LockLook, "text"> {
  /** Time for which the lock file has been seen unchanged, in milliseconds. */
  readonly unchangedMs: number;
  readonly ownLocation: ProcessLocation;
  readonly isProcessGone: (pid: number) => boolean | undefined;
}

/** Returns true if no process holds a lock any more. */
export function isAbandoned({ text, unchangedMs, ownLocation, isProcessGone }: LockSigns): boolean {
  if (unchangedMs >= SILENT_MS) return true;
  const holder = readLockText(text ?? "");
  // Our own pid may be a worker's, or an earlier process's.
  if (!holder || holder.pid === ownPid()) return false;
  if (!holder.isLatchkey) return unchangedMs >= MSAL_GONE_MS && isProcessGone(holder.pid) === true;
  return isUnique(ownLocation) && holder.location === writeLocation(ownLocation) && isProcessGone(holder.pid) === true;
}

export function writeLockText(pid: number, location: ProcessLocation): string {
  return [pid, NAME, writeLocation(location)].join(" ").trim();
}

function writeLocation({ host, bootId, pidNamespace }: ProcessLocation): string {
  const parts = { host: host && encodeURIComponent(host), boot: bootId, pid_namespace: pidNamespace };
  return Object.entries(parts).flatMap(([name, value]) => value ? [`${name}=${value}`] : []).join(" ");
}

/** Returns true if equal locations are the same one. Only Linux has pid namespaces; there the host name is not enough. */
function isUnique({ host, bootId, pidNamespace }: ProcessLocation): boolean {
  return Boolean(host && (operatingSystem() !== "linux" || bootId && pidNamespace));
}

/** Reads the text of a lock file. @returns `undefined` if it has no pid. */
export function readLockText(
  text: string,
): { readonly pid: number; readonly isLatchkey: boolean; readonly location: string } | undefined {
  const [, pid = "", program, location = ""] = /^([1-9]\d{0,9})(?:\s+(\S+)(?:\s+(.*?))?)?\s*$/s.exec(text) ?? [];
  if (pid === "" || Number(pid) > 0x7fff_ffff) return undefined;
  return { pid: Number(pid), isLatchkey: program === NAME, location };
}

interface MutexOptions extends LockOptions {
  readonly waitMs: number;
  /** Returns the error of a longer wait. */
  readonly onTimeout: () => Error;
}

/** For each mutex, the promise that resolves when all callers so far are done. */
const queues = new Map<string, Promise<void>>();

/** Calls a function when all earlier callers in this process are done with the same mutex, and returns its result. */
export async function withMutex<T>(
  name: string,
  work: () => Promise<T>,
  { signal, waitMs, onTimeout }: MutexOptions,
): Promise<T> {
  const before = queues.get(name), done = Promise.withResolvers<void>();
  // After a caller gives up, the next one still waits for those before.
  const all = Promise.all([before, done.promise]).then(() => {});
  queues.set(name, all);
  try {
    if (before && !await withinTime(before.then(() => true), waitMs, signal)) throw onTimeout();
    return await work();
  } finally {
    done.resolve();
    void all.then(() => queues.get(name) === all && queues.delete(name));
  }
}

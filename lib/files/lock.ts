/**
 * Locks between processes, as lock files like MSAL's: whoever creates the file has the lock, and removes it when done.
 *
 * MSAL for Python waits 5 seconds for it, then goes on regardless; MSAL for Node waits 50. Both write `PID PROGRAM` into it.
 * Here the text also says which machine, boot and pid namespace the pid belongs to. Only there can a missing process be told
 * from one that runs elsewhere: in another container, or on another machine that shares the folder. All other locks are
 * believed until they have given no sign of life for a while, by the clock of the process that watches them.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, isProcessGone, operatingSystem, ownPid } from "../runtime/host.ts";
import { errorCodeOf, fileFailure, type LocalFiles, type OpenFile, type ProcessLocation } from "./files.ts";
import { openLocalFiles } from "./open.ts";
import { folderOf, makePrivateFolder, openRegularFile } from "./private_files.ts";

/** How a lock is waited for. */
export interface LockOptions {
  /** Ends the waiting with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds. @default 15,000: long enough to take over a lock that was left behind */
  readonly waitMs?: number | undefined;
}

/** A lock, while work is done under it. */
export interface Lock {
  /** Returns false once others have taken it over: they do when this process was stopped, or its machine slept. */
  isHeld(): boolean;
}

const WAIT_MS = 15_000;
/** How long to wait between two looks at a lock, in milliseconds: at first, and at most. */
const FIRST_DELAY_MS = 2, LONGEST_DELAY_MS = 50;
/** How often a holder shows that it lives. */
const SIGN_OF_LIFE_MS = 500;
/** How long a lock is watched without a change before it counts as left behind. MSAL's are held for a moment. */
const SILENT_MS = 10_000;
/** The same for a lock of MSAL's whose process is not on this machine. MSAL does not say which machine it means. */
const MSAL_GONE_MS = 2000;
/** A watcher that has not looked for so long was stopped itself. It knows nothing of that time. */
const GAP_MS = 2000;
/** Longer texts are not MSAL's: a pid and a program's path. */
const MAX_TEXT_BYTES = 8192;
const NAME = "latchkey";

/**
 * Works while nobody else does: in this process or another, on this machine or on others that share the folder.
 *
 * @param path Path of the lock file, such as `tokens.json.lockfile`. Its folder is created if it is missing.
 * @param work May take long. Right before it replaces anything, it asks `isHeld`: a process that was stopped loses the lock.
 * @param options How long to wait.
 * @returns The result of `work`.
 * @throws {LatchkeyError} `timed_out` if others held it for too long; `configuration` if it cannot be created, or if others
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
        // The failure of the work says more. Others take the lock over.
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
  const watches: Watches = { lock: watchLock(), takeover: watchLock() };
  try {
    makePrivateFolder(files, folderOf(path));
    for (let delayMs = FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 1.5, LONGEST_DELAY_MS)) {
      const lock = createLock(files, path);
      if (lock) return lock;
      const look = lookAtLock(files, path);
      if (look && removeAbandonedLock(files, path, { look, watches })) continue;
      if (performance.now() >= untilMs) throw timedOut(path, nameOfHolder(files, look?.text));
      await delay(delayMs * (0.5 + Math.random()), signal); // not everybody at the same time
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
  const holder = readLockText(text), host = /\bhost=(\S+)/.exec(holder?.place ?? "")?.[1];
  if (!holder) return "another program";
  const isElsewhere = host !== undefined && host !== encodeURIComponent(files.processLocation().host ?? "");
  return `process ${holder.pid}${isElsewhere ? ` on ${host}` : ""}`;
}

async function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
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

interface HeldLock extends Lock {
  /** Shows others twice a second that this process lives, until the lock is released. */
  keepAlive(): void;
  /** Removes it, unless somebody else has taken it over. */
  release(): void;
}

/** Creates a lock file. @returns `undefined` if there is one. */
function createLock(files: LocalFiles, path: string): HeldLock | undefined {
  const file = createIfFree(files, path);
  if (!file) return undefined;
  const { id } = file.facts(), text = writeLockText(ownPid(), files.processLocation());
  let first: AbortSignal | undefined, timer: ReturnType<typeof setInterval> | undefined;

  // The file stays open while the lock is held, so that no other file gets its id. The path is opened again each time: of
  // what was opened before, a network file system may show something old. MSAL for Python writes its own pid into the file
  // that is there when it does not wait any longer.
  const isOurs = () => {
    const look = lookAtLock(files, path);
    return look?.id === id && look.text === text;
  };
  const isHeld = () => {
    try {
      return isOurs();
    } catch {
      return false; // if it cannot be read, it may be anybody's
    }
  };
  const showLife = () => {
    try {
      // Setting the time reaches a file server at once; a write may stay on this machine.
      if (isOurs()) file.touch();
    } catch {
      // Those who wait go by the signs that they see.
    }
  };
  const goOn = () => {
    showLife();
    timer = setInterval(showLife, SIGN_OF_LIFE_MS);
    const deno = denoNamespace(); // the program may end while the timer runs
    deno ? deno.unrefTimer(Number(timer)) : (timer as { unref?(): unknown }).unref?.();
  };
  const lock: HeldLock = {
    keepAlive() {
      // Most work is done before. A first timer takes Deno 4 ms, a signal with a time limit 0.3.
      first = AbortSignal.timeout(SIGN_OF_LIFE_MS);
      first.addEventListener("abort", goOn);
    },
    isHeld,
    release() {
      first?.removeEventListener("abort", goOn);
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
    const name = errorCodeOf(error);
    // On Windows a file that is being removed is in the way for as long as somebody has it open.
    if (name === "EEXIST") return undefined;
    if (operatingSystem() === "win32" && ["EPERM", "EACCES", "EBUSY"].includes(name)) return undefined;
    throw error;
  }
}

/** A look at a lock file. */
interface LockLook {
  readonly id: string;
  /** When it last changed, by whatever clock. Compared only with itself. */
  readonly changedMs: number;
  /** Its text; `undefined` if it may not be read. */
  readonly text: string | undefined;
}

/** @returns `undefined` if it is not there. @throws {LatchkeyError} `configuration` if it is not a file. */
function lookAtLock(files: LocalFiles, path: string): LockLook | undefined {
  let file;
  try {
    file = openRegularFile(files, path);
  } catch (error) {
    // Created by sudo, say. It is in a folder of ours even so.
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

interface Watches {
  readonly lock: LockWatch;
  readonly takeover: LockWatch;
}

/**
 * Removes a lock that was left behind. Among all who wait, one does: the one that creates the `.takeover` file, and looks again.
 * That takes a moment in which nothing is awaited. A takeover file that stays was left behind too, and is only removed.
 */
function removeAbandonedLock(
  files: LocalFiles,
  path: string,
  { look, watches }: { readonly look: LockLook; readonly watches: Watches },
): boolean {
  const isLeft = (look: LockLook, watch: LockWatch) =>
    isAbandoned({ text: look.text, unchangedMs: watch(look), ownPlace: files.processLocation(), isProcessGone });
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

/** Tells for how long a lock has been seen not to change, in milliseconds, each time that it is looked at. */
type LockWatch = (look: LockLook, clocks?: Clocks) => number;

/** The times at which a lock is looked at, in milliseconds. */
interface Clocks {
  /** By the clock that never jumps. It stands still while the machine sleeps. */
  readonly monotonicMs: number;
  /** By the clock on the wall. It goes on then. */
  readonly wallMs: number;
}

/** Starts to watch a lock. No other machine's clock counts, and no time in which the watcher was stopped. */
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

/** Facts about a lock that another process may hold. */
interface LockSigns {
  /** Its text; `undefined` if it may not be read. */
  readonly text: string | undefined;
  /** For how long it has been seen not to change, in milliseconds. */
  readonly unchangedMs: number;
  /** Where this process runs. */
  readonly ownPlace: ProcessLocation;
  /** Tells whether no process of this machine has a pid; `undefined` if that cannot be known. */
  readonly isProcessGone: (pid: number) => boolean | undefined;
}

/** Returns true if nobody holds a lock any more. */
export function isAbandoned({ text, unchangedMs, ownPlace, isProcessGone }: LockSigns): boolean {
  if (unchangedMs >= SILENT_MS) return true;
  const holder = readLockText(text ?? "");
  // This process's own pid may be that of a worker of it, or of another process before it.
  if (!holder || holder.pid === ownPid()) return false;
  if (!holder.isLatchkey) return unchangedMs >= MSAL_GONE_MS && isProcessGone(holder.pid) === true;
  return isWholePlace(ownPlace) && holder.place === writePlace(ownPlace) && isProcessGone(holder.pid) === true;
}

/** What is written into a lock file. */
export function writeLockText(pid: number, place: ProcessLocation): string {
  return [pid, NAME, writePlace(place)].join(" ").trim();
}

function writePlace({ host, bootId, pidNamespace }: ProcessLocation): string {
  const parts = { host: host && encodeURIComponent(host), boot: bootId, pid_namespace: pidNamespace };
  return Object.entries(parts).flatMap(([name, value]) => value ? [`${name}=${value}`] : []).join(" ");
}

/** Returns true if equal places are the same place. Only Linux has pid namespaces, and a host's name alone is not enough there. */
function isWholePlace({ host, bootId, pidNamespace }: ProcessLocation): boolean {
  return Boolean(host && (operatingSystem() !== "linux" || bootId && pidNamespace));
}

/** Reads the text of a lock file. @returns `undefined` if no pid is in it. */
export function readLockText(
  text: string,
): { readonly pid: number; readonly isLatchkey: boolean; readonly place: string } | undefined {
  const [, pid = "", program, place = ""] = /^([1-9]\d{0,9})(?:\s+(\S+)(?:\s+(.*?))?)?\s*$/s.exec(text) ?? [];
  if (pid === "" || Number(pid) > 0x7fff_ffff) return undefined;
  return { pid: Number(pid), isLatchkey: program === NAME, place };
}

/** How a turn is waited for. */
interface MutexOptions {
  /** Ends the waiting with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds. */
  readonly waitMs: number;
  /** Makes the error of a wait that was longer. */
  readonly onTimeout: () => Error;
}

/** By name, the promise that ends when all who came so far are done. */
const queues = new Map<string, Promise<void>>();

/**
 * Works when all in this program are done that came before under the same name.
 *
 * @param name Name of the mutex.
 * @param work The work.
 * @param options How long to wait.
 * @returns The result of `work`.
 */
export async function withMutex<T>(name: string, work: () => Promise<T>, options: MutexOptions): Promise<T> {
  const before = queues.get(name), done = Promise.withResolvers<void>();
  // Whoever gives up lets the next one wait on for those before.
  const all = Promise.all([before, done.promise]).then(() => {});
  queues.set(name, all);
  try {
    if (before) await waitFor(before, options);
    return await work();
  } finally {
    done.resolve();
    if (queues.get(name) === all) queues.delete(name);
  }
}

async function waitFor(before: Promise<void>, { signal, waitMs, onTimeout }: MutexOptions): Promise<void> {
  const stop = Promise.withResolvers<never>();
  const abort = () => stop.reject(signal!.reason);
  // Node takes no longer time.
  const timer = waitMs < 2 ** 31 ? setTimeout(() => stop.reject(onTimeout()), waitMs) : undefined;
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    await Promise.race([before, stop.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

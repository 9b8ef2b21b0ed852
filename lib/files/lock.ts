/**
 * Locks between processes, as lock files like MSAL's: the process that creates the file has the lock, and removes it when done.
 *
 * MSAL for Python waits 5 seconds for it, then goes on regardless; MSAL for Node waits 50. Both write `PID PROGRAM` into it.
 * Our content also names the machine, the boot, the pid namespace and the start of the process. If the first three match this
 * process's own, the holder can be looked up:
 * - It is gone, or another process has its pid now: the lock is taken over at once.
 * - It runs: the lock is its own although it gives no sign of life, since it may be stopped (SIGSTOP, Ctrl-Z) or blocked in
 *   the middle of a renewal. A second renewal with the same refresh token could end the sign-in. It is waited for, a minute.
 * A holder that cannot be looked up, as on Deno without permission, in another container, or on another machine that shares the
 * folder, counts as gone once its lock has not changed for 10 seconds, by the clock of the process that watches it. A holder
 * that runs touches its lock twice a second.
 *
 * @module
 */
import { type Clock, delayWithJitter, Mutex, runtimeClock } from "../async.ts";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, isProcessGone, operatingSystem, ownPid } from "../runtime/host.ts";
import { folderOf } from "../runtime/path.ts";
import { errorCodeOf, fileFailure, type LocalFiles, type OpenFile, type ProcessLocation } from "./files.ts";
import { makePrivateFolder, openLocalFiles, openRegularFile } from "./permissions.ts";

/** Options of {@linkcode withLock}. */
export interface LockOptions {
  /** Ends the wait with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait in milliseconds. @default 75,000: long enough to take over a lock whose holder gives no sign of life */
  readonly waitMs?: number | undefined;
  /** Clock of the waiting for other processes. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** A lock that this process holds. */
export interface Lock {
  /** Returns false if another process has taken the lock over, as it does if this one was stopped or its machine slept. */
  isHeld(): boolean;
}

const WAIT_MS = 75_000;
/** First and longest delay between two checks of a lock, in milliseconds. */
const FIRST_DELAY_MS = 3;
const LONGEST_DELAY_MS = 65;
/** Interval at which a holder touches the lock file. */
const HEARTBEAT_MS = 500;
/** Time without a change after which a lock counts as abandoned if its holder runs on this machine. */
const RUNNING_MS = 60_000;
/** The same for a holder that cannot be looked up, or that is MSAL, which holds its locks for a moment. */
const UNKNOWN_MS = 10_000;
/** The same for MSAL's lock if no process here has its pid: MSAL does not say which machine the pid is on. */
const MSAL_GONE_MS = 2000;
/** A watcher that has not looked for this long was itself stopped, and cannot count that time. */
const GAP_MS = 2000;
/** A longer text is not MSAL's, which is a pid and the path of a program. */
const MAX_TEXT_BYTES = 8192;
const NAME = "latchkey";

/** Callers of this process, by the path of the lock file. */
const callersHere = new Mutex();

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
  { signal, waitMs = WAIT_MS, clock = runtimeClock }: LockOptions = {},
): Promise<T> {
  const folder = folderOf(path);
  if (!(waitMs >= 0)) throw new RangeError(`waitMs must not be negative: ${waitMs}`);
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "write");
  const untilMs = clock.monotonicMs() + waitMs;
  return await callersHere.run(path, async () => {
    const lock = await waitForLock(files, path, { signal, untilMs, clock });
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
  }, { signal, limit: { waitMs, onTimeout: () => timedOut(path, "this program itself") } });
}

async function waitForLock(
  files: LocalFiles,
  path: string,
  { signal, untilMs, clock }: {
    readonly signal: AbortSignal | undefined;
    readonly untilMs: number;
    readonly clock: Clock;
  },
): Promise<HeldLock> {
  const watches = { lock: watchLock(clock), takeover: watchLock(clock) };
  try {
    makePrivateFolder(files, folderOf(path));
    for (let delayMs = FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 1.5, LONGEST_DELAY_MS)) {
      const lock = createLock(files, path);
      if (lock) return lock;
      const look = lookAtLock(files, path);
      if (look && removeAbandonedLock(files, path, look, watches)) continue;
      if (clock.monotonicMs() >= untilMs) throw timedOut(path, nameOfHolder(files, look?.text));
      await delayWithJitter(delayMs, signal, clock);
    }
  } catch (error) {
    throw fileFailure(error, { doing: "lock", path, signal });
  }
}

function timedOut(path: string, holder: string): LatchkeyError {
  return new LatchkeyError("timed_out", `Cannot lock ${path}: ${holder} has it`, {
    remedy: `Try again. If ${holder} does not run on any machine that has this folder, remove ${path}`,
  });
}

function nameOfHolder(files: LocalFiles, text = ""): string {
  const holder = readLockText(text);
  const host = /\bhost=(\S+)/.exec(holder?.location ?? "")?.[1];
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
  const { id } = file.facts();
  const pid = ownPid();
  const text = writeLockText(pid, files.processLocation(), files.processFacts(pid)?.start);
  let first: AbortSignal | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;

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
    isAbandoned(look.text, {
      unchangedMs: watch(look),
      ownLocation: files.processLocation(),
      processFacts: files.processFacts,
      isProcessGone,
    });
  if (!isLeft(look, watches.lock)) return false;

  const takeover = `${path}.takeover`;
  const turn = createLock(files, takeover);
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
type LockWatch = (look: LockLook) => number;

/** Starts to watch a lock. Another machine's clock does not count, nor does time in which this process was stopped. */
export function watchLock(clock: Pick<Clock, "monotonicMs" | "wallMs">): LockWatch {
  let seen: string | undefined;
  let sinceMs = 0;
  let last = { monotonicMs: 0, wallMs: 0 };
  return ({ id, changedMs, text }) => {
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const mark = JSON.stringify([id, changedMs, text]);
    const gapMs = Math.max(now.monotonicMs - last.monotonicMs, Math.abs(now.wallMs - last.wallMs));
    if (mark !== seen || gapMs > GAP_MS) {
      seen = mark;
      sinceMs = now.monotonicMs;
    }
    last = now;
    return now.monotonicMs - sinceMs;
  };
}

interface LockSigns extends Pick<LocalFiles, "processFacts"> {
  /** Time for which the lock file has been seen unchanged, in milliseconds. */
  readonly unchangedMs: number;
  readonly ownLocation: ProcessLocation;
  readonly isProcessGone: (pid: number) => boolean | undefined;
}

/** Returns true if the holder of a lock with this content is gone, or counts as gone. */
export function isAbandoned(text: string | undefined, signs: LockSigns): boolean {
  return signs.unchangedMs >= silenceOf(readLockText(text ?? ""), signs);
}

/** Returns the time without a change, in milliseconds, after which a holder counts as gone. */
function silenceOf(holder: LockHolder | undefined, signs: LockSigns): number {
  if (!holder) return UNKNOWN_MS;
  const state = stateOf(holder, signs);
  if (!holder.isLatchkey) return state === "gone" ? MSAL_GONE_MS : UNKNOWN_MS;
  const place = placeOf(holder.location, signs.ownLocation);
  if (place === "elsewhere") return UNKNOWN_MS;
  if (state === "running") return RUNNING_MS;
  return state === "gone" && place === "here" ? 0 : UNKNOWN_MS;
}

/** Returns the state of the process here that has the pid of a holder and, if both are known, its start. */
function stateOf(
  { pid, start }: LockHolder,
  { processFacts, isProcessGone }: LockSigns,
): "running" | "gone" | "unknown" {
  const isGone = isProcessGone(pid);
  if (isGone) return "gone";
  const facts = processFacts(pid);
  if (facts) return facts.hasEnded || (start !== undefined && start !== facts.start) ? "gone" : "running";
  return isGone === undefined ? "unknown" : "running";
}

/** Returns `unknown` if one of the locations lacks a part, so that pids may be of the same place or not. */
function placeOf(location: string, own: ProcessLocation): "here" | "elsewhere" | "unknown" {
  const ownParts = writeLocation(own).split(" ");
  if (isUnique(own) && location === ownParts.join(" ")) return "here";
  const differs = location.split(" ").some((part) => {
    const name = part.slice(0, part.indexOf("=") + 1);
    return name !== "" && !ownParts.includes(part) && ownParts.some((each) => each.startsWith(name));
  });
  return differs ? "elsewhere" : "unknown";
}

/** Returns the content of a lock file. Versions without `start` take the whole for a location that is not their own. */
export function writeLockText(pid: number, location: ProcessLocation, start?: string): string {
  return [pid, NAME, writeLocation(location), start && `start=${start}`].filter(Boolean).join(" ");
}

function writeLocation({ host, bootId, pidNamespace }: ProcessLocation): string {
  const parts = { host: host && encodeURIComponent(host), boot: bootId, pid_namespace: pidNamespace };
  return Object.entries(parts).flatMap(([name, value]) => value ? [`${name}=${value}`] : []).join(" ");
}

/** Returns true if equal locations are the same one. Only Linux has pid namespaces; there the host name is not enough. */
function isUnique({ host, bootId, pidNamespace }: ProcessLocation): boolean {
  return Boolean(host && (operatingSystem() !== "linux" || bootId && pidNamespace));
}

interface LockHolder {
  readonly pid: number;
  readonly isLatchkey: boolean;
  readonly location: string;
  /** Start of the process; see `ProcessFacts`. */
  readonly start: string | undefined;
}

/** Reads the content of a lock file. @returns `undefined` if it has no pid. */
export function readLockText(text: string): LockHolder | undefined {
  const [, pid = "", program, rest = ""] = /^([1-9]\d{0,9})(?:\s+(\S+)(?:\s+(.*?))?)?\s*$/s.exec(text) ?? [];
  if (pid === "" || Number(pid) > 0x7fff_ffff) return undefined;
  const [, location = rest, start] = /^(.*?) ?\bstart=(\d+)$/s.exec(rest) ?? [];
  return { pid: Number(pid), isLatchkey: program === NAME, location, start };
}

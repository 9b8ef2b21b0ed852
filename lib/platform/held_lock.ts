/**
 * A lock file that this process made.
 *
 * @module
 */
import { denoNamespace, operatingSystem } from "./host.ts";
import { errorNameOf, type LocalFiles, type OpenFile } from "./local_files.ts";
import { lockText } from "./lock_holder.ts";
import { ownPid } from "./process_life.ts";

/** A lock that is held. */
export interface HeldLock {
  /** When it was made, in milliseconds since 1970, by the clock of its file system. */
  readonly madeMs: number;
  /** From now on shows others twice a second that this process lives, for as long as the lock is held. */
  keepAlive(): void;
  /** Whether nobody has taken it over: a machine that slept, or a stopped process, counts as dead after a while. */
  isHeld(): boolean;
  /** Removes it, unless somebody else has taken it over. */
  release(): void;
}

const SIGN_OF_LIFE_MS = 500;

/** The locks that are held here: a file with this process's number that is not among them was left by an earlier one. */
const heldIds = new Set<string>();

/** Whether this process holds a lock file, by the file's id. */
export function isHeldHere(id: string): boolean {
  return heldIds.has(id);
}

/**
 * Makes a lock file.
 *
 * @returns `undefined` when there is one.
 */
export function takeLock(files: LocalFiles, path: string): HeldLock | undefined {
  const file = createIfFree(files, path), text = lockText(ownPid());
  if (!file) return undefined;
  const { id, changedMs } = file.facts();
  heldIds.add(id);
  let first: AbortSignal | undefined, timer: ReturnType<typeof setInterval> | undefined;

  // Open as long as it is held, so that no other file gets its id. MSAL for Python, when it does not wait any longer,
  // writes into the file that is there.
  const isOurs = () => files.look(path)?.id === id && new TextDecoder().decode(file.read()) === text;
  const write = () => file.write(new TextEncoder().encode(text));

  const isHeld = () => {
    try {
      return isOurs();
    } catch {
      return false; // who cannot look at it does not know
    }
  };
  const showLife = () => {
    try {
      if (isOurs()) write(); // not a time of ours: the clock of the file system counts
    } catch {
      // Nothing to be done: those who wait believe it for staleMs.
    }
  };
  const goOn = () => {
    showLife();
    timer = setInterval(showLife, SIGN_OF_LIFE_MS);
    letGo(timer);
  };

  const lock: HeldLock = {
    madeMs: changedMs,
    keepAlive() {
      // Most work is done before: a first timer takes Deno 4 ms, a signal with a time limit 0.3.
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
        heldIds.delete(id);
        file.close();
      }
    },
  };

  try {
    write();
  } catch (error) {
    files.remove(path);
    heldIds.delete(id);
    file.close();
    throw error;
  }
  return lock;
}

function createIfFree(files: LocalFiles, path: string): OpenFile | undefined {
  try {
    return files.create(path);
  } catch (error) {
    if (meansTaken(errorNameOf(error))) return undefined;
    throw error;
  }
}

function meansTaken(name: string): boolean {
  // What is being removed on Windows is in the way for as long as somebody has it open.
  return name === "EEXIST" || operatingSystem() === "win32" && ["EPERM", "EACCES", "EBUSY"].includes(name);
}

/** Lets the program end while a timer still runs. */
function letGo(timer: ReturnType<typeof setInterval>): void {
  const deno = denoNamespace();
  if (deno) deno.unrefTimer(Number(timer));
  else (timer as { unref?(): unknown }).unref?.();
}

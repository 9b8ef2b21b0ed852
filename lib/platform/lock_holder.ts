/**
 * Who holds a lock file, by what is written in it, and whether they are gone.
 *
 * @module
 */

/** What is known of a lock file and whoever made it. */
export interface LockSigns {
  /** What is written in it; `undefined` when it may not be read. */
  readonly text: string | undefined;
  /** Whether its process is gone; `undefined` when that cannot be known. Asked only when it matters. */
  readonly isGone: (pid: number) => boolean | undefined;
  /** For how long it has not changed, in milliseconds, by the clock of its file system. */
  readonly ageMs: number;
  /** For how long this process has seen it not change, in milliseconds. */
  readonly watchedMs: number;
  /** After how many milliseconds without a change nobody can be at work any more. */
  readonly staleMs: number;
}

/** The process may run in another container, where its number means another one: it has so long to show that it lives. */
const GONE_MS = 2000;
/** Between making a lock and writing into it lies a moment, unless the process was killed in it. */
const EMPTY_MS = 10_000;
/** Ours show twice a second that they live: who does not is gone, or would have to be seen stopped. */
const SILENT_MS = 5000;
/** A machine that slept wakes to locks that are hours old, and their holders go on. */
const AWAKE_MS = 2000;
const NAME = "latchkey";

/** What is written into a lock file. MSAL writes the process's number as well, its Python version with a name behind it. */
export function lockText(pid: number): string {
  return `${pid} ${NAME}`;
}

/** The process that is written in a lock file; `undefined` when none is. */
export function holderOf(text: string): number | undefined {
  const pid = Number(/^([1-9]\d{0,9})(?:\s|$)/.exec(text)?.[1]);
  return pid <= 0x7fff_ffff ? pid : undefined;
}

/** Whether nobody holds a lock any more, however it came to be left behind. */
export function isStale({ text, isGone, ageMs, watchedMs, staleMs }: LockSigns): boolean {
  const unchangedMs = Math.max(ageMs, watchedMs);
  if (unchangedMs < GONE_MS && unchangedMs < staleMs) return false;
  const pid = text === undefined ? undefined : holderOf(text);
  if (text !== undefined && pid === undefined) return unchangedMs >= EMPTY_MS;

  const gone = pid === undefined ? undefined : isGone(pid);
  if (gone) return unchangedMs >= GONE_MS;
  if (gone === undefined && text === `${pid} ${NAME}` && watchedMs >= SILENT_MS) return true;
  return unchangedMs >= staleMs && watchedMs >= Math.min(AWAKE_MS, staleMs);
}

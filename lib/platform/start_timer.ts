/**
 * Timers for time limits that a caller may have set to anything.
 *
 * @module
 */

/** More than this, and a timer goes off at once, on every runtime. It is 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Starts a timer; a limit that is too long for one, or has no end, is the longest there is. */
export function startTimer(listener: () => void, milliseconds: number): ReturnType<typeof setTimeout> {
  return setTimeout(listener, Math.min(milliseconds, MAX_TIMER_MS));
}

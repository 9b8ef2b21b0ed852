/** Clocks for what waits, so that no test waits for real time. */
import type { Clock } from "../../lib/async.ts";

const BEGIN_MS = 1_000_000;
/** Shorter than the gap after which a watcher of a lock counts as stopped between two looks. */
const STEP_MS = 600;

/** A clock that runs fast: each wait ends at once, and moves it on. */
export function fastClock(): { readonly clock: Clock; readonly elapsedMs: () => number } {
  let nowMs = BEGIN_MS;
  const now = () => nowMs;
  const delay = async (milliseconds: number, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted();
    nowMs += Math.max(milliseconds, STEP_MS);
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
  };
  return { clock: { monotonicMs: now, wallMs: now, delay }, elapsedMs: () => nowMs - BEGIN_MS };
}

/** A clock that stands still until it is moved on. */
export function standingClock(): { readonly clock: Clock; readonly moveOn: (milliseconds: number) => void } {
  let nowMs = BEGIN_MS;
  const now = () => nowMs;
  const waits = new Set<{ readonly untilMs: number; readonly resolve: () => void }>();
  const delay = async (milliseconds: number, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted();
    const end = Promise.withResolvers<void>();
    const wait = { untilMs: nowMs + milliseconds, resolve: end.resolve };
    const abort = () => end.reject(signal!.reason);
    waits.add(wait);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await end.promise;
    } finally {
      waits.delete(wait);
      signal?.removeEventListener("abort", abort);
    }
  };
  const moveOn = (milliseconds: number) => {
    nowMs += milliseconds;
    for (const { untilMs, resolve } of waits) if (untilMs <= nowMs) resolve();
  };
  return { clock: { monotonicMs: now, wallMs: now, delay }, moveOn };
}

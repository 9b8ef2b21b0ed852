/**
 * Waiting that an abort or a time limit ends, and work that goes on until it is done.
 *
 * @module
 */

/**
 * Waits for a promise, but no longer than until a signal.
 *
 * @returns What the promise gives; the promise goes on after an abort.
 */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

const TICK_MS = 1_000;

/**
 * Calls a function after a time in which the program ran. A program that was stopped, or whose machine slept, finds the
 * answer that came meanwhile before its time is up.
 *
 * @param milliseconds The time.
 * @param listener Called once.
 * @returns A function that stops the timer.
 */
export function afterRunning(milliseconds: number, listener: () => void): () => void {
  let left = milliseconds, timer: ReturnType<typeof setTimeout>;
  function tick(): void {
    const stepMs = Math.min(left, TICK_MS), begin = performance.now();
    timer = setTimeout(() => {
      left -= stepMs;
      if (performance.now() - begin > stepMs + TICK_MS) left = Math.max(left, TICK_MS);
      if (left > 0) tick();
      else listener();
    }, stepMs);
  }
  tick();
  return () => clearTimeout(timer);
}

/**
 * Work that is finished once it has begun, whoever gives it up: a renewal spends a refresh token that may be good once, and
 * its answer has to be stored.
 */
export class InFlight {
  readonly #works = new Set<Promise<void>>();

  /** Does a piece of work. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const end = Promise.withResolvers<void>();
    this.#works.add(end.promise);
    try {
      return await work();
    } finally {
      this.#works.delete(end.promise);
      end.resolve();
    }
  }

  /** Waits until no work is under way. @param limitMs For how long at most, in milliseconds. By default as long as it takes. */
  async drained(limitMs?: number): Promise<void> {
    const isOver = new AbortController(), { signal } = isOver;
    if (this.#works.size === 0) return;
    const stopLimit = limitMs === undefined ? () => {} : afterRunning(limitMs, () => isOver.abort());
    try {
      while (this.#works.size > 0) await untilAborted(Promise.all(this.#works), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stopLimit();
    }
  }
}

/** The renewals of this process. */
export const renewalsInFlight: InFlight = new InFlight();

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

interface SharedCall<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  callers: number;
}

/** Calls under way, by what they ask for. */
export class SingleFlight<T> {
  readonly #running = new Map<string, SharedCall<T>>();

  /**
   * Joins the call of this key that is under way, or starts one. A caller that aborts goes at once; the call ends when
   * the last has gone.
   *
   * @param key What is asked for.
   * @param signal The caller's.
   * @param start Starts the call.
   * @returns The call's result.
   */
  async run(key: string, signal: AbortSignal | undefined, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    let call = this.#running.get(key);
    if (!call) {
      const controller = new AbortController();
      const started: SharedCall<T> = {
        result: start(controller.signal).finally(() => this.#forget(key, started)),
        controller,
        callers: 0,
      };
      this.#running.set(key, call = started);
    }
    call.callers++;
    try {
      return await untilAborted(untilAborted(call.result, call.controller.signal), signal);
    } catch (error) {
      if (signal?.aborted && --call.callers === 0) {
        this.#forget(key, call);
        call.controller.abort(signal.reason);
      }
      throw error;
    }
  }

  /** Ends all calls under way, with a reason. Their callers are let go at once. */
  abort(reason: unknown): void {
    const calls = [...this.#running.values()];
    this.#running.clear();
    for (const { controller } of calls) controller.abort(reason);
  }

  #forget(key: string, call: SharedCall<T>): void {
    if (this.#running.get(key) === call) this.#running.delete(key);
  }
}

/**
 * Waits for a promise, but no longer than a time.
 *
 * @returns What the promise gives; `undefined` after the time. The promise goes on.
 * @throws {unknown} the reason of the signal
 */
export async function withinTime<T>(
  promise: Promise<T>,
  milliseconds: number,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>(), timer = startTimer(() => late.resolve(undefined), milliseconds);
  try {
    return await untilAborted(Promise.race([promise, late.promise]), signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for a time.
 *
 * @throws {unknown} the reason of the signal
 */
export async function delay(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await withinTime(new Promise<never>(() => {}), milliseconds, signal);
}

/**
 * Waits for a time that is different each time, so that those who were in each other's way once are not so again.
 *
 * @param milliseconds For how long at most; half of it at least.
 * @param signal Ends the waiting at once.
 * @throws {unknown} the reason of the signal
 */
export async function delayWithJitter(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await delay(milliseconds * (0.5 + Math.random() / 2), signal);
}

/** More than this, and a timer goes off at once, on every runtime. It is 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Starts a timer; a limit that is too long for one, or has no end, is the longest there is. */
export function startTimer(listener: () => void, milliseconds: number): ReturnType<typeof setTimeout> {
  return setTimeout(listener, Math.min(milliseconds, MAX_TIMER_MS));
}

/**
 * Waiting with an abort signal or a time limit, and sharing of calls in flight.
 *
 * @module
 */

/** Waits for a promise until a signal aborts. The work behind the promise goes on after an abort. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Answers that this process waits for, the oldest first. */
const waits = new Set<{ readonly whose: string; readonly sinceMs: number }>();

/** Notes a wait for an answer, of which {@linkcode oldestWait} tells until the returned object is disposed of. */
export function noteWait(whose: string): Disposable {
  const wait = { whose, sinceMs: performance.now() };
  waits.add(wait);
  return { [Symbol.dispose]: () => void waits.delete(wait) };
}

/** Returns whose answer this process has waited for longest, and since when by `performance.now()`. */
export function oldestWait(): { readonly whose: string; readonly sinceMs: number } | undefined {
  const [oldest] = waits;
  return oldest;
}

const TICK_MS = 1_000;

/**
 * Starts a timer that does not count the time in which the process was stopped or the machine slept, so that an answer that
 * came meanwhile is read before the time is up. Returns a function that stops the timer.
 */
export function afterRunning(milliseconds: number, listener: () => void): () => void {
  let left = milliseconds;
  let timer: ReturnType<typeof setTimeout>;
  function tick(): void {
    const stepMs = Math.min(left, TICK_MS);
    const begin = performance.now();
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

/** Work that has to end although its callers gave up: a renewal can use up a refresh token, and its answer has to be stored. */
export class InFlight {
  readonly #works = new Map<Promise<void>, () => number>();

  /** Runs a work. `holdMs` returns the milliseconds that it may keep a program which has nothing else to do. */
  async run<T>(work: () => Promise<T>, holdMs: () => number = () => Infinity): Promise<T> {
    const end = Promise.withResolvers<void>();
    this.#works.set(end.promise, holdMs);
    try {
      return await work();
    } finally {
      this.#works.delete(end.promise);
      end.resolve();
    }
  }

  get isEmpty(): boolean {
    return this.#works.size === 0;
  }

  /** The milliseconds that the works in flight may keep a program which has nothing else to do; 0 if there are none. */
  get holdMs(): number {
    return Math.max(0, ...this.#works.values().map((holdMs) => holdMs()));
  }

  /** Waits until no work is in flight, for at most `limitMs` milliseconds. By default without a limit. */
  async drained(limitMs?: number): Promise<void> {
    if (this.isEmpty) return;
    const limit = new AbortController();
    const { signal } = limit;
    // A timer costs Deno 4 ms, and keeps the program from ending.
    const stopLimit = limitMs === undefined ? undefined : afterRunning(limitMs, () => limit.abort());
    while (!this.isEmpty && !signal.aborted) {
      await untilAborted(Promise.all(this.#works.keys()), signal).catch(() => {}); // only the limit rejects it
    }
    stopLimit?.();
  }
}

/** Renewals of this process. */
export const renewalsInFlight: InFlight = new InFlight();

interface MutexOptions {
  /** Ends the wait with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** The longest wait in milliseconds, and the error of a longer one. @default none */
  readonly limit?: { readonly waitMs: number; readonly onTimeout: () => Error } | undefined;
}

/** Mutual exclusion in this process. */
export class Mutex {
  /** By key, the promise that resolves when all callers so far are done. */
  readonly #queues = new Map<string, Promise<void>>();

  /** Runs a work when all earlier callers with the same key are done, and returns its result. */
  async run<T>(key: string, work: () => Promise<T>, { signal, limit }: MutexOptions = {}): Promise<T> {
    const before = this.#queues.get(key);
    const done = Promise.withResolvers<void>();
    // After a caller gives up, the next one still waits for those before.
    const all = Promise.all([before, done.promise]).then(() => {});
    this.#queues.set(key, all);
    try {
      if (before !== undefined) await untilOver(before, { signal, limit });
      return await work();
    } finally {
      done.resolve();
      void all.then(() => this.#queues.get(key) === all && this.#queues.delete(key));
    }
  }
}

async function untilOver(before: Promise<void>, { signal, limit }: MutexOptions): Promise<void> {
  if (!limit) return await untilAborted(before, signal);
  const isOver = await withinTime(before.then(() => true), limit.waitMs, signal);
  if (!isOver) throw limit.onTimeout();
}

interface SharedCall<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  callers: number;
}

/** Calls in flight: callers with the same key share one call. */
export class SingleFlight<T> {
  readonly #running = new Map<string, SharedCall<T>>();

  /**
   * Joins the call of a key that is in flight, or starts one. A caller that aborts stops waiting at once. The call is aborted
   * when its last caller has aborted.
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
      this.#running.set(key, started);
      call = started;
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

  /** Aborts all calls in flight. Their callers stop waiting at once. */
  abort(reason: unknown): void {
    const calls = [...this.#running.values()];
    this.#running.clear();
    for (const { controller } of calls) controller.abort(reason);
  }

  #forget(key: string, call: SharedCall<T>): void {
    if (this.#running.get(key) === call) this.#running.delete(key);
  }
}

/** The last call that did not succeed. */
export interface CallMark {
  /** Start of the call, or its end if it has failed, in milliseconds since 1970. */
  readonly since: number;
  /** False if the call has not ended yet, or its program ended before it. */
  readonly hasFailed: boolean;
}

/** Outcome of a call. */
export type Outcome<T> = { readonly result: T } | { readonly error: unknown };

interface PauseOptions {
  /** Time in milliseconds after a call that failed. */
  readonly pauseMs: number;
  /** Age in milliseconds at which a call without an end has failed. @default a call always ends */
  readonly callMs?: number | undefined;
  /** Reads and writes the mark where other programs find it. @default it stays in this object */
  readonly marks?: {
    readonly read: () => Promise<CallMark | undefined>;
    readonly write: (mark: CallMark | undefined) => Promise<void>;
  };
  /** Returns the time in milliseconds since 1970. @default `Date.now` */
  readonly now?: (() => number) | undefined;
}

/** A pause after a call that failed, for calls each of which can prompt the user. The caller makes one call at a time. */
export class PauseAfterFailure {
  readonly #options: PauseOptions;
  #mark: CallMark | undefined;

  constructor(options: PauseOptions) {
    this.#options = options;
  }

  /** Returns the time until the next call may be made, in milliseconds; 0 if it may be made now. */
  async leftMs(): Promise<number> {
    const { pauseMs, callMs = Infinity, marks } = this.#options;
    const mark = marks ? await marks.read() : this.#mark;
    if (!mark) return 0;
    const ageMs = this.#now() - mark.since;
    const isPaused = ageMs >= 0 && ageMs < pauseMs && (mark.hasFailed || ageMs > callMs);
    return isPaused ? pauseMs - ageMs : 0;
  }

  /** Makes a call. The pause begins at its end if `isFailure` returns true. */
  async call<T>(work: () => Promise<T>, isFailure: (outcome: Outcome<T>) => boolean): Promise<T> {
    await this.#write({ since: this.#now(), hasFailed: false });
    let hasFailed = true;
    try {
      const result = await work();
      hasFailed = isFailure({ result });
      return result;
    } catch (error) {
      hasFailed = isFailure({ error });
      throw error;
    } finally {
      await this.#write(hasFailed ? { since: this.#now(), hasFailed } : undefined);
    }
  }

  /** Ends the pause. */
  async end(): Promise<void> {
    await this.#write(undefined);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  async #write(mark: CallMark | undefined): Promise<void> {
    this.#mark = mark;
    await this.#options.marks?.write(mark);
  }
}

/** Waits for a promise, but no longer than a time: then it returns `undefined`, and the promise goes on. */
export async function withinTime<T>(
  promise: Promise<T>,
  milliseconds: number,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = startTimer(() => late.resolve(undefined), milliseconds);
  try {
    return await untilAborted(Promise.race([promise, late.promise]), signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for a time. Throws the reason of the signal. */
export async function delay(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await withinTime(new Promise<never>(() => {}), milliseconds, signal);
}

/** A time, as work that waits for others counts it and lets it pass. All in milliseconds. */
export interface Clock {
  /** Returns a time that stands still while the machine sleeps. */
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  /** Waits for a time. Throws the reason of the signal. */
  readonly delay: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** The clock of the runtime. */
export const runtimeClock: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now(), delay };

/** Waits for a half to the whole of a time, at random, so that those who were in each other's way once are not so again. */
export async function delayWithJitter(
  milliseconds: number,
  signal: AbortSignal | undefined,
  { delay }: Pick<Clock, "delay"> = runtimeClock,
): Promise<void> {
  await delay(milliseconds * (0.5 + Math.random() / 2), signal);
}

/** The longest timer, 24 days: with a longer one, every runtime fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Starts a timer. A longer or infinite time becomes the longest timer. */
export function startTimer(listener: () => void, milliseconds: number): ReturnType<typeof setTimeout> {
  return setTimeout(listener, Math.min(milliseconds, MAX_TIMER_MS));
}

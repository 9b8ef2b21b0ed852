/**
 * Work that is done one after the other within a program.
 *
 * @module
 */

/** How a turn is waited for. */
export interface TurnOptions {
  /** Ends the waiting with the signal's reason; not the work. */
  readonly signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds. */
  readonly waitMs: number;
  /** The error of a wait that was longer. */
  readonly onTooLate: () => Error;
}

/** By name, the promise that ends when all who came so far are done. */
const queues = new Map<string, Promise<void>>();

/**
 * Works when all have done so that came before under the same name.
 *
 * @param name Who waits for whom.
 * @param work What is to be done.
 * @param options How long to wait.
 * @returns What `work` gives.
 */
export async function inTurn<T>(name: string, work: () => Promise<T>, options: TurnOptions): Promise<T> {
  const before = queues.get(name), done = Promise.withResolvers<void>();
  // Whoever gives up lets the next one wait on for those before.
  const all = Promise.all([before, done.promise]).then(() => {});
  queues.set(name, all);
  try {
    if (before) await within(before, options);
    return await work();
  } finally {
    done.resolve();
    if (queues.get(name) === all) queues.delete(name);
  }
}

async function within(before: Promise<void>, { signal, waitMs, onTooLate }: TurnOptions): Promise<void> {
  const stop = Promise.withResolvers<never>();
  const abort = () => stop.reject(signal!.reason);
  // Node takes no longer time.
  const timer = waitMs < 2 ** 31 ? setTimeout(() => stop.reject(onTooLate()), waitMs) : undefined;
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    await Promise.race([before, stop.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

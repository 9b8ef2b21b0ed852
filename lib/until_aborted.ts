/**
 * Waiting that an abort ends.
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

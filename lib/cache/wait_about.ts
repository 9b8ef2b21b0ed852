/**
 * Lets time pass between tries.
 *
 * @module
 */

/**
 * Waits for a time that is different each time, so that those who were in each other's way once are not so again.
 *
 * @param milliseconds For how long at most; half of it at least.
 * @param signal Ends the waiting at once.
 * @throws {unknown} the reason of the signal
 */
export async function waitAbout(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal!.reason);
  const timer = setTimeout(resolve, milliseconds * (0.5 + Math.random() / 2));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * Calls of MSALRuntime: their callbacks as promises, each with a limit, and let go of at once by who does not want it any more.
 *
 * Two things they cannot do. On macOS the addon holds JavaScript up while its window is open: no timer and no listener runs
 * until the person has closed it, so an abort is heard only then. And a call that was given up and cannot be cancelled keeps
 * Node from ending by itself until the broker answers: a program that is not to wait calls `process.exit()`.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { withMutex } from "../platform/lock.ts";
import { startTimer } from "../platform/start_timer.ts";
import type { NativeCall } from "./msalruntime_library.ts";

/** How a call is made. */
export interface NativeCallOptions {
  /** What is asked, for people. */
  readonly name: string;
  /** UUID of the request. */
  readonly correlationId: string;
  /** Lets the caller go, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long it may take, in milliseconds, the wait for its turn included. @default for ever */
  readonly timeoutMs?: number | undefined;
  /**
   * Who goes one after the other: calls of one queue. A call that nobody waits for any more keeps its turn to its end where it
   * cannot be cancelled.
   */
  readonly queue?: string | undefined;
  /** Whether the library lets a call be cancelled without waiting for the broker. */
  readonly isCancellable: boolean;
  /** Told what the library threw instead of cancelling a call. It must not throw. @default nobody is told */
  readonly onNotCancelled?: ((thrown: unknown) => void) | undefined;
  /** How long a call that was cancelled may keep its turn, in milliseconds: its window has to close first. @default 5_000 */
  readonly closingMs?: number | undefined;
}

/**
 * Makes a call.
 *
 * @param start Starts it. It can give its result before it returns.
 * @param options How it is made.
 * @returns The result; one that comes after the caller has gone is dropped.
 * @throws {LatchkeyError} `timed_out`
 */
export async function callNative<T>(
  start: (done: (result: T) => void) => NativeCall,
  options: NativeCallOptions,
): Promise<T> {
  const { signal, timeoutMs, queue, isCancellable, correlationId, closingMs = 5_000 } = options;
  signal?.throwIfAborted();
  const answer = Promise.withResolvers<T>(), gone = Promise.withResolvers<never>();
  let call: NativeCall | undefined, isLeft = false;
  const leave = (reason: unknown) => {
    isLeft = true;
    gone.reject(reason);
    if (isCancellable && call) cancel(call, options);
  };
  const onAbort = () => leave(signal!.reason);
  const timer = timeoutMs === undefined ? undefined : startTimer(() => leave(tooLate(options)), timeoutMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  const work = async (): Promise<T> => {
    if (isLeft) return await gone.promise; // before its turn came
    call = start(answer.resolve);
    // Who was asked before the window opened may have gone then.
    if (isLeft && isCancellable) cancel(call, options);
    if (isCancellable) await Promise.race([answer.promise, gone.promise.catch(() => ended(answer.promise, closingMs))]);
    return await (isLeft && isCancellable ? gone.promise : answer.promise);
  };
  // In a queue the time limit above holds.
  const onTimeout = () => new LatchkeyError("timed_out", "MSALRuntime is busy", { correlationId });
  const worked = queue === undefined ? work() : withMutex(queue, work, { waitMs: Infinity, onTimeout });
  worked.catch(() => {}); // the caller may have gone
  try {
    return await Promise.race([worked, gone.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** A timer and a listener call this: what the library throws would end the program, and the caller has gone. */
function cancel(call: NativeCall, { onNotCancelled }: NativeCallOptions): void {
  try {
    call.CancelAsyncOperation();
  } catch (error) {
    onNotCancelled?.(error);
  }
}

/** Waits until a promise has its value, or the time has passed. */
async function ended(promise: Promise<unknown>, limitMs: number): Promise<void> {
  const limit = Promise.withResolvers<void>(), timer = setTimeout(limit.resolve, limitMs);
  await Promise.race([promise, limit.promise]);
  clearTimeout(timer);
}

function tooLate({ name, correlationId, timeoutMs }: NativeCallOptions): LatchkeyError {
  return new LatchkeyError("timed_out", `The broker did not answer ${name} within ${timeoutMs} ms`, {
    correlationId,
    hint: "Try again; latchkey doctor looks for the cause",
  });
}

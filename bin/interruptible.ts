/**
 * Calls that a person can give up.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { onSignals } from "../lib/platform/signals.ts";

/**
 * Makes a call that Ctrl-C ends.
 *
 * @param signal Ends it as well, with its reason.
 * @param send Makes the call with a signal for both. From when it calls `begin`, Ctrl-C ends the call and not the program.
 * @returns What `send` gives.
 * @throws {LatchkeyError} `user_canceled` after Ctrl-C.
 */
export async function interruptible<T>(
  signal: AbortSignal | undefined,
  send: (signal: AbortSignal, begin: () => void) => Promise<T>,
): Promise<T> {
  const givenUp = new AbortController();
  let interrupts: Disposable | undefined;
  const giveUp = () => givenUp.abort(new LatchkeyError("user_canceled", "The sign-in was given up (Ctrl-C)"));
  try {
    return await send(
      AbortSignal.any([...(signal ? [signal] : []), givenUp.signal]),
      () => interrupts ??= onSignals(["SIGINT"], giveUp),
    );
  } finally {
    interrupts?.[Symbol.dispose]();
  }
}

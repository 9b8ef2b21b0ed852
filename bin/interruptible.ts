/**
 * Sign-ins that a person, or the system on their behalf, can end.
 *
 * @module
 */
import { endedBy, onSignals } from "../lib/platform/program.ts";

/**
 * Makes a call that the signals end which end a command: `serve` goes on after them for as long as the command that it runs.
 *
 * @param signal Ends it as well, with its reason.
 * @param send Makes the call with a signal for all.
 * @returns What `send` gives.
 * @throws {LatchkeyError} `user_canceled` after a signal of the system.
 */
export async function interruptible<T>(
  signal: AbortSignal | undefined,
  send: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const givenUp = new AbortController();
  const listening = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (name) => givenUp.abort(endedBy(name)));
  try {
    return await send(AbortSignal.any([...(signal ? [signal] : []), givenUp.signal]));
  } finally {
    listening[Symbol.dispose]();
  }
}

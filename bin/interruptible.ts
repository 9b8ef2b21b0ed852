/**
 * Calls that a person, or the system on their behalf, can end.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { onSignals, type SignalName } from "../lib/platform/signals.ts";

/** What ends a program, by the number that its exit code is told with. */
const ENDING = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** A call that a signal ended: its terminal was closed, or it was told to end. */
export class TerminationError extends LatchkeyError {
  /** As shells have it: 128 and the signal's number. */
  readonly exitCode: number;

  /**
   * @param name The signal.
   * @param what The call.
   */
  constructor(name: keyof typeof ENDING, what: "sign-in" | "renewal" = "sign-in") {
    super("user_canceled", `The ${what} was ended (${name})`);
    this.exitCode = 128 + ENDING[name];
  }
}

/**
 * Makes a call that Ctrl-C ends, and not the program with it: a broker is yet to be told to close its window. So do a
 * terminal that is closed, and a program that is told to end.
 *
 * @param signal Ends it as well, with its reason.
 * @param send Makes the call with a signal for all.
 * @returns What `send` gives.
 * @throws {LatchkeyError} `user_canceled` after Ctrl-C.
 * @throws {TerminationError} after the other signals.
 */
export async function interruptible<T>(
  signal: AbortSignal | undefined,
  send: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const givenUp = new AbortController();
  const interrupts = onSignals(Object.keys(ENDING) as (keyof typeof ENDING)[], (name) => {
    interrupts[Symbol.dispose](); // the next one does what it does to every program
    givenUp.abort(reasonOf(name));
  });
  try {
    return await send(AbortSignal.any([...(signal ? [signal] : []), givenUp.signal]));
  } finally {
    interrupts[Symbol.dispose]();
  }
}

/**
 * Gives a command up at the signals that would end the program, for as long as a renewal is under way: the new refresh token
 * has to be stored, as the old one may be good no more. The next signal ends the program at once.
 *
 * @param givenUp Aborts the command.
 * @param end Resolves when the renewal is over.
 */
export function giveUpAtSignals(givenUp: AbortController, end: Promise<void>): void {
  const signals = onSignals(Object.keys(ENDING) as (keyof typeof ENDING)[], (name) => {
    signals[Symbol.dispose]();
    givenUp.abort(new TerminationError(name as keyof typeof ENDING, "renewal"));
  });
  void end.then(() => signals[Symbol.dispose]());
}

function reasonOf(name: SignalName): LatchkeyError {
  if (name === "SIGHUP" || name === "SIGTERM") return new TerminationError(name);
  return new LatchkeyError("user_canceled", "The sign-in was given up (Ctrl-C)");
}

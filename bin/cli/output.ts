/**
 * Output: results go to stdout, messages and questions to stderr. No control character, mark of writing direction or invisible character of
 * foreign text reaches a terminal.
 *
 * @module
 */
import { oldestWait } from "../../lib/async.ts";
import { isDeviceFull, isTerminal, readLineOrEnd, write } from "../../lib/runtime/terminal.ts";
import { escapeForTerminal, jsonForTerminal } from "../../lib/control_characters.ts";
import { LatchkeyError } from "../../lib/errors.ts";

/**
 * Prints a result to stdout, as it is.
 *
 * @throws {LatchkeyError} `unexpected` if the device is full.
 */
export function print(text: string): void {
  try {
    write("stdout", text);
  } catch (cause) {
    if (!isDeviceFull(cause)) throw cause;
    throw new LatchkeyError("unexpected", "Cannot write to standard output: no space is left on the device", {
      cause,
      remedy: "Free some space, or write to another device",
    });
  }
}

export function printJson(value: unknown): void {
  print(`${jsonForTerminal(value)}\n`);
}

/** Names the program before a message: the terminal may show other programs' messages, too. */
const PREFIX = "latchkey: ";

/** Prints a message for people to stderr. */
export function say(message: string): void {
  sayLine(`${PREFIX}${message}`);
}

/** Prints a line to stderr that has no prefix: an address to copy, a row, a line of the log. */
export function sayLine(line: string): void {
  write("stderr", `${escapeForTerminal(line)}\n`);
}

/** Time in milliseconds after which a person wonders what a command waits for. */
const LONG_WAIT_MS = 2_000;

/**
 * Says once, if standard error is a terminal, whose answer the command waits for when it takes longer than two seconds. The
 * returned object ends that.
 */
export function announceLongWait(): Disposable {
  let timer: ReturnType<typeof setTimeout> | undefined;
  if (isTerminal("stderr")) lookAfter(LONG_WAIT_MS);
  return { [Symbol.dispose]: () => timer !== undefined && clearTimeout(timer) };

  function lookAfter(milliseconds: number): void {
    timer = setTimeout(() => {
      const wait = oldestWait();
      const leftMs = wait ? wait.sinceMs + LONG_WAIT_MS - performance.now() : LONG_WAIT_MS;
      if (!wait || leftMs > 0) return lookAfter(leftMs);
      try {
        say(`still waiting for ${wait.whose}`);
      } catch {
        // The terminal is closed.
      }
    }, milliseconds);
  }
}

let statusWidth = 0;

/** Shows a message at the beginning of the terminal's line, in place of the last one, without ending it; `""` clears it. */
export function showStatus(message: string): void {
  const status = message && `${PREFIX}${message}`;
  if (status.length + statusWidth === 0) return;
  // Spaces, since a dumb terminal has no code that clears a line.
  write("stderr", `\r${status.padEnd(statusWidth)}${status ? "" : "\r"}`);
  statusWidth = status.length;
}

/** Asks the user a question. Returns true for `y` and `yes` only. */
export async function isConfirmed(question: string, signal: AbortSignal | undefined): Promise<boolean> {
  const answer = await readAnswer(`${question} [y/N] `, signal);
  return /^y(es)?$/i.test(answer ?? "");
}

/** Asks the user for a line, and returns it without spaces around it; `undefined` if the input ends. Without one, ends the prompt's line: an error message follows. */
export async function readAnswer(question: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  write("stderr", `latchkey: ${question}`);
  const stop = endLineAtInterrupt(signal);
  let answer: string | undefined;
  try {
    answer = await readLineOrEnd(signal);
    return answer?.trim();
  } finally {
    stop();
    if (answer === undefined && !isInterrupted(signal)) write("stderr", "\n");
  }
}

/**
 * Ends the terminal's line, which shows `^C`, at once if the user interrupts: the error can be reported before the reading of a
 * line has ended. Returns a function that ends this.
 */
export function endLineAtInterrupt(signal: AbortSignal | undefined): () => void {
  const onAbort = (): void => {
    if (isInterrupted(signal)) write("stderr", "\n");
  };
  signal?.addEventListener("abort", onAbort);
  return () => signal?.removeEventListener("abort", onAbort);
}

function isInterrupted(signal: AbortSignal | undefined): boolean {
  const reason: unknown = signal?.aborted ? signal.reason : undefined;
  return reason instanceof LatchkeyError && reason.code === "user_canceled";
}

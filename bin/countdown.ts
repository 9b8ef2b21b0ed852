/**
 * The time that is left, on a line of a terminal that is written anew each second.
 *
 * @module
 */
import { isTerminal, write } from "../lib/platform/program.ts";

/**
 * Shows how much time is left, where standard error is a terminal.
 *
 * @param until When it is over, in milliseconds since 1970.
 * @returns Takes the line away.
 */
export function countDown(until: number): Disposable {
  if (!isTerminal("stderr")) return { [Symbol.dispose]: () => {} };
  let width = 0;
  const show = (): void => {
    const line = `latchkey: ${timeText(until - Date.now())} left; Ctrl-C gives up`;
    // Over the longer line before it; no terminal is too dumb for that.
    write("stderr", `\r${line.padEnd(width)}`);
    width = line.length;
  };
  // Not at once: what follows may be a prompt.
  const timer = setInterval(show, 1000);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      if (width > 0) write("stderr", `\r${" ".repeat(width)}\r`);
      width = 0;
    },
  };
}

/** Minutes and seconds, such as `4:59`. */
export function timeText(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

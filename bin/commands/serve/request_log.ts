/**
 * The log of `latchkey serve`: a line for each request, on standard error.
 *
 * @module
 */
import { write } from "../../../lib/runtime/terminal.ts";
import { escapeForTerminal } from "../../../lib/control_characters.ts";

/** A log of requests. */
export interface RequestLog {
  /** Adds a line: the time, the status, what `describe` returns, and how long it took since `beginMs` of `performance.now()`. */
  add(status: number, describe: () => string, beginMs: number): void;
  /** Writes the lines that are not written yet. */
  flush(): void;
}

/** Longest request in a line. */
const MAX_CHARACTERS = 200;
/** Time in ms after which lines are written, and number of lines that are written at once: a write costs as much as a request. */
const DELAY_MS = 50;
const MAX_LINES = 64;

/** Opens a log. Its lines are written in groups, and all of them by `flush`. */
export function openRequestLog({ isLogged }: { readonly isLogged: boolean }): RequestLog {
  let lines: string[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (lines.length === 0) return;
    const all = lines;
    lines = [];
    write("stderr", `${all.join("\n")}\n`);
  }

  return {
    add(status, describe, beginMs) {
      if (!isLogged) return;
      const took = Math.round(performance.now() - beginMs);
      const line = `${new Date().toISOString()} ${status} ${describe().slice(0, MAX_CHARACTERS)} ${took} ms`;
      lines.push(escapeForTerminal(line));
      if (lines.length >= MAX_LINES) flush();
      else timer ??= setTimeout(flush, DELAY_MS);
    },
    flush,
  };
}

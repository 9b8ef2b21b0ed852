/**
 * MSALRuntime's own log lines.
 *
 * The library gives them to a callback that cannot be taken back (0.20.7), and that keeps the program from ending by itself.
 * So they are there for those who look for something, with `LATCHKEY_MSALRUNTIME_LOG` set: this differs from MSAL for Node,
 * which always passes them on, and whose programs have to end themselves.
 *
 * @module
 */
import { printable } from "../json_values.ts";
import type { Logger, LogLevel } from "../logger.ts";
import { readEnvironment } from "../platform/host.ts";
import type { MsalRuntime } from "./msalruntime_library.ts";

/** Environment variable that has the library's log lines passed on. */
const WANTED = "LATCHKEY_MSALRUNTIME_LOG";
/** What passes the lines on, for the application that wants them now. */
const listeners = new Set<Logger>();
let isRegistered = false;

/** Passes the library's log lines on, where that is wanted, until what is returned is disposed of. */
export function passLogOn(library: MsalRuntime, log: Logger): Disposable {
  if (readEnvironment(WANTED) === undefined) return { [Symbol.dispose]: () => {} };
  const own = heedlessly(log); // two applications can have the same one
  if (!isRegistered) {
    try {
      library.RegisterLogger((message, level) => {
        for (const listener of listeners) listener(levelOf(level), `MSALRuntime: ${printable(message)}`);
      }, false); // without personal data
      isRegistered = true;
    } catch { // what it throws is of no class
      own("warn", "MSALRuntime does not give its log lines");
    }
  }
  listeners.add(own);
  return { [Symbol.dispose]: () => void listeners.delete(own) };
}

/**
 * A logger whose failures are passed over: for callbacks of the library, and for timers, where nobody could catch them and
 * they would end the program.
 */
export function heedlessly(log: Logger): Logger {
  return (level, message) => {
    try {
      log(level, message);
    } catch {
      // there is no other place to tell of a broken logger
    }
  };
}

/** The library's levels: 1 trace, 2 debug, 3 info, 4 warning, 5 error, 6 fatal. Its "info" is what others have for debugging. */
export function levelOf(level: number): LogLevel {
  return level >= 5 ? "error" : level === 4 ? "warn" : "debug";
}

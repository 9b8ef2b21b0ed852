/**
 * Sign-ins in which a person takes part: told of the window or the browser, and free to give up by Ctrl-C.
 *
 * @module
 */
import { CONSOLE_WINDOW_HANDLE, type SignInOptions } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { browserAtConsole, type ConsoleBrowserOptions } from "./browser_at_console.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { interruptible } from "./interruptible.ts";

/** What is asked for, and what ends it. */
type Request = SignInOptions & { readonly signal?: AbortSignal | undefined };

/** Whoever sits at the console. */
export interface Person {
  /** How the application is to use the browser for them. */
  readonly browser: ConsoleBrowserOptions;
  /**
   * Makes a request that may open a window or the browser.
   *
   * @param request What is asked for.
   * @param send Sends it, with what a sign-in at a console has beside.
   * @returns What `send` gives.
   * @throws {LatchkeyError} `user_canceled` after Ctrl-C.
   */
  ask<R extends Request, T>(request: R, send: (request: R) => Promise<T>): Promise<T>;
}

/**
 * The person who typed a command line.
 *
 * @throws {UsageError} when its port is none.
 */
export function personAt(line: CommandLine): Person {
  const port = portOf(line), browser = browserAtConsole(line);
  return {
    browser: browser.options,
    async ask(request, send) {
      using _ = browser;
      return await interruptible(request.signal, (signal) =>
        send({
          ...request,
          port,
          signal,
          parentWindowHandle: CONSOLE_WINDOW_HANDLE,
          onBeforeLaunchingUi: ({ ui }) => {
            if (ui !== "broker") return;
            write("stderr", "latchkey: sign in at the window that the device's broker opens; Ctrl-C gives up\n");
          },
        }));
    },
  };
}

function portOf(line: CommandLine): number | undefined {
  const text = line.text("port");
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text);
  throw new UsageError(`--port takes a port, 1 to 65535, not ${JSON.stringify(text)}`);
}

/**
 * Prompts from a console: the broker's, and the browser's with the URL and the redirect URL that a user pastes.
 *
 * @module
 */
import type { PublicClientApplicationOptions } from "../../lib/application.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { BrowserSignInOptions } from "../../lib/oauth/browser_sign_in.ts";
import { uriToRegister } from "../../lib/redirect_uris.ts";
import { CONSOLE_WINDOW_HANDLE, type SignInOptions } from "../../lib/request.ts";
import { quoteCommand } from "../../lib/runtime/host.ts";
import { endedBy, onSignals } from "../../lib/runtime/lifecycle.ts";
import { canAsk, isTerminal, readLine } from "../../lib/runtime/terminal.ts";
import { type CommandLine, portOf } from "./command_line.ts";
import { type SignInCommands, signInCommands } from "./failures.ts";
import { VERBOSE } from "./options.ts";
import { endLineAtInterrupt, say, sayLine, showStatus } from "./output.ts";

/** Options of the application for a browser sign-in from a console. */
export type ConsoleBrowserOptions = BrowserSignInOptions & Pick<PublicClientApplicationOptions, "timeLimits">;

export interface Prompter {
  readonly browser: ConsoleBrowserOptions;
  /**
   * Calls `send` with a request that may open a window or the browser, and with what a console adds to it.
   *
   * @throws {LatchkeyError} `user_canceled` after Ctrl-C.
   */
  ask<R extends SignInOptions & CacheCall, T>(request: R, send: (request: R) => Promise<T>): Promise<T>;
}

/** Returns the prompter for a command line, whose port must be valid; `commands` repeat its sign-in where a user can be asked. */
export function prompterFor(
  line: CommandLine,
  commands: () => SignInCommands = () => signInCommands(line),
): Prompter {
  const port = portOf(line, { lowest: 1 });
  const browser = new ConsoleSignIn(line, commands);
  return {
    browser: browser.options,
    async ask(request, send) {
      // `serve` handles signals itself, and goes on after them for as long as the command that it runs.
      const interrupted = new AbortController();
      const listening = onSignals(["SIGINT", "SIGTERM", "SIGHUP"], (name) => interrupted.abort(endedBy(name)));
      try {
        return await send({
          ...request,
          port,
          signal: AbortSignal.any([...(request.signal ? [request.signal] : []), interrupted.signal]),
          parentWindowHandle: CONSOLE_WINDOW_HANDLE,
          onBeforeLaunchingUi: ({ ui }) => {
            request.onBeforeLaunchingUi?.({ ui });
            if (ui === "broker") say("sign in at the window that the device's broker opens; Ctrl-C cancels");
          },
        });
      } finally {
        // Bun 1.3 lets a signal end the program while one of its listeners is removed, and a closed terminal sends several.
        if (!interrupted.signal.aborted) listening[Symbol.dispose]();
        browser.end();
      }
    },
  };
}

const DEAD_END_OF_ENTRA =
  "; if it shows AADSTS530084 (token protection), AADSTS53003 or AADSTS53000, only the device's " +
  "broker can pass (--broker require)";

/** A browser sign-in as a console shows it: the URL, the time that is left, and the redirect URL that the user pastes. */
class ConsoleSignIn {
  readonly #line: CommandLine;
  readonly #commands: () => SignInCommands;
  readonly #timeoutS: number | undefined;
  readonly #startMs = Date.now();
  readonly #isTyped = canAsk();
  #limitMs: number;
  #deadlineMs = 0;
  #redirectUri = "";
  #timesRead = 0;
  #missingFlags: readonly string[] = [];
  #endCountDown = (): void => {};

  constructor(line: CommandLine, commands: () => SignInCommands) {
    this.#line = line;
    this.#commands = commands;
    this.#timeoutS = line.seconds("timeout");
    this.#limitMs = (this.#timeoutS ?? 0) * 1000;
  }

  /** Options that make an application's sign-ins this one. */
  get options(): ConsoleBrowserOptions {
    const canRead = this.#isTyped || this.#line.isOn("no-browser");
    return {
      ...(this.#timeoutS !== undefined && { timeLimits: { browserMs: this.#limitMs } }),
      openBrowser: (url) => this.#open(url),
      onSignInAddress: (shown) => this.#announce(shown),
      readRedirect: canRead ? (signal) => this.#readRedirect(signal) : undefined,
    };
  }

  /** Ends what is shown. */
  end(): void {
    this.#endCountDown();
  }

  async #open(url: string): Promise<boolean> {
    if (this.#timeoutS === undefined) {
      this.#limitMs = (await import("../../lib/oauth/browser_sign_in.ts")).SIGN_IN_LIMIT_MS;
    }
    if (this.#line.isOn("no-browser")) return false;
    const { missingBrowserFlags, openBrowser } = await import("../../lib/runtime/browser.ts");
    if (await openBrowser(url)) return true;
    this.#missingFlags = await missingBrowserFlags(url);
    if (!this.#isTyped && !await isAddressRead()) throw noUserToAsk(this.#commands(), this.#missingFlags);
    return false;
  }

  #announce({ url, opened }: { readonly url: string; readonly opened: boolean }): void {
    this.#deadlineMs = (this.#timeoutS === undefined ? Date.now() : this.#startMs) + this.#limitMs;
    say(
      opened ? "sign in with the browser that opened, or open this address in one:" : "to sign in, open this address:",
    );
    sayLine(url);
    if (this.#missingFlags.length > 0) say(`to open a browser, Deno needs ${quoteCommand(this.#missingFlags)}`);
    this.#redirectUri = new URL(url).searchParams.get("redirect_uri") ?? "";
    const isEntra = new URL(url).pathname.includes("/oauth2/");
    const advice = isEntra ? DEAD_END_OF_ENTRA : "";
    say(`if the page shows an error, it does not come back here: press Ctrl-C to cancel${advice}`);
    if (!this.#redirectUri.startsWith("http://localhost")) {
      say(`if it mentions the redirect URI, register ${uriToRegister(this.#redirectUri)} for the app`);
    }
    if (this.#line.get(VERBOSE) === 0) this.#endCountDown = countDown(this.#deadlineMs, NOTHING_CAME_BACK);
  }

  async #readRedirect(signal: AbortSignal): Promise<string> {
    this.#endCountDown(); // it would overwrite what is typed
    say(this.#timesRead === 0 ? this.#firstQuestion() : "that is not where this sign-in ends: paste the whole address");
    this.#timesRead++;
    const stop = this.#isTyped ? endLineAtInterrupt(signal) : undefined; // a sign-in in the browser ends no line
    try {
      return await readLine(signal);
    } finally {
      stop?.();
    }
  }

  #firstQuestion(): string {
    const way = this.#isTyped ? "paste that address here" : "write that address to standard input, as a line,";
    const time = `within ${timeText(this.#deadlineMs - Date.now())} minutes`;
    return `if the browser is on another machine, it ends at a page that it cannot open, ${this.#redirectUri}…: ` +
      `${way} ${time}${this.#isTyped ? ", and press Enter" : ""}`;
  }
}

/** Returns true if a user reads standard error, and can open an address in a browser of this machine. */
async function isAddressRead(): Promise<boolean> {
  if (!isTerminal("stderr")) return false;
  const { isRemoteSession, readSessionFacts } = await import("../../lib/runtime/browser.ts");
  return !isRemoteSession(await readSessionFacts());
}

/** Returns the error of a sign-in that would wait in vain: no browser opens, and no user can open or paste an address. */
function noUserToAsk(commands: SignInCommands, missingFlags: readonly string[]): LatchkeyError {
  const flags = quoteCommand(missingFlags);
  return new LatchkeyError("missing_dependency", "No browser could be opened, and no user can be asked", {
    remedy: {
      kind: "sign_in_elsewhere",
      ...commands,
      then: missingFlags.length > 0 ? { kind: "run_deno_with", flags, when: "To open a browser" } : undefined,
    },
  });
}

/** Providers such as Dex end a sign-in that the user declined at a page of their own. */
const NOTHING_CAME_BACK =
  "the browser has not come back yet. If you declined there, or its page shows an error, press " +
  "Ctrl-C and sign in again";
/** Part of the time for a sign-in, and time in milliseconds, after which a reminder is due. */
const REMINDER_PART = 0.2;
const REMINDER_MS = 60_000;

/**
 * Shows the time that is left, if standard error is a terminal, and after a while a reminder. Returns a function that ends both.
 */
export function countDown(until: number, reminder?: string): () => void {
  if (!isTerminal("stderr")) return () => {};
  const begin = Date.now();
  const remindAt = begin + Math.min(REMINDER_MS, (until - begin) * REMINDER_PART);
  let isDue = reminder !== undefined;
  // Not at once: a prompt may follow.
  const timer = setInterval(() => {
    if (isDue && Date.now() >= remindAt) {
      isDue = false;
      showStatus("");
      say(reminder!);
    }
    showStatus(`${timeText(until - Date.now())} left; Ctrl-C cancels`);
  }, 1000);
  return () => {
    clearInterval(timer);
    showStatus("");
  };
}

/** Returns minutes and seconds, such as `4:59`. */
export function timeText(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

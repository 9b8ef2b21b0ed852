/**
 * Sign-ins that a person, or the system on their behalf, can end.
 *
 * @module
 */
import { uriToRegister } from "../../lib/authority.ts";
import { quoteCommand } from "../../lib/runtime/host.ts";
import { endedBy, isTerminal, onSignals, write } from "../../lib/runtime/program.ts";
import type { PublicClientApplication, PublicClientApplicationOptions } from "../../lib/application.ts";
import type { BrowserSignInOptions } from "../../lib/oauth/browser_sign_in.ts";
import { CONSOLE_WINDOW_HANDLE, type DeviceCodeSignIn, type SignInOptions } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { escapeForTerminal } from "./output.ts";

/**
 * Makes a call that the signals end which end a command: `serve` goes on after them for as long as the command that it runs.
 *
 * @param signal Ends it as well, with its reason.
 * @param send Makes the call with a signal for all.
 * @returns What `send` gives.
 * @throws {LatchkeyError} `user_canceled` after a signal of the system.
 */
async function interruptible<T>(
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

/**
 * Shows how much time is left, where standard error is a terminal.
 *
 * @param until When it is over, in milliseconds since 1970.
 * @returns Takes the line away.
 */
function countDown(until: number): Disposable {
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

/**
 * Makes sure that a device code can heed a command line.
 *
 * @throws {UsageError} when it has an option that none can.
 */
export function requireDeviceCodeLine(line: CommandLine): void {
  if (line.text("broker") === "require") throw new UsageError("No broker has device codes: --broker require cannot be");
  for (const name of ["prompt", "port"]) {
    if (line.text(name) !== undefined) throw new UsageError(`A device code has no --${name}`);
  }
  if (line.isOn("no-browser")) throw new UsageError("A device code has no --no-browser: it opens none");
}

/**
 * Signs a person in on another device.
 *
 * @param app The application.
 * @param request What is asked for.
 * @param line The command line.
 * @throws {LatchkeyError} `interaction_required` when somebody else signed in than the one who was expected.
 */
export async function signInByDeviceCode(
  app: PublicClientApplication,
  request: Omit<DeviceCodeSignIn, "onUserCode">,
  line: CommandLine,
): Promise<AuthenticationResult> {
  const timeout = line.seconds("timeout"), until = timeout === undefined ? Infinity : Date.now() + timeout * 1000;
  let countdown: Disposable | undefined;
  try {
    return await app.acquireTokenByDeviceCode({
      ...request,
      onUserCode: ({ message, expiresOn }) => {
        write("stderr", `latchkey: ${escapeForTerminal(message)}\n`);
        if (line.count("verbose") === 0) countdown = countDown(Math.min(expiresOn.getTime(), until));
      },
    });
  } finally {
    countdown?.[Symbol.dispose]();
  }
}

/** What the application needs to know for it. */
export type ConsoleBrowserOptions = BrowserSignInOptions & Pick<PublicClientApplicationOptions, "timeLimits">;

/** The browser of somebody at a console; disposed of when the sign-in is over. */
interface ConsoleBrowser extends Disposable {
  /** What the application needs to know. */
  readonly options: ConsoleBrowserOptions;
}

/** How long a person may take, unless `--timeout` says it. */
const LIMIT_S = 300;

const DEAD_END = "a page that shows an error does not come back here";
const DEAD_END_OF_ENTRA =
  "; where it shows AADSTS530084 (token protection), AADSTS53003 or AADSTS53000, only the device's " +
  "broker can pass (--broker require)";

/** Makes it as a command line says. */
function browserAtConsole(line: CommandLine): ConsoleBrowser {
  const timeout = line.seconds("timeout"), limitMs = (timeout ?? LIMIT_S) * 1000, begin = Date.now();
  const isTyped = isTerminal("stdin") && isTerminal("stderr");
  let until = 0, redirectUri = "", timesRead = 0, missingFlags: readonly string[] = [];
  let countdown: Disposable | undefined;

  async function open(url: string): Promise<boolean> {
    if (line.isOn("no-browser")) return false;
    const { openBrowser } = await import("../../lib/runtime/browser.ts");
    if (await openBrowser(url)) return true;
    const { missingBrowserFlags } = await import("../../lib/runtime/browser.ts");
    missingFlags = await missingBrowserFlags(url);
    return false;
  }

  function tell({ url, opened }: { readonly url: string; readonly opened: boolean }): void {
    until = (timeout === undefined ? Date.now() : begin) + limitMs;
    say(
      opened ? "sign in with the browser that opened, or open this address in one:" : "to sign in, open this address:",
    );
    write("stderr", `${escapeForTerminal(url)}\n`);
    if (missingFlags.length > 0) say(`to open a browser, Deno needs ${quoteCommand(missingFlags)}`);
    redirectUri = new URL(url).searchParams.get("redirect_uri") ?? "";
    const isEntra = new URL(url).pathname.includes("/oauth2/");
    say(`${DEAD_END}, and then Ctrl-C gives up${isEntra ? DEAD_END_OF_ENTRA : ""}`);
    if (!redirectUri.startsWith("http://localhost")) {
      say(`if it speaks of the redirect URI, register ${uriToRegister(redirectUri)} for the app`);
    }
    if (line.count("verbose") === 0) countdown = countDown(until);
  }

  /** What is typed would be written over by a countdown; a script writes it to a pipe. */
  async function readRedirect(signal: AbortSignal): Promise<string> {
    countdown?.[Symbol.dispose]();
    say(
      timesRead++ === 0
        ? `when the browser is on another machine, it ends at a page that it cannot open, ${redirectUri}…: ` +
          (isTyped ? "paste that address here" : "write that address to standard input, as a line,") +
          ` within ${timeText(until - Date.now())} minutes${isTyped ? ", and press Enter" : ""}`
        : "that is not where this sign-in ends: paste the whole address",
    );
    const { readLine } = await import("../../lib/runtime/stdio.ts");
    return await readLine(signal);
  }

  return {
    options: {
      timeLimits: { browserMs: limitMs },
      openBrowser: open,
      onSignInAddress: tell,
      readRedirect: isTyped || line.isOn("no-browser") ? readRedirect : undefined,
    },
    [Symbol.dispose]: () => countdown?.[Symbol.dispose](),
  };
}

function say(text: string): void {
  write("stderr", `latchkey: ${text}\n`);
}

/** What is asked for, and what ends it. */
type Request = SignInOptions & { readonly signal?: AbortSignal | undefined };

/** Whoever sits at the console. */
export interface Prompter {
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
export function prompterFor(line: CommandLine): Prompter {
  const port = portOf(line), browser = browserAtConsole(line);
  return {
    browser: browser.options,
    async ask(request, send) {
      try {
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
      } finally {
        browser[Symbol.dispose]();
      }
    },
  };
}

function portOf(line: CommandLine): number | undefined {
  const text = line.text("port");
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text);
  throw new UsageError(`--port takes a port, 1 to 65535, not ${JSON.stringify(text)}`);
}

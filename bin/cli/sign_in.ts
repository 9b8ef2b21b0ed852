/**
 * Sign-ins from a console: the prompts, by the browser or a device code, and the whole of `latchkey login`.
 *
 * @module
 */
import { nameOf } from "../../lib/account.ts";
import { uriToRegister } from "../../lib/redirect_uris.ts";
import { quoteCommand, readEnvironment } from "../../lib/runtime/host.ts";
import { endedBy, onSignals } from "../../lib/runtime/lifecycle.ts";
import { canAsk, isTerminal, readLine, write } from "../../lib/runtime/terminal.ts";
import type { PublicClientApplication, PublicClientApplicationOptions } from "../../lib/application.ts";
import { type CacheCall, memoryStore } from "../../lib/cache/store.ts";
import type { BrowserSignInOptions } from "../../lib/oauth/browser_sign_in.ts";
import {
  CONSOLE_WINDOW_HANDLE,
  type DeviceCodeSignIn,
  type InteractiveRequest,
  type SignInOptions,
  type TokenRequest,
} from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { usernameOf } from "./accounts.ts";
import { makeApplication, storeOf } from "./application.ts";
import { type CommandLine, portOf, UsageError } from "./command_line.ts";
import { TEXT_FORMAT } from "./formats.ts";
import { messageOf, type SignInCommands, signInCommands, withConsentUrl } from "./failures.ts";
import {
  ACCOUNT,
  APP,
  BROKER,
  BROWSER,
  CLAIMS,
  FOR,
  type Option,
  PROFILE,
  SCOPES_OR_DEFAULT,
  switchOption,
  TENANT,
  TIMEOUT,
  VERBOSE,
} from "./options.ts";
import { endLineAtInterrupt, say, sayLine, showStatus } from "./output.ts";
import type { ServerRequest } from "./protected_server.ts";
import { defaultScopesOf, scopesForServer, scopesOf } from "./scopes.ts";
import { warnIfNotStored } from "./token_cache.ts";

/** Options of the application for a browser sign-in from a console. */
type ConsoleBrowserOptions = BrowserSignInOptions & Pick<PublicClientApplicationOptions, "timeLimits">;

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
export function prompterFor(line: CommandLine, commands: SignInCommands = signInCommands(line)): Prompter {
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
  readonly #commands: SignInCommands;
  readonly #timeoutS: number | undefined;
  readonly #startMs = Date.now();
  readonly #isTyped = canAsk();
  #limitMs: number;
  #deadlineMs = 0;
  #redirectUri = "";
  #timesRead = 0;
  #missingFlags: readonly string[] = [];
  #endCountDown = (): void => {};

  constructor(line: CommandLine, commands: SignInCommands) {
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
    if (!this.#isTyped && !await isAddressRead()) throw noUserToAsk(this.#commands, this.#missingFlags);
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

/** Width of a terminal that every one has. */
const COLUMNS = 80;
/** Light squares around a code: readers need some. */
const QR_BORDER = 2;
/** Colors of the squares that are drawn, the light ones, and of the others, whatever those of the terminal are. */
const LIGHT_ON_DARK = "\x1b[97;40m";
const USUAL_COLORS = "\x1b[0m";

/** Shows an address as a QR code, two rows of squares in one line of text; or says why not. */
async function showQrCode(address: string): Promise<void> {
  if (!isTerminal("stderr")) return say("there is no QR code, since stderr is not a terminal");
  const { renderUnicodeCompact } = await import("uqr");
  let lines: readonly string[] = [];
  try {
    lines = renderUnicodeCompact(address, { border: QR_BORDER }).split("\n");
  } catch {
    // no QR code has room for it
  }
  if (lines.length === 0 || lines[0]!.length > COLUMNS) {
    return say(`there is no QR code: one of this address has more than ${COLUMNS} columns`);
  }
  const isPlain = Boolean(readEnvironment("NO_COLOR")) || readEnvironment("TERM") === "dumb";
  write("stderr", lines.map((line) => isPlain ? `${line}\n` : `${LIGHT_ON_DARK}${line}${USUAL_COLORS}\n`).join(""));
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
function countDown(until: number, reminder?: string): () => void {
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

const PROMPT = {
  name: "prompt",
  kind: "text",
  value: "PROMPT",
  choices: ["none", "login", "consent", "create", "select_account"],
  meanings: {
    none: "Fail if a prompt is required",
    login: "Ask for the password again",
    consent: "Ask for consent again",
    create: "Create an account",
    select_account: "Ask which account to use",
  },
  summary: "Prompt to show",
} as const satisfies Option;

/** The options of a sign-in, by `latchkey login`. */
export const SIGN_IN_OPTIONS: readonly Option[] = [
  { ...ACCOUNT, summary: "Only accept a sign-in as USER" },
  ...SCOPES_OR_DEFAULT,
  FOR,
  ...APP.map((option) =>
    option === PROFILE
      ? { ...PROFILE, summary: "Profile to read options from, and to write them and the account to" }
      : option
  ),
  TENANT,
  PROMPT,
  ...BROWSER,
  switchOption(
    "device-code",
    "Sign in on another device with a code, if the organization allows it",
  ),
  switchOption("qr", "Also show the URL of --device-code as a QR code, if stderr is a terminal"),
  CLAIMS,
  TEXT_FORMAT,
  TIMEOUT,
  VERBOSE,
];

/** A sign-in that has ended, and the application that it is in. */
interface SignedIn {
  readonly result: AuthenticationResult;
  readonly app: PublicClientApplication;
}

/** Signs a user in, and writes the profile that the command line names; `commands` repeat it where a user can be asked. */
export async function completeSignIn(
  line: CommandLine,
  { signal, commands = signInCommands(line) }: CacheCall & { readonly commands?: SignInCommands },
): Promise<SignedIn> {
  const isOnDevice = line.isOn("device-code");
  if (line.origin("qr") === "command line" && line.isOn("qr") && !isOnDevice) {
    throw new UsageError("--qr goes with --device-code: it shows its address");
  }
  if (isOnDevice) checkDeviceCode(line);
  const profiles = line.origin("profile") === undefined ? undefined : await import("./profiles.ts");
  await profiles?.requireWritableProfiles(line, signal);
  const prompter = isOnDevice ? undefined : prompterFor(line, commands);
  const application = await signInApplication(line, { ...prompter?.browser, signal });
  const { app } = application;
  const signIn = async (server?: ServerRequest): Promise<AuthenticationResult> => {
    const request = { ...requestOf(line, server), username: await usernameOf(app, line, signal), signal };
    try {
      return await (prompter
        ? signInByPrompt(application, request, { line, prompter })
        : signInOnDevice(application, request, line));
    } catch (error) {
      throw await withConsentUrl(error, app, request);
    }
  };
  const server = line.text("for");
  const result = await (server === undefined ? signIn() : signInFor(server, line, { signal, signIn }));
  const { account } = result;
  try {
    await profiles?.writeProfile(line, account, signal);
  } catch (error) {
    // The sign-in still counts.
    if (signal?.aborted || !(error instanceof UsageError || error instanceof LatchkeyError)) throw error;
    say(`${nameOf(account)} is signed in, but the profile was not written: ${messageOf(error)}`);
  }
  return { result, app };
}

/** Signs the user in for what a protected server needs. */
async function signInFor(
  url: string,
  line: CommandLine,
  { signal, signIn }: CacheCall & { readonly signIn: (server: ServerRequest) => Promise<AuthenticationResult> },
): Promise<AuthenticationResult> {
  const { acquireForServer, needsOfServer } = await import("./protected_server.ts");
  const needs = await needsOfServer(url, line, { named: scopesForServer(line), signal });
  return await acquireForServer(needs, signIn, { mayAsk: line.get(PROMPT) !== "none", isSignIn: true, signal });
}

/** Signs the user in, silently if a broker can, otherwise in its prompt or the browser. */
async function signInByPrompt(
  { app, tryStore }: SignInApplication,
  request: InteractiveRequest,
  { line, prompter }: { readonly line: CommandLine; readonly prompter: Prompter },
): Promise<AuthenticationResult> {
  const { username, ...others } = request;
  const prompt = line.get(PROMPT);
  // A user who chooses an account may choose another one than the profile's.
  const isFree = prompt === "select_account" && line.origin("account") === "profile";
  const { state } = await app.brokerStatus({ signal: request.signal });
  if (state !== "active" && line.get(BROKER) !== "require") await tryStore();
  return await prompter.ask(
    { ...others, prompt, loginHint: username, ...(!isFree && { username }) },
    (request) => app.acquireTokenInteractive(request),
  );
}

/**
 * Signs the user in on another device.
 *
 * @throws {LatchkeyError} `interaction_required` if another user than the expected one signed in.
 */
async function signInOnDevice(
  { app, tryStore }: SignInApplication,
  request: Omit<DeviceCodeSignIn, "onUserCode">,
  line: CommandLine,
): Promise<AuthenticationResult> {
  await tryStore();
  const timeout = line.seconds("timeout");
  const until = timeout === undefined ? Infinity : Date.now() + timeout * 1000;
  let endCountDown = () => {};
  try {
    return await app.acquireTokenByDeviceCode({
      ...request,
      onUserCode: async ({ message, expiresOn, verificationUri, verificationUriComplete = verificationUri }) => {
        say(message);
        if (line.isOn("qr")) await showQrCode(verificationUriComplete);
        if (line.get(VERBOSE) === 0) endCountDown = countDown(Math.min(expiresOn.getTime(), until));
      },
    });
  } finally {
    endCountDown();
  }
}

/** Checks the options of a sign-in with a device code. */
function checkDeviceCode(line: CommandLine): void {
  if (line.get(BROKER) === "require") throw new UsageError("No broker has device codes: leave out --broker require");
  const others = { prompt: line.get(PROMPT), port: line.text("port"), "no-browser": line.isOn("no-browser") };
  const [other] = Object.entries(others).find(([, value]) => value) ?? [];
  if (other !== undefined) throw new UsageError(`A device code has no --${other}`);
}

interface SignInApplication {
  readonly app: PublicClientApplication;
  /** Warns if the sign-in will not be kept. */
  readonly tryStore: () => Promise<void>;
}

async function signInApplication(
  line: CommandLine,
  { signal, ...browser }: ConsoleBrowserOptions & CacheCall,
): Promise<SignInApplication> {
  (await import("../../lib/broker/cookie_pause.ts")).shareCookiePause(); // a sign-in ends it
  const store = await storeOf(line, { mayPrompt: true, signal });
  const app = await makeApplication(line, { ...browser, cache: store ?? memoryStore() });
  return {
    app,
    async tryStore() {
      warnIfNotStored(line, { evenIfChosen: true });
      await store?.tryOut?.({ signal });
    },
  };
}

function requestOf(line: CommandLine, server: ServerRequest | undefined): TokenRequest {
  return {
    scopes: server?.scopes ?? scopesOf(line, defaultScopesOf(line)),
    resource: server?.resource,
    claims: line.text("claims"),
    tenantId: server === undefined ? line.text("tenant") : server.tenantId,
    correlationId: line.correlationId,
  };
}

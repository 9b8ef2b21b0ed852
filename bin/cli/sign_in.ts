/**
 * The whole sign-in of `latchkey login` and `latchkey az login`: by a prompt or a device code, for scopes or a protected server,
 * and into a profile.
 *
 * @module
 */
import { nameOf } from "../../lib/account.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { type CacheCall, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { DeviceCodeSignIn, InteractiveRequest, TokenRequest } from "../../lib/request.ts";
import { readEnvironment } from "../../lib/runtime/host.ts";
import { isTerminal, write } from "../../lib/runtime/terminal.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { usernameOf } from "./accounts.ts";
import { makeApplication, storeOf } from "./application.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { messageOf, type SignInCommands, withConsentUrl } from "./failures.ts";
import { TEXT_FORMAT } from "./formats.ts";
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
import { say } from "./output.ts";
import type { ServerRequest } from "./protected_server.ts";
import { defaultScopesOf, scopesForServer, scopesOf } from "./scopes.ts";
import { type ConsoleBrowserOptions, countDown, type Prompter, prompterFor } from "./prompter.ts";
import { warnIfNotStored } from "./token_cache.ts";

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
  { signal, commands }: CacheCall & { readonly commands?: SignInCommands },
): Promise<SignedIn> {
  const isOnDevice = line.isOn("device-code");
  if (line.origin("qr") === "command line" && line.isOn("qr") && !isOnDevice) {
    throw new UsageError("--qr goes with --device-code: it shows its address");
  }
  if (isOnDevice) checkDeviceCode(line);
  const profiles = line.origin("profile") === undefined ? undefined : await import("./profiles.ts");
  await profiles?.requireWritableProfiles(line, signal);
  const prompter = isOnDevice ? undefined : prompterFor(line, commands && (() => commands));
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
      await store?.tryOut({ signal });
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

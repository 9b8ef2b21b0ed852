/**
 * `latchkey login`.
 *
 * @module
 */
import { isEntraId } from "../../lib/account.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { type CacheCall, memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { TokenRequest } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { chooseAccount, makeApplication, storeOf } from "../cli/application.ts";
import { type Command, type CommandLine, isAtMicrosoft, UsageError } from "../cli/command_line.ts";
import { type SignInCommands, signInCommands, withConsentUrl } from "../cli/failures.ts";
import {
  ACCOUNT,
  APP,
  BROKER,
  BROWSER,
  CLAIMS,
  FOR,
  GRAPH_SCOPE,
  type Option,
  PROFILE,
  SCOPES_OR_DEFAULT,
  switchOption,
  TENANT,
  TEXT_FORMAT,
  TIMEOUT,
  VERBOSE,
} from "../cli/options.ts";
import { accountJson, accountLine, messageOf, print, printJson, say } from "../cli/output.ts";
import type { ServerRequest } from "../cli/protected_server.ts";
import { type ConsoleBrowserOptions, prompterFor, signInByDeviceCode } from "../cli/sign_in.ts";
import { warnIfNotStored } from "../cli/token_cache.ts";
import { scopesForServer, scopesOf } from "./token.ts";

const PROMPT = {
  name: "prompt",
  kind: "text",
  choices: ["none", "login", "consent", "create", "select_account"],
  summary: "Force a prompt: login asks for the password, select_account for the account; none forbids prompts instead",
} as const satisfies Option;

export const command: Command = {
  name: "login",
  summary: "Sign in, silently if a broker can, and print the account",
  usage: "login --client-id ID [options]",
  operands: 0,
  options: [
    { ...ACCOUNT, summary: "User name of the person who has to sign in: nobody else's sign-in is kept" },
    ...SCOPES_OR_DEFAULT,
    FOR,
    ...APP.map((option) =>
      option === PROFILE
        ? { ...PROFILE, summary: "Read the options from this profile, and write them and the account to it" }
        : option
    ),
    TENANT,
    PROMPT,
    ...BROWSER,
    switchOption(
      "device-code",
      "Sign in on another device, with a code; organizations that require managed devices refuse it",
    ),
    switchOption("qr", "Show the address of --device-code as a QR code, too, if stderr is a terminal"),
    CLAIMS,
    TEXT_FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    ["latchkey login --client-id azure-cli", "silently if a broker can, otherwise in a prompt or the browser"],
    ["latchkey login --client-id azure-cli --prompt select_account", "another account"],
    ["latchkey login --client-id azure-cli --no-browser", "over SSH: with the browser of another machine"],
    [
      "latchkey login --client-id azure-cli --device-code --qr",
      "over SSH: with a phone, if the organization allows it",
    ],
    [
      "latchkey login --client-id ID --for https://mcp.contoso.com/mcp",
      "for the scopes that an MCP server asks for, before latchkey mcp",
    ],
    [
      "latchkey login --profile work --client-id ID --tenant contoso.com",
      "remembered by a name, for latchkey token --profile work --scope User.Read",
    ],
  ],
  run: signIn,
};

/** Signs a person in, prints the account, and writes the profile that the command line names. */
async function signIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { account } = await completeSignIn(line, signal);
  if (line.get(TEXT_FORMAT) === "json") printJson(accountJson(account));
  else print(accountLine(account));
}

/** Signs a user in, and writes the profile that the command line names; `commands` repeat it where a user can be asked. */
export async function completeSignIn(
  line: CommandLine,
  signal: AbortSignal | undefined,
  commands: SignInCommands = signInCommands(line),
): Promise<AuthenticationResult> {
  if (line.origin("qr") === "command line" && line.isOn("qr") && !line.isOn("device-code")) {
    throw new UsageError("--qr goes with --device-code: it shows its address");
  }
  const profiles = line.origin("profile") === undefined ? undefined : await import("../cli/profiles.ts");
  await profiles?.requireWritableProfiles(line, signal);
  const signInBy = line.isOn("device-code") ? byDeviceCode : byBrokerOrBrowser(commands);
  const server = line.text("for");
  const result = await (server === undefined ? signInBy(line, signal) : signInFor(server, line, { signal, signInBy }));
  const { account } = result;
  try {
    await profiles?.writeProfile(line, account, signal);
  } catch (error) {
    // The sign-in counts even so.
    if (signal?.aborted || !(error instanceof UsageError || error instanceof LatchkeyError)) throw error;
    const name = account.username || account.homeAccountId;
    const problem = messageOf(error);
    say(`${name} is signed in, but the profile was not written: ${problem}`);
  }
  return result;
}

type SignInBy = (
  line: CommandLine,
  signal: AbortSignal | undefined,
  server?: ServerRequest,
) => Promise<AuthenticationResult>;

/** Signs the user in for what a protected server needs. */
async function signInFor(
  url: string,
  line: CommandLine,
  { signal, signInBy }: CacheCall & { readonly signInBy: SignInBy },
): Promise<AuthenticationResult> {
  const { acquireForServer, needsOfServer } = await import("../cli/protected_server.ts");
  const needs = await needsOfServer(url, line, { named: scopesForServer(line), signal });
  return await acquireForServer(needs, (server) => signInBy(line, signal, server), {
    mayAsk: line.get(PROMPT) !== "none",
    isSignIn: true,
    signal,
  });
}

const byBrokerOrBrowser = (commands: SignInCommands): SignInBy => async (line, signal, server) => {
  const prompter = prompterFor(line, commands);
  const { app, tryStore } = await signInApplication(line, { ...prompter.browser, signal });
  const username = await usernameOf(app, line, signal);
  const prompt = line.get(PROMPT);
  // Whoever chooses an account may choose another one than the profile's.
  const isFree = prompt === "select_account" && line.origin("account") === "profile";
  const request = { ...requestOf(line, signal, server), prompt, loginHint: username, ...(!isFree && { username }) };
  const { state } = await app.brokerStatus({ signal });
  if (state !== "active" && line.get(BROKER) !== "require") await tryStore();
  try {
    return await prompter.ask(request, (request) => app.acquireTokenInteractive(request));
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
};

const byDeviceCode: SignInBy = async (line, signal, server) => {
  if (line.get(BROKER) === "require") throw new UsageError("No broker has device codes: leave out --broker require");
  const others = { prompt: line.get(PROMPT), port: line.text("port"), "no-browser": line.isOn("no-browser") };
  const [other] = Object.entries(others).find(([, value]) => value) ?? [];
  if (other !== undefined) throw new UsageError(`A device code has no --${other}`);
  const { app, tryStore } = await signInApplication(line, { signal });
  const request = { ...requestOf(line, signal, server), username: await usernameOf(app, line, signal) };
  await tryStore();
  try {
    return await signInByDeviceCode(app, request, line);
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
};

/** Returns the application, and a function that warns, before a sign-in without a broker, that it will not be kept. */
async function signInApplication(
  line: CommandLine,
  { signal, ...browser }: ConsoleBrowserOptions & CacheCall,
): Promise<{ readonly app: PublicClientApplication; readonly tryStore: () => Promise<void> }> {
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

/** Returns who has to sign in: for a home account id, the user name. */
async function usernameOf(
  app: PublicClientApplication,
  line: CommandLine,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const given = line.text("account");
  if (given === undefined || !isEntraId(given)) return given;
  return (await chooseAccount(app, { nameOrId: given, tenant: line.text("tenant"), signal })).username;
}

/**
 * Returns the scopes if none are given: at Microsoft all that the app may do with Microsoft Graph; elsewhere a scope that every
 * OpenID provider knows (OpenID Connect Core, 5.4).
 */
export function defaultScopesOf(line: CommandLine): readonly string[] {
  return isAtMicrosoft(line) ? [GRAPH_SCOPE] : ["email"];
}

function requestOf(
  line: CommandLine,
  signal: AbortSignal | undefined,
  server?: ServerRequest,
): TokenRequest {
  return {
    scopes: server?.scopes ?? scopesOf(line, defaultScopesOf(line)),
    resource: server?.resource,
    claims: line.text("claims"),
    tenantId: server === undefined ? line.text("tenant") : server.tenantId,
    correlationId: line.correlationId,
    signal,
  };
}

/**
 * `latchkey login`.
 *
 * @module
 */
import { isEntraId } from "../lib/account.ts";
import { write } from "../lib/runtime/program.ts";
import type { PublicClientApplication } from "../lib/application.ts";
import { type CacheCall, memoryStore } from "../lib/cache/store.ts";
import { LatchkeyError } from "../lib/errors.ts";
import type { Prompt, TokenRequest } from "../lib/request.ts";
import type { AuthenticationResult } from "../lib/token.ts";
import { accountLine } from "./accounts.ts";
import { chooseAccount, defaultScopesOf, makeApplication, storeOf } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { withConsentUrl } from "./cli/failures.ts";
import { ACCOUNT_KEYS, accountJson, escapeForTerminal, jsonForTerminal } from "./cli/output.ts";
import { type ConsoleBrowserOptions, prompterFor } from "./cli/sign_in.ts";
import { warnIfNotStored } from "./cli/token_cache.ts";
import { scopesOf } from "./token.ts";

/** Signs a person in, prints the account, and writes the profile that is named. */
export async function logIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const profiles = line.origin("profile") === undefined ? undefined : await import("./cli/profiles.ts");
  await profiles?.requireWritableProfiles(line, signal);
  const signIn = line.isOn("device-code") ? byDeviceCode : byPerson;
  const { account } = await signIn(line, signal);
  const problem = await profiles?.writeProfile(line, account, signal).catch((error) => asProblem(error, signal));
  if (problem) {
    const what = `${account.username || account.homeAccountId} is signed in, but the profile was not written`;
    write("stderr", `latchkey: ${escapeForTerminal(`${what}: ${problem}`)}\n`);
  }
  write(
    "stdout",
    line.text("format") === "json" ? `${jsonForTerminal(accountJson(account, ACCOUNT_KEYS))}\n` : accountLine(account),
  );
}

/** Why a profile was not written. Whoever signed in is signed in all the same. */
function asProblem(error: unknown, signal: AbortSignal | undefined): string {
  if (signal?.aborted) throw error;
  if (error instanceof UsageError) return error.message;
  if (error instanceof LatchkeyError) return [error.message, error.hint].filter(Boolean).join(". ");
  throw error;
}

async function byPerson(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  const person = prompterFor(line), { app, tryStore } = await signInApplication(line, { ...person.browser, signal });
  const username = await usernameOf(app, line, signal), prompt = line.text("prompt") as Prompt | undefined;
  // Who is to be asked whom they are may be another person than the last time.
  const isFree = prompt === "select_account" && line.origin("account") === "profile";
  const request = {
    ...{ ...requestOf(line, signal), prompt, loginHint: username },
    ...(!isFree && { username }),
  };
  const { state } = await app.brokerStatus({ signal });
  if (state !== "active" && line.text("broker") !== "require") await tryStore();
  try {
    return await person.ask(request, (request) => app.acquireTokenInteractive(request));
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
}

async function byDeviceCode(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  const { requireDeviceCodeLine, signInByDeviceCode } = await import("./cli/sign_in.ts");
  requireDeviceCodeLine(line);
  const { app, tryStore } = await signInApplication(line, { signal });
  const request = { ...requestOf(line, signal), username: await usernameOf(app, line, signal) };
  await tryStore();
  try {
    return await signInByDeviceCode(app, request, line);
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
}

/** The application, and what tells the person, before they sign in without a broker, that this will not be kept. */
async function signInApplication(
  line: CommandLine,
  { signal, ...browser }: ConsoleBrowserOptions & CacheCall,
): Promise<{ readonly app: PublicClientApplication; readonly tryStore: () => Promise<void> }> {
  const store = await storeOf(line, { mayPrompt: true, signal });
  const app = await makeApplication(line, { ...browser, cache: store ?? memoryStore() });
  return {
    app,
    async tryStore() {
      warnIfNotStored(line, { isEvenChosen: true });
      await store?.tryOut?.({ signal });
    },
  };
}

/** Who has to sign in: of an account that is known by its id, the user name. */
async function usernameOf(
  app: PublicClientApplication,
  line: CommandLine,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const given = line.text("account");
  if (given === undefined || !isEntraId(given)) return given;
  return (await chooseAccount(app, given, signal)).username;
}

function requestOf(line: CommandLine, signal: AbortSignal | undefined): TokenRequest {
  return {
    scopes: scopesOf(line, defaultScopesOf(line)),
    claims: line.text("claims"),
    tenantId: line.text("tenant"),
    correlationId: line.correlationId,
    signal,
  };
}

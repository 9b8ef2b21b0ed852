/**
 * `latchkey login`.
 *
 * @module
 */
import { type AuthenticationResult, LatchkeyError, type Prompt, type TokenRequest } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import { accountLine } from "./accounts.ts";
import { personAt } from "./by_person.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { withConsentUrl } from "./consent.ts";
import { scopesOf } from "./token.ts";
import { ACCOUNT_KEYS, accountJson } from "./token_formats.ts";
import { tellIfNotKept } from "./token_store.ts";
import { visible, visibleJson } from "./visible.ts";

/** What is asked for where nothing is named: all that the app has been allowed of Microsoft Graph. */
const DEFAULT_SCOPES = ["https://graph.microsoft.com/.default"];

/** Signs a person in, prints the account, and writes the profile that is named. */
export async function logIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const profiles = line.origin("profile") === undefined ? undefined : await import("./profile_file.ts");
  await profiles?.requireWritableProfiles(line, signal);
  const { account, source } = line.isOn("device-code")
    ? await byDeviceCode(line, signal)
    : await byPerson(line, signal);
  const problem = await profiles?.writeProfile(line, account, signal).catch((error) => asProblem(error, signal));
  if (problem) {
    const what = `${account.username || account.homeAccountId} is signed in, but the profile was not written`;
    write("stderr", `latchkey: ${visible(`${what}: ${problem}`)}\n`);
  }
  if (source === "identity_provider") tellIfNotKept(line, { isEvenChosen: true });
  write(
    "stdout",
    line.text("format") === "json" ? `${visibleJson(accountJson(account, ACCOUNT_KEYS))}\n` : accountLine(account),
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
  const person = personAt(line), app = await makeApplication(line, { ...person.browser, mayPrompt: true, signal });
  const request = {
    ...requestOf(line, signal),
    loginHint: line.text("account"),
    prompt: line.text("prompt") as Prompt | undefined,
  };
  try {
    return await person.ask(request, (request) => app.acquireTokenInteractive(request));
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
}

async function byDeviceCode(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  const { signInByDeviceCode } = await import("./device_code.ts");
  const app = await makeApplication(line, { mayPrompt: true, signal }), request = requestOf(line, signal);
  try {
    return await signInByDeviceCode(app, request, line);
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
}

function requestOf(line: CommandLine, signal: AbortSignal | undefined): TokenRequest {
  return {
    scopes: scopesOf(line, DEFAULT_SCOPES),
    claims: line.text("claims"),
    tenantId: line.text("tenant"),
    signal,
  };
}

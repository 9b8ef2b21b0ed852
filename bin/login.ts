/**
 * `latchkey login`.
 *
 * @module
 */
import type { AuthenticationResult, InteractiveRequest, Prompt, PublicClientApplication } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import { accountLine } from "./accounts.ts";
import { byPerson } from "./by_person.ts";
import type { CommandLine } from "./command_line.ts";
import { withConsentUrl } from "./consent.ts";
import { scopesOf } from "./token.ts";
import { ACCOUNT_KEYS, accountJson } from "./token_formats.ts";
import { visibleJson } from "./visible.ts";

/** What is asked for where nothing is named: all that the app has been allowed of Microsoft Graph. */
const DEFAULT_SCOPES = ["https://graph.microsoft.com/.default"];

/** Signs a person in, and prints the account. */
export async function logIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const app = makeApplication(line);
  const request = {
    scopes: scopesOf(line, DEFAULT_SCOPES),
    loginHint: line.text("account"),
    prompt: line.text("prompt") as Prompt | undefined,
    claims: line.text("claims"),
    tenantId: line.text("tenant"),
    signal,
  };
  const { account } = await signIn(app, request);
  write(
    "stdout",
    line.text("format") === "json" ? `${visibleJson(accountJson(account, ACCOUNT_KEYS))}\n` : accountLine(account),
  );
}

async function signIn(app: PublicClientApplication, request: InteractiveRequest): Promise<AuthenticationResult> {
  try {
    return await byPerson(request, (request) => app.acquireTokenInteractive(request));
  } catch (error) {
    throw await withConsentUrl(error, app, request);
  }
}

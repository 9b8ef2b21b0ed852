/**
 * `latchkey login`.
 *
 * @module
 */
import type { AuthenticationResult, Prompt, TokenRequest } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import { accountLine } from "./accounts.ts";
import { personAt } from "./by_person.ts";
import type { CommandLine } from "./command_line.ts";
import { scopesOf } from "./token.ts";
import { ACCOUNT_KEYS, accountJson } from "./token_formats.ts";
import { visibleJson } from "./visible.ts";

/** What is asked for where nothing is named: all that the app has been allowed of Microsoft Graph. */
const DEFAULT_SCOPES = ["https://graph.microsoft.com/.default"];

/** Signs a person in, and prints the account. */
export async function logIn(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { account } = line.isOn("device-code") ? await byDeviceCode(line, signal) : await byPerson(line, signal);
  write(
    "stdout",
    line.text("format") === "json" ? `${visibleJson(accountJson(account, ACCOUNT_KEYS))}\n` : accountLine(account),
  );
}

async function byPerson(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  const person = personAt(line), app = makeApplication(line, person.browser);
  const request = {
    ...requestOf(line, signal),
    loginHint: line.text("account"),
    prompt: line.text("prompt") as Prompt | undefined,
  };
  return await person.ask(request, (request) => app.acquireTokenInteractive(request));
}

async function byDeviceCode(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  const { signInByDeviceCode } = await import("./device_code.ts");
  return await signInByDeviceCode(makeApplication(line), requestOf(line, signal), line);
}

function requestOf(line: CommandLine, signal: AbortSignal | undefined): TokenRequest {
  return {
    scopes: scopesOf(line, DEFAULT_SCOPES),
    claims: line.text("claims"),
    tenantId: line.text("tenant"),
    signal,
  };
}

/**
 * `latchkey CONFIG.json`: the sample that Microsoft documents for MSAL Python, with the broker of every platform.
 *
 * @module
 */
import { readTextFile } from "../lib/runtime/program.ts";
import type { PublicClientApplication } from "../lib/application.ts";
import { LatchkeyError } from "../lib/errors.ts";
import type { RequestOptions } from "../lib/request.ts";
import type { AuthenticationResult } from "../lib/token.ts";
import { deferredNotices, makeApplication } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { withConsentUrl } from "./cli/failures.ts";
import { type Prompter, prompterFor } from "./cli/sign_in.ts";
import { interactiveOf, writeToken } from "./token.ts";

interface Config {
  readonly client_id: string;
  readonly authority?: string;
  readonly username?: string;
  readonly scope: readonly string[];
}

/** Prints a token as the file says. */
export async function runConfigFile(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const config = await readConfig(line.operands[0]!);
  const { client_id: clientId, authority } = config, person = prompterFor(line), interactive = interactiveOf(line);
  const mayPrompt = interactive !== "never", { hold, around } = deferredNotices();
  const app = await makeApplication(line, {
    ...{ clientId, ...(authority && { authority }), ...person.browser },
    ...{ mayPrompt, signal, ...(!mayPrompt && { hold }) },
  });
  const { correlationId } = line;
  try {
    const result = await around(() => runSample({ app, person, interactive }, config, { correlationId, signal }));
    if (result.source === "identity_provider") (await import("./cli/token_cache.ts")).warnIfNotStored(line);
    await writeToken(result, line);
  } catch (error) {
    throw await withConsentUrl(error, app, { scopes: config.scope });
  }
}

interface Sample {
  readonly app: PublicClientApplication;
  readonly person: Prompter;
  readonly interactive: "if-needed" | "never" | "always";
}

/** The documented pattern; `always` leaves its first half out, and `never` its second. */
async function runSample(
  { app, person, interactive }: Sample,
  { username, scope: scopes }: Config,
  call: RequestOptions,
): Promise<AuthenticationResult> {
  if (interactive === "always") {
    return await person.ask({ scopes, username, interactive, ...call }, (request) => app.acquireToken(request));
  }
  const [account] = username ? await app.getAccounts({ username, ...call }) : [];
  const silent = account && await app.acquireTokenSilent({ scopes, account, ...call });
  if (silent) return silent;
  if (interactive === "never") return await app.acquireToken({ scopes, username, interactive, ...call });
  return await person.ask(
    { scopes, loginHint: username, ...call },
    (request) => app.acquireTokenInteractive(request),
  );
}

async function readConfig(path: string): Promise<Config> {
  const wrong = (why: string) => new UsageError(`Cannot use ${JSON.stringify(path)}: ${why}`);
  let text;
  try {
    text = await readTextFile(path);
  } catch (error) {
    if (error instanceof LatchkeyError) throw error;
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    throw wrong("it is not JSON"); // no more: a config can have a secret in it
  }
  const { client_id, authority, username, scope } = (config ?? {}) as Record<string, unknown>;
  const scopes = typeof scope === "string" ? scope.split(" ").filter(Boolean) : scope;
  if (typeof client_id !== "string") throw wrong("client_id is missing");
  if (!Array.isArray(scopes) || !scopes.every((one) => typeof one === "string")) {
    throw wrong("scope has to be a list of strings");
  }
  for (const [name, value] of Object.entries({ authority, username })) {
    if (value !== undefined && typeof value !== "string") throw wrong(`${name} has to be a string`);
  }
  return {
    client_id,
    scope: scopes,
    ...(authority ? { authority: String(authority) } : {}),
    ...(username ? { username: String(username) } : {}),
  };
}

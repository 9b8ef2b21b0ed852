/**
 * `latchkey token`.
 *
 * @module
 */
import { idKey, isEntraId } from "../lib/account.ts";
import { isTerminal, write } from "../lib/runtime/program.ts";
import type { PublicClientApplication } from "../lib/application.ts";
import { LatchkeyError } from "../lib/errors.ts";
import type { AcquireTokenRequest, PopScheme } from "../lib/request.ts";
import type { AuthenticationResult } from "../lib/token.ts";
import { deferredNotices, makeApplication } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { escapeForTerminal, TOKEN_FORMATS } from "./cli/output.ts";
import type { Prompter } from "./cli/sign_in.ts";

/** Prints an access token. */
export async function printToken(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  await writeToken(await tokenOf(line, signal), line);
}

/** The token that a command line asks for. */
async function tokenOf(line: CommandLine, signal: AbortSignal | undefined): Promise<AuthenticationResult> {
  return await acquireToken(line, { interactive: interactiveOf(line), signal, asked: () => askedOf(line) });
}

/** How a token is had. */
export interface TokenOptions {
  readonly interactive: "if-needed" | "never" | "always";
  readonly signal: AbortSignal | undefined;
  /** What is asked for beside what all commands have an option for. It is read after the options of the app. */
  readonly asked: () => Pick<AcquireTokenRequest, "scopes" | "claims" | "authenticationScheme" | "forceRefresh">;
}

/**
 * A token for what a command line has: an app, an account, a tenant.
 *
 * @param line A command line with the options of an app.
 * @param means How.
 * @throws {UsageError} when the command line cannot be meant.
 * @throws {LatchkeyError} as `PublicClientApplication.acquireToken` does, and its store.
 */
export async function acquireToken(line: CommandLine, means: TokenOptions): Promise<AuthenticationResult> {
  const { interactive, signal } = means;
  const person = interactive === "never" ? undefined : (await import("./cli/sign_in.ts")).prompterFor(line);
  const { hold, around } = deferredNotices(), mayPrompt = person !== undefined;
  // Where nobody can be asked, a cache that cannot be read is what stands in the way.
  const app = await makeApplication(line, { ...person?.browser, mayPrompt, signal, ...(!person && { hold }) });
  const result = await around(() => ask(line, { ...means, app, person }));
  if (result.source === "identity_provider") (await import("./cli/token_cache.ts")).warnIfNotStored(line);
  return result;
}

function askedOf(line: CommandLine): ReturnType<TokenOptions["asked"]> {
  return {
    scopes: scopesOf(line),
    claims: line.text("claims"),
    authenticationScheme: popOf(line),
    forceRefresh: line.isOn("force-refresh"),
  };
}

/** How it is had by an app. */
interface AppMeans extends TokenOptions {
  readonly app: PublicClientApplication;
  readonly person: Prompter | undefined;
}

async function ask(
  line: CommandLine,
  { app, person, interactive, signal, asked }: AppMeans,
): Promise<AuthenticationResult> {
  const request = {
    ...asked(),
    ...await resolveAccount(app, line.text("account"), signal),
    tenantId: line.text("tenant"),
    correlationId: line.correlationId,
    signal,
  };
  const send = async (more: Partial<AcquireTokenRequest>) => {
    const asked = { ...request, interactive, ...more };
    try {
      if (!person || asked.interactive === "never") return await app.acquireToken(asked);
      return await person.ask(asked, (asked) => app.acquireToken(asked));
    } catch (error) {
      throw await (await import("./cli/failures.ts")).withConsentUrl(error, app, asked);
    }
  };
  const minTtl = line.seconds("min-ttl") ?? 0;
  let result = await send({});
  if (secondsLeft(result) < minTtl) {
    // Who was asked just now is not asked again.
    const renewal = send({ forceRefresh: true, interactive: interactive === "always" ? "never" : interactive });
    result = await renewal.catch((error) => oldTokenInstead(result, error, signal));
  }
  if (secondsLeft(result) < minTtl) {
    write("stderr", `latchkey: the token ends in ${secondsLeft(result)} s, sooner than --min-ttl asks for\n`);
  }
  return result;
}

/** A token that ends soon is better than none, unless somebody gave up. */
function oldTokenInstead(
  kept: AuthenticationResult,
  error: unknown,
  signal: AbortSignal | undefined,
): AuthenticationResult {
  if (!(error instanceof LatchkeyError) || signal?.aborted || error.code === "user_canceled") throw error;
  const { code, message, correlationId } = error, id = correlationId ? ` (correlation id ${correlationId})` : "";
  write("stderr", `latchkey: ${escapeForTerminal(`the token could not be renewed: ${code}: ${message}${id}`)}\n`);
  return kept;
}

/**
 * Whom `--account` means: a home account id is what two accounts of one user name are told apart by; an OpenID provider's can be
 * any text.
 *
 * @param app The application.
 * @param given What the option says.
 * @param signal Gives up, with its reason.
 * @throws {LatchkeyError} `account_not_found` when nobody has a home account id.
 */
export async function resolveAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Pick<AcquireTokenRequest, "account" | "username">> {
  if (given === undefined || given.includes("@")) return { username: given };
  if (isEntraId(given)) {
    return { account: await (await import("./cli/application.ts")).chooseAccount(app, given, signal) };
  }
  const accounts = await app.getAccounts({ signal });
  const account = accounts.find(({ homeAccountId }) => idKey(homeAccountId) === idKey(given));
  return account ? { account } : { username: given };
}

/** Prints a token in the format that was asked for. */
export async function writeToken(result: AuthenticationResult, line: CommandLine): Promise<void> {
  write("stdout", await TOKEN_FORMATS[line.text("format")!]!(result, Date.now()));
}

/**
 * The scopes that --scope or --resource name.
 *
 * @param line A command line with those options.
 * @param otherwise What is meant where neither is given.
 * @throws {UsageError} for scopes that cannot be meant, and for none.
 */
export function scopesOf(line: CommandLine, otherwise?: readonly string[]): readonly string[] {
  const named = line.nearest("scope", "resource");
  if (named.length > 1) throw new UsageError("Give --scope or --resource, not both");
  const scopes = named[0] === "scope" ? line.list("scope") : [];
  const resource = named[0] === "resource" ? line.text("resource") : undefined;
  if (resource !== undefined && !/^([a-z][a-z0-9+.-]*:\/\/|[0-9a-f-]{36}$)/i.test(resource)) {
    throw new UsageError(`--resource takes a URL such as https://graph.microsoft.com, not ${JSON.stringify(resource)}`);
  }
  // A resource's default scope has two slashes where the resource ends in one: Azure SQL and others are named so.
  if (resource !== undefined) return [`${resource}/.default`];
  const joined = scopes.find((scope) => scope.includes(","));
  if (joined !== undefined) {
    throw new UsageError(`--scope takes scopes apart by spaces, or is repeated, not ${JSON.stringify(joined)}`);
  }
  if (scopes.length > 0) return scopes;
  if (otherwise) return otherwise;
  throw new UsageError("--scope or --resource is missing: what the token is for");
}

/** What --interactive says. Somebody who pipes the token elsewhere still sits at the terminal; a script's stderr is none. */
export function interactiveOf(line: CommandLine): "if-needed" | "never" | "always" {
  const option = line.text("interactive");
  if (option === "always" || option === "never") return option;
  return isTerminal("stdin") && isTerminal("stderr") ? "if-needed" : "never";
}

function popOf(line: CommandLine): PopScheme | undefined {
  const option = line.text("pop"), nonce = line.text("nonce");
  if (option === undefined) {
    // In the environment it can be meant for other commands.
    if (line.origin("nonce") === "command line") {
      throw new UsageError("--nonce goes with --pop: it is signed with a request");
    }
    return undefined;
  }
  const [method, url, ...more] = option.split(" ").filter(Boolean);
  if (method && url && more.length === 0) return { type: "pop", method, url, nonce };
  throw new UsageError(`--pop takes a method and an address, as "GET https://api.contoso.com/orders"`);
}

function secondsLeft({ expiresOn }: AuthenticationResult): number {
  return Math.floor((expiresOn.getTime() - Date.now()) / 1000);
}

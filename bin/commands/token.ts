/**
 * `latchkey token`, and tokens for the commands that hand them on.
 *
 * @module
 */
import { idKey, isEntraId } from "../../lib/account.ts";
import { isGuid, type JsonObject, nearestName, readJwt } from "../../lib/encoding.ts";
import { DEFAULT_AUTHORITY, parseAuthority } from "../../lib/authority.ts";
import { readEnvironment, shellWord } from "../../lib/runtime/host.ts";
import { isTerminal } from "../../lib/runtime/terminal.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { resourceOf } from "../../lib/scopes.ts";
import { accountsMeant } from "../../lib/sources/account_choice.ts";
import type { AcquireTokenRequest, PopScheme } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { type AccountOptions, canChoose, chooseAccount, deferredNotices, makeApplication } from "../cli/application.ts";
import { type Command, type CommandLine, isAtMicrosoft, UsageError } from "../cli/command_line.ts";
import { withConsentUrl } from "../cli/failures.ts";
import {
  ACCOUNT,
  APP,
  BROWSER,
  type ChoiceOption,
  CLAIMS,
  FOR,
  FORCE_REFRESH,
  formatOption,
  INTERACTIVE,
  MIN_TTL,
  NONCE,
  SCOPES,
  TENANT,
  textOption,
  TIMEOUT,
  VERBOSE,
} from "../cli/options.ts";
import { accountJson, azureCliJson, epochSeconds, jsonForTerminal, print, say } from "../cli/output.ts";

/** The formats of a token; the first is the default. */
export const TOKEN_FORMATS: Readonly<
  Record<
    "token" | "json" | "header" | "headers" | "env" | "az" | "claims",
    (result: AuthenticationResult, now: number) => string
  >
> = {
  token: ({ accessToken }) => `${accessToken}\n`,
  json: (result, now) => `${jsonForTerminal(tokenJson(result, now))}\n`,
  header: ({ accessToken, tokenType }) => `Authorization: ${tokenType} ${accessToken}\n`,
  headers: ({ accessToken, tokenType }) => `${jsonForTerminal({ Authorization: `${tokenType} ${accessToken}` })}\n`,
  env: ({ accessToken, tokenType, expiresOn }) => {
    const values = { ACCESS_TOKEN: accessToken, TOKEN_TYPE: tokenType, EXPIRES_ON: String(epochSeconds(expiresOn)) };
    // Quoted only if a shell needs it: not every reader of a file of variables removes quotation marks.
    return Object.entries(values).map(([name, value]) => `${name}=${shellWord(value)}\n`).join("");
  },
  az: (result) => `${jsonForTerminal(azureCliJson(result))}\n`,
  claims: (result) => `${jsonForTerminal(claimsIn(result))}\n`,
};

export const TOKEN_FORMAT: ChoiceOption<keyof typeof TOKEN_FORMATS> = formatOption(
  Object.keys(TOKEN_FORMATS) as [keyof typeof TOKEN_FORMATS],
  "Output format; az is what az account get-access-token prints, headers a JSON object of HTTP headers, claims what is in the token",
);

export const command: Command = {
  name: "token",
  summary: "Print an access token",
  usage: "token --client-id ID (--scope SCOPE... | --resource URL | --for URL) [options]",
  operands: 0,
  options: [
    ...SCOPES,
    FOR,
    ACCOUNT,
    ...APP,
    TENANT,
    INTERACTIVE,
    ...BROWSER,
    CLAIMS,
    FORCE_REFRESH,
    MIN_TTL,
    textOption("pop", '"METHOD URL"', "Bind the token to one HTTP request (proof of possession)"),
    NONCE,
    TOKEN_FORMAT,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    ["latchkey token --client-id azure-cli --resource https://management.azure.com", "only the token, for a script"],
    [
      "latchkey token --client-id ID --scope User.Read --format header | curl -H @- https://graph.microsoft.com/v1.0/me",
      "the token never shows in the process list",
      'latchkey token --client-id ID --scope User.Read --format header | curl.exe -H "@-" https://graph.microsoft.com/v1.0/me',
    ],
    [
      "token=$(latchkey token --client-id azure-cli --resource https://ossrdbms-aad.database.windows.net) && PGPASSWORD=$token psql ...",
      "a password for Azure Database",
      "$env:PGPASSWORD = latchkey token --client-id azure-cli --resource https://ossrdbms-aad.database.windows.net; psql ...",
    ],
  ],
  run: printAccessToken,
};

/** Address of the MCP server for whose headers an agent (Claude Code) runs a command. */
const SERVER_VARIABLE = "CLAUDE_CODE_MCP_SERVER_URL";

async function printAccessToken(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const isForHeaders = line.get(TOKEN_FORMAT) === "headers";
  // Whoever runs a command for headers waits a few seconds, often behind a window of its own.
  const interactive = isForHeaders && line.get(INTERACTIVE) === "auto" ? "never" : interactiveOf(line);
  const more = () => ({
    claims: line.text("claims"),
    authenticationScheme: popOf(line),
    forceRefresh: line.get(FORCE_REFRESH),
  });
  const isScopeGiven = line.nearest("scope", "resource").length > 0;
  const server = line.text("for") ?? (isForHeaders && !isScopeGiven ? readEnvironment(SERVER_VARIABLE) : undefined);
  if (server !== undefined) return printToken(await tokenForServer(server, line, { interactive, signal, more }), line);
  const asked = () => ({ scopes: scopesOf(line), ...more() });
  printToken(await acquireToken(line, { interactive, signal, asked }), line);
}

/** Acquires a token for a server that says itself which it needs. */
async function tokenForServer(
  url: string,
  line: CommandLine,
  { interactive, signal, more }: Omit<TokenOptions, "asked"> & {
    readonly more: () => Omit<ReturnType<TokenOptions["asked"]>, "scopes">;
  },
): Promise<AuthenticationResult> {
  const { acquireForServer, needsOfServer } = await import("../cli/protected_server.ts");
  const needs = await needsOfServer(url, line, { named: scopesForServer(line), signal });
  return await acquireForServer(
    needs,
    ({ tenantId, ...request }) =>
      acquireToken(line.with({ tenant: tenantId }), {
        interactive,
        signal,
        asked: () => ({ ...request, ...more() }),
      }),
    { mayAsk: interactive !== "never", signal },
  );
}

export interface TokenOptions {
  readonly interactive: "if-needed" | "never" | "always";
  readonly signal: AbortSignal | undefined;
  /** Returns the part of the request that not all commands have options for. It is called after the app's options are checked. */
  readonly asked: () => Pick<
    AcquireTokenRequest,
    "scopes" | "resource" | "claims" | "authenticationScheme" | "forceRefresh" | "onBeforeLaunchingUi"
  >;
}

/**
 * Acquires a token for the app, account and tenant of a command line.
 *
 * @throws {UsageError} if an option is invalid.
 * @throws {LatchkeyError} as `PublicClientApplication.acquireToken` does, and the token cache.
 */
export async function acquireToken(
  line: CommandLine,
  { interactive, signal, asked }: TokenOptions,
): Promise<AuthenticationResult> {
  const prompter = interactive === "never" ? undefined : (await import("../cli/sign_in.ts")).prompterFor(line);
  const { hold, around } = deferredNotices();
  const mayPrompt = prompter !== undefined;
  // If nobody can be prompted, a cache that cannot be read is the reason of the failure.
  const app = await makeApplication(line, { ...prompter?.browser, mayPrompt, signal, ...(!prompter && { hold }) });
  const result = await around(async () => {
    const wish = { nameOrId: line.text("account"), tenant: line.text("tenant"), signal };
    const given = await resolveAccount(app, wish);
    const isOpen = interactive === "if-needed";
    const request = {
      ...asked(),
      ...given,
      ...(isOpen && !given.account && await chooseCached(app, { ...wish, nameOrId: given.username })),
    };
    const { correlationId } = line;
    const tenantId = line.text("tenant");
    const whole = { ...request, tenantId, interactive, correlationId, signal, agentSession: agentSession() };
    const send = async (request: AcquireTokenRequest) => {
      try {
        if (!prompter || request.interactive === "never") return await app.acquireToken(request);
        return await prompter.ask(request, (request) => app.acquireToken(request));
      } catch (error) {
        throw await withConsentUrl(error, app, request);
      }
    };
    const first = await send(whole);
    const minTtl = line.seconds("min-ttl") ?? 0;
    if (secondsLeft(first) >= minTtl) return first;
    // Whoever has just signed in is not prompted again.
    const again = interactive === "always" ? "never" : interactive;
    // A user who is prompted may take longer.
    const limit = again === "never" ? lastMoment(first) : undefined;
    const limited = { ...whole, signal: limit && signal ? AbortSignal.any([limit, signal]) : limit ?? signal };
    const renewed = await send({ ...limited, forceRefresh: true, interactive: again }).catch((error) => {
      if (limit?.aborted && !signal?.aborted) {
        say("the token could not be renewed in time");
        return first;
      }
      // A token that expires soon is better than none, unless somebody gave up.
      if (!(error instanceof LatchkeyError) || signal?.aborted || error.code === "user_canceled") throw error;
      const { code, message, correlationId } = error;
      const id = correlationId ? ` (correlation id ${correlationId})` : "";
      say(`the token could not be renewed: ${code}: ${message}${id}`);
      return first;
    });
    const left = secondsLeft(renewed);
    if (left < minTtl) say(`the token expires in ${left} s, sooner than --min-ttl asks for`);
    return renewed;
  });
  if (result.source === "identity_provider") (await import("../cli/token_cache.ts")).warnIfNotStored(line);
  return result;
}

/** Returns the id of the agent's session that runs the command. Its tokens are marked with it, as Azure CLI's are. */
export function agentSession(): string | undefined {
  return readEnvironment("COPILOT_AGENT_SESSION_ID");
}

/**
 * Has the person choose one of several accounts, without a broker, which has one of its own. One user name can have several.
 * A browser that opened would not say why.
 */
async function chooseCached(
  app: PublicClientApplication,
  { nameOrId: username, tenant, signal }: AccountOptions,
): Promise<Pick<AcquireTokenRequest, "account" | "username">> {
  if (!canChoose() || (await app.brokerStatus({ signal })).state === "active") return { username };
  const accounts = accountsMeant(await app.getAccounts({ username, signal }), { username, tenant });
  if (accounts.length < 2) return { username };
  return { account: await (await import("../cli/sign_in.ts")).askForAccount(accounts, signal), username: undefined };
}

/**
 * Resolves `--account`: a user name, or a home account id, which tells two accounts of one user name apart. An OpenID provider's
 * can be any text.
 *
 * @throws {LatchkeyError} `account_not_found` if no account has this home account id.
 */
export async function resolveAccount(
  app: PublicClientApplication,
  wish: AccountOptions,
): Promise<Pick<AcquireTokenRequest, "account" | "username">> {
  const { nameOrId, signal } = wish;
  if (nameOrId === undefined || nameOrId.includes("@")) return { username: nameOrId };
  if (isEntraId(nameOrId)) return { account: await chooseAccount(app, wish) };
  const accounts = await app.getAccounts({ signal });
  const account = accounts.find(({ homeAccountId }) => idKey(homeAccountId) === idKey(nameOrId));
  return account ? { account } : { username: nameOrId };
}

export function printToken(result: AuthenticationResult, line: CommandLine): void {
  const format = line.get(TOKEN_FORMAT);
  print(TOKEN_FORMATS[format](result, Date.now()));
  if (format === "claims") {
    say("these claims were decoded and not verified; only the API that the token is for can do that");
  }
}

/** Returns the claims of a token. Those of a signed HTTP request have the token in them, whose own claims take its place. */
function claimsIn({ accessToken, tokenType }: AuthenticationResult): JsonObject {
  const claims = accessToken.split(".").length === 3 ? readJwt(accessToken) : undefined;
  if (!claims) {
    throw new LatchkeyError("invalid_response", "Cannot decode the token: it is opaque, for its API only", {
      hint: "Choose another format: --format json has the claims of the ID token, if there is one",
    });
  }
  if (tokenType !== "pop" || typeof claims.at !== "string") return claims;
  return { ...claims, at: readJwt(claims.at) ?? "[concealed]" };
}

function tokenJson(result: AuthenticationResult, now: number): Record<string, unknown> {
  const { name: _name, source: _source, ...accountOfToken } = accountJson(result.account);
  return {
    access_token: result.accessToken,
    token_type: result.tokenType,
    expires_in: Math.max(0, Math.floor((result.expiresOn.getTime() - now) / 1000)),
    expires_on: epochSeconds(result.expiresOn),
    scope: result.scopes.join(" "),
    id_token: result.idToken,
    id_token_claims: result.idTokenClaims,
    account: accountOfToken,
    token_source: result.source,
    correlation_id: result.correlationId,
  };
}

/**
 * Returns the scopes that --scope or --resource name; `otherwise` if neither is given.
 *
 * @throws {UsageError} if they are invalid, or missing without any others.
 */
export function scopesOf(line: CommandLine, otherwise?: readonly string[]): readonly string[] {
  const [named, other] = line.nearest("scope", "resource");
  if (other) throw new UsageError("Give --scope or --resource, not both");
  if (named === "resource") return [scopeOfResource(line.text("resource")!)];
  const scopes = named === "scope" ? line.list("scope") : [];
  const joined = scopes.find((scope) => /[,;]/.test(scope));
  if (joined !== undefined) {
    throw new UsageError(`--scope takes scopes separated by spaces, or is repeated, not ${JSON.stringify(joined)}`);
  }
  const bare = isAtMicrosoft(line) ? scopes.find((scope) => /^https?:\/\/[^/]+\/?$/i.test(scope)) : undefined;
  if (bare !== undefined) {
    throw new UsageError(
      `--scope takes a permission, and ${bare} is a resource: write --resource ${bare}, or --scope ${bare}/.default`,
    );
  }
  const misspelled = scopes.find((scope) => isMisspelledHttp(/^([a-z]+):\/\//i.exec(scope)?.[1] ?? ""));
  if (misspelled !== undefined) {
    const meant = httpsFormOf(misspelled) ?? "https://";
    throw new UsageError(`--scope ${JSON.stringify(misspelled)} does not begin with https: did you mean ${meant}?`);
  }
  if (scopes.length > 0) return scopes;
  if (otherwise) return otherwise;
  throw new UsageError("--scope or --resource is missing: the API that the token is for");
}

/**
 * Returns the scope that --resource names. It has two slashes if the resource ends in one: Azure SQL and others are named so.
 *
 * @throws {UsageError} if it is neither a URI (RFC 3986, 3) nor a GUID, is a permission, or has a mistake in http: or https:.
 */
export function scopeOfResource(resource: string): string {
  const name = resourceOf(resource);
  const isScope = !GRAPH_VERSION.test(name) && (/\/user_impersonation$/i.test(name) || GRAPH_PERMISSION.test(name));
  if (isScope) {
    throw new UsageError(`--resource takes an API, and ${name} is a permission of one: write --scope ${name}`);
  }
  const version = GRAPH_VERSION.exec(name);
  if (version) {
    throw new UsageError(`--resource takes an API, and ${name} is a version of one: write --resource ${version[1]}`);
  }
  const [, scheme, rest = ""] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(name) ?? [];
  const isUri = /^\/\/[^/]/.test(rest) || scheme?.toLowerCase() === "urn";
  if (isGuid(name) || scheme !== undefined && isUri && !isMisspelledHttp(scheme)) return `${name}/.default`;
  const forms = "--resource takes a URL such as https://graph.microsoft.com, another URI such as api://ID, or a GUID";
  const meant = httpsFormOf(name);
  const advice = meant === undefined
    ? "name another one by its scope: --scope RESOURCE/.default"
    : `did you mean ${meant}?`;
  throw new UsageError(`${forms}, not ${JSON.stringify(resource)}; ${advice}`);
}

/** Returns the https URL that a name without a scheme, or with a misspelled one, can mean. */
function httpsFormOf(name: string): string | undefined {
  const [, scheme, rest = ""] = /^(?:([a-z][a-z0-9+.-]*):)?\/*([\w-]+(?:\.[\w-]+)+(?:[/:].*)?)$/is.exec(name) ?? [];
  if (rest === "" || scheme !== undefined && !/^https?$/i.test(scheme) && !isMisspelledHttp(scheme)) return undefined;
  return `https://${rest}`;
}

/** Returns true if a scheme is nearly `http` or `https`: no API has such a one. */
function isMisspelledHttp(scheme: string): boolean {
  const lower = scheme.toLowerCase();
  const isNear = /^(h|tt)/.test(lower) && nearestName(lower, ["http", "https"]) !== undefined;
  return isNear && !["http", "https"].includes(lower);
}

/** A permission of Microsoft Graph, whose resources have no path. */
const GRAPH_PERMISSION =
  /^https:\/\/(graph\.microsoft\.(com|us)|dod-graph\.microsoft\.us|microsoftgraph\.chinacloudapi\.cn)\/[\w-]+(\.[\w-]+)+$/i;
/** A version in the URLs of Microsoft Graph, which is no part of the resource. */
const GRAPH_VERSION =
  /^(https:\/\/(?:graph\.microsoft\.(?:com|us)|dod-graph\.microsoft\.us|microsoftgraph\.chinacloudapi\.cn))\/(?:v1\.0|beta)(?:\/.*)?$/i;

/**
 * Returns the scopes that the command line names for a protected server; none if it names none. At a provider other than
 * Microsoft, --resource is a resource indicator (RFC 8707), and may be given as well.
 *
 * @throws {UsageError} if they are invalid.
 */
export function scopesForServer(line: CommandLine): readonly string[] {
  const { kind } = parseAuthority(line.text("authority") ?? DEFAULT_AUTHORITY);
  return scopesOf(kind === "oidc" ? line.with({ resource: undefined }) : line, []);
}

/** Returns what --interactive allows. Stdout does not matter: a person can pipe the token from a terminal. */
export function interactiveOf(line: CommandLine): TokenOptions["interactive"] {
  const option = line.get(INTERACTIVE);
  if (option !== "auto") return option;
  return isTerminal("stdin") && isTerminal("stderr") ? "if-needed" : "never";
}

function popOf(line: CommandLine): PopScheme | undefined {
  const option = line.text("pop");
  const nonce = line.text("nonce");
  if (option === undefined) {
    // The environment's can be meant for other commands.
    if (line.origin("nonce") === "command line") {
      throw new UsageError("--nonce goes with --pop: it is signed with a request");
    }
    return undefined;
  }
  const [method, url, ...more] = option.split(" ").filter(Boolean);
  if (method && url && more.length === 0) return { type: "pop", method, url, nonce };
  throw new UsageError(`--pop takes a method and an address, as "GET https://api.contoso.com/orders"`);
}

/** Seconds of a token's lifetime that are left to its caller. */
const LEFT_TO_CALLER_S = 5;
/** Seconds that a renewal gets in any case: a token that is about to expire is of little use to the caller. */
const MIN_RENEWAL_S = 2;
/** Lifetime in seconds of a token that a renewal can outlast: a provider is waited for twice 30 s. */
const OUTLASTED_S = 70;

/** Returns a signal that aborts when a token is about to expire; `undefined` if no renewal takes that long. */
function lastMoment(token: AuthenticationResult): AbortSignal | undefined {
  const limitMs = renewalLimitMs(secondsLeft(token));
  return limitMs === undefined ? undefined : AbortSignal.timeout(limitMs);
}

/** Returns the time for the renewal of a token that is still good, in milliseconds; `undefined` if it needs no limit. */
export function renewalLimitMs(secondsLeft: number): number | undefined {
  return secondsLeft < OUTLASTED_S ? Math.max(MIN_RENEWAL_S, secondsLeft - LEFT_TO_CALLER_S) * 1000 : undefined;
}

function secondsLeft({ expiresOn }: AuthenticationResult): number {
  return Math.floor((expiresOn.getTime() - Date.now()) / 1000);
}

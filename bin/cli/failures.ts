/**
 * Failures of commands: exit codes, JSON, text and hints.
 *
 * @module
 */
import { quoteCommand } from "../../lib/runtime/host.ts";
import { isWsl } from "../../lib/runtime/machine.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { isInteractionRequired, LatchkeyError, type LatchkeyErrorCode, withDetails } from "../../lib/errors.ts";
import { type CommandLine, isAtMicrosoft } from "./command_line.ts";
import { commandLineHint } from "./output.ts";
import { scopesNamed } from "./scopes.ts";

export const EXIT: Readonly<Record<LatchkeyErrorCode, number>> = {
  interaction_required: 3,
  account_unusable: 3,
  account_not_found: 3,
  user_canceled: 4,
  timed_out: 4,
  no_network: 5,
  temporarily_unavailable: 5,
  broker_unavailable: 5,
  configuration: 1,
  untrusted_authority: 1,
  refused: 1,
  missing_dependency: 1,
  invalid_response: 1,
  unexpected: 1,
};

/** AADSTS53003: blocked by Conditional Access, possibly because of the address that the request comes from. */
const BLOCKED_BY_POLICY = 53003;
const MIRRORED =
  "In WSL, mirrored networking can be the cause: try networkingMode=nat in .wslconfig, then wsl --shutdown";

/** Returns the hint, with what only this machine can tell. */
function hintOf({ hint, errorCodes }: LatchkeyError): string | undefined {
  const more = errorCodes.includes(BLOCKED_BY_POLICY) && isWsl() ? MIRRORED : undefined;
  return [commandLineHint(hint), more].filter(Boolean).join(". ") || undefined;
}

/** Returns what a failure is, as its description: the server's or the broker's, otherwise our own. */
export function descriptionOf({ errorDescription, message }: LatchkeyError): string {
  return errorDescription || message;
}

/** Returns a failure in one line: the server's error, otherwise our code, and the description. */
export function failureLine(error: LatchkeyError): string {
  return `${error.error ?? error.code}: ${descriptionOf(error)}`;
}

/** Returns a failure for `--format json`. The id is the request's if the error has none, since it was aborted or never sent. */
export function failureJson(error: LatchkeyError, correlationId?: string): Record<string, unknown> {
  const { broker } = error;
  return {
    error: error.error ?? error.code,
    error_description: descriptionOf(error),
    error_codes: error.errorCodes,
    suberror: error.subError,
    correlation_id: error.correlationId ?? correlationId,
    claims: error.claims,
    hint: hintOf(error),
    broker: broker &&
      { status: broker.status, sub_status: broker.subStatus, tag: broker.tag, error_code: broker.errorCode },
  };
}

/** Returns a failure as lines for people; the id is as with {@linkcode failureJson}. */
export function failureText(error: LatchkeyError, correlationId?: string): readonly string[] {
  const rows: readonly (readonly [name: string, value: string | undefined])[] = [
    ["error", error.error ?? error.code],
    ["error_description", descriptionOf(error)],
    ["suberror", error.subError],
    ...error.errorCodes.map((code) => ["see", `https://login.microsoftonline.com/error?code=${code}`] as const),
    ["correlation_id", error.correlationId ?? correlationId],
    ["time", new Date().toISOString()],
    ["hint", hintOf(error)],
  ];
  return rows.flatMap(([name, value]) => value ? [`${name}: ${value}`] : []);
}

const CONSENT_MISSING = 65001;

/** Returns the error with the address for consent as its hint, if consent is missing: a shell has no method for it. */
export async function withConsentUrl(
  error: unknown,
  app: PublicClientApplication,
  request: { readonly scopes: readonly string[]; readonly tenantId?: string | undefined },
): Promise<unknown> {
  if (!(error instanceof LatchkeyError) || !error.errorCodes.includes(CONSENT_MISSING)) return error;
  const { scopes, tenantId } = request; // of more that a caller's request can have
  const url = await app.getAuthorizationRequestUrl({ scopes, tenantId }).catch(() => undefined);
  if (url === undefined) return error;
  return withDetails(error, {
    hint: `Ask an administrator to consent, or visit this to consent: ${url}`,
    cause: error,
  });
}

/** Options of a command that its sign-in, or a list of its accounts, needs as well. */
const SIGN_IN_OPTIONS = ["client-id", "authority", "tenant", "account", "broker", "store", "cache-file"];
const ACCOUNTS_OPTIONS = SIGN_IN_OPTIONS.filter((name) => !["tenant", "account"].includes(name));

/** Returns true if the next step is a person's sign-in: the first one, or after one that was canceled or timed out. */
export function isSignInNeeded(error: unknown): error is LatchkeyError {
  const isEnded = error instanceof LatchkeyError && EXIT[error.code] === EXIT.user_canceled;
  return isEnded || isInteractionRequired(error);
}

/** Returns the sign-in that a command needs, quoted for the shell of this platform; `claims` are a challenge to answer. */
export function loginCommand(line: CommandLine, scopes: readonly string[], claims?: string): string {
  return quoteCommand([
    ...["latchkey", "login"],
    // A sign-in that stores a profile does so when it is repeated. Another command's would change the profile.
    ...given(line, [...(line.command === "login" ? ["profile"] : []), ...SIGN_IN_OPTIONS, ...serverOptions(line)]),
    ...scopes.map((scope) => ["--scope", scope]),
    ...(claims === undefined ? [] : [["--claims", claims]]),
  ]);
}

/** Returns the options that name a server. */
function serverOptions(line: CommandLine): readonly string[] {
  if (line.origin("for") === undefined) return [];
  // For a server, --resource is a resource indicator, except at Microsoft's authorities, where it is a scope.
  return isAtMicrosoft(line) ? ["for"] : ["for", "resource"];
}

/** Returns those options that were given. */
function given(line: CommandLine, names: readonly string[]): readonly (readonly string[])[] {
  return names.filter((name) => !["default", undefined].includes(line.origin(name)))
    .map((name) => [`--${name}`, line.text(name)!]);
}

/** Commands that repeat a sign-in elsewhere, quoted for the shell of this platform. */
export interface SignInCommands {
  readonly atTerminal: string;
  readonly onOtherDevice: string;
}

/** Returns the commands for the sign-in that a command line asks for: with its scopes, claims and prompt. */
export function signInCommands(line: CommandLine): SignInCommands {
  const prompt = line.text("prompt");
  const login = loginCommand(line, scopesNamed(line), line.text("claims"));
  return {
    atTerminal: prompt === undefined ? login : `${login} --prompt ${prompt}`,
    onOtherDevice: `${login} --device-code`, // which has no prompts
  };
}

const LOGIN = "latchkey login";
const ACCOUNTS = "latchkey accounts";
const WITH_CLAIMS = ", with the error's claims";
/** A command in a hint: without options, or with one that the library's words stand for. */
const BARE_COMMAND =
  /latchkey accounts(?! -)|latchkey login(?: --claims, with the error's claims| --scope(?= ?(?:[.;]|$))| --prompt login| --claims| --scope)?(?! -)/g;

/**
 * Returns the error with the options of a command line in the commands that its hint names, so that they can be pasted. What
 * follows a command is kept apart by quotation marks.
 */
export function withLoginOptions(error: LatchkeyError, line: CommandLine): LatchkeyError {
  const isApp = !["default", undefined].includes(line.origin("client-id"));
  const hint = commandLineHint(error.hint);
  if (!isApp || !hint || ![LOGIN, ACCOUNTS].some((name) => hint.includes(name))) return error;
  const wanted = scopesNamed(line);
  const command = (found: string) => {
    if (found === ACCOUNTS) return quoteCommand(["latchkey", "accounts", ...given(line, ACCOUNTS_OPTIONS)]);
    const login = loginCommand(line, wanted, found.endsWith(WITH_CLAIMS) ? error.claims : undefined);
    return found.endsWith("--prompt login") ? `${login} --prompt login` : login;
  };
  return withDetails(error, {
    hint: hint.replaceAll(
      BARE_COMMAND,
      (found, at: number) => hint.length === at + found.length ? command(found) : `\`${command(found)}\``,
    ),
    cause: error,
  });
}

/** Returns the error with the sign-in that fixes it as its hint, if one does. */
export function withLoginHint(error: unknown, line: CommandLine, scopes: readonly string[]): unknown {
  if (!isSignInNeeded(error)) return error;
  const signIn = `ign in, and try again: ${loginCommand(line, scopes, error.claims)}`;
  // A device that has to be registered first, for one: then a sign-in is only the second step.
  const isFirstStep = error.hint === undefined || error.hint.includes("acquireTokenInteractive");
  return withDetails(error, { hint: isFirstStep ? `S${signIn}` : `${error.hint}. Then s${signIn}`, cause: error });
}

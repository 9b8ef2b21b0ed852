/**
 * Failures of commands: exit codes, JSON, text and hints.
 *
 * @module
 */
import { quoteCommand } from "../../lib/runtime/host.ts";
import { isWsl } from "../../lib/runtime/program.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { isInteractionRequired, LatchkeyError, type LatchkeyErrorCode } from "../../lib/errors.ts";
import type { CommandLine } from "./command_line.ts";
import { jsonForTerminal } from "./output.ts";

/** Exit code of each failure. */
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

/** Words of the command line for the names and phrases in the library's hints. */
const COMMAND_LINE_WORDS: readonly (readonly [library: RegExp, commandLine: string])[] = [
  [/\bacquireTokenInteractive with these scopes\b/g, "latchkey login --scope"],
  [/\bacquireTokenInteractive with the error's claims\b/g, "latchkey login --claims, with the error's claims"],
  [/\bacquireTokenInteractive with a prompt\b/g, "latchkey login --prompt login"],
  [/\bacquireTokenInteractive\b/g, "latchkey login"],
  [/\brequireBroker\b/g, "--broker require"],
  [/\bauthenticationScheme\b/g, "--pop"],
  [/\baccount in the request\b/g, "--account"],
  [/\bclientId and authority\b/g, "--client-id and --tenant"],
  [/\bcheck the authority and the account\b/g, "check --tenant and --account"],
  [/\bCheck the authority\b/g, "Check --authority"],
  [/\bone resource at a time\b.*/g, "$&; --resource adds /.default"],
];

/** Returns a hint of the library in the words of the command line. */
export function commandLineHint(hint: string | undefined): string | undefined {
  return hint && COMMAND_LINE_WORDS.reduce((text, [library, words]) => text.replaceAll(library, words), hint);
}

/** Returns the hint, with what only this machine can tell. */
function hintOf({ hint, errorCodes }: LatchkeyError): string | undefined {
  const more = errorCodes.includes(BLOCKED_BY_POLICY) && isWsl() ? MIRRORED : undefined;
  return [commandLineHint(hint), more].filter(Boolean).join(". ") || undefined;
}

/**
 * Returns a failure as `--format json` prints it.
 *
 * @param error The failure.
 * @param correlationId UUID of the request if the error has none, since it was aborted or never sent.
 */
export function failureJson(error: LatchkeyError, correlationId?: string): string {
  const { broker } = error;
  return `${
    jsonForTerminal({
      error: error.error ?? error.code,
      error_description: error.errorDescription || error.message,
      error_codes: error.errorCodes,
      suberror: error.subError,
      correlation_id: error.correlationId ?? correlationId,
      claims: error.claims,
      hint: hintOf(error),
      broker: broker &&
        { status: broker.status, sub_status: broker.subStatus, tag: broker.tag, error_code: broker.errorCode },
    })
  }\n`;
}

/** Returns a failure as lines for people. */
export function failureText(error: LatchkeyError, correlationId?: string): readonly string[] {
  const rows: [string, string | undefined][] = [
    ["error", error.error ?? error.code],
    ["error_description", error.errorDescription || error.message],
    ["suberror", error.subError],
    ...error.errorCodes.map((
      code,
    ): [string, string] => ["see", `https://login.microsoftonline.com/error?code=${code}`]),
    ["correlation_id", error.correlationId ?? correlationId],
    ["time", new Date().toISOString()],
    ["hint", hintOf(error)],
  ];
  return rows.flatMap(([name, value]) => value ? [`${name}: ${value}`] : []);
}

/**
 * Returns a failure that is not a request's as `--format json` prints it.
 *
 * @param error `wrong_usage`, or `unexpected` for a fault of the program.
 * @param description A sentence for people.
 * @param more Other values that failures of requests have.
 */
export function otherFailureJson(
  error: "wrong_usage" | "unexpected",
  description: string,
  { correlationId, hint }: { readonly correlationId?: string | undefined; readonly hint?: string | undefined } = {},
): string {
  return `${
    jsonForTerminal({ error, error_description: description, error_codes: [], correlation_id: correlationId, hint })
  }\n`;
}

const CONSENT_MISSING = 65001;

/**
 * Adds the address for consent to the hint of a failure, if consent is missing: a person at a shell cannot call the method for it.
 *
 * @param error The failure of a request for a token.
 * @param app The application that made it.
 * @param request The request.
 * @returns The error to report.
 */
export async function withConsentUrl(
  error: unknown,
  app: PublicClientApplication,
  request: { readonly scopes: readonly string[]; readonly tenantId?: string | undefined },
): Promise<unknown> {
  if (!(error instanceof LatchkeyError) || !error.errorCodes.includes(CONSENT_MISSING)) return error;
  const { code, message, claims } = error, { scopes, tenantId } = request;
  const url = await app.getAuthorizationRequestUrl({ scopes, tenantId }).catch(() => undefined);
  if (url === undefined) return error;
  const hint = `Ask an administrator to consent, or visit this to consent: ${url}`;
  return new LatchkeyError(code, message, { ...error, claims, hint, cause: error });
}

/** Options of a command that its sign-in needs as well. */
const SIGN_IN_OPTIONS = ["client-id", "authority", "tenant", "account", "broker", "store", "cache-file"];

/** Returns true if the next step is a person's sign-in: the first one, or after one that was canceled or timed out. */
export function isSignInNeeded(error: unknown): error is LatchkeyError {
  const isEnded = error instanceof LatchkeyError && EXIT[error.code] === EXIT.user_canceled;
  return isEnded || isInteractionRequired(error);
}

/**
 * Returns the sign-in that a command needs, quoted for the shell of this platform.
 *
 * @param line Its command line.
 * @param scopes The scopes of the token.
 * @param claims A claims challenge to answer. @default none
 */
export function loginCommand(line: CommandLine, scopes: readonly string[], claims?: string): string {
  const given = SIGN_IN_OPTIONS.filter((name) => !["default", undefined].includes(line.origin(name)));
  return quoteCommand([
    ...["latchkey", "login"],
    ...given.map((name) => [`--${name}`, line.text(name)!]),
    ...scopes.map((scope) => ["--scope", scope]),
    ...(claims === undefined ? [] : [["--claims", claims]]),
  ]);
}

/**
 * Adds the sign-in that fixes the failure of a command to its hint, if one does.
 *
 * @param error The failure.
 * @param line The command line.
 * @param scopes The scopes of the token.
 * @returns The error to report.
 */
export function withLoginHint(error: unknown, line: CommandLine, scopes: readonly string[]): unknown {
  if (!isSignInNeeded(error)) return error;
  const { code, message, claims } = error, hint = `Sign in, and try again: ${loginCommand(line, scopes, claims)}`;
  return new LatchkeyError(code, message, { ...error, claims, hint, cause: error });
}

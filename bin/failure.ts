/**
 * Failures, for people and for programs.
 *
 * @module
 */
import type { LatchkeyError, LatchkeyErrorCode } from "../mod.ts";
import { isWsl } from "../lib/platform/wsl.ts";
import { visible, visibleJson } from "./visible.ts";

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

/** Blocked by a rule about place, among others: Microsoft sees where a request comes from. */
const BLOCKED_BY_POLICY = 53003;
const MIRRORED =
  "In WSL, mirrored networking can be the cause: try networkingMode=nat in .wslconfig, then wsl --shutdown";

/** What to do next; on this machine there may be more to say than the library knows of. */
function hintOf({ hint, errorCodes }: LatchkeyError): string | undefined {
  const more = errorCodes.includes(BLOCKED_BY_POLICY) && isWsl() ? MIRRORED : undefined;
  return [hint, more].filter(Boolean).join(". ") || undefined;
}

/**
 * A failure as `--format json` prints it.
 *
 * @param error The failure.
 * @param correlationId UUID of what was asked for, where the error names none: it was given up, or never sent.
 */
export function failureJson(error: LatchkeyError, correlationId?: string): string {
  const { broker } = error;
  return `${
    visibleJson({
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

/** The same as people read it. */
export function failureText(error: LatchkeyError, correlationId?: string): string {
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
  return rows.map(([name, value]) => value ? `${name}: ${visible(value)}\n` : "").join("");
}

/**
 * What is no failure of a request's, as `--format json` prints it.
 *
 * @param error `wrong_usage` for a command line that cannot be meant, `unexpected` for a fault of the program.
 * @param description A sentence for people.
 * @param more What else the failures of requests have.
 */
export function otherFailureJson(
  error: "wrong_usage" | "unexpected",
  description: string,
  { correlationId, hint }: { readonly correlationId?: string | undefined; readonly hint?: string | undefined } = {},
): string {
  return `${
    visibleJson({ error, error_description: description, error_codes: [], correlation_id: correlationId, hint })
  }\n`;
}

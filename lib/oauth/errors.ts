/**
 * Refusals of an authorization server (RFC 6749, 4.1.2.1 and 5.2) as errors of ours. Pure.
 *
 * @module
 */
import { errorCodesIn, type HintContext, hintFor } from "../aadsts.ts";
import { escapeControlCharacters, isObject, type JsonObject, readJson, readText } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode, type LatchkeyErrorDetails, withDetails } from "../errors.ts";

/** What a refusal is told with. */
export interface RefusalContext extends HintContext {
  /** UUID of the request, unless the server names another. */
  readonly correlationId: string;
  /** What was sent and must not be shown, should the server repeat it. */
  readonly secrets?: readonly string[] | undefined;
}

const CODES: ReadonlyMap<string, LatchkeyErrorCode> = new Map<string, LatchkeyErrorCode>([
  // A person is needed: OpenID Connect Core, 3.1.2.6; RFC 9470; and a code or refresh token that is good no more.
  ["invalid_grant", "interaction_required"],
  ["interaction_required", "interaction_required"],
  ["login_required", "interaction_required"],
  ["account_selection_required", "interaction_required"],
  ["consent_required", "interaction_required"],
  ["insufficient_user_authentication", "interaction_required"],
  ["unmet_authentication_requirements", "interaction_required"],
  ["user_authentication_required", "interaction_required"],
  // The person said no, as a rule. `authorization_declined` is Entra's in the device flow.
  ["access_denied", "user_canceled"],
  ["authorization_declined", "user_canceled"],
  // RFC 8628, 3.5
  ["expired_token", "timed_out"],
  ["authorization_pending", "temporarily_unavailable"],
  ["slow_down", "temporarily_unavailable"],
  ["bad_verification_code", "refused"],
  ["temporarily_unavailable", "temporarily_unavailable"],
  ["server_error", "temporarily_unavailable"],
  // The app's registration, or what it asks for.
  ["invalid_client", "configuration"],
  ["unauthorized_client", "configuration"],
  ["invalid_scope", "configuration"],
  ["invalid_target", "configuration"],
  ["invalid_resource", "configuration"],
  ["unsupported_grant_type", "configuration"],
  ["unsupported_response_type", "configuration"],
  ["unsupported_response_mode", "configuration"],
  ["invalid_tenant", "configuration"],
  ["invalid_instance", "untrusted_authority"],
  ["invalid_request", "refused"],
  ["invalid_request_object", "refused"],
  ["invalid_request_uri", "refused"],
  ["request_not_supported", "refused"],
  ["request_uri_not_supported", "refused"],
  ["registration_not_supported", "refused"],
]);

/** The code of an OAuth error; `undefined` for one that is in no standard. */
export function codeOfOAuthError(error: string): LatchkeyErrorCode | undefined {
  return CODES.get(error);
}

/**
 * The error of an authorization server's refusal.
 *
 * @param fields `error` and its like: a token response's JSON, or the parameters of an authorization response.
 * @param context What it is told with.
 * @param status HTTP status of the response, where it says something.
 */
export function oauthError(fields: JsonObject, context: RefusalContext, status = 400): LatchkeyError {
  const shown = (value: unknown) =>
    escapeControlCharacters(concealSecrets(readText(value) ?? "", context.secrets)) || undefined;
  const error = shown(fields.error)?.slice(0, 100), subError = shown(fields.suberror ?? fields.error_subcode);
  const errorDescription = shown(fields.error_description);
  const errorCodes = errorCodesOf(fields.error_codes) ?? errorCodesIn(errorDescription ?? "");
  const code = isDeniedByRule({ error, subError, errorCodes })
    ? "refused"
    : codeOfOAuthError(error ?? "") ?? (isBusy(status) ? "temporarily_unavailable" : "unexpected");
  return new LatchkeyError(code, `The server refused: ${errorDescription ?? error ?? `status ${status}`}`, {
    error,
    errorDescription,
    errorCodes,
    subError,
    claims: claimsOf(fields.claims),
    correlationId: correlationIdOf(fields.correlation_id) ?? context.correlationId,
    hint: hintFor({ errorCodes, subError, text: errorDescription ?? "" }, context),
  });
}

/**
 * Whether a denial is not the person's. Entra denies by its rules as well, and marks the person's own no; that Entra it is shows
 * in its numbers.
 */
function isDeniedByRule(
  { error, subError, errorCodes }: Pick<LatchkeyErrorDetails, "error" | "subError"> & {
    readonly errorCodes: readonly number[];
  },
): boolean {
  return error === "access_denied" && subError !== "cancel" && (subError !== undefined || errorCodes.length > 0);
}

/**
 * The error of a response that is none of success.
 *
 * @param response The response's status, and its body.
 * @param context What it is told with.
 * @param retryAfterMs How long the server wants to be left alone, in milliseconds.
 */
export function refusalOf(
  response: { readonly status: number; readonly body: string },
  context: RefusalContext,
  retryAfterMs?: number,
): LatchkeyError {
  const { status, body } = response, fields = readJson(body), { correlationId } = context;
  const hint = retryAfterMs ? `Try again in ${Math.ceil(retryAfterMs / 1000)} seconds` : undefined;
  if (readText(fields?.error)) {
    const error = oauthError(fields!, context, status);
    return hint ? withDetails(error, { hint: error.hint ? `${error.hint}. ${hint}` : hint }) : error;
  }
  if (isBusy(status)) {
    return new LatchkeyError("temporarily_unavailable", `The server is unavailable (status ${status})`, {
      correlationId,
      hint,
    });
  }
  return new LatchkeyError("invalid_response", `The server's answer cannot be read (status ${status})`, {
    correlationId,
  });
}

function isBusy(status: number): boolean {
  return status === 429 || status >= 500;
}

/** Entra lists the numbers of a refusal. */
function errorCodesOf(codes: unknown): readonly number[] | undefined {
  const numbers = Array.isArray(codes) ? codes.filter((code) => Number.isSafeInteger(code)) : [];
  return numbers.length > 0 ? numbers : undefined;
}

/** A claims challenge, if it can be replayed. */
function claimsOf(claims: unknown): string | undefined {
  if (isObject(claims)) return JSON.stringify(claims);
  return typeof claims === "string" && readJson(claims) ? claims : undefined;
}

function correlationIdOf(id: unknown): string | undefined {
  return typeof id === "string" && /^[\w-]{1,64}$/.test(id) ? id : undefined;
}

function concealSecrets(foreign: string, secrets: readonly string[] = []): string {
  return secrets.filter(Boolean).reduce((rest, secret) => rest.replaceAll(secret, "[concealed]"), foreign);
}

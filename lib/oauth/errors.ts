/**
 * Errors of an authorization server (RFC 6749, 4.1.2.1 and 5.2), translated to {@linkcode LatchkeyError}. Pure.
 *
 * @module
 */
import { codeOfOAuthError, errorCodesIn, type RemedyFacts, remedyFor } from "../aadsts.ts";
import { isObject, type JsonObject, readJson, readText } from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError, withDetails } from "../errors.ts";
import { followedBy, type Remedy } from "../remedies.ts";

/** Facts about the request that was refused. */
export interface RefusalContext extends RemedyFacts {
  /** UUID of the request, unless the server names another. */
  readonly correlationId: string;
  /** Scopes that were sent, with those that are always added. @default no advice on a refused scope */
  readonly sentScopes?: readonly string[] | undefined;
  /** Secrets that were sent, and must not be shown if the server repeats them. */
  readonly secrets?: readonly string[] | undefined;
}

/** Shorter strings are parts of ordinary words: to conceal them garbles a message, and hides nothing that cannot be guessed. */
const MIN_SECRET_LENGTH = 8;

/** Returns the error for a refusal: a token response's JSON, or the parameters of an authorization response. */
export function oauthError(fields: JsonObject, context: RefusalContext, status = 400): LatchkeyError {
  const secrets = (context.secrets ?? []).filter((secret) => secret.length >= MIN_SECRET_LENGTH);
  const textOf = (value: unknown) => {
    const text = secrets.reduce((rest, secret) => rest.replaceAll(secret, "[concealed]"), readText(value) ?? "");
    return escapeControlCharacters(text) || undefined;
  };
  const error = textOf(fields.error)?.slice(0, 100);
  const subError = textOf(fields.suberror ?? fields.error_subcode);
  const errorDescription = textOf(fields.error_description);
  const listed = Array.isArray(fields.error_codes) ? fields.error_codes.filter(Number.isSafeInteger) : []; // by Entra
  const errorCodes: readonly number[] = listed.length > 0 ? listed : errorCodesIn(errorDescription ?? "");
  // Entra denies because of a policy as well: then it gives numbers or a suberror, which is `cancel` if the person declined.
  const isDeniedByPolicy = error === "access_denied" && subError !== "cancel" &&
    (subError !== undefined || errorCodes.length > 0);
  const known = codeOfOAuthError(error);
  const code = isDeniedByPolicy
    ? "refused"
    : known ?? (isUnavailable(status) ? "temporarily_unavailable" : "unexpected");
  return new LatchkeyError(code, `The server refused: ${errorDescription ?? error ?? `status ${status}`}`, {
    error,
    errorDescription,
    errorCodes,
    subError,
    claims: claimsOf(fields.claims),
    correlationId: /^[\w-]{1,64}$/.exec(readText(fields.correlation_id) ?? "")?.[0] ?? context.correlationId,
    remedy: remedyFor({ errorCodes, subError, text: errorDescription ?? "" }, context) ?? scopeRemedy(error, context),
  });
}

/** Returns advice for a scope that a provider refuses. Only `offline_access` can be one that the caller did not name. */
function scopeRemedy(error: string | undefined, { clientId, sentScopes = [] }: RefusalContext): string | undefined {
  const isOffline = sentScopes.includes("offline_access");
  if (error === "not_allowed" && isOffline) {
    return `Ask the provider's administrator to allow offline_access for the app ${clientId} and for the user ` +
      "(in Keycloak: the client scope and the realm role offline_access)";
  }
  if (error !== "invalid_scope" || sentScopes.length === 0) return undefined;
  const advice =
    `Request only scopes that the provider allows the app ${clientId}, or ask its administrator to allow ` +
    `these: ${sentScopes.join(" ")}`;
  return isOffline
    ? `${advice}. offline_access is requested unless the provider's metadata (scopes_supported) leaves it out`
    : advice;
}

/** Returns the error for a response whose status is not that of success. */
export function refusalOf(
  response: { readonly status: number; readonly body: string },
  context: RefusalContext,
  retryAfterMs?: number,
): LatchkeyError {
  const { status, body } = response;
  const fields = readJson(body);
  const later: Remedy | undefined = retryAfterMs
    ? { kind: "try_again", afterSeconds: Math.ceil(retryAfterMs / 1000) }
    : undefined;
  if (readText(fields?.error)) {
    const error = oauthError(fields!, context, status);
    return later ? withDetails(error, { remedy: followedBy(error.remedy, later) }) : error;
  }
  const details = { correlationId: context.correlationId, remedy: later };
  return isUnavailable(status)
    ? new LatchkeyError("temporarily_unavailable", `The server is unavailable (status ${status})`, details)
    : new LatchkeyError("invalid_response", `The server's response cannot be read (status ${status})`, details);
}

/** Returns the error for a response that breaks the protocol. */
export function invalidResponse(reason: string, correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError("invalid_response", `The server's response is invalid: ${reason}`, { correlationId });
}

/** Returns true if a later try can help. */
export function isUnavailable(status: number): boolean {
  return status === 429 || status >= 500;
}

/** Returns a claims challenge if it is JSON, so that it can be sent with the next request. */
function claimsOf(claims: unknown): string | undefined {
  if (isObject(claims)) return JSON.stringify(claims);
  return typeof claims === "string" && readJson(claims) ? claims : undefined;
}

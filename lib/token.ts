/**
 * Tokens and the scopes they are asked for with.
 *
 * @module
 */
import type { AccountInfo } from "./account.ts";

/** A token and what is known of it. Inspecting or logging it does not show the tokens. */
export interface AuthenticationResult {
  /** The token, to be sent as `Authorization: <tokenType> <accessToken>`. */
  readonly accessToken: string;
  /** `Bearer`, or `pop` for a signed HTTP request. */
  readonly tokenType: "Bearer" | "pop";
  /** When the token ends. */
  readonly expiresOn: Date;
  /** Until when it may be used while the issuer cannot be reached. */
  readonly extendedExpiresOn?: Date;
  /** When to renew it ahead of its end. */
  readonly refreshOn?: Date;
  /** What was granted. */
  readonly scopes: readonly string[];
  /** The OpenID Connect id token, a JWT. */
  readonly idToken?: string;
  /** Its claims. They are for showing; authorise by the access token. */
  readonly idTokenClaims?: Readonly<Record<string, unknown>>;
  /** Whose token it is. */
  readonly account: AccountInfo;
  /** Tenant that issued the token. */
  readonly tenantId: string;
  /** Where it came from; `cache` for one that was held already. */
  readonly source: "broker" | "cache" | "identity_provider";
  /** UUID under which the request can be found in the logs of the broker and the server. */
  readonly correlationId: string;
}

/** What every request can carry. */
export interface RequestOptions {
  /** UUID under which the request can be found in the logs of the broker and the server. @default a new one */
  readonly correlationId?: string;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What is asked for. */
export interface TokenRequest extends RequestOptions {
  /** Such as `["User.Read"]` or `["https://graph.microsoft.com/.default"]`. */
  readonly scopes: readonly string[];
  /** Ask for a new token although a good one is held. @default false */
  readonly forceRefresh?: boolean;
  /** A claims challenge to answer, as JSON text. */
  readonly claims?: string;
  /** Tenant to ask instead of the authority's. */
  readonly tenantId?: string;
}

/** Request of `PublicClientApplication.acquireTokenSilent`. */
export interface SilentRequest extends TokenRequest {
  /** Whose token. */
  readonly account: AccountInfo;
}

/** Request of `PublicClientApplication.acquireToken`. */
export interface AcquireTokenRequest extends TokenRequest {
  /** Whose token. @default the account that is signed in to the device */
  readonly account?: AccountInfo;
  /** Whose token, by user name. */
  readonly username?: string | undefined;
  /** `never`: fail rather than show a window. */
  readonly interactive: "never";
}

/** A token that ends sooner than this, in milliseconds, counts as ended. */
export const EXPIRY_MARGIN_MS: number = 5 * 60_000;

/** Scopes of OpenID Connect that are asked for in every sign-in and never name a resource. */
export const RESERVED_SCOPES: readonly string[] = ["openid", "profile", "offline_access"];

/**
 * Checks scopes as a caller gave them.
 *
 * @param scopes Such as `["User.Read"]` or `["https://graph.microsoft.com/.default"]`.
 * @returns The scopes, each once.
 * @throws {TypeError} when there is none that names a resource, or one is not a scope token (RFC 6749, 3.3).
 */
export function checkScopes(scopes: readonly string[]): string[] {
  if (!Array.isArray(scopes) || scopes.length === 0) {
    throw new TypeError("Cannot acquire a token: scopes has to name at least one scope");
  }
  for (const scope of scopes) {
    if (typeof scope !== "string" || !/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(scope)) {
      throw new TypeError(`Cannot acquire a token: ${JSON.stringify(scope)} is not a scope`);
    }
  }
  if (scopes.every((scope) => RESERVED_SCOPES.includes(scope))) {
    throw new TypeError(`Cannot acquire a token: scopes has to name more than ${scopes.join(", ")}, as User.Read`);
  }
  return [...new Set(scopes)];
}

/**
 * Keeps the tokens of a result out of `console.log` and of inspection; reading and `JSON.stringify` are as ever.
 *
 * @param result A result.
 * @returns The same object.
 */
export function concealTokens(result: AuthenticationResult): AuthenticationResult {
  const concealed = () => {
    const { accessToken: _, idToken, idTokenClaims: __, ...shown } = result;
    return { accessToken: "[concealed]", ...(idToken && { idToken: "[concealed]" }), ...shown };
  };
  const forDeno = (inspect: (value: unknown, options: unknown) => string, options: unknown) =>
    inspect(concealed(), options);
  Object.defineProperty(result, Symbol.for("Deno.customInspect"), { value: forDeno });
  Object.defineProperty(result, Symbol.for("nodejs.util.inspect.custom"), { value: concealed });
  return result;
}

/**
 * Merges what the app can handle with a challenge that a resource or the server made.
 *
 * @param capabilities Client capabilities, such as `cp1` for continuous access evaluation.
 * @param challenge A claims challenge as JSON text (OpenID Connect Core, 5.5).
 * @returns The claims request as JSON text; `undefined` when there is nothing to ask for.
 * @throws {TypeError} when the challenge is not a JSON object.
 */
export function mergeClaims(capabilities: readonly string[], challenge: string | undefined): string | undefined {
  if (capabilities.length === 0) return challenge && JSON.stringify(parseClaims(challenge));
  const claims = challenge ? parseClaims(challenge) : {};
  const accessToken = typeof claims.access_token === "object" ? claims.access_token : {};
  return JSON.stringify({ ...claims, access_token: { ...accessToken, xms_cc: { values: capabilities } } });
}

function parseClaims(challenge: string): Record<string, unknown> {
  let claims: unknown;
  try {
    claims = JSON.parse(challenge);
  } catch {
    // no cause: the parser's message quotes the claims
  }
  if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return claims as Record<string, unknown>;
  throw new TypeError("Cannot acquire a token: claims has to be a JSON object");
}

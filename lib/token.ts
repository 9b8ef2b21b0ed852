/**
 * Tokens, and what is known of them.
 *
 * @module
 */
import type { AccountInfo } from "./account.ts";
import { LatchkeyError } from "./errors.ts";

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

/** A token that ends sooner than this, in milliseconds, counts as ended. */
export const EXPIRY_MARGIN_MS: number = 5 * 60_000;

/**
 * Keeps the tokens of a result out of `console.log` and of inspection; reading and `JSON.stringify` are as ever.
 *
 * @param result A result.
 * @returns The same object.
 */
export function concealTokens(result: AuthenticationResult): AuthenticationResult {
  return concealed(result, () => {
    const { accessToken: _, idToken, idTokenClaims: __, ...shown } = result;
    return { accessToken: "[concealed]", ...(idToken && { idToken: "[concealed]" }), ...shown };
  });
}

/** Puts another value in the place of an object wherever it is inspected. */
export function concealed<T extends object>(secret: T, shown: () => unknown): T {
  const forDeno = (inspect: (value: unknown, options: unknown) => string, options: unknown) =>
    inspect(shown(), options);
  Object.defineProperty(secret, Symbol.for("Deno.customInspect"), { value: forDeno });
  Object.defineProperty(secret, Symbol.for("nodejs.util.inspect.custom"), { value: shown });
  return secret;
}

/**
 * Refuses an answer of somebody who signed in too long ago, or who knows when.
 *
 * @param result The answer.
 * @param maxAge How many seconds ago the person may have typed a password at most.
 * @param now The time, in milliseconds since 1970.
 * @throws {LatchkeyError} `interaction_required`
 */
export function refuseOld(result: AuthenticationResult, maxAge: number, now: number): void {
  const at = result.idTokenClaims?.auth_time;
  if (typeof at === "number" && now / 1000 - at <= maxAge) return;
  throw new LatchkeyError("interaction_required", `The sign-in is not known to be of the last ${maxAge} seconds`, {
    correlationId: result.correlationId,
    hint: "Sign in again: latchkey login, or acquireTokenInteractive",
  });
}

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
/** How far a clock goes astray without having been set, in milliseconds, and what is lost to whole seconds. */
const ROUNDING_MS = 2_000;
/** How much a machine's clock may be behind the server's, in seconds. */
const CLOCK_TOLERANCE_S = 300;

/**
 * Keeps the tokens of a result out of `console.log` and of inspection; reading and `JSON.stringify` are as ever.
 *
 * @param result A result.
 * @returns The same object.
 */
export function redactTokens(result: AuthenticationResult): AuthenticationResult {
  return redacted(result, () => {
    const { accessToken: _, idToken, idTokenClaims: __, ...shown } = result;
    return { accessToken: "[concealed]", ...(idToken && { idToken: "[concealed]" }), ...shown };
  });
}

/** How long tokens that were received here last, by a clock that nobody sets: the machine's own can jump. */
export class Lifetimes {
  readonly #received = new Map<string, { readonly atMs: number; readonly lifetimeMs: number }>();

  /**
   * Notes a token that was just received.
   *
   * @param token The token.
   * @param now The time, in milliseconds since 1970.
   */
  note({ accessToken, expiresOn }: AuthenticationResult, now: number): void {
    const atMs = performance.now();
    for (const [old, received] of this.#received) {
      if (received.atMs + received.lifetimeMs < atMs) this.#received.delete(old);
    }
    this.#received.set(accessToken, { atMs, lifetimeMs: expiresOn.getTime() - now });
  }

  /**
   * Returns a token that ends no later than it would have, had the clock not been set since it was received.
   *
   * @param token A token, received here or not.
   * @param now The time, in milliseconds since 1970.
   */
  bounded(token: AuthenticationResult, now: number): AuthenticationResult {
    const received = this.#received.get(token.accessToken), { expiresOn, extendedExpiresOn, refreshOn } = token;
    if (!received) return token;
    const tooLongMs = expiresOn.getTime() - (now + received.atMs + received.lifetimeMs - performance.now());
    if (tooLongMs <= ROUNDING_MS) return token;
    const sooner = (time: Date) => new Date(time.getTime() - tooLongMs);
    return redactTokens({
      ...token,
      expiresOn: sooner(expiresOn),
      ...(extendedExpiresOn && { extendedExpiresOn: sooner(extendedExpiresOn) }),
      ...(refreshOn && { refreshOn: sooner(refreshOn) }),
    });
  }
}

/** Puts another value in the place of an object wherever it is inspected. */
export function redacted<T extends object>(secret: T, shown: () => unknown): T {
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
  const at = result.idTokenClaims?.auth_time, age = typeof at === "number" ? now / 1000 - at : Infinity;
  if (age <= maxAge && age >= -CLOCK_TOLERANCE_S) return; // in the time to come: the clock is wrong
  throw new LatchkeyError("interaction_required", `The sign-in is not known to be of the last ${maxAge} seconds`, {
    correlationId: result.correlationId,
    hint: "Sign in again: latchkey login, or acquireTokenInteractive",
  });
}

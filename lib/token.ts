/**
 * Tokens, their lifetimes, and the checks of an answer.
 *
 * @module
 */
import { type AccountInfo, hasUsername, isSameAccount } from "./account.ts";
import { escapeControlCharacters } from "./control_characters.ts";
import { LatchkeyError } from "./errors.ts";
import type { Remedy } from "./remedies.ts";

/** A token and its details. Inspecting or logging it does not show the tokens. */
export interface AuthenticationResult {
  /** Access token, sent as `Authorization: <tokenType> <accessToken>`. */
  readonly accessToken: string;
  /** `Bearer`, or `pop` for a signed HTTP request. */
  readonly tokenType: "Bearer" | "pop";
  /** Expiry of the token. */
  readonly expiresOn: Date;
  /** Expiry that applies while the issuer cannot be reached. */
  readonly extendedExpiresOn?: Date;
  /** Time from which the token is to be renewed, before it expires. */
  readonly refreshOn?: Date;
  /** Granted scopes: the requested ones, and maybe more. */
  readonly scopes: readonly string[];
  /** OpenID Connect ID token, a JWT. */
  readonly idToken?: string;
  /** Claims of the ID token, for display. Authorize by the access token. */
  readonly idTokenClaims?: Readonly<Record<string, unknown>>;
  /** The account of the token. */
  readonly account: AccountInfo;
  /** Tenant that issued the token. */
  readonly tenantId: string;
  /** The source of the token; `cache` if it was cached already. */
  readonly source: "broker" | "cache" | "identity_provider";
  /** UUID of the request in the logs of the broker and the server. */
  readonly correlationId: string;
}

/** A token whose remaining lifetime is shorter than this counts as expired. */
export const EXPIRY_MARGIN_MS: number = 5 * 60_000;
/** Part of a token's lifetime that is left to the caller if a renewal is waited for before the token is handed out. */
export const LEFT_TO_CALLER_MS: number = 5_000;
/** Clock drift, and the rounding to whole seconds. A larger difference means that somebody set the clock. */
const ROUNDING_MS = 2_000;
/** Accepted difference between this machine's clock and a server's. WSL's clock drifts while the host sleeps. */
export const CLOCK_TOLERANCE_S: number = 300;

/** Returns true if a token that expires then is valid for longer than the margin. Times are in milliseconds since 1970. */
export function isFresh(expiresOn: Date | number, now: number): boolean {
  return Number(expiresOn) - now > EXPIRY_MARGIN_MS;
}

/** Hides the tokens of a result from `console.log` and inspection, not from `JSON.stringify`. Returns the same object. */
export function redactTokens(result: AuthenticationResult): AuthenticationResult {
  return redacted(result, () => {
    const { accessToken: _, idToken, idTokenClaims: __, ...shown } = result;
    return { accessToken: "[concealed]", ...(idToken && { idToken: "[concealed]" }), ...shown };
  });
}

/** Returns the time by the monotonic clock at which a token that was just received expires: the system's clock can jump. */
export function monotonicEnd({ expiresOn }: AuthenticationResult, now: number): number {
  return performance.now() + expiresOn.getTime() - now;
}

/** Returns a token with an expiry that a change of the system's clock has not moved since {@linkcode monotonicEnd}. */
export function boundedBy(endMs: number, token: AuthenticationResult, now: number): AuthenticationResult {
  const { expiresOn, extendedExpiresOn, refreshOn } = token;
  const tooLongMs = expiresOn.getTime() - (now + endMs - performance.now());
  if (tooLongMs <= ROUNDING_MS) return token;
  const sooner = (time: Date) => new Date(time.getTime() - tooLongMs);
  return redactTokens({
    ...token,
    expiresOn: sooner(expiresOn),
    ...(extendedExpiresOn && { extendedExpiresOn: sooner(extendedExpiresOn) }),
    ...(refreshOn && { refreshOn: sooner(refreshOn) }),
  });
}

/** Makes inspection of an object show another value. Returns the same object. */
export function redacted<T extends object>(secret: T, shown: () => unknown): T {
  const forDeno = (inspect: (value: unknown, options: unknown) => string, options: unknown) =>
    inspect(shown(), options);
  Object.defineProperty(secret, Symbol.for("Deno.customInspect"), { value: forDeno });
  Object.defineProperty(secret, Symbol.for("nodejs.util.inspect.custom"), { value: shown });
  return secret;
}

/**
 * Throws `interaction_required` if an answer is for another account, or else another user name, than the expected one. An answer
 * without a user name does not match a user name.
 *
 * @param describe Returns the message and the hint. It gets both user names, each of which can be empty.
 */
export function refuseOther(
  { account: answered, correlationId }: AuthenticationResult,
  { account, username }: { readonly account?: AccountInfo | undefined; readonly username?: string | undefined },
  describe: (answered: string, expected: string) => { readonly message: string; readonly remedy: string | Remedy },
): void {
  if (account) {
    if (isSameAccount(answered, account)) return;
  } else if (hasUsername(answered, username)) return;
  const names = [answered.username, account?.username ?? username ?? ""].map(escapeControlCharacters);
  const { message, remedy } = describe(names[0]!, names[1]!);
  throw new LatchkeyError("interaction_required", message, { correlationId, remedy });
}

/**
 * Returns true if the user signed in at most `maxAge` seconds before `since`. An unknown time is not recent, nor is one in the
 * future: the clock is wrong then.
 *
 * @param authTime The claim `auth_time` (OpenID Connect Core, 2).
 */
export function isSignInRecent(
  authTime: unknown,
  maxAge: number,
  { since, now }: { readonly since: number; readonly now: number },
): boolean {
  return typeof authTime === "number" && authTime + maxAge >= since / 1000 &&
    authTime <= now / 1000 + CLOCK_TOLERANCE_S;
}

/**
 * Throws `interaction_required` if the sign-in of a silent token is older than `maxAge` seconds, or of unknown age. The difference
 * between the clocks is not allowed for: at worst the user signs in again.
 */
export function refuseOld(result: AuthenticationResult, maxAge: number, now: number): void {
  if (isSignInRecent(result.idTokenClaims?.auth_time, maxAge, { since: now, now })) return;
  throw new LatchkeyError("interaction_required", `The sign-in is not known to be of the last ${maxAge} seconds`, {
    correlationId: result.correlationId,
    remedy: { kind: "sign_in_again" },
  });
}

/**
 * Freshness of cached tokens: whether a token is used, renewed early, kept for outages of the issuer, or has expired.
 *
 * @module
 */
import { type AuthenticationResult, boundedBy, EXPIRY_MARGIN_MS, isFresh } from "../token.ts";
import { type CacheEntry, readEpochSeconds } from "./schema.ts";

/**
 * State of a cached token. `use`: valid. `renew`: to be renewed early, and used if that fails. `outage`: expired or about to;
 * used only while the issuer cannot be reached.
 */
export type TokenState = "use" | "renew" | "outage";

/** The states, the best one first. */
export const TOKEN_STATES: readonly TokenState[] = ["use", "renew", "outage"];

/** A cached token. */
export interface CachedToken {
  /** The token; its `source` is `cache`. */
  readonly result: AuthenticationResult;
  readonly state: TokenState;
}

/**
 * Returns the state of an access token's entry; `undefined` if it has expired, also for outages, or its expiry is unknown. `now`
 * is in milliseconds since 1970.
 */
export function stateOf(entry: CacheEntry, now: number): TokenState | undefined {
  const { cached_at, expires_on, refresh_on } = entry;
  const expiresOn = readEpochSeconds(expires_on);
  const cachedAt = readEpochSeconds(cached_at) ?? 0;
  if (expiresOn === undefined) return undefined;
  // The clock was set back since, so that the token's end is unknown.
  if (cachedAt > now + EXPIRY_MARGIN_MS) return undefined;
  if (isFresh(expiresOn, now)) return (readEpochSeconds(refresh_on) ?? Infinity) <= now ? "renew" : "use";
  return endOf(entry) > now ? "outage" : undefined;
}

/** Returns the last time at which a token can be used, in milliseconds since 1970. */
export function endOf({ expires_on, extended_expires_on }: CacheEntry): number {
  return Math.max(readEpochSeconds(expires_on) ?? 0, readEpochSeconds(extended_expires_on) ?? 0);
}

/** Limits a token to its end by the monotonic clock, in case the clock was set; `undefined` if it has expired. */
export function boundedToken(endMs: number, token: CachedToken, now: number): CachedToken | undefined {
  const { result, state } = token;
  const bounded = boundedBy(endMs, result, now);
  if (bounded === result) return token;
  const { expiresOn, extendedExpiresOn = expiresOn, refreshOn } = bounded;
  if (isFresh(expiresOn, now)) {
    return { result: bounded, state: refreshOn && refreshOn.getTime() <= now ? "renew" : state };
  }
  return extendedExpiresOn.getTime() > now ? { result: bounded, state: "outage" } : undefined;
}

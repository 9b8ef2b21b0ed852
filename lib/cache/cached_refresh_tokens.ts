/**
 * The refresh tokens that a token cache has for an account. Pure.
 *
 * @module
 */
import { concealed } from "../token.ts";
import { appMetadataIn, type CacheApp, isInCloud, isOfApp } from "./cache_app.ts";
import type { CacheDocument, KeyedEntry } from "./cache_document.ts";
import { type CacheEntry, isSecret, readEpochSeconds, text } from "./cache_schema.ts";

/** A refresh token that is there. */
export interface CachedRefreshToken {
  /** The token. */
  readonly refreshToken: string;
  /**
   * Whose it is. `app`: this app's. `family`: another app's of the family of Microsoft's that this app is of, which is as
   * good. `perhaps`: of a family that this app may be of, as no reply to it has told yet; when it is not, the server's
   * `suberror` is `client_mismatch`, for every other such token, too.
   */
  readonly holder: "app" | "family" | "perhaps";
}

/**
 * The refresh tokens that can be tried for an account: the app's own, then its family's; of each the newest first. One that
 * was refused is still among them: what it was refused for need not be what is asked next.
 */
export function refreshTokensIn(document: CacheDocument, homeAccountId: string, app: CacheApp): CachedRefreshToken[] {
  const metadata = appMetadataIn(document, app)[0]?.entry, familyId = text(metadata?.family_id);
  const ofFamily = document.ofAccount("RefreshToken", homeAccountId).filter(({ entry }) =>
    isInCloud(entry, app) && !isOfApp(entry, app) && isUsable(entry) && isOfFamily(entry)
  );
  function isOfFamily(entry: CacheEntry): boolean {
    const family = text(entry.family_id);
    return family !== undefined && (metadata === undefined || family === familyId);
  }
  const tokens = new Map<string, CachedRefreshToken>();
  const add = (entries: readonly KeyedEntry[], holder: CachedRefreshToken["holder"]): void => {
    for (const { entry } of entries.toSorted((one, other) => age(other) - age(one))) {
      const refreshToken = text(entry.secret)!;
      if (!tokens.has(refreshToken)) tokens.set(refreshToken, concealed({ refreshToken, holder }, () => ({ holder })));
    }
  };
  add(ownRefreshTokens(document, homeAccountId, app), "app");
  add(ofFamily, metadata ? "family" : "perhaps");
  return [...tokens.values()];
}

/** The refresh tokens that were issued to the app itself. */
export function ownRefreshTokens(document: CacheDocument, homeAccountId: string, app: CacheApp): readonly KeyedEntry[] {
  return document.ofAccount("RefreshToken", homeAccountId)
    .filter(({ entry }) => isOfApp(entry, app) && isUsable(entry));
}

/** Web services keep those that they got on somebody's behalf beside others, for the one assertion alone. */
function isUsable({ secret, userAssertionHash, user_assertion_hash }: CacheEntry): boolean {
  return isSecret(secret) && !text(userAssertionHash) && !text(user_assertion_hash);
}

/** MSAL for Node does not say when. */
function age({ entry }: KeyedEntry): number {
  return readEpochSeconds(entry.last_modification_time) ?? 0;
}

/** A token cache in a file, with users who signed in without a broker, at a provider that no test reaches. */
import { environmentOf, parseAuthority } from "../../lib/authority.ts";
import { plaintextStore } from "../../lib/cache/file_store.ts";
import type { CacheStore } from "../../lib/cache/store.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";
import { CLIENT_ID } from "../fixture.ts";

export const AUTHORITY = "https://id.contoso.com/realms/a";

/** Returns words that name the app of the cache, and its file. */
export function cachedWords(path: string): readonly string[] {
  return ["--client-id", CLIENT_ID, "--authority", AUTHORITY, "--cache-file", path];
}

/** Writes a cache to a file; users are given by name. */
export async function writeCachedAccounts(path: string, usernames: readonly string[]): Promise<Date> {
  const users = usernames.map((username, index) => ({ subject: `subject ${index}`, username }));
  return await saveAccounts(plaintextStore(path), users);
}

/** Saves users in a store; each has a token for the scope `read`, `token-<index>`, that ends in an hour. */
export async function saveAccounts(
  store: CacheStore,
  users: readonly { readonly subject: string; readonly username: string }[],
): Promise<Date> {
  const environment = environmentOf(parseAuthority(AUTHORITY)), expiresOn = new Date(Date.now() + 3_600_000);
  const tokens = new TokenCache(store, { clientId: CLIENT_ID, environment });
  for (const [index, { subject, username }] of users.entries()) {
    const ids = { homeAccountId: subject, localAccountId: subject, environment };
    const account = { ...ids, tenantId: "realms/a", realm: "realms/a", username, source: "cache" } as const;
    const token = { accessToken: `token-${index}`, tokenType: "Bearer", expiresOn, scopes: ["read"] } as const;
    const origin = { tenantId: "realms/a", source: "identity_provider", correlationId: crypto.randomUUID() } as const;
    await tokens.save({
      result: { ...token, ...origin, account },
      refreshToken: `refresh-${index}`,
      accountSource: "authorization_code",
    });
  }
  return expiresOn;
}

/** A token cache in a file, with people who signed in without a broker, at a provider that nobody has to reach. */
import { environmentOf, parseAuthority } from "../../lib/authority.ts";
import { plaintextStore } from "../../lib/cache/file_store.ts";
import { TokenCache } from "../../lib/cache/token_cache.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", AUTHORITY = "https://id.contoso.com/realms/a";

/** Words that name the app of the cache, and its file. */
export const cachedWords = (path: string): readonly string[] => [
  ...["--client-id", CLIENT_ID, "--authority", AUTHORITY, "--cache-file", path],
];

/** Writes a cache; each person has a token for the scope `read`, `token-<index>`, that ends in an hour. */
export async function writeCachedAccounts(path: string, usernames: readonly string[]): Promise<Date> {
  const environment = environmentOf(parseAuthority(AUTHORITY)), expiresOn = new Date(Date.now() + 3_600_000);
  const tokens = new TokenCache(plaintextStore(path), { clientId: CLIENT_ID, environment });
  for (const [index, username] of usernames.entries()) {
    const id = `subject ${index}`,
      account = { homeAccountId: id, localAccountId: id, environment, tenantId: "realms/a", realm: "realms/a" };
    await tokens.save({
      result: {
        ...{ accessToken: `token-${index}`, tokenType: "Bearer", expiresOn, scopes: ["read"] },
        ...{ tenantId: "realms/a", source: "identity_provider", correlationId: crypto.randomUUID() },
        account: { ...account, username, source: "cache" },
      },
      ...{ refreshToken: `refresh-${index}`, accountSource: "authorization_code" },
    });
  }
  return expiresOn;
}

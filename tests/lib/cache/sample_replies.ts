// Replies of a token endpoint, for the tests of the cache.
import type { AccountInfo } from "../../../lib/account.ts";
import type { ReplyToSave } from "../../../lib/cache/changes.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

export const NOW = Date.UTC(2026, 0, 1);
export const MINUTE = 60_000;
export const CONTOSO = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
export const FABRIKAM = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";
export const APP = "22222222-2222-4222-8222-222222222222";
export const FAMILY_APP = "33333333-3333-4333-8333-333333333333";
export const HOST = "login.microsoftonline.com";

/** A person who is at home in contoso. */
export function person(name: string, oid: string): AccountInfo {
  return {
    homeAccountId: `${oid}.${CONTOSO}`,
    localAccountId: oid,
    environment: HOST,
    tenantId: CONTOSO,
    realm: CONTOSO,
    username: `${name}@contoso.com`,
    source: "cache",
  };
}

export const jane: AccountInfo = person("jane", "11111111-1111-4111-8111-111111111111");
export const john: AccountInfo = person("john", "44444444-4444-4444-8444-444444444444");

/** What a reply says beside what all say. */
export interface ReplyDetails extends Omit<ReplyToSave, "result">, Partial<AuthenticationResult> {}

/** A sign-in of Jane's by an authorization code, but for the details. `accountSource: undefined` makes it a renewal. */
export function reply(accessToken: string, scopes: readonly string[], details: ReplyDetails = {}): ReplyToSave {
  const { refreshToken, familyId, clientInfo, realm, authorityType, ...rest } = details;
  const accountSource = "accountSource" in details ? details.accountSource : "authorization_code";
  delete (rest as { accountSource?: unknown }).accountSource;
  const result: AuthenticationResult = {
    accessToken,
    tokenType: "Bearer",
    expiresOn: new Date(NOW + 60 * MINUTE),
    scopes,
    account: jane,
    tenantId: CONTOSO,
    source: "identity_provider",
    correlationId: "00000000-0000-4000-8000-000000000000",
    ...rest,
  };
  return { result, refreshToken, familyId, clientInfo, accountSource, realm, authorityType };
}

/** An id token that says so. */
export function idToken(claims: unknown): string {
  const encode = (value: unknown) =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url" });
  return [encode({ alg: "RS256" }), encode(claims), "c2lnbmF0dXJl"].join(".");
}

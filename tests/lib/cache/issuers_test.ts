// Accounts of two OpenID providers on one host.
import { expect, test } from "bun:test";
import { environmentOf, parseAuthority } from "../../../lib/authority.ts";
import { memoryStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import type { AccountInfo, AuthenticationResult } from "../../../mod.ts";

const CLIENT = "app";

test("TokenCache keeps the accounts of two providers on one host apart, whatever their ids", async () => {
  const store = memoryStore();
  const [a, b] = ["a", "b"].map((realm) => {
    const environment = environmentOf(parseAuthority(`https://id.contoso.com/realms/${realm}`));
    return { environment, cache: new TokenCache(store, { clientId: CLIENT, environment }) };
  });
  const account: AccountInfo = {
    homeAccountId: "jane",
    localAccountId: "jane",
    environment: a!.environment,
    tenantId: "realms/a",
    realm: "realms/a",
    username: "jane@contoso.com",
    source: "cache",
  };
  const result: AuthenticationResult = {
    accessToken: "a.b.c",
    tokenType: "Bearer",
    expiresOn: new Date(Date.now() + 3_600_000),
    scopes: ["read"],
    account,
    tenantId: "realms/a",
    source: "identity_provider",
    correlationId: crypto.randomUUID(),
  };
  await a!.cache.save({ result, refreshToken: "r", accountSource: "authorization_code" });
  expect(await a!.cache.findRefreshTokens(account)).toHaveLength(1);
  expect(await b!.cache.findAccounts()).toEqual([]);
  expect(await b!.cache.findRefreshTokens(account)).toEqual([]);
  const query = { account, scopes: ["read"], correlationId: crypto.randomUUID() };
  expect((await a!.cache.findAccessToken(query))?.result.accessToken).toBe("a.b.c");
  expect(await b!.cache.findAccessToken(query)).toBeUndefined();
});

// The environment was lower case as a whole, and Keycloak tells realms apart by case: their accounts were mixed up.
test("TokenCache keeps the accounts of two realms apart whose names differ in case", async () => {
  const store = memoryStore();
  const [upper, lower] = ["Staff", "staff"].map((realm) => {
    const authority = parseAuthority(`https://ID.contoso.com/realms/${realm}`), environment = environmentOf(authority);
    return { environment, cache: new TokenCache(store, { clientId: CLIENT, environment }) };
  });
  const account: AccountInfo = {
    ...{
      homeAccountId: "jane",
      localAccountId: "jane",
      environment: upper!.environment,
      tenantId: "realms/Staff",
      realm: "realms/Staff",
    },
    ...{ username: "jane@contoso.com", source: "cache" },
  };
  const result: AuthenticationResult = {
    ...{ accessToken: "a.b.c", tokenType: "Bearer", expiresOn: new Date(Date.now() + 3_600_000), scopes: ["read"] },
    ...{ account, tenantId: account.realm, source: "identity_provider", correlationId: crypto.randomUUID() },
  };
  await upper!.cache.save({ result, refreshToken: "r", accountSource: "authorization_code" });
  expect(await upper!.cache.findAccounts()).toMatchObject([{ account }]);
  const query = { account, scopes: ["read"], correlationId: crypto.randomUUID() };
  expect((await upper!.cache.findAccessToken(query))?.result).toMatchObject({ tenantId: "realms/Staff" });
  expect(await lower!.cache.findAccounts()).toEqual([]);
  expect(await lower!.cache.findRefreshTokens(account)).toEqual([]);
  expect(await lower!.cache.findAccessToken(query)).toBeUndefined();
});

// The account's issuer did not count in a look-up: bob of one provider was given the token of another provider's alice, whose
// subject is the same, and his sign-out was hers.
test("TokenCache has nothing for an account of another issuer with the same id, and signs nobody else out", async () => {
  const environment = "a.contoso.com", cache = new TokenCache(memoryStore(), { clientId: CLIENT, environment });
  const alice: AccountInfo = {
    ...{
      homeAccountId: "1",
      localAccountId: "1",
      environment,
      tenantId: "",
      realm: "",
      username: "alice",
      source: "cache",
    },
  };
  const result: AuthenticationResult = {
    ...{ accessToken: "a.b.c", tokenType: "Bearer", expiresOn: new Date(Date.now() + 3_600_000), scopes: ["read"] },
    ...{ account: alice, tenantId: "", source: "identity_provider", correlationId: crypto.randomUUID() },
  };
  await cache.save({ result, refreshToken: "r", accountSource: "authorization_code" });
  const bob = { ...alice, environment: "b.contoso.com", username: "bob" };
  const query = { account: bob, scopes: ["read"], correlationId: crypto.randomUUID() };
  expect(await cache.findAccount(bob)).toBeUndefined();
  expect(await cache.findAccessToken(query)).toBeUndefined();
  expect(await cache.findRefreshTokens(bob)).toEqual([]);
  await cache.removeAccount(bob);
  expect(await cache.isSignedOut(alice)).toBe(false);
  expect((await cache.findAccessToken({ ...query, account: alice }))?.result.accessToken).toBe("a.b.c");
});

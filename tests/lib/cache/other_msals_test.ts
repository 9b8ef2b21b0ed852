// Facts of the other MSALs' own tests: the keys that they agree on, and documents with what a reader has to leave alone.
import { describe, expect, test } from "bun:test";
import {
  accessTokenKey,
  accountKey,
  appMetadataKey,
  extendedCacheKey,
  idTokenKey,
  refreshTokenKey,
} from "../../../lib/cache/schema.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { oneDocumentStore } from "./one_document_store.ts";
import { idToken, MINUTE, NOW, reply } from "./sample_replies.ts";

const ENTRA = { homeAccountId: "Uid.Utid", environment: "login.windows.net", clientId: "My_Client", realm: "Contoso" };
const ADFS = { homeAccountId: "subject", environment: "fs.contoso.com", clientId: "My_Client", realm: "adfs" };

// Python, Java, Go and .NET have the same ones. Of a refresh token's, the others add the scopes or do not.
test.each([
  [
    "an access token",
    accessTokenKey(ENTRA, ["s2", "s1", "s3"]),
    "uid.utid-login.windows.net-accesstoken-my_client-contoso-s1 s2 s3",
  ],
  ["ADFS' access token", accessTokenKey(ADFS, ["s1"]), "subject-fs.contoso.com-accesstoken-my_client-adfs-s1"],
  [
    "a token with more in its request",
    accessTokenKey(ENTRA, ["s1"], "hash"),
    "uid.utid-login.windows.net-atext-my_client-contoso-s1-hash",
  ],
  ["a refresh token", refreshTokenKey(ENTRA), "uid.utid-login.windows.net-refreshtoken-my_client--"],
  ["an id token", idTokenKey(ENTRA), "uid.utid-login.windows.net-idtoken-my_client-contoso-"],
  ["an account", accountKey(ENTRA), "uid.utid-login.windows.net-contoso"],
  ["ADFS' account", accountKey(ADFS), "subject-fs.contoso.com-adfs"],
  ["what is known of an app", appMetadataKey(ENTRA), "appmetadata-login.windows.net-My_Client"],
])("the key of %s is %s", (_, key, expected) => expect(key).toBe(expected));

// By MSAL for Python 1.39, with Go's lengths before each part. .NET, and Python's development branch, have none.
test.each([
  [{ key1: "value1", key2: "value2" }, "latlwkpewb_a0rcsmjvkecqt0_huumkw4sflzociike"],
  [{ key4: "value4", key3: "value3" }, "jjoe9jgfmdtnj0rzuetsqy7kzs2m1xfnjjxwsfxsrxq"],
  [{ client_session: "11111111-2222-4333-8444-555555555555" }, "ncnq2wmecwzkr81vmpqhc9_-gqarbb7fqchxcuilask"],
  [{ fmi_path: "SomeFmiPath/Päth" }, "vlw9yeenzvhxxw7lk1vk8j8g1b3r0dk_c88ra-w7wts"],
])("extendedCacheKey(%j) is %s", async (parameters, key) => {
  expect(await extendedCacheKey(parameters)).toBe(key);
});

const ACCOUNT = { ...reply("", []).result.account, homeAccountId: "uid.utid", realm: "contoso" };
const OF_TOKEN = { home_account_id: "uid.utid", environment: "login.windows.net", client_id: "my_client" };
const END = String(NOW / 1000 + 3600);
const KEY = "uid.utid-login.windows.net", SCOPES = "s2 s1 s3";

/** A document as Java, Go and Python have it in their tests; `wrong` comes first, under keys as Go 1.0 wrote them. */
function documentOf({ wrong = false } = {}): Record<string, Record<string, unknown>> {
  const twice = (oldKey: string, key: string, entry: object, field = "secret") => ({
    ...(wrong && { [oldKey]: { ...entry, [field]: "wrong" } }),
    [key]: entry,
  });
  const access = { ...OF_TOKEN, credential_type: "AccessToken", realm: "contoso", target: SCOPES, secret: "access" };
  const times = { cached_at: String(NOW / 1000), expires_on: END, extended_expires_on: END };
  const refresh = { ...OF_TOKEN, credential_type: "RefreshToken", target: SCOPES, secret: "refresh" };
  const id = { ...OF_TOKEN, credential_type: "IdToken", realm: "contoso", secret: idToken({ oid: "object1234" }) };
  const { client_id: _, ...ofAccount } = OF_TOKEN;
  const account = { ...ofAccount, realm: "contoso", username: "jane@contoso.com", local_account_id: "object1234" };
  return {
    AccessToken: {
      "an-entry": { foo: "bar" },
      ...twice(`${KEY}-AccessToken-my_client-contoso-${SCOPES}`, `${KEY}-accesstoken-my_client-contoso-${SCOPES}`, {
        ...access,
        ...times,
      }),
    },
    RefreshToken: twice(
      `${KEY}-RefreshToken-my_client--${SCOPES}`,
      `${KEY}-refreshtoken-my_client--${SCOPES}`,
      refresh,
    ),
    IdToken: twice(`${KEY}-IdToken-my_client-contoso-`, `${KEY}-idtoken-my_client-contoso-`, id),
    Account: twice(`${KEY}-Contoso`, `${KEY}-contoso`, account, "local_account_id"),
    AppMetadata: { "appmetadata-login.windows.net-my_client": { ...OF_TOKEN, family_id: null } },
    unknownEntity: { field1: "1", field2: "whats" },
    customized: "whatever" as unknown as Record<string, unknown>,
  };
}

function cacheOf(document: object) {
  const store = oneDocumentStore(JSON.stringify(document));
  const options = { clientId: "my_client", environment: "login.microsoftonline.com", now: () => NOW };
  return { store, cache: new TokenCache(store, options) };
}

describe.each([[false], [true]])("A document of another MSAL, with entries of Go 1.0 too: %p,", (wrong) => {
  test("has the account and its tokens", async () => {
    const { cache } = cacheOf(documentOf({ wrong }));
    expect(await cache.findAccounts()).toMatchObject([
      { account: { homeAccountId: "uid.utid", username: "jane@contoso.com", localAccountId: "object1234" } },
    ]);
    const found = await cache.findAccessToken({ account: ACCOUNT, scopes: ["S1", "s3"], correlationId: "" });
    expect(found?.result).toMatchObject({ accessToken: "access", scopes: ["s2", "s1", "s3"] });
    expect((await cache.findRefreshTokens(ACCOUNT))[0]).toMatchObject({ refreshToken: "refresh", holder: "app" });
  });

  test("keeps what it has of others when a token is saved", async () => {
    const { store, cache } = cacheOf(documentOf({ wrong }));
    await cache.save(reply("new", ["other"], {
      ...{ account: { ...ACCOUNT, environment: "login.windows.net" }, tenantId: "contoso" },
      expiresOn: new Date(NOW + 60 * MINUTE),
    }));
    const saved = JSON.parse(store.document!), before = documentOf({ wrong });
    expect(saved.unknownEntity).toEqual(before.unknownEntity);
    expect(saved.customized).toBe("whatever");
    expect(saved.AccessToken["an-entry"]).toEqual({ foo: "bar" });
    expect(Object.values<{ secret?: string }>(saved.AccessToken).map(({ secret }) => secret)).toContain("new");
  });

  test("has nothing of the app left once the account is removed, and all of the others'", async () => {
    const { store, cache } = cacheOf(documentOf({ wrong }));
    await cache.removeAccount(ACCOUNT);
    expect(store.document).not.toMatch(/"(access|refresh|wrong)"/);
    expect(JSON.parse(store.document!)).toMatchObject({
      ...{ customized: "whatever", unknownEntity: { field1: "1" }, AccessToken: { "an-entry": { foo: "bar" } } },
    });
  });
});

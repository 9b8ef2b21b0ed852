// Facts of the other MSALs' own tests: the keys that they agree on, and documents with what a reader has to leave alone.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  accessTokenKey,
  accountKey,
  appMetadataKey,
  extendedCacheKey,
  idTokenKey,
  refreshTokenKey,
} from "../../../lib/cache/schema.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { type OneDocumentStore, oneDocumentStore } from "./one_document_store.ts";
import { APP, CONTOSO, FABRIKAM, FAMILY_APP, HOST, idToken, jane, john, MINUTE, NOW, reply } from "./sample_replies.ts";

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

// What MSAL for Python and MSAL for Node wrote, read and written on.

type Sections = Record<string, Record<string, Record<string, unknown>>>;
const MANAGEMENT = "https://management.azure.com//.default";
const SSH = "https://pas.windows.net/CheckMyAccess/Linux/.default";

function sample(name: string): OneDocumentStore {
  return oneDocumentStore(readFileSync(new URL(`../../cache_samples/${name}.json`, import.meta.url), "utf8"));
}

function tokenCache(store: OneDocumentStore, clientId = APP): TokenCache {
  return new TokenCache(store, { clientId, environment: HOST, now: () => NOW });
}

async function find(cache: TokenCache, scope: string, details: { account?: typeof jane; realm?: string } = {}) {
  return await cache.findAccessToken({ account: jane, scopes: [scope], correlationId: "", ...details });
}

async function refreshTokens(cache: TokenCache, account = jane): Promise<readonly string[]> {
  return (await cache.findRefreshTokens(account)).map(({ refreshToken, holder }) => `${refreshToken} ${holder}`);
}

test("TokenCache.findAccounts() reads the accounts of MSAL for Python", async () => {
  expect(await tokenCache(sample("msal_python")).findAccounts()).toEqual([
    { account: jane, accountSource: "authorization_code" },
    { account: john, accountSource: undefined },
  ]);
});

test("TokenCache.findAccounts() reads the accounts of MSAL for Node", async () => {
  expect(await tokenCache(sample("msal_node")).findAccounts())
    .toEqual([{ account: { ...jane, environment: "login.windows.net", name: "Jane" }, accountSource: undefined }]);
});

test("TokenCache.findAccounts() takes one that both know for one", async () => {
  expect((await tokenCache(sample("msal_both")).findAccounts()).map(({ account }) => account)).toEqual([jane, john]);
});

/** What is found for the app: at home, as a guest, and for refreshing; then for the app of the family. */
interface Found {
  readonly own: string;
  readonly guest: string;
  readonly refresh: readonly string[];
  readonly family: string;
  readonly familyRefresh: readonly string[];
}

const FOUND: readonly (readonly [name: string, found: Found])[] = [
  ["msal_python", {
    own: "python-access-1",
    guest: "python-access-2",
    refresh: ["python-refresh-2 app"],
    family: "python-access-3",
    familyRefresh: ["python-refresh-4 app"],
  }],
  ["msal_node", {
    own: "node-access-1",
    guest: "node-access-2",
    refresh: ["node-refresh-2 app", "node-refresh-3 perhaps"],
    family: "node-access-3",
    familyRefresh: ["node-refresh-3 app"],
  }],
  ["msal_both", {
    own: "python-access-1",
    guest: "node-access-5",
    refresh: ["python-refresh-2 app", "node-refresh-5 app"],
    family: "node-access-6",
    familyRefresh: ["python-refresh-4 app", "node-refresh-6 app"],
  }],
];
for (const [name, { own, guest, refresh, family, familyRefresh }] of FOUND) {
  test(`TokenCache finds the tokens of ${name}.json`, async () => {
    const store = sample(name), cache = tokenCache(store), ofFamily = tokenCache(store, FAMILY_APP);
    const found = await find(cache, "User.Read");
    expect(found?.result).toMatchObject({
      accessToken: own,
      tokenType: "Bearer",
      expiresOn: new Date(NOW + 3_600_000),
      refreshOn: new Date(NOW + 1_800_000),
      scopes: ["User.Read", "openid", "profile"],
      tenantId: CONTOSO,
      idTokenClaims: { tid: CONTOSO, preferred_username: "jane@contoso.com" },
    });
    expect(found?.state).toBe("use");
    const elsewhere = await find(cache, "Mail.Read", { realm: FABRIKAM });
    expect(elsewhere?.result).toMatchObject({
      accessToken: guest,
      tenantId: FABRIKAM,
      idTokenClaims: { tid: FABRIKAM },
    });
    expect(await find(cache, "Mail.Read")).toBeUndefined();
    expect((await find(ofFamily, MANAGEMENT))?.result.accessToken).toBe(family);
    expect(await find(ofFamily, SSH)).toBeUndefined();
    expect(await refreshTokens(cache)).toEqual(refresh);
    expect(await refreshTokens(ofFamily)).toEqual(familyRefresh);
    expect(store.writes).toBe(0);
  });

  test(`TokenCache.save() has the place of what it replaces in ${name}.json, and leaves the rest`, async () => {
    const store = sample(name), before: Sections = JSON.parse(store.document!), cache = tokenCache(store);
    await cache.save(reply("new-access", ["User.Read"], { refreshToken: "new-refresh", idToken: idToken({ new: 1 }) }));
    const after: Sections = JSON.parse(store.document!);
    const isReplaced = ({ client_id, realm, target }: Record<string, unknown>): boolean =>
      client_id === APP && realm !== FABRIKAM && target !== "Mail.Read openid profile";
    for (const section of ["AccessToken", "RefreshToken", "IdToken"]) {
      const others = Object.entries(before[section]!).filter(([, entry]) =>
        !isReplaced(entry) || entry.home_account_id !== jane.homeAccountId
      );
      expect(after[section]).toMatchObject(Object.fromEntries(others));
    }
    expect((await find(cache, "User.Read"))?.result).toMatchObject({
      accessToken: "new-access",
      idTokenClaims: { new: 1 },
    });
    expect((await refreshTokens(cache)).filter((token) => token.endsWith(" app"))).toEqual(["new-refresh app"]);
    // No account is listed twice by MSAL, and none of its fields is lost.
    expect(Object.keys(after.Account!)).toEqual(Object.keys(before.Account!));
    for (const [key, entry] of Object.entries(before.Account!)) {
      const { account_source: _, ...kept } = entry;
      expect(after.Account![key]).toMatchObject(kept);
    }
    // MSAL for Node fails when an app's metadata is there under two names of the cloud.
    await tokenCache(store, FAMILY_APP).save(reply("new-access", [MANAGEMENT], { familyId: "1" }));
    const metadata = Object.values((JSON.parse(store.document!) as Sections).AppMetadata!);
    expect(metadata.map(({ client_id }) => client_id).sort()).toEqual([APP, FAMILY_APP]);
  });

  test(`TokenCache.removeAccount() takes the app's tokens from ${name}.json, and leaves the rest`, async () => {
    const store = sample(name), before: Sections = JSON.parse(store.document!), cache = tokenCache(store);
    await cache.removeAccount(jane);
    const after: Sections = JSON.parse(store.document!);
    for (const section of ["AccessToken", "RefreshToken", "IdToken"]) {
      const others = Object.entries(before[section]!)
        .filter(([, entry]) => entry.client_id !== APP || entry.home_account_id !== jane.homeAccountId);
      expect(after[section]).toEqual(Object.fromEntries(others));
    }
    expect([after.Account, after.AppMetadata]).toEqual([before.Account!, before.AppMetadata!]);
    expect((await cache.findAccounts()).map(({ account }) => account)).toEqual(name === "msal_node" ? [] : [john]);
    expect((await tokenCache(store, FAMILY_APP).findAccounts())[0]?.account.username).toBe(jane.username);
  });
}

test("TokenCache.save() leaves an account under the name of the cloud that it has", async () => {
  const store = sample("msal_node");
  await tokenCache(store).save(reply("access", ["User.Read"], { refreshToken: "refresh", idToken: idToken({}) }));
  const { AccessToken, RefreshToken, IdToken, AppMetadata }: Sections = JSON.parse(store.document!);
  const entries = [AccessToken, RefreshToken, IdToken, AppMetadata].flatMap((section) => Object.values(section!));
  expect(new Set(entries.map(({ environment }) => environment))).toEqual(new Set(["login.windows.net"]));
});

test("TokenCache.save() writes the origin where it is read, however many records an account has", async () => {
  const store = sample("msal_both"), { Account, ...rest }: Sections = JSON.parse(store.document!);
  const ofNodeFirst = Object.fromEntries(Object.entries(Account!).toReversed());
  store.document = JSON.stringify({ ...rest, Account: ofNodeFirst });
  await tokenCache(store).save(reply("access", ["User.Read"], { accountSource: "broker" }));
  expect((await tokenCache(store).findAccount(jane))?.accountSource).toBe("broker");
});

test("TokenCache.save() names entries as MSAL for Python does", async () => {
  const python: Sections = JSON.parse(sample("msal_python").document!), store = oneDocumentStore();
  await tokenCache(store, FAMILY_APP).save(reply("python-access-3", [MANAGEMENT, "profile", "openid"], {
    refreshToken: "python-refresh-4",
    familyId: "1",
    idToken: idToken({}),
    extendedExpiresOn: new Date(NOW + 7_200_000),
    refreshOn: new Date(NOW + 1_800_000),
    accountSource: "urn:ietf:params:oauth:grant-type:device_code",
  }));
  const ours: Sections = JSON.parse(store.document!);
  const isFamilys = (entry: Record<string, unknown>): boolean => entry.client_id === FAMILY_APP && !entry.key_id;
  for (const section of ["AccessToken", "IdToken", "RefreshToken", "AppMetadata"]) {
    const [[key, entry] = []] = Object.entries(python[section]!).filter(([, entry]) => isFamilys(entry));
    const { secret: _, target, ...rest } = entry!;
    // Python has a refresh token's scopes in its key. They are not what it is for, and so not in ours.
    const isRefreshToken = section === "RefreshToken";
    expect(Object.keys(ours[section]!)).toEqual([isRefreshToken ? key!.replace(/[^-]*$/, "") : key!]);
    expect(Object.values(ours[section]!)[0]).toMatchObject(isRefreshToken || !target ? rest : { ...rest, target });
  }
  const account = Object.entries(python.Account!).find(([, { realm }]) => realm === CONTOSO)!;
  expect(Object.entries(ours.Account!)).toEqual([account]);
});

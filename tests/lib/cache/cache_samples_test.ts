// What MSAL for Python and MSAL for Node wrote, read and written on.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { type OneDocumentStore, oneDocumentStore } from "./one_document_store.ts";
import { APP, CONTOSO, FABRIKAM, FAMILY_APP, HOST, idToken, jane, john, NOW, reply } from "./sample_replies.ts";

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

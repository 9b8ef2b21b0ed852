import { expect, spyOn, test } from "bun:test";
import { type CacheStore, memoryStore } from "../../../lib/cache/store.ts";
import { TokenCache, type TokenCacheOptions } from "../../../lib/cache/token_cache.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { type OneDocumentStore, oneDocumentStore } from "./one_document_store.ts";
import {
  APP,
  CONTOSO,
  FABRIKAM,
  FAMILY_APP,
  HOST,
  idToken,
  jane,
  john,
  MINUTE,
  NOW,
  reply,
  type ReplyDetails,
} from "./sample_replies.ts";

const correlationId = "99999999-9999-4999-8999-999999999999";
/** A renewal's reply. */
const renewal = (details: ReplyDetails = {}): ReplyDetails => ({ ...details, accountSource: undefined });

function tokenCache(store: CacheStore = memoryStore(), options: Partial<TokenCacheOptions> = {}): TokenCache {
  return new TokenCache(store, { clientId: APP, environment: HOST, now: () => NOW, ...options });
}

/** The access token that is found, and its state. */
async function find(cache: TokenCache, scopes: readonly string[], account = jane): Promise<string | undefined> {
  const found = await cache.findAccessToken({ account, scopes, correlationId });
  return found && `${found.result.accessToken} ${found.state}`;
}

/** The refresh tokens that are found, and their holders. */
async function refreshTokens(cache: TokenCache, account = jane): Promise<readonly string[]> {
  return (await cache.findRefreshTokens(account)).map(({ refreshToken, holder }) => `${refreshToken} ${holder}`);
}

function sections(store: OneDocumentStore): Record<string, Record<string, Record<string, unknown>>> {
  return JSON.parse(store.document ?? "{}");
}

test("TokenCache.findAccessToken() gives what was saved, as a result from the cache", async () => {
  const cache = tokenCache(), claims = { oid: jane.localAccountId, name: "Jané" };
  const saved = reply("access", ["User.Read", "email"], {
    idToken: idToken(claims),
    extendedExpiresOn: new Date(NOW + 120 * MINUTE),
    refreshOn: new Date(NOW + 30 * MINUTE),
  });
  expect(await cache.save(saved)).toBe(true);
  const found = await cache.findAccessToken({ account: jane, scopes: ["user.read"], correlationId });
  expect(found).toEqual({
    state: "use",
    result: {
      ...saved.result,
      scopes: ["User.Read", "email"],
      idTokenClaims: claims,
      source: "cache",
      correlationId,
    },
  });
  expect(Bun.inspect(found)).not.toContain('"access"');
});

// Each call decoded the id token, which took longer than the rest of it; now the claims of an entry are decoded once.
test("TokenCache.findAccessToken() gives each caller claims of its own", async () => {
  const cache = tokenCache(), claims = { oid: jane.localAccountId, name: "Jané" };
  await cache.save(reply("access", ["User.Read"], { idToken: idToken(claims) }));
  const find = () => cache.findAccessToken({ account: jane, scopes: ["User.Read"], correlationId });
  Object.assign((await find())!.result.idTokenClaims!, { name: "Other" });
  expect((await find())!.result.idTokenClaims).toEqual(claims);
});

test("TokenCache.findAccessToken() gives nothing for other scopes, accounts, apps, clouds and tenants", async () => {
  const store = memoryStore();
  await tokenCache(store).save(reply("access", ["User.Read"]));
  const query = { account: jane, scopes: ["User.Read"], correlationId };
  expect(await tokenCache(store).findAccessToken(query)).toBeDefined();
  expect(await tokenCache(store).findAccessToken({ ...query, scopes: ["User.Read", "Mail.Read"] })).toBeUndefined();
  expect(await tokenCache(store).findAccessToken({ ...query, scopes: ["openid"] })).toBeUndefined();
  expect(await tokenCache(store).findAccessToken({ ...query, account: john })).toBeUndefined();
  expect(await tokenCache(store).findAccessToken({ ...query, realm: FABRIKAM })).toBeUndefined();
  expect(await tokenCache(store, { clientId: FAMILY_APP }).findAccessToken(query)).toBeUndefined();
  expect(await tokenCache(store, { environment: "login.microsoftonline.us" }).findAccessToken(query)).toBeUndefined();
});

test("TokenCache.findAccessToken() finds a token that is for more, in any order and case, without the reserved scopes", async () => {
  const cache = tokenCache();
  await cache.save(reply("access", ["profile", "User.Read", "Mail.Read", "openid"]));
  expect(await find(cache, ["mail.read", "USER.READ", "offline_access"])).toBe("access use");
  expect(await find(cache, ["Mail.Read", "User.Read", "openid", "profile"])).toBe("access use");
});

test("TokenCache.findAccessToken() takes the names of a cloud for one", async () => {
  const store = memoryStore();
  await tokenCache(store, { environment: "login.windows.net" }).save(reply("access", ["User.Read"]));
  expect(await find(tokenCache(store, { environment: "LOGIN.microsoftonline.com" }), ["User.Read"])).toBe("access use");
});

test("TokenCache.findAccessToken() finds a tenant that was asked by its domain by that alone", async () => {
  const cache = tokenCache(), query = { account: jane, scopes: ["User.Read"], correlationId };
  await cache.save(reply("access", ["User.Read"], { realm: "contoso.com" }));
  const found = await cache.findAccessToken({ ...query, realm: "Contoso.com" });
  expect(found?.result).toMatchObject({ accessToken: "access", tenantId: CONTOSO });
  expect(await cache.findAccessToken(query)).toBeUndefined();
});

test("TokenCache.findAccessToken() tells the case of other providers' ids apart, and not that of GUIDs", async () => {
  const store = oneDocumentStore(), options = { environment: "id.example.com", clientId: "app" };
  const cache = tokenCache(store, options);
  const account = { ...jane, homeAccountId: "abc", realm: "", environment: "id.example.com" };
  await cache.save(reply("access", ["read"], { account, tenantId: "" }));
  expect(await find(cache, ["read"], account)).toBe("access use");
  expect(await find(cache, ["read"], { ...account, homeAccountId: "ABC" })).toBeUndefined();
  await tokenCache(store).save(reply("access", ["read"]));
  const shouting = { ...jane, homeAccountId: jane.homeAccountId.toUpperCase(), realm: CONTOSO.toUpperCase() };
  expect(await find(tokenCache(store, { clientId: APP.toUpperCase() }), ["read"], shouting)).toBe("access use");
});

test("TokenCache gives nothing of what is nobody's, and stores nothing for nobody", async () => {
  const ofService = { environment: HOST, client_id: APP, realm: CONTOSO, secret: "service's" };
  const token = { ...ofService, home_account_id: null, target: "A", expires_on: String(NOW / 1000 + 3600) };
  const store = oneDocumentStore(JSON.stringify({
    AccessToken: { [`-${HOST}-accesstoken-${APP}-${CONTOSO}-a`]: token },
    RefreshToken: { [`-${HOST}-refreshtoken-${APP}--`]: ofService },
  }));
  const cache = tokenCache(store), nobody = { ...jane, homeAccountId: "" };
  expect([await find(cache, ["A"], nobody), await refreshTokens(cache, nobody)]).toEqual([undefined, []]);
  expect([await cache.save(reply("access", ["A"], { account: nobody })), store.writes]).toEqual([false, 0]);
});

const TIMES: [what: string, minutes: Record<string, number>, state: string | undefined][] = [
  ["good for an hour", { expires: 60 }, "use"],
  ["good for a little more than five minutes", { expires: 5.1 }, "use"],
  ["that ends in five minutes", { expires: 5 }, "outage"],
  ["that has ended", { expires: 0 }, undefined],
  ["that has ended but may be used in an outage", { expires: -10, extended: 10 }, "outage"],
  ["that has ended even for an outage", { expires: -10, extended: 0 }, undefined],
  ["that is not to be renewed yet", { expires: 60, refresh: 1 }, "use"],
  ["that is to be renewed ahead of its end", { expires: 60, refresh: 0 }, "renew"],
  ["from a little in the future, as clocks differ", { expires: 60, cached: 4 }, "use"],
  ["from the future, as the clock was set back", { expires: 60, cached: 6 }, undefined],
];
for (const [what, { expires, extended, refresh, cached = 0 }, state] of TIMES) {
  test(`TokenCache.findAccessToken() has ${state ?? "no"} use for a token ${what}`, async () => {
    const at = (minutes: number) => new Date(NOW + minutes * MINUTE), store = memoryStore();
    await tokenCache(store, { now: () => at(cached).getTime() }).save(reply("access", ["User.Read"], {
      expiresOn: at(expires!),
      ...(extended !== undefined && { extendedExpiresOn: at(extended) }),
      ...(refresh !== undefined && { refreshOn: at(refresh) }),
    }));
    expect(await find(tokenCache(store), ["User.Read"])).toBe(state && `access ${state}`);
  });
}

test("TokenCache.findAccessToken() prefers what can be used to what is to be renewed, and the newer to the older", async () => {
  const store = memoryStore(), earlier = tokenCache(store, { now: () => NOW - MINUTE });
  await earlier.save(reply("old", ["User.Read", "Mail.Read"]));
  await tokenCache(store).save(reply("new", ["User.Read", "Files.Read"]));
  expect(await find(tokenCache(store), ["User.Read"])).toBe("new use");
  await tokenCache(store).save(reply("ageing", ["User.Read", "Files.Read"], { refreshOn: new Date(NOW) }));
  expect(await find(tokenCache(store), ["User.Read"])).toBe("old use");
  expect(await find(tokenCache(store), ["Files.Read"])).toBe("ageing renew");
});

const BOUND: [what: string, fields: Record<string, unknown>][] = [
  ["a certificate for SSH", { token_type: "ssh-cert", key_id: "key" }],
  ["a token that is bound to a key", { token_type: "Bearer", key_id: "key" }],
  ["a signed request", { token_type: "pop", credential_type: "AccessToken_With_AuthScheme" }],
  ["one of other parameters", { ext_cache_key: "hash" }],
  ["one of MSAL for Node's other parameters", { additionalCacheKeyComponents: { fmi_path: "path" } }],
  ["one on somebody's behalf", { userAssertionHash: "hash" }],
  ["one of another resource", { resource: "https://mcp.example.com" }],
  ["one without a time", { expires_on: undefined }],
  ["one with a time that is none", { expires_on: "soon" }],
  ["one that could not be sent", { secret: "a\nb" }],
  ["one without a secret", { secret: { toString: 1 } }],
];
for (const [what, fields] of BOUND) {
  test(`TokenCache.findAccessToken() does not take ${what} for a bearer token`, async () => {
    const store = oneDocumentStore();
    await tokenCache(store).save(reply("access", ["User.Read", "Mail.Read"]));
    const document = sections(store), [key = ""] = Object.keys(document.AccessToken!);
    Object.assign(document.AccessToken![key]!, fields);
    store.document = JSON.stringify(document);
    expect(await find(tokenCache(store), ["User.Read"])).toBeUndefined();
    expect(await find(tokenCache(store), ["User.Read", "Mail.Read"])).toBeUndefined();
  });
}

test("TokenCache.save() puts a token in the place of those for more and for fewer scopes, and leaves the others", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store);
  for (const scopes of [["A"], ["B", "C"], ["A", "C"], ["A", "B", "C"]]) {
    await cache.save(reply(scopes.join(""), scopes));
  }
  expect(Object.values(sections(store).AccessToken!).map(({ secret }) => secret)).toEqual(["ABC"]);
  await cache.save(reply("CD", ["C", "D"]));
  await cache.save(reply("elsewhere", ["C"], { tenantId: FABRIKAM }));
  await tokenCache(store, { clientId: FAMILY_APP }).save(reply("other app's", ["C"]));
  await cache.save(reply("D", ["d"]));
  expect(Object.values(sections(store).AccessToken!).map(({ secret }) => secret).sort())
    .toEqual(["ABC", "D", "elsewhere", "other app's"]);
});

test("TokenCache.save() drops the app's ended tokens of the account, and nobody else's", async () => {
  const store = oneDocumentStore(), ended = { expiresOn: new Date(NOW - MINUTE) };
  await tokenCache(store).save(reply("ended", ["A"], ended));
  await tokenCache(store).save(reply("john's", ["A"], { ...ended, account: john }));
  await tokenCache(store, { clientId: FAMILY_APP }).save(reply("other app's", ["A"], ended));
  await tokenCache(store).save(reply("outage", ["C"], { ...ended, extendedExpiresOn: new Date(NOW + MINUTE) }));
  await tokenCache(store).save(reply("new", ["B"]));
  expect(Object.values(sections(store).AccessToken!).map(({ secret }) => secret).sort())
    .toEqual(["john's", "new", "other app's", "outage"]);
});

test("TokenCache.save() keeps one refresh token of an app and account, and the one there is when none came", async () => {
  const cache = tokenCache();
  await cache.save(reply("access", ["A"], { refreshToken: "first" }));
  await cache.save(reply("access", ["A"], renewal({ tenantId: FABRIKAM, refreshToken: "second" })));
  await cache.save(reply("access", ["A"], renewal()));
  expect(await refreshTokens(cache)).toEqual(["second app"]);
  expect(await refreshTokens(cache, john)).toEqual([]);
});

test("TokenCache.save() stores no token that is bound to a request, and none of a broker", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store);
  await cache.save(reply("bound", ["A"], { tokenType: "pop" }));
  expect(sections(store).AccessToken).toBeUndefined();
  const ofBroker = { source: "broker" as const, refreshToken: "r", idToken: idToken({}), account: john };
  await cache.save(reply("broker's", ["A"], { ...ofBroker, accountSource: "broker" }));
  await cache.save(reply("broker's", ["A"], { ...ofBroker, accountSource: undefined }));
  expect(store.document).not.toContain("broker's");
  expect(Object.keys(sections(store)).sort()).toEqual(["Account", "AppMetadata"]);
  expect(await cache.findAccount(john)).toEqual({ account: john, accountSource: "broker" });
});

test("TokenCache.save() stores no renewal of an account that has gone, or signed out", async () => {
  const cache = tokenCache(oneDocumentStore()), late = reply("late", ["A"], renewal({ refreshToken: "late" }));
  expect(await cache.save(late)).toBe(false);
  await cache.save(reply("access", ["A"], { refreshToken: "refresh" }));
  await cache.removeAccount(jane);
  expect(await cache.save(late)).toBe(false);
  expect([await find(cache, ["A"]), await refreshTokens(cache)]).toEqual([undefined, []]);
});

test("TokenCache.save() leaves nothing of the old token with the new one", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store);
  await cache.save(reply("old", ["A"], { refreshOn: new Date(NOW) }));
  const document = sections(store), [old] = Object.values(document.AccessToken!);
  Object.assign(old!, { token_type: "ssh-cert", key_id: "key", resource: "https://mcp.example.com" });
  store.document = JSON.stringify(document);
  await cache.save(reply("new", ["A"]));
  expect(await find(cache, ["A"])).toBe("new use");
});

test("TokenCache.save() lets everything survive that it does not know", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store), strange = { home_account_id: 5, secret: ["?"] };
  await cache.save(reply("access", ["A"], { refreshToken: "refresh", familyId: "1", idToken: idToken({}) }));
  const document = sections(store);
  for (const entries of Object.values(document)) {
    for (const entry of Object.values(entries)) entry.x_field = { deep: [null, "\ud800", 1.5] };
    entries.strange = strange;
    (entries as Record<string, unknown>).none = null;
  }
  document.AccessToken![""] = { ...Object.values(document.AccessToken!)[0], client_id: "other" };
  store.document = JSON.stringify({ ...document, Unknown: { a: 1 }, __proto__: null, list: [1] });

  await cache.save(reply("second", ["A"], { refreshToken: "second", idToken: idToken({ second: true }) }));
  const after = JSON.parse(store.document);
  expect([after.Unknown, after.list]).toEqual([{ a: 1 }, [1]]);
  for (const section of ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata"]) {
    const { strange: kept, none, "": other, ...entries } = after[section];
    expect([kept, none]).toEqual([strange, null]);
    expect(Object.values<Record<string, unknown>>(entries).map(({ x_field }) => x_field))
      .toEqual([{ deep: [null, "\ud800", 1.5] }]);
    expect(other?.client_id).toBe(section === "AccessToken" ? "other" : undefined);
  }
  expect(Object.values<Record<string, unknown>>(after.AppMetadata)[0]).not.toHaveProperty("family_id");
});

test("TokenCache.save() and .findAccessToken() take a section that is none for an empty one", async () => {
  const store = oneDocumentStore('{"AccessToken": [1], "RefreshToken": null, "Account": "a", "IdToken": 3}');
  const cache = tokenCache(store);
  expect([await find(cache, ["A"]), await refreshTokens(cache), await cache.findAccounts()]).toEqual([
    undefined,
    [],
    [],
  ]);
  await cache.save(reply("access", ["A"], { refreshToken: "refresh", idToken: idToken({}) }));
  expect([await find(cache, ["A"]), await refreshTokens(cache)]).toEqual(["access use", ["refresh app"]]);
});

test("TokenCache.findAccounts() gives each account once, its home tenant first, and where it was signed in", async () => {
  for (const store of [memoryStore(), oneDocumentStore()]) {
    const cache = tokenCache(store), guest = { ...jane, tenantId: FABRIKAM, realm: FABRIKAM, name: "Jane" };
    await cache.save(reply("access", ["A"], { account: guest, tenantId: FABRIKAM, accountSource: "device_code" }));
    expect(await cache.findAccounts()).toEqual([{ account: guest, accountSource: "device_code" }]);
    await cache.save(reply("access", ["A"]));
    await cache.save(reply("access", ["A"], { account: { ...john, name: "John" }, accountSource: "broker" }));
    expect(await cache.findAccounts()).toEqual([
      { account: jane, accountSource: "authorization_code" },
      { account: { ...john, name: "John" }, accountSource: "broker" },
    ]);
    expect(await cache.findAccount(jane)).toEqual({ account: jane, accountSource: "authorization_code" });
    expect(await tokenCache(store, { environment: "login.microsoftonline.us" }).findAccounts()).toEqual([]);
  }
});

test("TokenCache.findAccounts() skips a damaged document, and logs a warning", async () => {
  const log: string[] = [], store = oneDocumentStore("{");
  const cache = tokenCache(store, { log: (level, message) => log.push(`${level}: ${message}`) });
  expect(await cache.findAccounts()).toEqual([]);
  expect([log, store.document]).toEqual([["warn: A document of the token cache is damaged and was skipped"], "{"]);
});

test("TokenCache.findRefreshTokens() gives the app's own, then its family's, then nobody else's", async () => {
  const store = memoryStore(), own = tokenCache(store), other = tokenCache(store, { clientId: FAMILY_APP });
  await other.save(reply("access", ["A"], { refreshToken: "family", familyId: "1" }));
  await tokenCache(store, { clientId: "stranger" }).save(reply("access", ["A"], { refreshToken: "strange" }));
  expect(await refreshTokens(own)).toEqual(["family perhaps"]);
  await own.save(reply("access", ["A"], renewal({ refreshToken: "own", familyId: "1" })));
  expect(await refreshTokens(own)).toEqual(["own app", "family family"]);
  expect(await refreshTokens(other)).toEqual(["family app", "own family"]);
  await own.save(reply("access", ["A"], renewal({ refreshToken: "own" })));
  expect(await refreshTokens(own)).toEqual(["own app"]);
  expect(Bun.inspect(await own.findRefreshTokens(jane))).not.toContain("own");
});

test("TokenCache.findRefreshTokens() gives each once, and none that a service has on somebody's behalf", async () => {
  const store = oneDocumentStore(), own = tokenCache(store), other = tokenCache(store, { clientId: FAMILY_APP });
  await own.save(reply("access", ["A"], { refreshToken: "same", familyId: "1" }));
  await other.save(reply("access", ["A"], { refreshToken: "same", familyId: "1" }));
  expect(await refreshTokens(own)).toEqual(["same app"]);
  const document = sections(store);
  for (const entry of Object.values(document.RefreshToken!)) entry.userAssertionHash = "hash";
  store.document = JSON.stringify(document);
  expect(await refreshTokens(own)).toEqual([]);
});

test("TokenCache.removeAccount() takes the app's tokens, and leaves other apps' and people's", async () => {
  for (const store of [memoryStore(), oneDocumentStore()]) {
    const own = tokenCache(store), other = tokenCache(store, { clientId: FAMILY_APP });
    for (const [cache, account] of [[own, jane], [own, john], [other, jane]] as const) {
      await cache.save(reply("access", ["A"], { account, refreshToken: "refresh", idToken: idToken({}) }));
    }
    await own.removeAccount(jane);
    expect([await find(own, ["A"]), await refreshTokens(own), await own.isSignedOut(jane)]).toEqual([
      undefined,
      [],
      true,
    ]);
    expect((await own.findAccounts()).map(({ account }) => account)).toEqual([john]);
    expect(await find(own, ["A"], john)).toBe("access use");
    expect((await other.findAccounts()).map(({ account }) => account.username).sort())
      .toEqual([jane.username, john.username]);
    expect([await find(other, ["A"]), await refreshTokens(other), await other.isSignedOut(jane)])
      .toEqual(["access use", ["refresh app"], false]);
  }
});

test("TokenCache.removeAccount() takes the family's tokens, whose refresh token was the app's as well", async () => {
  const store = oneDocumentStore(), own = tokenCache(store), other = tokenCache(store, { clientId: FAMILY_APP });
  await own.save(reply("access", ["A"], { refreshToken: "own", familyId: "1", idToken: idToken({}) }));
  await other.save(reply("access", ["A"], { refreshToken: "other", familyId: "1", idToken: idToken({}) }));
  await own.removeAccount(jane);
  const { AccessToken, RefreshToken, IdToken, Account, AppMetadata, LatchkeySignedOut } = sections(store);
  expect([AccessToken, RefreshToken, IdToken, Account]).toEqual([{}, {}, {}, {}]);
  expect([Object.keys(AppMetadata!).length, Object.keys(LatchkeySignedOut!).length]).toEqual([2, 1]);
});

test("TokenCache.removeAccount() leaves a mark that ends with the next sign-in, by whatever program", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store), ofBroker = { source: "broker" as const };
  await cache.save(reply("access", ["A"], { ...ofBroker, accountSource: "broker" }));
  await cache.removeAccount(jane);
  expect([await cache.isSignedOut(jane), await cache.findAccount(jane)]).toEqual([true, undefined]);
  await cache.save(reply("access", ["A"], { ...ofBroker, accountSource: "broker" }));
  expect([await cache.isSignedOut(jane), (await cache.findAccount(jane))?.accountSource]).toEqual([false, "broker"]);

  await cache.save(reply("access", ["A"], { refreshToken: "refresh" }));
  const signedIn = sections(store);
  await cache.removeAccount(jane);
  store.document = JSON.stringify({
    ...sections(store),
    ...signedIn,
    LatchkeySignedOut: sections(store).LatchkeySignedOut,
  });
  expect([await cache.isSignedOut(jane), (await cache.findAccounts()).length]).toEqual([false, 1]);
});

test("TokenCache sets a damaged document aside, says where, and begins a new one", async () => {
  for (const damaged of ["{", "[]", '"text"', "\u0000\uffff", '{"AccessToken": {"a": {}}']) {
    const log: string[] = [], store = oneDocumentStore(damaged);
    const cache = tokenCache(store, { log: (level, message) => log.push(`${level}: ${message}`) });
    expect(await find(cache, ["A"])).toBeUndefined();
    expect([store.aside, store.document]).toEqual([[damaged], undefined]);
    expect(log).toEqual([
      "warn: The token cache was damaged. It was set aside as cache.json.damaged, and a new one begun",
    ]);
    store.document = damaged;
    await cache.save(reply("access", ["A"]));
    expect(store.aside).toEqual([damaged, damaged]);
    expect(await find(cache, ["A"])).toBe("access use");
  }
});

test("TokenCache throws configuration when a damaged document cannot be set aside, and leaves it", async () => {
  const { setAside: _, ...store } = oneDocumentStore();
  const written: (string | undefined)[] = [];
  store.read = () => Promise.resolve('{"secret-token');
  store.update = (_, change) => Promise.resolve(void written.push(change('{"secret-token')));
  const cache = tokenCache(store);
  for (const call of [() => find(cache, ["A"]), () => cache.save(reply("access", ["A"]))]) {
    const error = await call().then(() => undefined, (error: unknown) => error as LatchkeyError);
    expect(error).toBeInstanceOf(LatchkeyError);
    expect([error!.code, error!.message]).toEqual(["configuration", "Cannot read the token cache: it is damaged"]);
    expect(Bun.inspect(error)).not.toContain("secret-token");
  }
  expect(written).toEqual(['{"secret-token', '{"secret-token']);
});

test("TokenCache takes an empty document, or one of white space, for a new one", async () => {
  for (const empty of ["", " \n", "\ufeff", "\ufeff{}", "{}"]) {
    const store = oneDocumentStore(empty), cache = tokenCache(store);
    await cache.save(reply("access", ["A"]));
    expect([await find(cache, ["A"]), store.aside]).toEqual(["access use", []]);
  }
});

test("TokenCache writes once a change, and not when there is none", async () => {
  const store = oneDocumentStore(), cache = tokenCache(store);
  await cache.save(reply("access", ["A"], renewal()));
  expect([store.writes, store.document]).toEqual([0, undefined]);
  await cache.save(reply("access", ["A"], { refreshToken: "refresh" }));
  expect(store.writes).toBe(1);
});

test("TokenCache loses no change when many caches share a store, or the store asks again", async () => {
  const inner = memoryStore();
  const impatient: CacheStore = {
    ...inner,
    update: (id, change, call) => inner.update(id, (json) => (change("{}"), change(json)), call),
  };
  const scopes = Array.from({ length: 50 }, (_, index) => `Scope${index}`);
  await Promise.all(scopes.map((scope) => tokenCache(impatient).save(reply(scope, [scope]))));
  const cache = tokenCache(inner);
  expect(await Promise.all(scopes.map((scope) => find(cache, [scope])))).toEqual(scopes.map((scope) => `${scope} use`));
});

test("memoryStore() has a document for each account, and shows none of them", async () => {
  const store = memoryStore(), cache = tokenCache(store);
  await cache.save(reply("access-of-jane", ["A"]));
  await cache.save(reply("access-of-john", ["A"], { account: john }));
  expect(await store.readAccounts()).toHaveLength(2);
  expect(await store.read(jane.homeAccountId)).not.toContain("access-of-john");
  expect(Bun.inspect([store, cache], { depth: 10 })).not.toContain("access-of");
});

// A clock that was set back gave a token that this program had received as much more time as it was set back by.
test("TokenCache.findAccessToken() bounds a token by what was left of it when it was received", async () => {
  let now = NOW;
  const cache = tokenCache(memoryStore(), { now: () => now });
  const clock = spyOn(performance, "now").mockReturnValue(0);
  const look = async () => {
    const found = await cache.findAccessToken({ account: jane, scopes: ["User.Read"], correlationId });
    return found && { state: found.state, leftMs: found.result.expiresOn.getTime() - now };
  };
  try {
    await cache.save(reply("access", ["User.Read"], { refreshOn: new Date(NOW + 30 * MINUTE) }));
    clock.mockReturnValue(20 * MINUTE);
    expect(await look()).toEqual({ state: "use", leftMs: 40 * MINUTE });
    clock.mockReturnValue(50 * MINUTE);
    expect(await look()).toEqual({ state: "renew", leftMs: 10 * MINUTE });
    clock.mockReturnValue(58 * MINUTE);
    expect(await look()).toEqual({ state: "outage", leftMs: 2 * MINUTE });
    clock.mockReturnValue(60 * MINUTE);
    expect(await look()).toBeUndefined();
    now = NOW + 59 * MINUTE; // the clock alone went on, as when the machine slept
    clock.mockReturnValue(0);
    expect(await look()).toEqual({ state: "outage", leftMs: MINUTE });
  } finally {
    clock.mockRestore();
  }
});

// What is not stored, or replaces nothing, made the lifetime of a token that is stored forgotten.
test("TokenCache.findAccessToken() bounds a token also after replies that do not replace it, and after it ended", async () => {
  let isFull = false;
  const now = NOW, store = memoryStore();
  const update: CacheStore["update"] = async (...call) => {
    if (isFull) throw new LatchkeyError("configuration", "full");
    await store.update(...call);
  };
  const cache = tokenCache({ ...store, update }, { now: () => now });
  const clock = spyOn(performance, "now").mockReturnValue(0);
  const leftMs = async (account = jane) => {
    const found = await cache.findAccessToken({ account, scopes: ["A"], correlationId });
    return found && found.result.expiresOn.getTime() - now;
  };
  try {
    await cache.save(reply("access", ["A"]));
    await cache.save(reply("bound", ["A"], { tokenType: "pop" }));
    await cache.save(reply("broker's", ["A"], { source: "broker", accountSource: "broker" }));
    await cache.save(reply("access", ["B"], { tenantId: FABRIKAM })); // the same token, which another replaces there
    await cache.save(reply("other", ["B"], { tenantId: FABRIKAM }));
    expect(await cache.save(reply("gone", ["A"], renewal({ account: john })))).toBe(false);
    clock.mockReturnValue(20 * MINUTE);
    expect(await leftMs()).toBe(40 * MINUTE);
    isFull = true;
    await expect(cache.save(reply("johns", ["A"], { account: john }))).rejects.toThrow("full");
    clock.mockReturnValue(30 * MINUTE);
    expect([await leftMs(), await leftMs(john)]).toEqual([30 * MINUTE, 50 * MINUTE]);
    isFull = false;
    clock.mockReturnValue(61 * MINUTE);
    await cache.save(reply("later", ["C"]));
    expect(await leftMs()).toBeUndefined();
  } finally {
    clock.mockRestore();
  }
});

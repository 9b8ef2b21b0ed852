// cachePluginStore with MSAL for Node and plugins of its own: both have one cache through them. The network is played here.
import { DistributedCachePlugin, type ICachePlugin, PublicClientApplication } from "@azure/msal-node";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type CachePlugin, cachePluginStore } from "../../../lib/cache/plugin_store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { expectNoSecret, failure, useStage } from "../../fixture.ts";
import { MSAL_NODE_EXTENSIONS } from "../../tools/find_tool.js";
import { APP, CONTOSO, HOST, idToken, jane, john, reply } from "./sample_replies.ts";

const AUTHORITY = `https://${HOST}/${CONTOSO}`;
const SCOPES = ["User.Read"];
const HOUR_MS = 3_600_000;

const stage = useStage();
let count = 0;

/** Plugins that are not one object in two programs: each call makes one more over the same place. */
const PLUGINS: Readonly<Record<string, () => Promise<() => Promise<ICachePlugin>>>> = {
  // deno-lint-ignore require-await
  DistributedCachePlugin: async () => {
    const entries = new Map<string, string>();
    const client = {
      get: (key: string) => Promise.resolve(entries.get(key) ?? ""),
      set: (key: string, value: string) => (entries.set(key, value), Promise.resolve(value)),
    };
    const partition = {
      getKey: () => Promise.resolve(jane.homeAccountId),
      extractKey: ({ homeAccountId }: { homeAccountId: string }) => Promise.resolve(homeAccountId),
    };
    return () => Promise.resolve(new DistributedCachePlugin(client, partition));
  },
  PersistenceCachePlugin: async () => {
    // Not by the package's name: that loads native parts as well.
    const load = (name: string) => import(pathToFileURL(`${MSAL_NODE_EXTENSIONS}/dist/persistence/${name}.mjs`).href);
    const [{ FilePersistence }, { PersistenceCachePlugin }] = await Promise.all([
      load("FilePersistence"),
      load("PersistenceCachePlugin"),
    ]);
    const path = join(stage.folder, `cache-${++count}.json`);
    return async () => new PersistenceCachePlugin(await FilePersistence.create(path));
  },
};

function cacheOver(plugin: CachePlugin): TokenCache {
  return new TokenCache(cachePluginStore(plugin), { clientId: APP, environment: HOST });
}

function msalOver(cachePlugin: ICachePlugin): PublicClientApplication {
  const seconds = Math.floor(Date.now() / 1000), { localAccountId: oid, username } = jane;
  const answers = {
    openid: {
      issuer: `https://${HOST}/{tenantid}/v2.0`,
      authorization_endpoint: `${AUTHORITY}/oauth2/v2.0/authorize`,
      token_endpoint: `${AUTHORITY}/oauth2/v2.0/token`,
      jwks_uri: `${AUTHORITY}/discovery/v2.0/keys`,
    },
    token: {
      ...{
        access_token: "from MSAL",
        refresh_token: "MSAL's",
        token_type: "Bearer",
        scope: "openid profile User.Read",
      },
      ...{ expires_in: 3600, ext_expires_in: 3600 },
      id_token: idToken({
        ...{ aud: APP, iss: `https://${HOST}/${CONTOSO}/v2.0`, iat: seconds, nbf: seconds, exp: seconds + 3600 },
        ...{ oid, tid: CONTOSO, sub: "sub", preferred_username: username },
      }),
      client_info: btoa(JSON.stringify({ uid: oid, utid: CONTOSO })),
    },
  };
  const answer = (body: unknown) => Promise.resolve({ status: 200, headers: {}, body: body as never });
  return new PublicClientApplication({
    auth: { clientId: APP, authority: AUTHORITY },
    cache: { cachePlugin },
    system: {
      networkClient: {
        sendGetRequestAsync: () => answer(answers.openid),
        sendPostRequestAsync: () => answer(answers.token),
      },
    },
  });
}

const signIn = () =>
  reply("from latchkey", SCOPES, { expiresOn: new Date(Date.now() + HOUR_MS), refreshToken: "ours" });
const query = { account: jane, scopes: SCOPES, correlationId: "" };

describe.each(Object.entries(PLUGINS))("cachePluginStore() with MSAL's %s", (_name, makePlace) => {
  test("MSAL for Node finds the token that latchkey stored, and the sign-out", async () => {
    const newPlugin = await makePlace(), cache = cacheOver(await newPlugin()), msal = msalOver(await newPlugin());
    await cache.save(signIn());
    const [account] = await msal.getAllAccounts();
    expect(account?.homeAccountId).toBe(jane.homeAccountId);
    expect((await msal.acquireTokenSilent({ account: account!, scopes: SCOPES })).accessToken).toBe("from latchkey");
    await cache.removeAccount(jane);
    expect(JSON.parse(msal.getTokenCache().serialize()).RefreshToken).not.toEqual({});
    await expect(msalOver(await newPlugin()).acquireTokenSilent({ account: account!, scopes: SCOPES })).rejects
      .toThrow();
  });

  test("latchkey finds the account and the tokens that MSAL for Node stored", async () => {
    const newPlugin = await makePlace(), cache = cacheOver(await newPlugin()), msal = msalOver(await newPlugin());
    await msal.acquireTokenByCode({ code: "code", redirectUri: "http://localhost", scopes: SCOPES });
    expect((await cache.findAccounts()).map(({ account }) => account.username)).toEqual([jane.username]);
    expect((await cache.findAccessToken(query))?.result.accessToken).toBe("from MSAL");
    expect((await cache.findRefreshTokens(jane)).map(({ refreshToken }) => refreshToken)).toEqual(["MSAL's"]);
  });

  test("what was there stays when latchkey changes it", async () => {
    const newPlugin = await makePlace(), msal = msalOver(await newPlugin());
    await msal.acquireTokenByCode({ code: "code", redirectUri: "http://localhost", scopes: SCOPES });
    await cacheOver(await newPlugin()).save(
      reply("mail", ["Mail.Read"], { expiresOn: new Date(Date.now() + HOUR_MS) }),
    );
    const [account] = await msalOver(await newPlugin()).getAllAccounts();
    for (const [scope, token] of [["User.Read", "from MSAL"], ["Mail.Read", "mail"]] as const) {
      const silent = msalOver(await newPlugin()).acquireTokenSilent({ account: account!, scopes: [scope] });
      expect((await silent).accessToken).toBe(token);
    }
  });
});

describe("cachePluginStore()", () => {
  const nothing = () => Promise.resolve();

  test.each([undefined, {}, { beforeCacheAccess: nothing }])("refuses %j", (plugin) => {
    expect(() => cachePluginStore(plugin as never)).toThrow(TypeError);
  });

  test("says which method failed, and not what it quoted; the lock is released", async () => {
    const calls: string[] = [];
    const store = cachePluginStore({
      beforeCacheAccess: () => (calls.push("before"), Promise.reject(new SyntaxError("unexpected secret"))),
      afterCacheAccess: ({ cacheHasChanged }) => (calls.push(`after ${cacheHasChanged}`), nothing()),
    });
    const error = await failure(store.update("jane", () => "{}"));
    expect(error).toMatchObject({
      code: "configuration",
      message: "Cannot use the token cache: the plugin's beforeCacheAccess failed (SyntaxError)",
    });
    expectNoSecret(error, "secret");
    expect(calls).toEqual(["before", "after false"]);
  });

  test("a change that the plugin did not save is not there afterwards", async () => {
    let fails = true;
    const store = cachePluginStore({
      beforeCacheAccess: nothing,
      afterCacheAccess: ({ cacheHasChanged }) =>
        cacheHasChanged && fails ? Promise.reject(Object.assign(new Error(), { code: "ENOSPC" })) : nothing(),
    });
    expect((await failure(store.update("jane", () => "{}"))).message).toContain("afterCacheAccess failed (ENOSPC)");
    expect(await store.read("jane")).toBeUndefined();
    fails = false;
    await store.update("jane", () => "{}");
    expect(await store.read(john.homeAccountId)).toBe("{}");
  });
});

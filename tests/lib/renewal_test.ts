// Renewals at a real OpenID provider whose refresh tokens are good once: whoever spends one has to store the next.
import { beforeEach, describe, expect, test } from "bun:test";
import {
  type CacheStore,
  LatchkeyError,
  type LogLevel,
  memoryStore,
  type PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import { renewalsInFlight } from "../../lib/async.ts";
import { entraPerson } from "../fakes/entra_person.ts";
import { FakeEntra } from "../fakes/fake_entra.ts";
import { browsingPerson } from "../tools/browsing_person.ts";
import { CLIENT_ID, failure, rejection, useStage } from "../fixture.ts";

const SCOPES = ["api.read"];
const FORCED = { scopes: SCOPES, interactive: "never", forceRefresh: true } as const;
const SILENT = { scopes: SCOPES, interactive: "never" } as const;
const HOUR_MS = 60 * 60_000;
/** An app at Microsoft. Elsewhere, apps have the client id that the provider knows. */
const AT_MICROSOFT = { clientId: CLIENT_ID, authority: "https://login.microsoftonline.com/common" } as const;

const stage = useStage({ provider: true });
let store: CacheStore;
beforeEach(() => void (store = memoryStore()));

/** An app with the store of the test. Each is as another process, but for what it waits for. */
function appOf(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return stage.makeApp({ cache: store, ...options });
}

async function signIn(options: Partial<PublicClientApplicationOptions> = {}) {
  return await appOf({ openBrowser: browsingPerson().openBrowser, ...options }).acquireToken({ scopes: SCOPES });
}

/** The next line of a log that a pattern fits. */
function logLine() {
  const lines: string[] = [], waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  return {
    lines,
    logger: (level: LogLevel, message: string) => {
      lines.push(`${level} ${message}`);
      for (const { pattern, resolve } of waiting) if (pattern.test(`${level} ${message}`)) resolve(message);
    },
    line: (pattern: RegExp) => new Promise<string>((resolve) => void waiting.push({ pattern, resolve })),
  };
}

/** A store of whose methods some are others. */
function storeWith(methods: Partial<CacheStore>): CacheStore {
  const { readAccounts, read, update } = store;
  return { readAccounts, read, update, ...methods };
}

// The request was aborted with its caller: the provider had taken the old refresh token, and nobody read the new one.
describe("a renewal that was sent", () => {
  test("is stored although the caller gave it up, who is let go at once", async () => {
    await signIn();
    const app = appOf(),
      held = stage.provider.holdAnswer(),
      controller = new AbortController(),
      reason = new Error("no more");
    const ended = rejection(app.acquireToken({ ...FORCED, signal: controller.signal }));
    await held.ready;
    controller.abort(reason);
    expect(await ended).toBe(reason);
    const next = app.acquireToken(FORCED); // waits for the renewal that is under way
    held.release();
    expect(await next).toMatchObject({ source: "identity_provider" });
    expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
  });

  test("is stored before close() is over, although its callers end at once", async () => {
    const { accessToken } = await signIn();
    const app = appOf(), held = stage.provider.holdAnswer(), ended = failure(app.acquireToken(FORCED));
    await held.ready;
    const closing = app.close();
    expect(await ended).toMatchObject({ code: "unexpected" });
    held.release();
    await closing;
    const kept = await appOf().acquireToken(SILENT);
    expect(kept.source).toBe("cache");
    expect(kept.accessToken).not.toBe(accessToken);
  });

  test("is not sent for a caller that gave up before", async () => {
    await signIn();
    const { grants } = stage.provider, before = grants.length, controller = new AbortController();
    const read: CacheStore["read"] = (id, call) => {
      controller.abort(new Error("no more"));
      return store.read(id, call);
    };
    const app = appOf({ cache: storeWith({ read }) });
    await rejection(app.acquireToken({ ...FORCED, signal: controller.signal }));
    await app.close();
    expect(grants.length).toBe(before);
  });
});

// The new refresh token was forgotten when it could not be stored, and the old one was good no more.
describe("a renewal that cannot be stored", () => {
  /** A store that can be written as long as nobody says otherwise. */
  function worn() {
    const disk = { isFull: false };
    const update: CacheStore["update"] = async (...args) => {
      if (disk.isFull) throw new LatchkeyError("configuration", "Cannot write: the disk is full");
      await store.update(...args);
    };
    return { disk, cache: storeWith({ update }) };
  }

  test("is held in memory, used for the next renewal, and stored once that is possible", async () => {
    await signIn();
    const { disk, cache } = worn(), { lines, logger, line } = logLine(), app = appOf({ cache, logger });
    disk.isFull = true;
    const first = await app.acquireToken(FORCED);
    expect(lines.join("\n")).toMatch(
      /warn The token could not be stored: .*held in memory.*sign in again.*disk is full/,
    );
    expect(await app.acquireToken(SILENT)).toMatchObject({ source: "cache", accessToken: first.accessToken });
    const second = await app.acquireToken(FORCED), stored = line(/stored now/);
    disk.isFull = false;
    await stored;
    expect(await appOf().acquireToken(SILENT)).toMatchObject({ source: "cache", accessToken: second.accessToken });
    expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
  });

  test("is stored by close() as well, and with whatever is stored next", async () => {
    await signIn();
    const { disk, cache } = worn(), app = appOf({ cache });
    for (const end of [() => app.acquireToken(FORCED), () => app.close()]) {
      disk.isFull = true;
      await app.acquireToken(FORCED);
      disk.isFull = false;
      await end();
      expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
    }
  });

  test("does not take the place of a later sign-in, and is gone with a sign-out", async () => {
    await signIn();
    const { disk, cache } = worn(), app = appOf({ cache });
    disk.isFull = true;
    const { account } = await app.acquireToken(FORCED);
    await signIn(); // another process
    disk.isFull = false;
    await app.close();
    expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
    disk.isFull = true;
    expect(await app.acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
    disk.isFull = false;
    await app.removeAccount(account);
    await app.close();
    expect(await failure(app.acquireToken(SILENT))).toMatchObject({ code: "interaction_required" });
  });

  test("a sign-in that cannot be stored lasts for as long as the app", async () => {
    const { disk, cache } = worn(), app = appOf({ cache, openBrowser: browsingPerson().openBrowser });
    disk.isFull = true;
    await app.acquireToken({ scopes: SCOPES });
    expect(await app.getAccounts()).toMatchObject([{ username: "jane@contoso.com" }]);
    expect(await app.acquireToken(SILENT)).toMatchObject({ source: "cache" });
    disk.isFull = false;
    await app.close();
    expect(await appOf().acquireToken(SILENT)).toMatchObject({ source: "cache" });
  });
});

// A store that knew beforehand that it could not be written had the refresh token spent even so.
describe("a store that cannot be written", () => {
  const alone: CacheStore["withLock"] = () =>
    Promise.reject(
      new LatchkeyError("configuration", "Cannot write: the disk is full", { error: "cache_not_writable" }),
    );

  test("leaves the refresh token unspent, and the caller with the error", async () => {
    await signIn();
    const { grants } = stage.provider, before = grants.length;
    const error = await failure(appOf({ cache: storeWith({ withLock: alone }) }).acquireToken(FORCED));
    expect(error).toMatchObject({ code: "configuration", error: "cache_not_writable" });
    expect(grants.length).toBe(before);
  });

  test("leaves the caller with the token at hand while that is good", async () => {
    const { accessToken, expiresOn } = await signIn();
    const { logger, lines } = logLine(), now = () => expiresOn.getTime() - 20_000;
    const app = appOf({ cache: storeWith({ withLock: alone }), logger, now });
    expect(await app.acquireToken(SILENT)).toMatchObject({ source: "cache", accessToken });
    expect(lines.join("\n")).toContain("warn The token could not be renewed (configuration)");
    const ended = appOf({ cache: storeWith({ withLock: alone }), now: () => expiresOn.getTime() });
    expect(await failure(ended.acquireToken(SILENT))).toMatchObject({ error: "cache_not_writable" });
  });

  test("does not keep a refresh token of Microsoft's from being used, which is good for longer", async () => {
    await using entra = await FakeEntra.start();
    const { logger, lines } = logLine();
    const options = { ...AT_MICROSOFT, fetch: entra.fetch, openBrowser: entraPerson(entra).openBrowser };
    await signIn(options);
    const app = appOf({ ...options, cache: storeWith({ withLock: alone }), logger });
    expect(await app.acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
    expect(lines.join("\n")).toContain("warn A token is renewed, but cannot be stored: Cannot write: the disk is full");
  });

  test("has a refresh token spent that is held in memory only", async () => {
    await signIn();
    let isFull = false;
    const full = () => Promise.reject(new LatchkeyError("configuration", "The disk is full"));
    const cache = storeWith({
      update: (...args) => isFull ? full() : store.update(...args),
      withLock: (id, work, call) => isFull ? alone(id, work, call) : work(),
    });
    const app = appOf({ cache });
    const held = stage.provider.holdAnswer(), first = app.acquireToken(FORCED);
    await held.ready;
    isFull = true;
    held.release();
    await first;
    expect(await app.acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
  });
});

// Whoever lost its lock by standing still was refused, and asked the person, although another had renewed meanwhile.
describe("a refresh token that was refused", () => {
  test("is followed by the one that another process has stored meanwhile", async () => {
    await using entra = await FakeEntra.start();
    const options = {
      ...AT_MICROSOFT,
      openBrowser: entraPerson(entra).openBrowser,
      fetch: entra.fetch,
    };
    const { expiresOn } = await signIn(options);
    const now = () => expiresOn.getTime() + HOUR_MS;
    const refusal = { error: "invalid_grant", number: 70000, text: "The refresh token was spent." };
    const overtaken = (): typeof entra.fetch => {
      let isFirst = true;
      return async (url, init) => {
        if (isFirst) {
          isFirst = false;
          await appOf({ ...options, now }).acquireToken(FORCED);
          entra.behaviour.answers = [refusal];
        }
        return await entra.fetch(url, init);
      };
    };
    expect(await appOf({ ...options, now, fetch: overtaken() }).acquireToken(SILENT)).toMatchObject({
      source: "cache",
    });
    expect(await appOf({ ...options, now, fetch: overtaken() }).acquireToken(FORCED)).toMatchObject({
      source: "identity_provider",
    });
    entra.behaviour.answers = [refusal];
    expect(await failure(appOf({ ...options, now }).acquireToken(FORCED))).toMatchObject({ error: "invalid_grant" });
  });
});

// Hydra leaves out what the user has not granted instead of refusing: a token without the scope was printed, and each call spent
// a refresh token.
describe("a renewal that grants less than was requested", () => {
  const WRITE = { scopes: ["api.write"], interactive: "never" } as const;

  /** Sends a refresh without a scope, as if the server ignored it. */
  const hydra = async (url: string, init: RequestInit): Promise<Response> => {
    const parameters = new URLSearchParams(String(init.body ?? ""));
    if (parameters.get("grant_type") !== "refresh_token") return await fetch(url, init);
    parameters.set("scope", parameters.get("scope")!.replace("api.write ", ""));
    return await fetch(url, { ...init, body: parameters });
  };

  test("needs a sign-in that names the scope, and spends one refresh token", async () => {
    await signIn();
    const { grants } = stage.provider;
    const missing = {
      code: "interaction_required",
      message: expect.stringMatching(/^The identity provider has not granted api\.write(\. It granted .+)?$/),
      hint: expect.stringMatching(/acquireTokenInteractive with these scopes$/),
    };
    const before = grants.length;
    for (let call = 1; call <= 3; call++) {
      expect(await failure(appOf({ fetch: hydra }).acquireToken(WRITE))).toMatchObject(missing);
    }
    expect(grants.length).toBe(before + 1);
    expect(await failure(appOf({ fetch: hydra }).acquireToken({ ...WRITE, forceRefresh: true }))).toMatchObject(
      missing,
    );
    expect(grants.length).toBe(before + 2);
    expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" }); // the sign-in is there
    expect(await failure(appOf({ fetch: hydra }).acquireToken(WRITE))).toMatchObject(missing);
    expect(grants.length).toBe(before + 3);

    const app = appOf({ openBrowser: browsingPerson().openBrowser });
    const both = { scopes: ["api.read", "api.write"] };
    expect((await app.acquireToken(both)).scopes).toContain("api.write");
    expect(await appOf().acquireToken(WRITE)).toMatchObject({ source: "cache" });
    expect(await appOf().acquireToken({ ...WRITE, forceRefresh: true })).toMatchObject({ source: "identity_provider" });
  });

  test("is enough with a resource, if one scope was granted", async () => {
    const request = { scopes: ["api.read", "api.none"], resource: "https://mcp.contoso.com/" };
    const app = appOf({ openBrowser: browsingPerson().openBrowser }), { grants } = stage.provider;
    expect((await app.acquireToken(request)).scopes).not.toContain("api.none");
    const before = grants.length;
    expect(await appOf().acquireToken({ ...request, interactive: "never" })).toMatchObject({ source: "cache" });
    expect(grants.length).toBe(before);
    const none = { ...request, scopes: ["api.none"], interactive: "never" } as const;
    expect(await failure(appOf().acquireToken(none))).toMatchObject({ code: "interaction_required" });
    expect(grants.length).toBe(before);
  });
});

// Keycloak leaves out a scope that it grants if "Include in token scope" is off. Each sign-in was thrown away, with no way out.
test("a sign-in that grants less than was requested is stored, and its token refused", async () => {
  const app = appOf({ openBrowser: browsingPerson().openBrowser });
  expect(await failure(app.acquireToken({ scopes: ["api.read", "api.none"] }))).toMatchObject({
    code: "interaction_required",
    message: "The identity provider has not granted api.none. It granted api.read, openid, profile, offline_access",
    hint: expect.stringMatching(
      /^Consent .*Keycloak .*"Include in token scope".* without these scopes .*acquireTokenInteractive with these scopes$/,
    ),
  });
  expect(await app.getAccounts()).toHaveLength(1);
  expect(await appOf().acquireToken(SILENT)).toMatchObject({ source: "cache" });
  expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
});

// Dex keeps one refresh token for each user and app. A sign-in on a second machine ended that of the first one, which was told
// "invalid_request", exit 1, though a sign-in was all that it needed.
test("a refresh token that Dex refuses is followed by a sign-in", async () => {
  await signIn();
  const dex = async (url: string, init: RequestInit) => {
    const isRefresh = new URLSearchParams(String(init.body ?? "")).get("grant_type") === "refresh_token";
    if (!isRefresh) return await fetch(url, init);
    const error_description = "Refresh token is invalid or has already been claimed by another client.";
    return Response.json({ error: "invalid_request", error_description }, { status: 400 });
  };
  expect(await failure(appOf({ fetch: dex }).acquireToken(FORCED))).toMatchObject({
    ...{ code: "interaction_required", error: "invalid_request" },
    hint: expect.stringMatching(/Dex.*\. Sign in again: acquireTokenInteractive$/),
  });
  const app = appOf({ fetch: dex, openBrowser: browsingPerson().openBrowser });
  expect(await app.acquireToken({ scopes: SCOPES, forceRefresh: true })).toMatchObject({ source: "identity_provider" });
});

// A token that was good for 20 s more was given only once the provider had been waited for, for a minute.
test("a token that is still good is given after 5 seconds of waiting, and the renewal is finished", async () => {
  const { accessToken, expiresOn } = await signIn();
  const held = stage.provider.holdAnswer(), now = () => expiresOn.getTime() - 20_000, app = appOf({ now });
  expect(await app.acquireToken(SILENT)).toMatchObject({ source: "cache", accessToken });
  const closing = app.close();
  held.release();
  await closing;
  const next = await appOf({ now }).acquireToken(SILENT);
  expect(next.source).toBe("cache");
  expect(next.accessToken).not.toBe(accessToken);
});

// The token was printed after 5 s, and the program ended after 30 s, when the token was over: whoever started it had to wait.
describe("an unfinished renewal keeps a program", () => {
  test.each([[20_000, 15_000], [7_000, 2_000], [4_000, 0], [100_000, 30_000], [-1, 30_000]])(
    "whose token has %d ms left for %d ms, if refresh tokens are good once",
    async (leftMs, holdMs) => {
      const { expiresOn } = await signIn(), end = Math.floor(expiresOn.getTime() / 1000) * 1000; // as it is cached
      const held = stage.provider.holdAnswer(), app = appOf({ now: () => end - leftMs });
      const call = app.acquireToken({ ...SILENT, forceRefresh: leftMs === 7_000 });
      await held.ready;
      expect(renewalsInFlight.holdMs).toBe(holdMs);
      held.release();
      await call;
      expect(renewalsInFlight.holdMs).toBe(0);
    },
  );

  test("for 2 s, if the refresh token may be used again", async () => {
    await using entra = await FakeEntra.start();
    const sent = Promise.withResolvers<void>(), released = Promise.withResolvers<void>();
    const options = {
      ...AT_MICROSOFT,
      openBrowser: entraPerson(entra).openBrowser,
    };
    const { expiresOn } = await signIn({ ...options, fetch: entra.fetch });
    const slow: typeof entra.fetch = async (url, init) => {
      sent.resolve();
      await released.promise;
      return await entra.fetch(url, init);
    };
    const app = appOf({ ...options, fetch: slow, now: () => expiresOn.getTime() - 20_000 });
    const call = app.acquireToken(SILENT);
    await sent.promise;
    expect(renewalsInFlight.holdMs).toBe(2_000);
    released.resolve();
    await call;
  });
});

// The id token was taken for one that had ended, and the new refresh token was thrown away with it.
test.each([["ahead", 24], ["behind", -24]])("a renewal with a clock that is a day %s is stored", async (_, hours) => {
  await signIn();
  const app = appOf({ now: () => Date.now() + hours * HOUR_MS });
  expect(await app.acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
  expect(await appOf().acquireToken(FORCED)).toMatchObject({ source: "identity_provider" });
});

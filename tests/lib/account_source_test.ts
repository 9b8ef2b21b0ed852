// Who renews an account's tokens, where both the broker (a fake) and the identity provider (a fake of Entra) could.
import { beforeEach, describe, expect } from "bun:test";
import {
  type AccountInfo,
  type CacheStore,
  CONSOLE_WINDOW_HANDLE,
  type InteractiveRequest,
  memoryStore,
  type PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import { entraPerson } from "../fakes/entra_person.ts";
import { JANE, TENANT } from "../fakes/fake_entra.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { BROKER } from "../fakes/tested_broker.ts";
import { failure, JOE, useEntra, useStage } from "../fixture.ts";
import type { BrowsingPerson } from "../tools/browsing_person.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
/** The person who signs in at the fake of Entra, as the broker knows her. */
const SAME_JANE = { username: "jane@contoso.com", oid: JANE, tid: TENANT };
const HOUR_MS = 60 * 60_000;

const stage = useStage({ broker: {} }), { makeApp, behave, steps } = stage;
const entra = useEntra();
let store: CacheStore, browser: BrowsingPerson;

beforeEach(() => {
  store = memoryStore();
  browser = entraPerson(entra);
});

/** An app that could do either. */
function appOf(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return makeApp({ cache: store, fetch: entra.fetch, openBrowser: browser.openBrowser, ...options });
}

/** Jane's account, signed in in the browser by a run of the app without a broker. */
async function signedInWithoutBroker() {
  const { account } = await appOf({ enableBrokerOnLinux: false }).acquireToken({ scopes: SCOPES });
  entra.requests.length = 0;
  return account;
}

const grants = () => entra.requests.map(({ parameters }) => parameters.get("grant_type"));

describe("an account that signed in without the broker", () => {
  test("stays with the cache while a broker is active, and is renewed without it", async () => {
    await behave({ accounts: [SAME_JANE, JOE] });
    const account = await signedInWithoutBroker(), app = appOf();
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    const later = appOf({ now: () => Date.now() + HOUR_MS });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: true }))
      .toMatchObject({ source: "identity_provider" });
    expect(await later.acquireToken({ scopes: SCOPES, account, forceRefresh: true, interactive: "never" }))
      .toMatchObject({ source: "identity_provider" });
    expect(grants()).toEqual(["refresh_token", "refresh_token"]);
    expect(await steps()).toEqual([]);
  });

  test("is not handed to the broker when its refresh token is refused", async () => {
    await behave({ accounts: [SAME_JANE] });
    const account = await signedInWithoutBroker(), app = appOf();
    entra.behaviour.answers = [{ error: "invalid_grant", number: 50173, text: "The grant was revoked." }];
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: true })).toBe(null);
    expect(await steps()).toEqual([]);
  });

  test("is the broker's once it signed in there, so that no second window opens", async () => {
    await behave({ accounts: [SAME_JANE] });
    const account = await signedInWithoutBroker(), app = appOf();
    entra.behaviour.answers = Array.from({ length: 5 }, () => (
      { error: "invalid_grant", number: 50173, text: "The grant was revoked." }
    ));
    for (let round = 0; round < 3; round++) {
      await app.acquireToken({ scopes: SCOPES, account, forceRefresh: round === 0 });
    }
    expect((await steps()).filter((step) => step === "window")).toHaveLength(1);
  });

  test("that signed out is given to nobody by another object with the same cache", async () => {
    await behave({ accounts: [SAME_JANE] });
    const account = await signedInWithoutBroker(), ofBroker = (await appOf().getAccounts())[0]!;
    await appOf().removeAccount(account);
    const app = appOf();
    expect(await app.getAccounts()).toEqual([]);
    for (const one of [account, ofBroker]) {
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account: one })).toBe(null);
    }
    expect((await failure(app.acquireToken({ scopes: SCOPES, interactive: "never" }))).code).toBe(
      "interaction_required",
    );
    await app.acquireToken({ scopes: SCOPES, username: account.username, interactive: "always" });
    expect((await appOf().getAccounts()).map(({ source }) => source)).toEqual(["broker"]);
  });

  test("is one entry with the broker's, and the broker's by it", async () => {
    await behave({ accounts: [SAME_JANE, JOE] });
    const account = await signedInWithoutBroker(), app = appOf();
    const accounts = await app.getAccounts();
    expect(accounts.map(({ username, source }) => [username, source]))
      .toEqual([["jane@contoso.com", "broker"], ["joe@contoso.com", "broker"]]);
    expect(accounts[0]!.homeAccountId).toBe(account.homeAccountId);
    const result = await app.acquireTokenSilent({ scopes: SCOPES, account: accounts[0]! });
    expect(result!.source).toBe("broker");
    expect(grants()).toEqual([]);
  });

  test("is listed beside the broker's that it does not know", async () => {
    await behave({ accounts: [JOE] });
    await signedInWithoutBroker();
    expect((await appOf().getAccounts()).map(({ username, source }) => [username, source]))
      .toEqual([["joe@contoso.com", "broker"], ["jane@contoso.com", "cache"]]);
    expect(await appOf().getAccounts({ username: "JANE@contoso.com" })).toHaveLength(1);
  });

  test("is none where the broker is required", async () => {
    await behave({ accounts: [JOE] });
    const account = await signedInWithoutBroker(), app = appOf({ requireBroker: true });
    expect((await app.getAccounts()).map(({ username }) => username)).toEqual(["joe@contoso.com"]);
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toBe(null);
    expect(grants()).toEqual([]);
  });
});

describe("an account of unknown origin", () => {
  /** As an older MSAL left it. */
  async function ofUnknownOrigin() {
    const account = await signedInWithoutBroker();
    await store.update(account.homeAccountId, (json) => json!.replaceAll(/,?"account_source":"[^"]*"/g, ""));
    return account;
  }

  test("is the broker's, where the broker knows it", async () => {
    await behave({ accounts: [SAME_JANE] });
    const account = await ofUnknownOrigin();
    expect(await appOf().acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "broker" });
    expect(grants()).toEqual([]);
  });

  test("goes on to the cache and the refresh token after the broker's refusal", async () => {
    await behave({ accounts: [SAME_JANE], replies: { acquireTokenSilently: { kind: "broker_error", status: 13 } } });
    const account = await ofUnknownOrigin(), app = appOf();
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: true }))
      .toMatchObject({ source: "identity_provider" });
    expect(grants()).toEqual(["refresh_token"]);
    expect(await steps()).toEqual(Array(2).fill("silently jane@contoso.com"));
  });

  test("has the broker's refusal, when the refresh token is refused, too", async () => {
    await behave({
      accounts: [SAME_JANE],
      replies: { acquireTokenSilently: { kind: "broker_error", status: 6, context: "No." } },
    });
    const account = await ofUnknownOrigin(), request = { scopes: SCOPES, account, forceRefresh: true };
    entra.behaviour.answers = [{ error: "invalid_grant", number: 50173, text: "The grant was revoked." }];
    const error = await failure(appOf().acquireToken({ ...request, interactive: "never" }));
    expect(error).toMatchObject({ code: "refused", broker: { status: 6 } });
  });

  test("has the network's failure, when that is what stands in the way", async () => {
    await behave({ accounts: [SAME_JANE], replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
    const account = await ofUnknownOrigin(), request = { scopes: SCOPES, account, forceRefresh: true };
    const fetch = () => Promise.reject(new TypeError("unreachable"));
    expect((await failure(appOf({ fetch }).acquireTokenSilent(request))).code).toBe("no_network");
  });
});

/** A store that notes what is read of it. */
function noting(store: CacheStore) {
  const reads: string[] = [];
  const cache: CacheStore = {
    ...store,
    readAccounts(call) {
      reads.push("accounts");
      return store.readAccounts(call);
    },
    read(id, call) {
      reads.push("one");
      return store.read(id, call);
    },
  };
  return { cache, taken: () => reads.splice(0) };
}

// Whether an account has signed out was read before and after each of the broker's replies, and who renews it before.
describe("the store is read", () => {
  test.each(["an empty", "another account's"])(
    "before and after a silent token of the broker: %s store",
    async (kind) => {
      await behave({ accounts: [SAME_JANE] });
      if (kind !== "an empty") {
        const { homeAccountId } = await signedInWithoutBroker();
        const jack = [["jane@contoso.com", "jack@contoso.com"], [
          JANE,
          "44444444-4444-4444-8444-444444444444",
        ]] as const;
        await store.update(
          homeAccountId,
          (json) => jack.reduce((text, [one, other]) => text?.replaceAll(one, other), json),
        );
      }
      const { cache, taken } = noting(store);
      const app = appOf({ cache });
      const { account } = await app.acquireToken({ scopes: ["A"], interactive: "never" });
      expect(taken()).toEqual(["one", "one"]);
      await app.acquireTokenSilent({ scopes: ["B"], account });
      expect(taken()).toEqual(["one", "one"]);
      await app.acquireTokenSilent({ scopes: ["B"], account });
      expect(taken()).toEqual([]);
      await app.acquireToken({ scopes: ["C"], username: account.username, interactive: "never" });
      expect(taken()).toEqual(["accounts", "one", "one"]);
    },
  );

  test("once for a cached token, and twice under the lock of a renewal: before it looks for the provider, and after", async () => {
    const account = await signedInWithoutBroker();
    const { cache, taken } = noting(store);
    const app = appOf({ cache, enableBrokerOnLinux: false });
    await app.acquireTokenSilent({ scopes: SCOPES, account });
    expect(taken()).toEqual(["one"]);
    await app.acquireTokenSilent({ scopes: ["Mail.Read"], account });
    expect(taken()).toEqual(["one", "one", "one"]);
    expect(grants()).toEqual(["refresh_token"]);
  });
});

/** A store that another program signs `account` out of, right after the read with a number. */
function signingOut(account: AccountInfo, after: number): CacheStore {
  let count = 0;
  return {
    ...store,
    async read(id, call) {
      const document = await store.read(id, call);
      count++;
      if (count === after) await appOf({ enableBrokerOnLinux: false }).removeAccount(account);
      return document;
    },
  };
}

describe("an account that another program signs out", () => {
  // The store was not read after the broker's reply.
  test("during a silent call gets no token of the broker, then or later", async () => {
    await behave({ accounts: [SAME_JANE] });
    const [account] = await appOf().getAccounts();
    const app = appOf({ cache: signingOut(account!, 1) });
    const request = { scopes: SCOPES, account: account!, interactive: "never" } as const;
    expect(await failure(app.acquireToken(request))).toMatchObject({ code: "interaction_required" });
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
    expect(await failure(app.acquireToken(request))).toMatchObject({ code: "interaction_required" });
  });

  // Its refresh token was read before the provider was looked for, which can take long.
  test("during a renewal gets none with its refresh token", async () => {
    const account = await signedInWithoutBroker();
    const app = appOf({ cache: signingOut(account, 2), enableBrokerOnLinux: false });
    const request = { scopes: ["Mail.Read"], account, interactive: "never" } as const;
    expect(await failure(app.acquireToken(request))).toMatchObject({ code: "interaction_required" });
    expect(grants()).toEqual([]);
  });
});

// Each sign-in was written once the cache was loaded: later, without the broker, there were several accounts to choose from.
test("an account that signs in with the broker, and that the cache does not know, is not stored", async () => {
  const jane = await signedInWithoutBroker();
  const joe = { username: "joe@contoso.com" };
  await behave({ accounts: [joe], defaultAccount: joe.username });
  const app = appOf();
  await app.getAccounts();
  await app.acquireToken({ ...joe, scopes: SCOPES, interactive: "always" });
  const accounts = await appOf({ enableBrokerOnLinux: false }).getAccounts();
  expect(accounts.map(({ username }) => username)).toEqual([jane.username]);
});

describe("where a broker is wanted", () => {
  test("and cannot be started, the browser takes over, and the status says why", async () => {
    await stage.broker.kill();
    const app = appOf({ timeLimits: { pingMs: 1_000 } }), uis: string[] = [];
    const result = await app.acquireTokenInteractive({
      ...{ scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE },
      onBeforeLaunchingUi: ({ ui }) => uis.push(ui),
    });
    expect(result).toMatchObject({ source: "identity_provider", account: { username: "jane@contoso.com" } });
    expect(uis).toEqual(["browser"]);
    expect(await app.brokerStatus()).toMatchObject({ state: "unavailable", reason: expect.any(String) });
    const required = appOf({ requireBroker: true, timeLimits: { pingMs: 1_000 } });
    expect((await failure(required.acquireToken({ scopes: SCOPES }))).code).toBe("broker_unavailable");
    expect(browser.times()).toBe(1);
    await stage.broker.start();
  });

  // A program of Windows' does not tell that its broker knows a method not.
  if (BROKER !== "wsl") {
    test("and proves too old, the browser takes over", async () => {
      const reply = { kind: "dbus_error", name: "org.freedesktop.DBus.Error.UnknownMethod", message: "?" } as const;
      await behave({ replies: { getAccounts: reply, acquireTokenSilently: reply, acquireTokenInteractively: reply } });
      const app = appOf(), request: InteractiveRequest = { scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE };
      expect(await app.acquireTokenInteractive(request)).toMatchObject({ source: "identity_provider" });
      expect((await app.getAccounts()).map(({ source }) => source)).toEqual(["cache"]);
      const required = appOf({ requireBroker: true });
      expect((await failure(required.acquireTokenInteractive(request))).code).toBe("broker_unavailable");
      expect(browser.times()).toBe(1);
    });
  }

  test("no browser opens for what the broker refused", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "broker_error", status: 7 } } });
    const request = { scopes: SCOPES, interactive: "always" } as const;
    expect((await failure(appOf().acquireToken(request))).code).toBe("user_canceled");
    expect(browser.times()).toBe(0);
  });

  test("an authority that no broker serves has the browser, and needs no window", async () => {
    const issuer = "https://sts.contoso.com/adfs", uis: string[] = [];
    entra.behaviour.idToken = { iss: issuer, oid: undefined, tid: undefined, upn: "jane@contoso.com" };
    entra.behaviour.reply = { client_info: undefined };
    const app = appOf({ authority: issuer });
    const { account } = await app.acquireTokenInteractive({
      scopes: SCOPES,
      onBeforeLaunchingUi: ({ ui }) => uis.push(ui),
    });
    expect(account).toMatchObject({ homeAccountId: "pairwise", environment: "sts.contoso.com" });
    expect(uis).toEqual(["browser"]);
    expect(await steps()).toEqual([]);
  });

  test("a device code signs in without it", async () => {
    await behave({ accounts: [SAME_JANE] });
    const { account } = await appOf({ fetch: impatient }).acquireTokenByDeviceCode({
      scopes: SCOPES,
      onUserCode: ({ userCode }) => entra.approve(userCode),
    });
    expect(await appOf().acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    expect(await steps()).toEqual([]);
  });

  /** Entra as one that may be asked at once. */
  async function impatient(url: string, init: RequestInit): Promise<Response> {
    const response = await entra.fetch(url, init);
    return url.endsWith("/devicecode") ? Response.json({ ...await response.json(), interval: 0.001 }) : response;
  }
});

// An account that the app forgets, and the broker only when it is told to.
import { describe, expect } from "bun:test";
import { type CacheStore, CONSOLE_WINDOW_HANDLE, LatchkeyError, type PublicClientApplication } from "../../mod.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { SENDERS } from "../fakes/tested_broker.ts";
import { CLIENT_ID, failure, JANE, JOE, useStage } from "../fixture.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
const stage = useStage({ broker: {} }), { makeApp, behave, called, steps } = stage;

const signIn = (app: PublicClientApplication, more = {}) =>
  app.acquireTokenInteractive({ scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE, ...more });
const usernames = async (app: PublicClientApplication) => (await app.getAccounts()).map(({ username }) => username);

for (const sender of SENDERS) {
  describe(`removeAccount() with ${sender}`, () => {
    test("forgets the account until it signs in again, and leaves the broker alone", async () => {
      await behave({ sender });
      const app = makeApp(), [account] = await app.getAccounts();
      await app.acquireTokenSilent({ scopes: SCOPES, account: account! });
      await app.removeAccount(account!);
      await stage.broker.forgetCalls();
      expect(await app.getAccounts()).toEqual([]);
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBeNull();
      expect(await failure(app.acquireToken({ scopes: SCOPES, interactive: "never" }))).toMatchObject({
        code: "interaction_required",
        message: "The account has signed out of this app",
      });
      expect(await steps()).toEqual([]);
      expect((await signIn(app)).account.username).toBe("jane@contoso.com");
      expect(await steps()).toEqual(["window"]);
      expect(await usernames(app)).toEqual(["jane@contoso.com"]);
      expect((await app.acquireTokenSilent({ scopes: SCOPES, account: account! }))!.source).toBe("cache");
      expect(await stage.broker.calls("removeAccount")).toEqual([]);
    });

    test("takes the account from the broker when that is wanted", async () => {
      await behave({ sender, accounts: [JANE, JOE] });
      const app = makeApp(), [jane] = await app.getAccounts();
      const removal = app.removeAccount(jane!, { fromBroker: true });
      if (sender.startsWith("himmelblau")) {
        const { code, broker, hint } = await failure(removal);
        expect(hint).toMatch(
          /^Go without it: himmelblau.*\. The account is signed out of this app anyway$/,
        );
        // The first releases do not know the method, later ones answer "Not implemented".
        expect([code, broker?.status]).toEqual(
          sender === "himmelblau-0.1" ? ["refused", undefined] : ["unexpected", 0],
        );
        expect(await usernames(makeApp())).toEqual(["jane@contoso.com", "joe@contoso.com"]);
      } else {
        expect(await removal).toBeUndefined();
        const account = { ...JANE, clientInfo: expect.any(String), familyName: expect.any(String) };
        expect((await called("removeAccount")).map(({ request }) => request)).toEqual([
          { clientId: CLIENT_ID, account: expect.objectContaining(account) },
        ]);
        expect(await usernames(makeApp())).toEqual(["joe@contoso.com"]);
      }
      expect(await usernames(app)).toEqual(["joe@contoso.com"]); // it is forgotten even so
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account: jane! })).toBeNull();
      expect(await stage.broker.calls("signOutSilently")).toEqual([]);
    });
  });
}

describe("removeAccount()", () => {
  test("forgets one account, and for one app", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane, joe] = await app.getAccounts();
    await app.removeAccount(jane!);
    expect((await app.acquireTokenSilent({ scopes: SCOPES, account: joe! }))!.account.username).toBe("joe@contoso.com");
    expect(await usernames(app)).toEqual(["joe@contoso.com"]);
    expect(await usernames(makeApp())).toEqual(["jane@contoso.com", "joe@contoso.com"]);
    const { code } = await failure(app.acquireToken({ scopes: SCOPES, username: JANE.username, interactive: "never" }));
    expect(code).toBe("interaction_required");
  });

  test("leaves the account where the broker's own are asked for", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane] = await app.getAccounts();
    await app.removeAccount(jane!);
    const all = await app.getAccounts({ includeSignedOut: true });
    expect(all.map(({ username }) => username)).toEqual(["jane@contoso.com", "joe@contoso.com"]);
    expect(await app.getAccounts({ includeSignedOut: true, username: "JANE@contoso.com" })).toEqual([jane!]);
    await app.removeAccount(all[0]!, { fromBroker: true });
    expect((await called("removeAccount"))[0]!.request.account.username).toBe("jane@contoso.com");
  });

  test("does not let the account of the device come back by itself", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane] = await app.getAccounts();
    await app.removeAccount(jane!);
    expect((await failure(signIn(app, { prompt: "none" }))).code).toBe("interaction_required");
    expect((await signIn(app)).account.username).toBe("jane@contoso.com");
    expect((await steps()).at(-1)).toBe("window");
  });

  test("lets no token come that was under way", async () => {
    const [account] = await makeApp().getAccounts();
    const app = makeApp({
      // The broker has answered, and the answer is yet to be looked at.
      logger: (_, message) => void (/^acquireTokenSilently was/.test(message) && app.removeAccount(account!)),
    });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBeNull();
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBeNull();
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
  });

  test("lets nothing else be done silently for the account", async () => {
    const app = makeApp(), account = (await app.getAccounts())[0]!, url = "https://login.microsoftonline.com/";
    await app.removeAccount(account);
    const calls = [app.acquireSsoCookies({ account, url }), app.signHttpRequest({ account, method: "GET", url })];
    for (const call of calls) expect((await failure(call)).code).toBe("interaction_required");
    expect(await stage.broker.calls("acquirePrtSsoCookie")).toEqual([]);
    expect(await stage.broker.calls("generateSignedHttpRequest")).toEqual([]);
  });

  test("lets an account sign in again by its own name", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane] = await app.getAccounts();
    await app.removeAccount(jane!);
    const token = await app.acquireToken({ scopes: SCOPES, account: jane! });
    expect(token.account.homeAccountId).toBe(jane!.homeAccountId);
    expect(await steps()).toEqual(["window"]);
    expect(await usernames(app)).toEqual(["jane@contoso.com", "joe@contoso.com"]);
  });

  test("reaches the broker though the cache cannot be written, and tells of both", async () => {
    await behave({ accounts: [JANE, JOE] });
    const full = new LatchkeyError("configuration", "Cannot write the cache: the disk is full", {
      remedy: "Free some",
    });
    const cache: CacheStore = {
      ...{ read: () => Promise.resolve(undefined), readAccounts: () => Promise.resolve([]) },
      update: () => Promise.reject(full),
      withLock: (_, work) => work(),
    };
    const app = makeApp({ cache }), [jane, joe] = await app.getAccounts();
    expect(await failure(app.removeAccount(jane!))).toMatchObject({ code: "configuration", hint: "Free some" });
    expect(await failure(app.removeAccount(jane!, { fromBroker: true }))).toMatchObject({
      ...{ code: "configuration", message: full.message },
      hint: "Free some. The broker has forgotten the account anyway",
    });
    expect(await stage.broker.calls("removeAccount")).toHaveLength(1);
    await behave({ accounts: [JOE], replies: { removeAccount: { kind: "broker_error", status: 5, context: "busy" } } });
    const error = await failure(app.removeAccount(joe!, { fromBroker: true }));
    expect(error).toMatchObject({ code: "temporarily_unavailable", broker: { status: 5 } });
    expect(error.errorDescription).toMatch(/busy\. The app cannot forget the account: Cannot write the cache/);
    expect(error.hint).toMatch(/Free some$/);
    expect(await usernames(app)).toEqual([]); // as long as the object lives
  });

  test("needs a broker to take an account from it, and an account", async () => {
    const [account] = await makeApp().getAccounts(), without = makeApp({ enableBrokerOnLinux: false });
    expect(await without.removeAccount(account!)).toBeUndefined();
    const { code } = await failure(without.removeAccount(account!, { fromBroker: true }));
    expect(code).toBe("broker_unavailable");
    for (const nobody of [undefined, null, {}]) {
      expect(await makeApp().removeAccount(nobody as never).catch((error) => error)).toBeInstanceOf(TypeError);
    }
  });
});

// Sign-in in the browser, through the application, with a real OpenID provider and our real loopback listener.
import { afterEach, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { redirectPath } from "../../lib/redirect_uris.ts";
import { memoryStore } from "../../lib/cache/store.ts";
import { LatchkeyError, type PublicClientApplication, type PublicClientApplicationOptions } from "../../mod.ts";
import { type BrowsingPerson, browsingPerson } from "../tools/browsing_person.ts";
import { expectNoSecret, failure, rejection, useStage } from "../fixture.ts";
import { isRedirectOf, ScriptedBrowser } from "../tools/scripted_browser.ts";

const SCOPES = ["api.read"];
const MINUTE_MS = 60_000;
/** Where the browser ends. */
const DONE = /^\/done\/[0-9a-f-]{36}$/;
/** Sign-ins that nobody ends are given up after this. */
const SHORT_MS = 50;

const stage = useStage({ provider: true });
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function makeApp(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return stage.makeApp({ openBrowser: noBrowser, ...options });
}

function noBrowser(): never {
  throw new Error("No browser was to be opened");
}

/** An app, and the person who signs in to it. */
function appOf(jane: BrowsingPerson, options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  return makeApp({ openBrowser: jane.openBrowser, ...options });
}

/** The provider as one that posts no forms. */
const withoutForms = async (url: string, init: RequestInit): Promise<Response> => {
  const response = await fetch(url, init);
  if (!url.includes("/.well-known/")) return response;
  return Response.json({ ...await response.json(), response_modes_supported: ["query"] });
};

/** Requests that are sent, by their paths. */
function countingFetch(): { readonly fetch: typeof withoutForms; readonly paths: string[] } {
  const paths: string[] = [];
  return {
    paths,
    fetch: async (url, init) => {
      paths.push(new URL(url).pathname);
      return await fetch(url, init);
    },
  };
}

/** A port that is free, or is said why not. */
async function listen(port: number): Promise<number> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen({ port, host: "127.0.0.1" }, resolve);
  });
  return (server.address() as { port: number }).port;
}

async function freePort(): Promise<number> {
  const port = await listen(0);
  await new Promise((resolve) => servers.pop()!.close(resolve));
  return port;
}

const portOf = (address: URL | string): number =>
  Number(new URL(new URL(address).searchParams.get("redirect_uri")!).port);

describe("acquireTokenInteractive() without a broker", () => {
  test("signs in by a form that is posted; the browser ends at a clean address", async () => {
    const jane = browsingPerson(), app = appOf(jane);
    const result = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(result).toMatchObject({ source: "identity_provider", account: { username: "jane@contoso.com" } });
    const { address, landing, status, location, page, pageStatus } = await jane.visit();
    expect(address.searchParams.get("response_mode")).toBe("form_post");
    expect([landing.method, status, location, pageStatus]).toEqual(["POST", 303, expect.stringMatching(DONE), 200]);
    expect(page).toContain("jane@contoso.com");
    for (const name of ["code", "state"]) expect(page).not.toContain(landing.parameters.get(name)!);
  });

  test("signs in by the query where the provider posts no forms", async () => {
    const jane = browsingPerson(), app = appOf(jane, { fetch: withoutForms });
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(account.username).toBe("jane@contoso.com");
    const { landing, status, location, page } = await jane.visit();
    expect([landing.method, status, location]).toEqual(["GET", 303, expect.stringMatching(DONE)]);
    expect(page).not.toContain(landing.parameters.get("code")!);
  });

  test("asks with PKCE, state, nonce, and what the caller passes through", async () => {
    const jane = browsingPerson(), app = appOf(jane);
    await app.acquireTokenInteractive({
      scopes: SCOPES,
      ...{ loginHint: "jane@contoso.com", domainHint: "contoso.com", prompt: "login", maxAge: 3600 },
      ...{ claims: '{"id_token":{"name":null}}', extraScopesToConsent: ["api.write"] },
      extraQueryParameters: { ui_locales: "de" },
    });
    const { address } = await jane.visit(), parameters = Object.fromEntries(address.searchParams);
    expect(parameters).toMatchObject({
      ...{ response_type: "code", code_challenge_method: "S256", login_hint: "jane@contoso.com" },
      ...{ domain_hint: "contoso.com", prompt: "login", max_age: "3600", ui_locales: "de" },
      ...{ scope: "api.read api.write openid profile offline_access", claims: '{"id_token":{"name":null}}' },
    });
    for (const name of ["state", "nonce", "code_challenge"]) expect(parameters[name]).toMatch(/^[\w-]{43}$/);
  });

  test("loads the provider's metadata once, and sends two requests for the first sign-in", async () => {
    const { fetch, paths } = countingFetch(), jane = browsingPerson(), app = appOf(jane, { fetch });
    await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(paths).toEqual(["/.well-known/openid-configuration", "/token"]);
    await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(paths.slice(2)).toEqual(["/token"]);
  });

  test("asks for the metadata once with its own way of sending requests, too", async () => {
    const jane = browsingPerson(), app = appOf(jane), real = globalThis.fetch, asked: string[] = [];
    globalThis.fetch = Object.assign(async (...[target, init]: Parameters<typeof real>) => {
      asked.push(new URL(target instanceof Request ? target.url : target).pathname);
      return await real(target, init);
    }, real);
    try {
      for (let time = 0; time < 2; time++) await app.acquireTokenInteractive({ scopes: SCOPES });
      expect(asked.filter((path) => path.includes("/.well-known/"))).toHaveLength(1);
    } finally {
      globalThis.fetch = real;
    }
  });

  test("takes the port that it is given, and fails at once when another program has it", async () => {
    const port = await freePort(), jane = browsingPerson(), app = appOf(jane);
    await app.acquireTokenInteractive({ scopes: SCOPES, port });
    expect(portOf((await jane.visit()).address)).toBe(port);
    await listen(port);
    const error = await failure(app.acquireTokenInteractive({ scopes: SCOPES, port }));
    expect(error).toMatchObject({ code: "configuration" });
    expect(error.message).toContain(`port ${port}`);
    expect(jane.times()).toBe(1);
  });

  test("says that the browser opens, just before it does, and which address it is", async () => {
    const events: unknown[] = [], jane = browsingPerson();
    const app = makeApp({
      openBrowser: (url) => events.push("opened") > 0 && jane.openBrowser(url),
      onSignInAddress: ({ url, opened }) => events.push({ url, opened }),
    });
    await app.acquireTokenInteractive({ scopes: SCOPES, onBeforeLaunchingUi: ({ ui }) => events.push(ui) });
    const url = (await jane.visit()).address.href;
    expect(events).toEqual(["browser", "opened", { url, opened: true }]);
  });

  test("says the address although the browser is back before whatever opened it is done", async () => {
    const addresses: string[] = [], jane = browsingPerson();
    const app = makeApp({
      openBrowser: async (url) => {
        jane.openBrowser(url);
        await jane.visit();
        return true;
      },
      onSignInAddress: ({ url }) => addresses.push(url),
    });
    await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(addresses).toEqual([(await jane.visit()).address.href]);
  });

  test("with the prompt none and nobody signed in, is refused by the provider, and the page says so", async () => {
    const jane = browsingPerson(), app = appOf(jane);
    const error = await failure(app.acquireTokenInteractive({ scopes: SCOPES, prompt: "none" }));
    expect(error).toMatchObject({ code: "interaction_required", error: "login_required" });
    const { page, pageStatus, status, location } = await jane.visit();
    expect([status, location, pageStatus]).toEqual([303, expect.stringMatching(DONE), 400]);
    expect(page).toContain("login_required");
    expect(page).not.toContain((await jane.visit()).landing.parameters.get("state")!);
  });

  test("shows the page of the app's own, told how the sign-in ended", async () => {
    const jane = browsingPerson(),
      app = appOf(jane, {
        resultPage: (outcome) => outcome.ok ? `<p>Welcome, ${outcome.username}` : `<p>No: ${outcome.error.code}`,
      });
    await app.acquireTokenInteractive({ scopes: SCOPES });
    expect((await jane.visit()).page).toBe("<p>Welcome, jane@contoso.com");
    await failure(app.acquireTokenInteractive({ scopes: SCOPES, prompt: "none", maxAge: 0 }));
    expect((await jane.visit()).page).toBe("<p>No: interaction_required");
  });

  test("an app's page that cannot be made changes nothing of how the sign-in ends: ours is shown", async () => {
    const jane = browsingPerson(),
      app = appOf(jane, {
        resultPage: () => {
          throw new RangeError("no such template");
        },
      });
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect((await jane.visit()).page).toContain(`You are signed in as <strong><bdi>${account.username}`);
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    const error = await failure(app.acquireTokenInteractive({ scopes: SCOPES, prompt: "none", maxAge: 0 }));
    expect(error).toMatchObject({ code: "interaction_required" });
    expect((await jane.visit()).page).toContain("Not signed in");
  });

  test("two accounts sign in, one after the other, and each has tokens of its own", async () => {
    const jane = browsingPerson(), joe = browsingPerson({ login: "joe" }), people = [jane, joe];
    const app = makeApp({ openBrowser: (url) => people.shift()!.openBrowser(url) });
    const first = await app.acquireTokenInteractive({ scopes: SCOPES });
    const second = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect((await app.getAccounts()).map(({ username }) => username).sort())
      .toEqual(["jane@contoso.com", "joe@contoso.com"]);
    expect(await app.getAccounts({ username: "JOE@contoso.com" })).toHaveLength(1);
    for (const { account, accessToken } of [first, second]) {
      const silent = await app.acquireTokenSilent({ scopes: SCOPES, account });
      expect(silent).toMatchObject({ accessToken, source: "cache" });
    }
    expect(await failure(app.acquireToken({ scopes: SCOPES, interactive: "never" })))
      .toMatchObject({ code: "interaction_required" });
  });

  test("parallel sign-ins do not meet: each has its own port, and its own answer", async () => {
    const jane = browsingPerson(), joe = browsingPerson({ login: "joe" });
    const apps = [jane, joe].map((person) => appOf(person));
    const results = await Promise.all(apps.map((app) => app.acquireTokenInteractive({ scopes: SCOPES })));
    expect(results.map(({ account }) => account.username)).toEqual(["jane@contoso.com", "joe@contoso.com"]);
  });
});

describe("acquireToken() without a broker", () => {
  test("signs in where there is no token, and opens no browser for the next", async () => {
    const jane = browsingPerson(), app = appOf(jane);
    const first = await app.acquireToken({ scopes: SCOPES });
    const second = await app.acquireToken({ scopes: SCOPES });
    expect(second).toMatchObject({ accessToken: first.accessToken, source: "cache", account: first.account });
    expect(jane.times()).toBe(1);
  });

  test("equal calls under way share the browser", async () => {
    const jane = browsingPerson(), app = appOf(jane);
    const results = await Promise.all([1, 2, 3].map(() => app.acquireToken({ scopes: SCOPES })));
    expect(new Set(results.map(({ accessToken }) => accessToken)).size).toBe(1);
    expect(jane.times()).toBe(1);
  });

  test("refuses somebody else than the account or user name that was asked for, and the page says so", async () => {
    const joe = browsingPerson({ login: "joe" }), store = memoryStore(), jane = browsingPerson();
    const { account } = await appOf(jane, { cache: store }).acquireToken({ scopes: SCOPES });
    const app = appOf(joe, { cache: store });
    const wanted = [{ account, interactive: "always" }, {
      username: "jane@contoso.com",
      interactive: "always",
    }] as const;
    for (const who of wanted) {
      const error = await failure(app.acquireToken({ scopes: SCOPES, ...who }));
      expect(error).toMatchObject({ code: "interaction_required" });
      expect((await joe.visit()).address.searchParams.get("login_hint")).toBe("jane@contoso.com");
      expect((await joe.visit()).page).toContain("Not signed in");
    }
    expect(await app.getAccounts()).toEqual([account]);
  });

  test("with interactive never, tells what is missing and opens nothing", async () => {
    const error = await failure(makeApp().acquireToken({ scopes: SCOPES, interactive: "never" }));
    expect(error).toMatchObject({ code: "interaction_required", correlationId: expect.any(String) });
    expect(error.hint).toContain("Sign in: acquireTokenInteractive");
  });
});

describe("acquireTokenSilent() without a broker", () => {
  /** What time it is for the app. */
  let now = Date.now();
  const later = { now: () => now };

  test("renews by the refresh token when the token ends, and again with the one that took its place", async () => {
    now = Date.now();
    const { fetch, paths } = countingFetch(), app = appOf(browsingPerson(), { ...later, fetch });
    const { account, accessToken } = await app.acquireToken({ scopes: SCOPES });
    const seen = new Set([accessToken]);
    for (let time = 0; time < 2; time++) {
      now += 56 * MINUTE_MS; // with five minutes left it counts as ended
      if (time === 1) now = Date.now() + 56 * MINUTE_MS;
      const renewed = await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: time === 1 });
      expect(renewed).toMatchObject({ source: "identity_provider", account });
      seen.add(renewed!.accessToken);
    }
    expect(seen.size).toBe(3);
    expect(paths.filter((path) => path === "/token")).toHaveLength(3);
  });

  test("equal calls under way renew once", async () => {
    const { fetch, paths } = countingFetch(), app = appOf(browsingPerson(), { fetch });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    paths.length = 0;
    const request = { scopes: SCOPES, account, forceRefresh: true };
    await Promise.all([1, 2, 3].map(() => app.acquireTokenSilent(request)));
    expect(paths).toEqual(["/token"]);
  });

  test("accounts whose ids differ by case alone are two, and share no call", async () => {
    const people = ["jane", "JANE"].map((login) => browsingPerson({ login })), queue = [...people];
    const app = makeApp({ openBrowser: (url) => queue.shift()!.openBrowser(url) });
    const accounts = [];
    for (const _ of people) accounts.push((await app.acquireTokenInteractive({ scopes: SCOPES })).account);
    expect(await app.getAccounts()).toHaveLength(2);
    const request = { scopes: SCOPES, forceRefresh: true };
    const results = await Promise.all(accounts.map((account) => app.acquireTokenSilent({ ...request, account })));
    expect(results.map((result) => result!.idTokenClaims!.sub)).toEqual(["jane", "JANE"]);
  });

  test("a refused refresh token is null, and interaction_required where the error is asked for", async () => {
    const store = memoryStore(), app = appOf(browsingPerson(), { cache: store });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    const [document = ""] = await store.readAccounts();
    const old = memoryStore(), stale = makeApp({ cache: old });
    await old.update(account.homeAccountId, () => document);
    // Rotation: what the copy still has is good no more.
    await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: true });
    const request = { scopes: SCOPES, account, forceRefresh: true };
    expect(await stale.acquireTokenSilent(request)).toBe(null);
    const error = await failure(stale.acquireToken({ ...request, interactive: "never" }));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
    expectNoSecret(error, JSON.parse(document).RefreshToken[Object.keys(JSON.parse(document).RefreshToken)[0]!].secret);
  });

  test("a sign-in that is too old for maxAge is refused, and what renews it is not lost over it", async () => {
    now = Date.now();
    const app = appOf(browsingPerson(), later);
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES, maxAge: 3600 });
    now += 10 * MINUTE_MS;
    const request = { scopes: SCOPES, account, interactive: "never" } as const;
    expect((await failure(app.acquireToken({ ...request, maxAge: 60 }))).code).toBe("interaction_required");
    const renewed = await app.acquireTokenSilent({ scopes: SCOPES, account, forceRefresh: true });
    expect(renewed?.source).toBe("identity_provider");
    expect(await app.acquireToken({ ...request, maxAge: 3600 })).toMatchObject({ account });
  });

  test("a signed-out account has no token and is in no list, until it signs in again", async () => {
    const jane = browsingPerson(), app = appOf(jane, { cache: memoryStore() });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    await app.removeAccount(account);
    expect(await app.getAccounts()).toEqual([]);
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toBe(null);
    await app.acquireToken({ scopes: SCOPES });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    expect(jane.times()).toBe(2);
  });

  test("a bound token is refused, since only a broker binds them", async () => {
    const app = appOf(browsingPerson()), { account } = await app.acquireToken({ scopes: SCOPES });
    const authenticationScheme = { type: "pop", method: "GET", url: "https://api.contoso.com/" } as const;
    const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account, authenticationScheme }));
    expect(error.code).toBe("broker_unavailable");
  });
});

describe("a sign-in that nobody ends", () => {
  /** The address of a sign-in that waits. */
  async function waitingSignIn(options: Partial<PublicClientApplicationOptions> = {}, signal?: AbortSignal) {
    const opened = Promise.withResolvers<string>();
    const openBrowser = (url: string) => {
      opened.resolve(url);
      return true;
    };
    const app = makeApp({ openBrowser, ...options });
    const failed = rejection(app.acquireTokenInteractive({ scopes: SCOPES, signal }));
    return { app, failed, port: portOf(await opened.promise) };
  }

  test("is given up after the time limit, with a hint about pages that do not come back", async () => {
    const { failed, port } = await waitingSignIn({ timeLimits: { browserMs: SHORT_MS } });
    const error = await failed;
    expect(error).toMatchObject({ code: "timed_out", correlationId: expect.any(String) });
    expect(error.hint).toContain("530084");
    await listen(port);
  });

  test("a time limit without an end is none", async () => {
    const app = appOf(browsingPerson(), { timeLimits: { browserMs: Infinity } });
    expect(await app.acquireTokenInteractive({ scopes: SCOPES })).toHaveProperty("accessToken");
  });

  test("ends with the reason of an abort, and leaves no listener behind", async () => {
    const controller = new AbortController(), reason = new Error("enough");
    const { failed, port } = await waitingSignIn({}, controller.signal);
    controller.abort(reason);
    expect(await failed).toBe(reason as never);
    await untilFree(port);
  });

  test("ends with an abort while the code is exchanged, and the browser has a page", async () => {
    const controller = new AbortController(), reason = new Error("enough"), jane = browsingPerson();
    const app = appOf(jane, {
      fetch: async (url, init) => {
        if (!url.endsWith("/token")) return await fetch(url, init);
        controller.abort(reason);
        return await new Promise(() => {});
      },
    });
    const error = await rejection(app.acquireTokenInteractive({ scopes: SCOPES, signal: controller.signal }));
    expect(error).toBe(reason as never);
    expect(await jane.visit()).toMatchObject({ status: 400, location: null });
    await untilFree(portOf((await jane.visit()).address));
  });

  test("ends with an abort although the browser is still being opened", async () => {
    const controller = new AbortController(), reason = new Error("enough"), opening = Promise.withResolvers<boolean>();
    const app = makeApp({
      openBrowser: () => {
        controller.abort(reason);
        return opening.promise;
      },
    });
    const error = await rejection(app.acquireTokenInteractive({ scopes: SCOPES, signal: controller.signal }));
    expect(error).toBe(reason as never);
    opening.resolve(true);
  });

  test("ends when the application is closed, and leaves no listener behind", async () => {
    const { app, failed, port } = await waitingSignIn();
    app.close();
    expect(await failed).toBeInstanceOf(LatchkeyError);
    await untilFree(port);
  });

  test("ends at once when no browser opens and nobody is told the address", async () => {
    const error = await failure(makeApp({ openBrowser: () => false }).acquireTokenInteractive({ scopes: SCOPES }));
    expect(error).toMatchObject({ code: "missing_dependency", correlationId: expect.any(String) });
    expect(error.hint).toContain("onSignInAddress");
  });

  test("fails with what opening the browser failed with", async () => {
    const reason = new Error("no such program");
    const openBrowser = () => Promise.reject(reason);
    expect(await rejection(makeApp({ openBrowser }).acquireTokenInteractive({ scopes: SCOPES }))).toBe(reason);
  });

  /** The caller is let go before the listener has closed. */
  async function untilFree(port: number): Promise<void> {
    for (;;) {
      try {
        return void await listen(port);
      } catch (error) {
        if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }
});

describe("readRedirect", () => {
  /** What the person pastes, in turn; afterwards nothing comes any more. */
  function pasting(pasted: (redirected: string) => readonly string[]) {
    const addresses: { readonly url: string; readonly opened: boolean }[] = [], reads: AbortSignal[] = [];
    let texts: string[] | undefined;
    const app = makeApp({
      openBrowser: () => false,
      onSignInAddress: (address) => addresses.push(address),
      readRedirect: async (signal) => {
        reads.push(signal);
        texts ??= [...pasted(await redirected(addresses[0]!.url))];
        return texts.shift() ?? "";
      },
      timeLimits: { browserMs: 60_000 },
    });
    return { app, addresses, reads };
  }

  /** Where a browser on another machine ends: at a port where nobody listens. */
  async function redirected(url: string): Promise<string> {
    const browser = new ScriptedBrowser();
    const landing = await browser.open(url, isRedirectOf(url), {
      login: "jane",
      password: "x",
    });
    expect(landing.method).toBe("GET"); // a form's fields are in no address
    return `${landing.url}?${landing.parameters}`;
  }

  test("takes the address that a person pastes when no browser opened", async () => {
    const { app, addresses, reads } = pasting((url) => [url]);
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(account.username).toBe("jane@contoso.com");
    expect(addresses.map(({ opened }) => opened)).toEqual([false]);
    expect(reads[0]!.aborted).toBe(true);
  });

  test("asks again after what is no answer, and takes an address that the terminal has broken", async () => {
    const { app, reads } = pasting((url) => {
      const wrong = new URL(url);
      wrong.searchParams.set("state", "x".repeat(43));
      return ["what?", wrong.href, ` ${url.slice(0, 60)}\r\n  ${url.slice(60)}\n`];
    });
    await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(reads).toHaveLength(3);
  });

  test("a reader that never waits stops nothing: the time limit ends the sign-in", async () => {
    const app = makeApp({
      ...{ openBrowser: () => false, onSignInAddress() {}, timeLimits: { browserMs: SHORT_MS } },
      readRedirect: () => Promise.resolve("no address"),
    });
    expect((await failure(app.acquireTokenInteractive({ scopes: SCOPES }))).code).toBe("timed_out");
  });

  test("a reader that fails fails the sign-in", async () => {
    const reason = new Error("no terminal");
    const app = makeApp({
      ...{ openBrowser: () => false, onSignInAddress() {} },
      readRedirect: () => Promise.reject(reason),
    });
    expect(await rejection(app.acquireTokenInteractive({ scopes: SCOPES }))).toBe(reason);
  });
});

describe("other ways to sign in without a broker", () => {
  /** The provider as one that may be asked at once. */
  const impatient = async (url: string, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init);
    return url.endsWith("/device/auth") ? Response.json({ ...await response.json(), interval: 0.001 }) : response;
  };

  test("acquireTokenByDeviceCode() tells what to type where, and no secret", async () => {
    const app = makeApp({ fetch: impatient }), browser = new ScriptedBrowser();
    const { account } = await app.acquireTokenByDeviceCode({
      scopes: SCOPES,
      onUserCode: async (code) => {
        expect(Object.keys(code).sort())
          .toEqual(["expiresOn", "message", "userCode", "verificationUri", "verificationUriComplete"]);
        const page = browser.open(code.verificationUriComplete!, () => false, { login: "jane", password: "x" });
        expect((await rejection(page)).message).toContain("Sign-in Success");
      },
    });
    expect(account.username).toBe("jane@contoso.com");
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
  });

  test("acquireTokenByDeviceCode() takes the one who is named alone, and keeps nothing of somebody else", async () => {
    const app = makeApp({ fetch: impatient }), browser = new ScriptedBrowser();
    const signIn = (username: string) =>
      app.acquireTokenByDeviceCode({
        ...{ scopes: SCOPES, username },
        onUserCode: async ({ verificationUriComplete }) => {
          await rejection(browser.open(verificationUriComplete!, () => false, { login: "jane", password: "x" }));
        },
      });
    expect(await rejection(signIn("joe@contoso.com"))).toMatchObject({
      ...{ code: "interaction_required", message: "jane@contoso.com signed in, and not joe@contoso.com" },
    });
    expect(await app.getAccounts()).toEqual([]);
    expect((await signIn("JANE@contoso.com")).account.username).toBe("jane@contoso.com");
  });

  test("acquireTokenByDeviceCode() ends with an abort", async () => {
    const controller = new AbortController(), reason = new Error("enough");
    const request = { scopes: SCOPES, signal: controller.signal, onUserCode: () => controller.abort(reason) };
    expect(await rejection(makeApp().acquireTokenByDeviceCode(request))).toBe(reason);
  });

  test("initiateAuthCodeFlow() gives plain JSON that acquireTokenByAuthCodeFlow() goes on with in another process", async () => {
    const redirectUri = "http://127.0.0.1:4711/signed-in", first = makeApp(), second = makeApp();
    const flow = await first.initiateAuthCodeFlow({ scopes: SCOPES, redirectUri, responseMode: "query" });
    const browser = new ScriptedBrowser(), typed = { login: "jane", password: "x" };
    const { parameters } = await browser.open(flow.authUri, isRedirectOf(flow.authUri), typed);
    const result = await second.acquireTokenByAuthCodeFlow(
      JSON.parse(JSON.stringify(flow)),
      Object.fromEntries(parameters),
    );
    expect(result).toMatchObject({ account: { username: "jane@contoso.com" }, correlationId: flow.correlationId });
    expect(await second.getAccounts()).toEqual([result.account]);
    const replayed = await failure(second.acquireTokenByAuthCodeFlow(flow, parameters));
    expect(replayed.code).toBe("interaction_required");
  });

  test("getAuthorizationRequestUrl() is where a person consents", async () => {
    const url = new URL(await makeApp().getAuthorizationRequestUrl({ scopes: ["api.write"] }));
    expect(url.origin).toBe(stage.provider.url);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      ...{
        client_id: stage.provider.clientId,
        redirect_uri: `http://127.0.0.1${redirectPath(stage.provider.url)}`,
        response_type: "code",
      },
      scope: "api.write openid profile offline_access",
    });
  });
});

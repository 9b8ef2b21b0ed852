// Sign-in in the browser at Microsoft Entra ID, as far as it differs from other providers: a fake of its endpoints.
import { beforeEach, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import {
  type CacheStore,
  LatchkeyError,
  memoryStore,
  type PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import { entraLanding, entraPerson } from "../fakes/entra_person.ts";
import { JANE, TENANT } from "../fakes/fake_entra.ts";
import { deliver } from "../tools/browsing_person.ts";
import { CLIENT_ID, failure, useEntra, useStage } from "../fixture.ts";

const FAMILY = [CLIENT_ID, "22222222-2222-4333-8444-555555555555"];
const OTHER = "33333333-2222-4333-8444-555555555555";
const SCOPES = ["User.Read"];
const CHALLENGE = { access_token: { nbf: { essential: true, value: "1700000000" } } };
/** A resource's answer to a token that is good no more, as Microsoft Graph writes it. */
const HEADER = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", ` +
  `error="insufficient_claims", claims="${Buffer.from(JSON.stringify(CHALLENGE)).toString("base64")}"`;
const MINUTE_MS = 60_000;
const BUSY = { status: 503, headers: { "retry-after": "0" }, body: {} };

const entra = useEntra(), stage = useStage();
let now: number;
beforeEach(() => void (now = Date.now()));

function makeApp(options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication {
  const { openBrowser } = entraPerson(entra), { fetch } = entra;
  return stage.makeApp({ fetch, openBrowser, now: () => now, ...options });
}

const sent = () => entra.requests.map(({ url, parameters }) => `${parameters.get("grant_type")} ${url}`);

describe("a browser sign-in at Entra", () => {
  test("costs one request, under one correlation id from the address to the result", async () => {
    const jane = entraPerson(entra), app = makeApp({ openBrowser: jane.openBrowser });
    const result = await app.acquireTokenInteractive({ scopes: SCOPES });
    expect(sent()).toEqual(["authorization_code login.microsoftonline.com/common/oauth2/v2.0/token"]);
    const { searchParams } = (await jane.visit()).address, [request] = entra.requests;
    expect(searchParams.get("client-request-id")).toBe(result.correlationId);
    expect(request!.headers["client-request-id"]).toBe(result.correlationId);
    expect([searchParams, request!.parameters].map((all) => all.get("client_info"))).toEqual(["1", "1"]);
    const correlationId = crypto.randomUUID();
    await app.acquireTokenInteractive({ scopes: SCOPES, correlationId });
    expect((await jane.visit()).address.searchParams.get("client-request-id")).toBe(correlationId);
    expect(entra.requests.at(-1)!.headers["client-request-id"]).toBe(correlationId);
  });

  test("fails with the id that its request was sent with, when the server cannot be reached", async () => {
    const jane = entraPerson(entra), ids: unknown[] = [];
    const fetch = (_: string, { headers }: RequestInit) => {
      ids.push(new Headers(headers).get("client-request-id"));
      return Promise.reject(new LatchkeyError("no_network", "Cannot reach login.microsoftonline.com"));
    };
    const app = makeApp({ fetch, openBrowser: jane.openBrowser });
    const { code, correlationId } = await failure(app.acquireTokenInteractive({ scopes: SCOPES }));
    expect({ code, ids }).toEqual({ code: "no_network", ids: [correlationId] });
  });

  test("keeps nothing of somebody else than the one who has to sign in; a hint lets anybody in", async () => {
    const cache = memoryStore(), app = makeApp({ cache }), joe = "joe@contoso.com";
    const error = await failure(app.acquireTokenInteractive({ scopes: SCOPES, username: joe }));
    expect(error).toMatchObject({ code: "interaction_required", hint: `Sign in as ${joe}` });
    expect(await cache.readAccounts()).toEqual([]);
    const { account: { username } } = await app.acquireTokenInteractive({ scopes: SCOPES, loginHint: joe });
    expect(username).toBe("jane@contoso.com");
    expect(await app.acquireTokenInteractive({ scopes: SCOPES, username })).toMatchObject({ account: { username } });
  });

  // An id token without a user name passed for whoever had to sign in.
  test("does not take an answer without a user name for the one who has to sign in", async () => {
    entra.behaviour.idToken = { preferred_username: undefined };
    const cache = memoryStore(), app = makeApp({ cache }), jane = "jane@contoso.com";
    const error = await failure(app.acquireTokenInteractive({ scopes: SCOPES, username: jane }));
    expect(error).toMatchObject({
      code: "interaction_required",
      message: `Somebody else signed in, and not ${jane}`,
      hint: expect.stringContaining("did not say who signed in"),
    });
    const always = app.acquireToken({ scopes: SCOPES, username: jane, interactive: "always" });
    expect(await failure(always)).toMatchObject({ code: "interaction_required" });
    expect(await cache.readAccounts()).toEqual([]);
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES, loginHint: jane });
    expect(account.username).toBe("");
    expect(await app.acquireToken({ scopes: SCOPES, account, interactive: "always" })).toHaveProperty("accessToken");
  });

  test("leaves it open which of several accounts is meant, and tells those of one name apart", async () => {
    const app = makeApp(), clientInfo = { uid: "elsewhere", utid: TENANT };
    await app.acquireTokenInteractive({ scopes: SCOPES });
    entra.behaviour.reply = { client_info: Buffer.from(JSON.stringify(clientInfo)).toString("base64url") };
    await app.acquireTokenInteractive({ scopes: SCOPES });
    entra.behaviour.reply = {
      client_info: Buffer.from(JSON.stringify({ uid: "joe", utid: "t" })).toString("base64url"),
    };
    entra.behaviour.idToken = { preferred_username: "joe@contoso.com" };
    await app.acquireTokenInteractive({ scopes: SCOPES });
    const { message } = await failure(app.acquireToken({ scopes: SCOPES, interactive: "never" }));
    const [, names] = /^Several accounts are signed in: (.*)$/.exec(message)!;
    expect(names!.split(/, (?![^(]*\))/).toSorted()).toEqual([
      `${JANE}.${TENANT} (jane@contoso.com, tenant ${TENANT})`,
      `elsewhere.${TENANT} (jane@contoso.com, tenant ${TENANT})`,
      `joe@contoso.com (tenant ${TENANT})`,
    ]);
  });

  test("knows a guest by the account at home", async () => {
    entra.behaviour.idToken = { oid: "guest", preferred_username: "jane_contoso.com#EXT#@fabrikam.com" };
    const { account } = await makeApp().acquireTokenInteractive({ scopes: SCOPES });
    expect(account).toMatchObject({ homeAccountId: `${JANE}.${TENANT}`, localAccountId: "guest", realm: TENANT });
  });

  test("goes by the app's clock on the way there and back", async () => {
    now = Date.now() + 4 * MINUTE_MS;
    const { expiresOn } = await makeApp().acquireTokenInteractive({ scopes: SCOPES });
    expect(expiresOn.getTime()).toBe(now + 4_000_000);
    now = Date.now() + 24 * 60 * MINUTE_MS;
    const at = Math.floor(now / 1000);
    entra.behaviour.idToken = { iat: at, nbf: at, exp: at + 3600, auth_time: at };
    expect(await makeApp().acquireTokenInteractive({ scopes: SCOPES, maxAge: 60 })).toHaveProperty("accessToken");
  });

  test("asks the tenant that is named, and with an account the account's own", async () => {
    const jane = entraPerson(entra), app = makeApp({ openBrowser: jane.openBrowser });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    await app.acquireToken({ scopes: SCOPES, account, interactive: "always" });
    expect((await jane.visit()).address.pathname).toBe(`/${TENANT}/oauth2/v2.0/authorize`);
    await app.acquireToken({ scopes: SCOPES, tenantId: "contoso.com", interactive: "always" });
    expect((await jane.visit()).address.pathname).toBe("/contoso.com/oauth2/v2.0/authorize");
  });

  test("takes the form of a personal account, which another host of Microsoft's posts", async () => {
    const answered: number[] = [];
    const openBrowser = (url: string) => {
      void (async () => {
        for (const host of ["login.live.com.attacker.example", "login.live.com"]) {
          const response = await deliver(entraLanding(entra, url), `https://${host}`);
          answered.push(response.status);
          const location = response.headers.get("location");
          if (location) await fetch(new URL(location, entraLanding(entra, url).url));
        }
      })();
      return true;
    };
    expect(await makeApp({ openBrowser }).acquireTokenInteractive({ scopes: SCOPES })).toHaveProperty("accessToken");
    expect(answered).toEqual([403, 303]);
  });

  test("where consent is missing, page and error have the server's words and what to do", async () => {
    const jane = entraPerson(entra, {
      error: "access_denied",
      error_subcode: "cancel",
      error_description: "AADSTS65001: The user or administrator has not consented to use the application.",
    });
    const error = await failure(makeApp({ openBrowser: jane.openBrowser }).acquireToken({ scopes: SCOPES }));
    expect(error).toMatchObject({
      code: "user_canceled",
      error: "access_denied",
      errorCodes: [65001],
      subError: "cancel",
    });
    expect(error.hint).toContain("getAuthorizationRequestUrl");
    expect((await jane.visit()).page).toContain("AADSTS65001");
  });

  test.each([[50011, "invalid_request"], [7000218, "invalid_client"]])(
    "AADSTS%i names the redirect URI to register, not the port of one sign-in",
    async (number, error) => {
      entra.behaviour.answers = [{ error, number, text: "It is not allowed." }];
      const { hint } = await failure(makeApp().acquireToken({ scopes: SCOPES }));
      expect(hint).toContain(`dd the redirect URI http://localhost to the app registration ${CLIENT_ID}`);
    },
  );

  test("where a device rule stands in the way, tells of the broker", async () => {
    entra.behaviour.answers = [{
      error: "invalid_grant",
      number: 530084,
      text: "Access has been blocked by token protection.",
    }];
    const jane = entraPerson(entra);
    const error = await failure(makeApp({ openBrowser: jane.openBrowser }).acquireToken({ scopes: SCOPES }));
    expect(error.hint).toContain("broker");
    expect((await jane.visit()).page).toContain("530084");
  });
});

describe("claims", () => {
  test("of a whole WWW-Authenticate header pass the kept token, and are merged with the app's capabilities", async () => {
    const app = makeApp({ clientCapabilities: ["cp1"] });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    const result = await app.acquireTokenSilent({ scopes: SCOPES, account, claims: HEADER });
    expect(result!.source).toBe("identity_provider");
    expect(JSON.parse(entra.requests.at(-1)!.parameters.get("claims")!))
      .toEqual({ access_token: { ...CHALLENGE.access_token, xms_cc: { values: ["cp1"] } } });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
  });

  test("of a refusal are asked for in the browser", async () => {
    const jane = entraPerson(entra), app = makeApp({ openBrowser: jane.openBrowser });
    const { account } = await app.acquireToken({ scopes: SCOPES });
    const refusal = { error: "interaction_required", number: 50076, text: "MFA is needed.", suberror: "basic_action" };
    entra.behaviour.answers = [{ ...refusal, claims: JSON.stringify(CHALLENGE) }];
    await app.acquireToken({ scopes: SCOPES, account, forceRefresh: true });
    const { searchParams } = (await jane.visit()).address;
    expect(JSON.parse(searchParams.get("claims")!)).toEqual(CHALLENGE);
    expect(searchParams.get("login_hint")).toBe("jane@contoso.com");
    expect(sent().slice(1).map((line) => line.split(" ")[0])).toEqual(["refresh_token", "authorization_code"]);
  });

  test("are in the error when nobody is to be asked", async () => {
    const app = makeApp(), { account } = await app.acquireToken({ scopes: SCOPES });
    const refusal = {
      error: "invalid_grant",
      number: 50173,
      text: "The grant was revoked.",
      suberror: "token_expired",
    };
    entra.behaviour.answers = [{ ...refusal, claims: JSON.stringify(CHALLENGE) }];
    const request = { scopes: SCOPES, account, forceRefresh: true };
    const error = await failure(app.acquireToken({ ...request, interactive: "never" }));
    expect(error).toMatchObject({ code: "interaction_required", subError: "token_expired", errorCodes: [50173] });
    expect(JSON.parse(error.claims!)).toEqual(CHALLENGE);
    entra.behaviour.answers = [refusal];
    expect(await app.acquireTokenSilent(request)).toBe(null);
  });
});

describe("a family of apps", () => {
  /** An app that shares the store. */
  const appOf = (clientId: string, cache: CacheStore) => makeApp({ clientId, cache });

  test("shares what one of them signed in", async () => {
    entra.behaviour.family = FAMILY;
    const store = memoryStore(), [first, second] = FAMILY.map((clientId) => appOf(clientId, store));
    await first!.acquireToken({ scopes: SCOPES });
    const [account] = await second!.getAccounts();
    const result = await second!.acquireTokenSilent({ scopes: SCOPES, account: account! });
    expect(result).toMatchObject({ source: "identity_provider", account: { username: "jane@contoso.com" } });
    expect(sent().at(-1)).toBe(`refresh_token login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`);
    expect(entra.requests.at(-1)!.parameters.get("client_id")).toBe(FAMILY[1]!);
  });

  test("an app that is not of it asks once, and then for a person", async () => {
    entra.behaviour.family = FAMILY;
    const store = memoryStore();
    for (const clientId of FAMILY) await appOf(clientId, store).acquireToken({ scopes: SCOPES, interactive: "always" });
    const app = appOf(OTHER, store), [account] = await app.getAccounts();
    entra.requests.length = 0;
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBe(null);
    expect(sent()).toHaveLength(1);
  });

  test("does not give a token to an app that the account signed out of", async () => {
    entra.behaviour.family = FAMILY;
    const store = memoryStore(), [first, second] = FAMILY.map((clientId) => appOf(clientId, store));
    await first!.acquireToken({ scopes: SCOPES });
    const [account] = await second!.getAccounts();
    await second!.removeAccount(account!);
    entra.requests.length = 0;
    expect(await second!.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBe(null);
    expect(sent()).toEqual([]);
    expect(await first!.acquireTokenSilent({ scopes: SCOPES, account: account! })).toMatchObject({ source: "cache" });
  });
});

describe("while Entra is unavailable", () => {
  test("a token that is to be renewed ahead of its end is used", async () => {
    entra.behaviour.reply = { refresh_in: 600 };
    const app = makeApp(), { account } = await app.acquireToken({ scopes: SCOPES });
    now += 11 * MINUTE_MS;
    entra.behaviour.answers = [BUSY, BUSY];
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "cache" });
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toMatchObject({ source: "identity_provider" });
  });

  test("a token that has ended is used for as long as Entra lets it, and no longer", async () => {
    const app = makeApp(), { account } = await app.acquireToken({ scopes: SCOPES });
    for (const [minutes, code] of [[70, undefined], [70, "temporarily_unavailable"]] as const) {
      now += minutes * MINUTE_MS;
      entra.behaviour.answers = [BUSY, BUSY];
      const call = app.acquireTokenSilent({ scopes: SCOPES, account });
      if (code) expect((await failure(call)).code).toBe(code);
      else expect(await call).toMatchObject({ source: "cache" });
    }
  });

  test("a token that has ended is not used after a refusal", async () => {
    const app = makeApp(), { account } = await app.acquireToken({ scopes: SCOPES });
    now += 70 * MINUTE_MS;
    entra.behaviour.answers = [{ error: "invalid_grant", number: 700082, text: "The refresh token has expired." }];
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account })).toBe(null);
  });
});

// A marked token tells a policy that an agent asks: it must never be mixed with the person's own.
describe("an agent's session", () => {
  const ID = "sess-456";
  // MSAL Python 1.39's ext_cache_key of { client_session: ID }, so that Azure CLI finds the token.
  const KEY = "px8spczzoddczsn5devyhtmn56k2fd966cqkzuyyq0a";
  const sessions = () => entra.requests.map(({ parameters }) => parameters.get("client_session"));

  test("marks its tokens, which are cached apart from others", async () => {
    const cache = memoryStore(), app = makeApp({ cache });
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES });
    const ask = (agentSession?: string) =>
      app.acquireToken({ scopes: SCOPES, account, interactive: "never", agentSession });
    const own = await ask(), marked = await ask(ID), other = await ask("sess-457");
    expect(sessions()).toEqual([null, ID, "sess-457"]);
    expect(new Set([own, marked, other].map(({ accessToken }) => accessToken)).size).toBe(3);
    for (const [token, id] of [[own], [marked, ID], [other, "sess-457"]] as const) {
      expect(await ask(id)).toMatchObject({ accessToken: token.accessToken, source: "cache" });
    }
    expect(sessions()).toHaveLength(3);
    const { AccessToken } = JSON.parse((await cache.read(account.homeAccountId))!);
    const entries = Object.entries<Record<string, string>>(AccessToken).filter(([, entry]) =>
      entry.ext_cache_key === KEY
    );
    expect(entries.map(([key, { secret }]) => [key.includes("-atext-"), key.endsWith(`-${KEY}`), secret])).toEqual([
      [true, true, marked.accessToken],
    ]);
  });

  test("marks the token of a sign-in, too, which is not for others", async () => {
    const app = makeApp(), first = await app.acquireTokenInteractive({ scopes: SCOPES, agentSession: ID });
    expect(sessions()).toEqual([ID]);
    const request = { scopes: SCOPES, account: first.account, interactive: "never" } as const;
    expect(await app.acquireToken({ ...request, agentSession: ID })).toMatchObject({ accessToken: first.accessToken });
    expect((await app.acquireToken(request)).accessToken).not.toBe(first.accessToken);
  });

  test("leaves nothing of its expired tokens", async () => {
    const cache = memoryStore(), app = makeApp({ cache });
    const { account } = await app.acquireTokenInteractive({ scopes: SCOPES, agentSession: ID });
    now += 24 * 60 * MINUTE_MS;
    await app.acquireToken({ scopes: SCOPES, account, interactive: "never" });
    const { AccessToken } = JSON.parse((await cache.read(account.homeAccountId))!);
    expect(Object.values<Record<string, string>>(AccessToken).map((entry) => entry.ext_cache_key)).toEqual([undefined]);
  });
});

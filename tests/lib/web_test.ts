// WebApplication at Microsoft Entra ID, played by a fake; and the entries ./web and ./redis as a bundler takes them to the edge.
import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { type AuthCodeFlowRequest, memoryStore, WebApplication, type WebApplicationOptions } from "../../lib/web.ts";
import { JANE, TENANT } from "../fakes/fake_entra.ts";
import { bundleForEdge } from "../tools/bundle_for_edge.ts";
import { CLIENT_ID, expectNoSecret, failure, rejection, useEntra } from "../fixture.ts";

const MAX_BYTES = 40 * 1024;
const ENTRA = "https://login.microsoftonline.com";
const REQUEST: AuthCodeFlowRequest = {
  scopes: ["User.Read"],
  redirectUri: "https://app.contoso.com/signed-in",
  responseMode: "query",
};

describe("lib/web.ts with Entra", () => {
  const entra = useEntra();

  function makeApp(more: Partial<WebApplicationOptions> = {}): WebApplication {
    return new WebApplication({ clientId: CLIENT_ID, fetch: entra.fetch, ...more });
  }

  async function signIn(app: WebApplication, more: Partial<AuthCodeFlowRequest> = {}) {
    const flow = await app.initiateAuthCodeFlow({ ...REQUEST, ...more });
    return await app.acquireTokenByAuthCodeFlow(flow, entra.authorize(flow.authUri), { tenantId: more.tenantId });
  }

  test("a person signs in, in two requests to two objects that share a store", async () => {
    const cache = memoryStore();
    const { authUri, ...flow } = await makeApp({ cache }).initiateAuthCodeFlow({
      ...REQUEST,
      loginHint: "jane@contoso.com",
    });
    expect(authUri).toContain(`${ENTRA}/common/oauth2/v2.0/authorize?`);
    expect(Object.fromEntries(new URL(authUri).searchParams)).toMatchObject({
      ...{ client_id: CLIENT_ID, redirect_uri: REQUEST.redirectUri, login_hint: "jane@contoso.com" },
      ...{ scope: "User.Read openid profile offline_access", code_challenge_method: "S256" },
    });
    expect(entra.requests).toEqual([]);

    const stored = JSON.parse(JSON.stringify(flow)), answer = Object.fromEntries(entra.authorize(authUri));
    const result = await makeApp({ cache }).acquireTokenByAuthCodeFlow(stored, answer);
    expect(result).toMatchObject({
      ...{ tokenType: "Bearer", source: "identity_provider", tenantId: TENANT, correlationId: flow.correlationId },
      account: { homeAccountId: `${JANE}.${TENANT}`, username: "jane@contoso.com", source: "cache" },
    });
    expect(await makeApp({ cache }).getAccounts()).toEqual([result.account]);
  });

  test("acquireTokenSilent() gives the token that is kept, and renews it where that will not do", async () => {
    const app = makeApp(), { account, accessToken } = await signIn(app);
    const kept = await app.acquireTokenSilent({ scopes: ["User.Read"], account });
    expect(kept).toMatchObject({ accessToken, source: "cache" });
    expect(entra.requests).toHaveLength(1);
    const renewed = await app.acquireTokenSilent({ scopes: ["User.Read"], account, forceRefresh: true });
    expect(renewed).toMatchObject({ source: "identity_provider", account });
    expect(entra.requests[1]!.parameters.get("grant_type")).toBe("refresh_token");
  });

  test("acquireTokenSilent() is null when the person has to sign in, and says why in the log alone", async () => {
    const lines: string[] = [], app = makeApp({ logger: (level, message) => lines.push(`${level} ${message}`) });
    const { account } = await signIn(app);
    entra.behaviour.answers.push({ error: "interaction_required", number: 50076, text: "Use MFA." });
    expect(await app.acquireTokenSilent({ scopes: ["Mail.Read"], account })).toBeNull();
    expect(lines).toEqual([
      expect.stringMatching(/^info No silent token: interaction_required \(correlation id [\w-]+\)$/),
    ]);
    const stranger = { ...account, homeAccountId: "joe.contoso", username: "joe@contoso.com" };
    expect(await app.acquireTokenSilent({ scopes: ["User.Read"], account: stranger })).toBeNull();
  });

  test("acquireTokenSilent() throws when asking again may help", async () => {
    const app = makeApp(), { account } = await signIn(app);
    entra.behaviour.answers.push({ status: 503, headers: { "retry-after": "3600" } });
    const error = await failure(app.acquireTokenSilent({ scopes: ["Mail.Read"], account }));
    expect(error.code).toBe("temporarily_unavailable");
  });

  test("getAccounts() and removeAccount() are of one account", async () => {
    const app = makeApp(), { account } = await signIn(app);
    expect(await app.getAccounts({ username: "JANE@contoso.com" })).toEqual([account]);
    expect(await app.getAccounts({ username: "joe@contoso.com" })).toEqual([]);
    await app.removeAccount(account);
    expect(await app.getAccounts()).toEqual([]);
    expect(await app.acquireTokenSilent({ scopes: ["User.Read"], account })).toBeNull();
  });

  test("clientCapabilities are told, and a resource's challenge with them", async () => {
    const app = makeApp({ clientCapabilities: ["cp1"] });
    const { authUri } = await app.initiateAuthCodeFlow({
      ...REQUEST,
      claims: '{"access_token":{"acrs":{"value":"c1"}}}',
    });
    expect(JSON.parse(new URL(authUri).searchParams.get("claims")!)).toEqual({
      access_token: { acrs: { value: "c1" }, xms_cc: { values: ["cp1"] } },
    });
  });

  test("another tenant can be asked than the app's", async () => {
    const app = makeApp({ authority: `${ENTRA}/contoso.com` });
    const { tenantId } = await signIn(app, { tenantId: TENANT });
    expect(tenantId).toBe(TENANT);
    expect(entra.requests[0]!.url).toBe(`login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`);
  });

  test("a tenant that a person named in place of the app's is refused, unless the app names it", async () => {
    const app = makeApp({ authority: `${ENTRA}/contoso.com` }), flow = await app.initiateAuthCodeFlow(REQUEST);
    const changed = { ...flow, authority: `${ENTRA}/${TENANT}` };
    const finished = app.acquireTokenByAuthCodeFlow(changed, entra.authorize(flow.authUri));
    expect(await finished.catch((error) => error)).toBeInstanceOf(TypeError);
    expect(entra.requests).toEqual([]);
  });

  test("an answer to another sign-in is refused, and nothing is sent", async () => {
    const app = makeApp(), flow = await app.initiateAuthCodeFlow(REQUEST);
    const other = await app.initiateAuthCodeFlow(REQUEST), answer = entra.authorize(other.authUri);
    const error = await failure(app.acquireTokenByAuthCodeFlow(flow, answer));
    expect(error.code).toBe("invalid_response");
    expectNoSecret(error, answer.get("code")!, flow.state, other.state, flow.codeVerifier);
    expect(entra.requests).toEqual([]);
  });

  test.each([
    ["another app", { clientId: "22222222-2222-4333-8444-555555555555" }],
    ["another host", { authority: "https://login.contoso.com/common" }],
    ["another cloud", { authority: "https://login.microsoftonline.us/common" }],
  ])("a flow that a person changed to that of %s is refused, and nothing is sent", async (_what, change) => {
    const app = makeApp(), flow = await app.initiateAuthCodeFlow(REQUEST);
    const finished = app.acquireTokenByAuthCodeFlow({ ...flow, ...change }, entra.authorize(flow.authUri));
    expect(await rejection(finished)).toBeInstanceOf(TypeError);
    expect(entra.requests).toEqual([]);
  });

  test("a provider with many issuers on its host takes its own flows alone", async () => {
    const issuer = "https://id.contoso.com/realms/jane", app = makeApp({ authority: issuer });
    entra.behaviour.metadata = { issuer, authorization_response_iss_parameter_supported: true };
    const flow = await app.initiateAuthCodeFlow(REQUEST);
    const changed = { ...flow, authority: "https://id.contoso.com/realms/mallory" };
    const finished = app.acquireTokenByAuthCodeFlow(changed, entra.authorize(flow.authUri));
    expect(await rejection(finished)).toBeInstanceOf(TypeError);
  });

  test("mistakes of the caller are told before anything is sent", async () => {
    const app = makeApp(), { account } = await signIn(app);
    entra.reset();
    const mistakes: readonly (() => unknown)[] = [
      () => new WebApplication({} as never),
      () => new WebApplication(undefined as never),
      () => makeApp({ authority: "http://login.contoso.com" }),
      () => app.initiateAuthCodeFlow({ ...REQUEST, scopes: [] }),
      () => app.initiateAuthCodeFlow({ ...REQUEST, redirectUri: "/signed-in" }),
      () => app.initiateAuthCodeFlow({ scopes: ["User.Read"] } as never),
      () => app.initiateAuthCodeFlow({ ...REQUEST, extraQueryParameters: { state: "mine" } }),
      () => app.initiateAuthCodeFlow({ ...REQUEST, correlationId: "none" }),
      () => app.initiateAuthCodeFlow(undefined as never),
      () => app.acquireTokenByAuthCodeFlow(undefined as never, {}),
      () => app.acquireTokenByAuthCodeFlow({} as never, {}),
      () => app.acquireTokenSilent({ scopes: ["User.Read"] } as never),
      () => app.acquireTokenSilent({ scopes: ["User.Read"], account, claims: "none" }),
      () => app.removeAccount({} as never),
      () => app.getAccounts({ correlationId: "none" }),
    ];
    for (const mistake of mistakes) {
      expect(await rejection((async () => await mistake())())).toBeInstanceOf(TypeError);
    }
    expect(entra.requests).toEqual([]);
  });

  test("a call that is aborted rethrows the reason", async () => {
    const app = makeApp(), { account } = await signIn(app), reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    const silent = app.acquireTokenSilent({ scopes: ["User.Read"], account, forceRefresh: true, signal });
    expect(await rejection(silent)).toBe(reason);
    const flow = await app.initiateAuthCodeFlow(REQUEST);
    const finished = app.acquireTokenByAuthCodeFlow(flow, entra.authorize(flow.authUri), { signal });
    expect(await rejection(finished)).toBe(reason);
  });
});

test("lib/web.ts, bundled and compressed, has 40 KB at most", async () => {
  const { length } = gzipSync(await bundle("lib/web.ts"));
  process.stdout.write(`lib/web.ts: ${(length / 1024).toFixed(1)} KB, bundled and compressed\n`);
  expect(length).toBeLessThanOrEqual(MAX_BYTES);
});

test.each(["lib/web.ts", "lib/redis.ts"])("%s, bundled, imports nothing", async (path) => {
  expect(new Bun.Transpiler({ loader: "js" }).scanImports(await bundle(path))).toEqual([]);
});

async function bundle(path: string): Promise<string> {
  const [entry, ...others] = await bundleForEdge(path);
  expect(others).toEqual([]);
  return entry!.contents;
}

// Sign-ins at Microsoft Entra ID, played by a fake, and the attacks on them.
import { beforeAll, describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { PublicClientApplication } from "../../../lib/application.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import { redirectPath } from "../../../lib/redirect_uris.ts";
import { finishAuthorization, isAnswerTo, startAuthorization } from "../../../lib/oauth/authorization_code.ts";
import { pollDeviceCode, startDeviceCode } from "../../../lib/oauth/device_code.ts";
import { type AuthorizationRequest, findProvider, type Provider } from "../../../lib/oauth/provider.ts";
import { refreshTokens } from "../../../lib/oauth/token_endpoint.ts";
import { JANE, jwt, TENANT } from "../../fakes/fake_entra.ts";
import { CLIENT_ID, expectNoSecret, failure, rejection, useEntra, useStage } from "../../fixture.ts";
import { isRedirectOf, type Landing, ScriptedBrowser } from "../../tools/scripted_browser.ts";

const OTHER_TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f";
const CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad";

describe("lib/oauth/authorization_code with Entra", () => {
  const entra = useEntra();

  async function providerOf(tenant = "common"): Promise<Provider> {
    return await findProvider(parseAuthority(`https://login.microsoftonline.com/${tenant}`), entra);
  }

  async function start(provider: Provider, more: Partial<Parameters<typeof startAuthorization>[1]> = {}) {
    const flow = await startAuthorization(provider, {
      ...{ clientId: CLIENT_ID, scopes: ["User.Read"], redirectUri: "http://localhost:4711" },
      ...more,
    });
    return { url: flow.authUri, flow };
  }

  /** A sign-in from its beginning to its end. */
  async function signIn(tenant?: string, more: Partial<Parameters<typeof startAuthorization>[1]> = {}) {
    const provider = await providerOf(tenant), { url, flow } = await start(provider, more);
    return await finishAuthorization(provider, flow, entra.authorize(url), entra);
  }

  test("startAuthorization() asks for a code, bound to this sign-in, to be posted", async () => {
    const { url, flow } = await start(await providerOf("contoso.com"), {
      ...{
        loginHint: "jane@contoso.com",
        domainHint: "contoso.com",
        prompt: "login",
        maxAge: 60,
        claims: '{"id_token":{}}',
      },
      ...{ extraScopesToConsent: ["Mail.Read"], extraQueryParameters: { dc: "WUS" } },
    });
    const { origin, pathname, searchParams } = new URL(url);
    expect(origin + pathname).toBe("https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize");
    expect(Object.fromEntries(searchParams)).toMatchObject({
      ...{ client_id: CLIENT_ID, response_type: "code", redirect_uri: "http://localhost:4711" },
      ...{ scope: "User.Read Mail.Read openid profile offline_access", response_mode: "form_post" },
      ...{ state: flow.state, nonce: flow.nonce, code_challenge_method: "S256", client_info: "1" },
      ...{ login_hint: "jane@contoso.com", domain_hint: "contoso.com", prompt: "login", max_age: "60" },
      ...{ claims: '{"id_token":{}}', dc: "WUS", "client-request-id": flow.correlationId },
    });
    expect(url).not.toContain(flow.codeVerifier);
    expect([flow.state, flow.nonce, flow.codeVerifier].map((secret) => secret.length)).toEqual([43, 43, 43]);
    expect(entra.requests).toEqual([]);
  });

  test("startAuthorization() never asks twice with the same secrets, and does not show them", async () => {
    const provider = await providerOf(), one = await start(provider), other = await start(provider);
    expect(one.flow.state).not.toBe(other.flow.state);
    expect(one.flow.nonce).not.toBe(other.flow.nonce);
    expect(one.flow.codeVerifier).not.toBe(other.flow.codeVerifier);
    for (const secret of [one.flow.state, one.flow.nonce, one.flow.codeVerifier]) {
      expect(inspect(one.flow)).not.toContain(secret);
      expect(JSON.stringify(one.flow)).toContain(secret);
    }
  });

  test.each([
    ...["client_id", "redirect_uri", "response_type", "response_mode", "state", "nonce", "scope", "code_challenge"],
    "code_challenge_method",
  ])("startAuthorization() does not let extra parameters override %s", async (name) => {
    const { url } = await start(await providerOf(), { extraQueryParameters: { [name]: "x" } });
    expect(new URL(url).searchParams.getAll(name)).not.toContain("x");
  });

  test("startAuthorization() leaves the choice of an account to the person who is to choose", async () => {
    const { url } = await start(await providerOf(), { prompt: "select_account", loginHint: "jane@contoso.com" });
    expect(url).not.toContain("login_hint");
  });

  test("a person signs in, with one request", async () => {
    const reply = await signIn();
    expect(reply.result).toMatchObject({
      ...{ tokenType: "Bearer", tenantId: TENANT, source: "identity_provider" },
      account: {
        ...{
          homeAccountId: `${JANE}.${TENANT}`,
          localAccountId: JANE,
          tenantId: TENANT,
          realm: TENANT,
          source: "cache",
        },
        ...{ environment: "login.microsoftonline.com", username: "jane@contoso.com", name: "Jane Doe" },
      },
    });
    expect(reply.result.extendedExpiresOn!.getTime()).toBeGreaterThan(reply.result.expiresOn.getTime());
    expect(reply.refreshToken).toBeTruthy();
    expect(inspect(reply, { depth: 9 })).not.toContain(reply.refreshToken!);
    expect(inspect(reply, { depth: 9 })).not.toContain(reply.result.accessToken);
    expect(entra.requests.map(({ url }) => url)).toEqual(["login.microsoftonline.com/common/oauth2/v2.0/token"]);
    const [{ headers, parameters }] = entra.requests as [typeof entra.requests[number]];
    expect(headers["client-request-id"]).toBe(reply.result.correlationId);
    expect(Object.fromEntries(parameters)).toMatchObject({
      ...{ client_info: "1", grant_type: "authorization_code", client_id: CLIENT_ID },
      scope: "User.Read openid profile offline_access",
    });
  });

  test("what was to be consented to besides, and claims, go where they belong", async () => {
    await signIn("common", {
      extraScopesToConsent: ["https://vault.azure.net/.default"],
      claims: '{"access_token":{}}',
    });
    const { parameters } = entra.requests[0]!;
    expect(parameters.get("scope")).toBe("User.Read openid profile offline_access");
    expect(parameters.get("claims")).toBe('{"access_token":{}}');
  });

  test.each(["common", "organizations", "contoso.com", TENANT, TENANT.toUpperCase()])(
    "the issuer of %s is that of the tenant that the person is of",
    async (tenant) => {
      expect((await signIn(tenant)).result.tenantId.toLowerCase()).toBe(TENANT);
    },
  );

  test("consumers is the tenant of personal accounts, and no other", async () => {
    const iss = `https://login.microsoftonline.com/${CONSUMERS}/v2.0`;
    entra.behaviour.idToken = { tid: CONSUMERS, iss };
    expect((await signIn("consumers")).result.tenantId).toBe(CONSUMERS);
    entra.behaviour.idToken = {};
    expect((await failure(signIn("consumers"))).code).toBe("invalid_response");
  });

  test.each([
    ["login.windows.net", "login.microsoftonline.com"],
    ["login.partner.microsoftonline.cn", "login.partner.microsoftonline.cn"],
    ["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
    ["login.microsoftonline.us", "login.microsoftonline.us"],
    ["login.sovcloud-identity.fr", "login.sovcloud-identity.fr"],
  ])("%s has %s for an issuer", async (host, issuer) => {
    const provider = await findProvider(parseAuthority(`https://${host}/common`), entra);
    const { url, flow } = await start(provider);
    expect(new URL(url).host).toBe(host);
    entra.behaviour.idToken = { iss: `https://${issuer}/${TENANT}/v2.0` };
    const { result } = await finishAuthorization(provider, flow, entra.authorize(url), entra);
    expect(result.account.environment).toBe(issuer);
    expect(entra.requests).toHaveLength(1);
  });

  const WRONG: readonly (readonly [what: string, claims: Record<string, unknown>, header?: Record<string, unknown>])[] =
    [
      ["another app's audience", { aud: "22222222-2222-4333-8444-555555555555" }],
      ["a second audience and no authorized party", { aud: [CLIENT_ID, "other"] }],
      ["another host's issuer", { iss: `https://login.contoso.com/${TENANT}/v2.0` }],
      ["another tenant's issuer", { iss: `https://login.microsoftonline.com/${OTHER_TENANT}/v2.0` }],
      ["the issuer of version 1", { iss: `https://sts.windows.net/${TENANT}/` }],
      ["the template for an issuer", { iss: "https://login.microsoftonline.com/{tenantid}/v2.0" }],
      ["no issuer", { iss: undefined }],
      ["another nonce", { nonce: "x" }],
      ["no nonce", { nonce: undefined }],
      ["an end in the past", { exp: Math.floor(Date.now() / 1000) - 3600 }],
      ["no end", { exp: undefined }],
      ["no subject", { sub: undefined }],
      ["no tenant", { tid: undefined }],
      ["a tenant that is no id", { tid: "contoso.com", iss: "https://login.microsoftonline.com/contoso.com/v2.0" }],
      ["a path for a tenant", { tid: `${TENANT}/../x`, iss: `https://login.microsoftonline.com/${TENANT}/../x/v2.0` }],
      ["a list for a tenant", { tid: [TENANT] }],
      ["no signature by its header", {}, { alg: "none" }],
      ["a symmetric signature by its header", {}, { alg: "HS256" }],
      ["an extension that is to be understood", {}, { crit: ["b64"] }],
    ];

  test.each(WRONG.map((row) => [...row]))("an id token with %s is refused", async (_what, claims, header = {}) => {
    Object.assign(entra.behaviour, { idToken: claims, header });
    const error = await failure(signIn());
    expect(error.code).toBe("invalid_response");
    expectNoSecret(error, "jane@contoso.com", JANE);
  });

  test("an id token of another tenant than was asked is refused, although it is that tenant's", async () => {
    entra.behaviour.idToken = { tid: OTHER_TENANT, iss: `https://login.microsoftonline.com/${OTHER_TENANT}/v2.0` };
    const error = await failure(signIn(TENANT));
    expect(error).toMatchObject({ code: "invalid_response" });
    expect(error.message).toContain("another tenant");
  });

  test.each([["none", { id_token: undefined }], ["no JWT", { id_token: "x" }], ["an encrypted JWT", {
    id_token: "a.b.c.d.e",
  }]])(
    "an answer whose id token is %s is refused",
    async (_what, reply) => {
      entra.behaviour.reply = reply;
      expect((await failure(signIn())).code).toBe("invalid_response");
    },
  );

  test("an id token that is not valid yet, while the clocks differ, is the clock's fault", async () => {
    const provider = await providerOf(), early = () => Date.now() - 20 * 60_000;
    const { url, flow } = await start(provider, { now: early });
    const error = await failure(
      finishAuthorization(provider, flow, entra.authorize(url), { ...entra, fetch: entra.fetch, now: early }),
    );
    const command = process.platform === "win32" ? "w32tm" : "hwclock";
    expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining(command) });
  });

  test("clocks may differ by some minutes", async () => {
    for (const minutes of [-9, 4]) {
      const provider = await providerOf(), now = () => Date.now() + minutes * 60_000;
      const { url, flow } = await start(provider, { now });
      const reply = await finishAuthorization(provider, flow, entra.authorize(url), { fetch: entra.fetch, now });
      expect(reply.result.account.username).toBe("jane@contoso.com");
    }
  });

  test("maxAge is checked against auth_time", async () => {
    const secondsAgo = (seconds: number) => ({ auth_time: Math.floor(Date.now() / 1000) - seconds });
    entra.behaviour.idToken = secondsAgo(300);
    expect((await failure(signIn("common", { maxAge: 60 }))).code).toBe("interaction_required");
    expect((await signIn("common", { maxAge: 600 })).result.accessToken).toBeTruthy();
    // Clocks differ, but not by this much: with its own clock behind, the app took any sign-in for one of just now.
    entra.behaviour.idToken = secondsAgo(100);
    expect((await signIn("common", { maxAge: 0 })).result.accessToken).toBeTruthy();
    entra.behaviour.idToken = secondsAgo(-600);
    expect((await failure(signIn("common", { maxAge: 60 }))).code).toBe("interaction_required");
    entra.behaviour.idToken = { auth_time: undefined };
    expect((await failure(signIn("common", { maxAge: 600 }))).code).toBe("interaction_required");
    expect((await signIn("common")).result.accessToken).toBeTruthy();
  });

  test("an answer with another state, with none, with two, or nearly the right one, is refused before anything is sent", async () => {
    const provider = await providerOf(), { url, flow } = await start(provider), answer = entra.authorize(url);
    const changed = (change: (parameters: URLSearchParams) => void) => {
      const parameters = new URLSearchParams(answer);
      change(parameters);
      return parameters;
    };
    const other = (await start(provider)).flow.state;
    for (
      const parameters of [
        changed((each) => each.set("state", other)),
        changed((each) => each.set("state", flow.state.slice(0, -1))),
        changed((each) => each.set("state", flow.state + "x")),
        changed((each) => each.set("state", "")),
        changed((each) => each.delete("state")),
        changed((each) => each.append("state", flow.state)),
        new URLSearchParams(),
      ]
    ) {
      expect(isAnswerTo(flow, parameters)).toBe(false);
      const error = await failure(finishAuthorization(provider, flow, parameters, entra));
      expect(error.code).toBe("invalid_response");
      expectNoSecret(error, flow.state, answer.get("code")!);
    }
    expect(entra.requests).toEqual([]);
    expect(isAnswerTo(flow, answer)).toBe(true);
  });

  test.each([
    ["https://id.contoso.com", false],
    [`https://login.microsoftonline.com/${TENANT}/v2.0`, true],
    [`https://login.microsoftonline.com/${TENANT}/v2.0/`, false],
    [`https://login.microsoftonline.com/contoso.com/v2.0`, false],
    [`https://login.contoso.com/${TENANT}/v2.0`, false],
    ["https://", false],
  ])("an answer that says it is of %s: %s", async (iss, isTaken) => {
    const provider = await providerOf(), { url, flow } = await start(provider), answer = entra.authorize(url);
    answer.set("iss", iss);
    const call = finishAuthorization(provider, flow, answer, entra);
    if (isTaken) expect((await call).result.tenantId).toBe(TENANT);
    else expect((await failure(call)).code).toBe("invalid_response");
    expect(entra.requests).toHaveLength(isTaken ? 1 : 0);
  });

  test.each(["{tenantid}", OTHER_TENANT])("an answer of %s is refused when the token is another's", async (tenant) => {
    const provider = await providerOf(), { url, flow } = await start(provider), answer = entra.authorize(url);
    answer.set("iss", `https://login.microsoftonline.com/${tenant}/v2.0`);
    expect((await failure(finishAuthorization(provider, flow, answer, entra))).code).toBe("invalid_response");
  });

  test("an answer of another tenant than was asked is refused before anything is sent", async () => {
    const provider = await providerOf(TENANT), { url, flow } = await start(provider), answer = entra.authorize(url);
    answer.set("iss", `https://login.microsoftonline.com/${OTHER_TENANT}/v2.0`);
    expect((await failure(finishAuthorization(provider, flow, answer, entra))).code).toBe("invalid_response");
    expect(entra.requests).toEqual([]);
  });

  test("a flow that was started at another authority is a mistake", async () => {
    const { url, flow } = await start(await providerOf("contoso.com"));
    const call = finishAuthorization(await providerOf("fabrikam.com"), flow, entra.authorize(url), entra);
    expect(await rejection(call)).toBeInstanceOf(TypeError);
    for (const none of [undefined, null, {}, { ...flow, codeVerifier: "" }, { ...flow, state: 1 }]) {
      const call = finishAuthorization(await providerOf("contoso.com"), none as never, new URLSearchParams(), entra);
      expect(await rejection(call)).toBeInstanceOf(TypeError);
    }
  });

  test("a flow that lay around for an hour has timed out", async () => {
    const provider = await providerOf(), { url, flow } = await start(provider, { now: () => Date.now() - 3_700_000 });
    expect((await failure(finishAuthorization(provider, flow, entra.authorize(url), entra))).code).toBe("timed_out");
  });

  test("a refusal in the answer is told with its hint, without control characters", async () => {
    const provider = await providerOf(), { flow } = await start(provider);
    const refused = (parameters: Record<string, string>) =>
      failure(finishAuthorization(provider, flow, new URLSearchParams({ state: flow.state, ...parameters }), entra));
    expect(await refused({ error: "access_denied", error_subcode: "cancel" })).toMatchObject({
      ...{ code: "user_canceled", error: "access_denied", subError: "cancel" },
    });
    expect(
      await refused({
        error: "invalid_grant",
        error_description: "AADSTS65001: no consent \u001b[31m<b>",
        suberror: "consent_required",
      }),
    ).toMatchObject({
      ...{ code: "interaction_required", errorCodes: [65001], subError: "consent_required" },
      errorDescription: "AADSTS65001: no consent  [31m<b>",
      hint: expect.stringContaining("getAuthorizationRequestUrl"),
    });
    expect(await refused({ error: "interaction_required", claims: '{"access_token":{}}' })).toMatchObject({
      ...{ code: "interaction_required", claims: '{"access_token":{}}' },
    });
    expect(entra.requests).toEqual([]);
  });

  test("a refusal with another state, or of another issuer, is not taken for an answer", async () => {
    const provider = await providerOf(), { flow } = await start(provider);
    const refusal = new URLSearchParams({ error: "access_denied", state: "x" });
    expect((await failure(finishAuthorization(provider, flow, refusal, entra))).code).toBe("invalid_response");
    const others = new URLSearchParams({ error: "access_denied", state: flow.state, iss: "https://id.contoso.com" });
    expect((await failure(finishAuthorization(provider, flow, others, entra))).code).toBe("invalid_response");
  });

  test("an answer without a code, with two, or with a token, is refused", async () => {
    const provider = await providerOf(), { url, flow } = await start(provider), { state } = flow;
    const token = jwt({ alg: "none" }, {});
    for (const parameters of [{ state }, { state, code: "" }, { state, id_token: token }, { state, response: token }]) {
      const call = finishAuthorization(provider, flow, new URLSearchParams(parameters), entra);
      expect((await failure(call)).code).toBe("invalid_response");
    }
    const twice = entra.authorize(url);
    twice.append("code", "x");
    expect((await failure(finishAuthorization(provider, flow, twice, entra))).code).toBe("invalid_response");
    expect(entra.requests).toEqual([]);
  });

  test("the code is sent once, whatever comes back", async () => {
    entra.behaviour.answers = [{ status: 503, body: "busy" }];
    expect((await failure(signIn())).code).toBe("temporarily_unavailable");
    expect(entra.requests).toHaveLength(1);
  });

  test("an error that repeats the code and the verifier does not show them", async () => {
    const provider = await providerOf(), { url, flow } = await start(provider), answer = entra.authorize(url);
    const code = answer.get("code")!;
    entra.behaviour.answers = [{ error: "invalid_grant", number: 70000, text: `${code} and ${flow.codeVerifier}` }];
    expectNoSecret(await failure(finishAuthorization(provider, flow, answer, entra)), code, flow.codeVerifier);
  });

  test("a signal that was aborted ends it with its reason, before anything is sent", async () => {
    const provider = await providerOf(), { url, flow } = await start(provider), reason = new Error("over");
    const call = finishAuthorization(provider, flow, entra.authorize(url), {
      ...entra,
      signal: AbortSignal.abort(reason),
    });
    expect(await rejection(call)).toBe(reason);
    expect(entra.requests).toEqual([]);
  });
});

// The protocol against a real OpenID provider, oidc-provider, on loopback.

const REDIRECT_URI = "http://127.0.0.1:4711/signed-in";
const SCOPES = ["api.read"];

describe("lib/oauth with oidc-provider", () => {
  const stage = useStage({ provider: true });
  let provider: Provider;

  beforeAll(async () => {
    provider = await findProvider(parseAuthority(stage.provider.url), {});
  });

  function request(more: Partial<AuthorizationRequest> = {}): AuthorizationRequest {
    return { clientId: stage.provider.clientId, scopes: SCOPES, redirectUri: REDIRECT_URI, ...more };
  }

  async function signIn(more: Partial<AuthorizationRequest> = {}, browser = new ScriptedBrowser()) {
    const flow = await startAuthorization(provider, request(more)), { authUri: url } = flow;
    return { url, flow, landing: await land(url, browser) };
  }

  async function land(url: string, browser: ScriptedBrowser): Promise<Landing> {
    return await browser.open(url, isRedirectOf(url), { login: "jane", password: "x" });
  }

  test("getAuthorizationRequestUrl() finds where to consent at", async () => {
    await using app = new PublicClientApplication({ clientId: stage.provider.clientId, authority: stage.provider.url });
    const url = new URL(await app.getAuthorizationRequestUrl({ scopes: SCOPES }));
    expect(url.origin + url.pathname).toBe(`${stage.provider.url}/auth`);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      ...{
        client_id: stage.provider.clientId,
        response_type: "code",
        redirect_uri: `http://127.0.0.1${redirectPath(stage.provider.url)}`,
      },
      scope: "api.read openid profile offline_access",
    });
  });

  test("a person signs in, and the answer is posted", async () => {
    const { flow, landing } = await signIn();
    expect(landing.method).toBe("POST");
    const { result, refreshToken } = await finishAuthorization(provider, flow, landing.parameters);
    expect(result).toMatchObject({
      tokenType: "Bearer",
      source: "identity_provider",
      correlationId: flow.correlationId,
      account: {
        homeAccountId: "jane",
        localAccountId: "jane",
        environment: new URL(stage.provider.url).host,
        username: "jane@contoso.com",
        name: "Jane Doe",
      },
    });
    expect(result.scopes).toEqual(expect.arrayContaining(["api.read", "openid", "offline_access"]));
    expect(result.idTokenClaims).toMatchObject({
      iss: stage.provider.url,
      aud: stage.provider.clientId,
      nonce: flow.nonce,
    });
    expect(result.expiresOn.getTime()).toBeGreaterThan(Date.now());
    expect(refreshToken).toBeTruthy();
  });

  test("an answer that is replayed is refused", async () => {
    const { flow, landing } = await signIn();
    await finishAuthorization(provider, flow, landing.parameters);
    const error = await failure(finishAuthorization(provider, flow, landing.parameters));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
    expectNoSecret(error, landing.parameters.get("code")!, flow.codeVerifier);
  });

  test("a code that was injected with its verifier is refused by the nonce", async () => {
    const victims = await signIn(), own = await signIn();
    const injected = new URLSearchParams(own.landing.parameters);
    injected.set("code", victims.landing.parameters.get("code")!);
    const error = await failure(
      finishAuthorization(provider, { ...own.flow, codeVerifier: victims.flow.codeVerifier }, injected),
    );
    expect(error).toMatchObject({ code: "invalid_response" });
    expect(error.message).toContain("nonce");
    expectNoSecret(error, own.flow.nonce, victims.flow.nonce);
  });

  test("an answer of another issuer is refused, and one that should name it and does not", async () => {
    const { flow, landing } = await signIn();
    const mixed = new URLSearchParams(landing.parameters);
    mixed.set("iss", "https://id.contoso.com");
    expect((await failure(finishAuthorization(provider, flow, mixed))).code).toBe("invalid_response");
    mixed.delete("iss");
    expect((await failure(finishAuthorization(provider, flow, mixed))).code).toBe("invalid_response");
    const reply = await finishAuthorization(provider, flow, landing.parameters); // the code was not spent
    expect(reply.result.accessToken).toBeTruthy();
  });

  test("a redirect URI other than the flow's is refused", async () => {
    const { flow, landing } = await signIn();
    const error = await failure(
      finishAuthorization(provider, { ...flow, redirectUri: "http://127.0.0.1:4712/signed-in" }, landing.parameters),
    );
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
  });

  test("refreshTokens() gives a new token and a new refresh token, and the old one is good no more", async () => {
    const { flow, landing } = await signIn();
    const first = await finishAuthorization(provider, flow, landing.parameters);
    const asked = { clientId: stage.provider.clientId, scopes: SCOPES, account: first.result.account };
    const second = await refreshTokens(provider, { ...asked, refreshToken: first.refreshToken! }, {});
    expect(second.result.accessToken).not.toBe(first.result.accessToken);
    expect(second.result.account).toEqual(first.result.account);
    expect(second.refreshToken).toBeTruthy();
    expect(second.refreshToken).not.toBe(first.refreshToken);
    const error = await failure(refreshTokens(provider, { ...asked, refreshToken: first.refreshToken! }, {}));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
    expectNoSecret(error, first.refreshToken!);
  });

  test("refreshTokens() for more than the person granted needs the person, and says for what", async () => {
    const { flow, landing } = await signIn({ scopes: ["api.read"], prompt: "consent" });
    const reply = await finishAuthorization(provider, flow, landing.parameters);
    const error = await failure(
      refreshTokens(provider, {
        clientId: stage.provider.clientId,
        scopes: ["api.write"],
        refreshToken: reply.refreshToken!,
      }, {}),
    );
    const hint = expect.stringContaining("acquireTokenInteractive with these scopes");
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_scope", hint });
  });

  test("finishAuthorization() says which scopes were refused", async () => {
    const flow = await startAuthorization(provider, request());
    const refused = new URLSearchParams({ error: "invalid_scope", state: flow.state, iss: stage.provider.url });
    expect(await failure(finishAuthorization(provider, flow, refused))).toMatchObject({
      code: "configuration",
      hint: expect.stringContaining("these: api.read openid profile offline_access"),
    });
  });

  test("a person signs in on another device", async () => {
    const code = await startDeviceCode(provider, { clientId: stage.provider.clientId, scopes: SCOPES });
    expect(code.verificationUri).toBe(`${stage.provider.url}/device`);
    expect(code.message).toContain(code.userCode);
    const asked: number[] = [];
    const wait = async (milliseconds: number) => {
      asked.push(milliseconds);
      // The provider is asked once before the person has typed the code.
      if (asked.length === 2) await typeCode(code.verificationUriComplete!);
    };
    const { result } = await pollDeviceCode(provider, code, { wait });
    expect(asked).toEqual([5000, 5000]);
    expect(result.account.username).toBe("jane@contoso.com");
    const error = await failure(pollDeviceCode(provider, code, { wait: () => Promise.resolve() }));
    expect(error.error).toBe("invalid_grant");
  });

  async function typeCode(url: string): Promise<void> {
    const end = await rejection(new ScriptedBrowser().open(url, () => false, { login: "jane", password: "x" }));
    expect(end.message).toContain("Sign-in Success");
  }
});

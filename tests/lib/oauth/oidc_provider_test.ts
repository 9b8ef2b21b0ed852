// The protocol against a real OpenID provider, oidc-provider, on loopback.
import { beforeAll, describe, expect, test } from "bun:test";
import { PublicClientApplication } from "../../../lib/application.ts";
import { parseAuthority, redirectPath } from "../../../lib/authority.ts";
import { finishAuthorization, startAuthorization } from "../../../lib/oauth/authorization_code.ts";
import { pollDeviceCode, startDeviceCode } from "../../../lib/oauth/device_code.ts";
import { type AuthorizationRequest, findProvider, type Provider } from "../../../lib/oauth/provider.ts";
import { refreshTokens } from "../../../lib/oauth/token_endpoint.ts";
import { expectNoSecret, failure, rejection, useStage } from "../../fixture.ts";
import { isRedirectOf, type Landing, ScriptedBrowser } from "../../tools/scripted_browser.ts";

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

  test("findProvider() finds the endpoints that the provider publishes", () => {
    expect(provider.server).toMatchObject({
      issuer: stage.provider.url,
      authorization_endpoint: `${stage.provider.url}/auth`,
      token_endpoint: `${stage.provider.url}/token`,
      device_authorization_endpoint: `${stage.provider.url}/device/auth`,
    });
  });

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

  test("a person signs in, and the answer is in the query", async () => {
    const { flow, landing } = await signIn({ responseMode: "query" });
    expect(landing.method).toBe("GET");
    const reply = await finishAuthorization(provider, flow, landing.parameters);
    expect(reply.result.account.username).toBe("jane@contoso.com");
  });

  test("a flow is plain JSON: it goes on where it was stored", async () => {
    const { flow, landing } = await signIn();
    const stored = JSON.parse(JSON.stringify(flow));
    const reply = await finishAuthorization(provider, stored, landing.parameters);
    expect(reply.result.accessToken).toBeTruthy();
  });

  test("an answer that is replayed is refused", async () => {
    const { flow, landing } = await signIn();
    await finishAuthorization(provider, flow, landing.parameters);
    const error = await failure(finishAuthorization(provider, flow, landing.parameters));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
    expectNoSecret(error, landing.parameters.get("code")!, flow.codeVerifier);
  });

  test("a code that was injected from another's sign-in is refused by PKCE", async () => {
    const browser = new ScriptedBrowser();
    const victims = await signIn({}, browser), own = await signIn({}, browser);
    const injected = new URLSearchParams(own.landing.parameters);
    injected.set("code", victims.landing.parameters.get("code")!);
    const error = await failure(finishAuthorization(provider, own.flow, injected));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant" });
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

  test("maxAge is asked for, and checked", async () => {
    const { url, flow, landing } = await signIn({ maxAge: 600 });
    expect(new URL(url).searchParams.get("max_age")).toBe("600");
    const { result } = await finishAuthorization(provider, flow, landing.parameters);
    expect(result.idTokenClaims).toHaveProperty("auth_time");
    const later = await signIn({ maxAge: 600 });
    const error = await failure(
      finishAuthorization(provider, { ...later.flow, startedOn: Date.now() + 3_600_000 }, later.landing.parameters),
    );
    expect(error.code).toBe("interaction_required");
  });

  test("prompt none without a session is interaction_required", async () => {
    const { flow, landing } = await signIn({ prompt: "none" });
    const error = await failure(finishAuthorization(provider, flow, landing.parameters));
    expect(error).toMatchObject({ code: "interaction_required", error: "login_required" });
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

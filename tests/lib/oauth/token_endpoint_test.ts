// The refresh of tokens at Microsoft Entra ID, played by a fake.
import { beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { finishAuthorization, startAuthorization } from "../../../lib/oauth/authorization_code.ts";
import type { HttpOptions } from "../../../lib/oauth/fetch.ts";
import { findProvider, type Provider } from "../../../lib/oauth/provider.ts";
import { type RefreshRequest, refreshTokens, type TokenReply } from "../../../lib/oauth/token_endpoint.ts";
import { JANE, TENANT } from "../../fakes/fake_entra.ts";
import { CLIENT_ID, expectNoSecret, failure, useEntra } from "../../fixture.ts";

const FAMILY_MEMBER = "22222222-2222-4333-8444-555555555555";
const OTHER_TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f";

describe("lib/oauth/token_endpoint with Entra", () => {
  const entra = useEntra();
  let provider: Provider, first: TokenReply, waited: number[];

  beforeAll(async () => {
    provider = await findProvider(parseAuthority("https://login.microsoftonline.com/common"), entra);
  });
  beforeEach(async () => {
    waited = [];
    first = await signIn();
    entra.requests.length = 0;
  });

  async function signIn(): Promise<TokenReply> {
    const redirectUri = "http://localhost";
    const flow = await startAuthorization(provider, { clientId: CLIENT_ID, scopes: ["User.Read"], redirectUri });
    return await finishAuthorization(provider, flow, entra.authorize(flow.authUri), entra);
  }

  const http = (): HttpOptions => ({
    fetch: entra.fetch,
    wait: (milliseconds) => {
      waited.push(milliseconds);
      return Promise.resolve();
    },
  });

  async function refresh(more: Partial<RefreshRequest & HttpOptions> = {}, by = provider): Promise<TokenReply> {
    const { refreshToken = first.refreshToken!, ...rest } = more;
    return await refreshTokens(by, { clientId: CLIENT_ID, refreshToken, scopes: ["Mail.Read"], ...rest }, {
      ...http(),
      ...rest,
    });
  }

  test("refreshTokens() gives a new token with one request", async () => {
    const correlationId = "00000000-0000-4000-8000-000000000001";
    const reply = await refresh({ account: first.result.account, claims: '{"access_token":{}}', correlationId });
    expect(reply.result).toMatchObject({ account: first.result.account, source: "identity_provider", correlationId });
    expect(reply.refreshToken).not.toBe(first.refreshToken);
    expect(entra.requests).toHaveLength(1);
    const { headers, parameters } = entra.requests[0]!;
    expect(headers["client-request-id"]).toBe(correlationId);
    expect(Object.fromEntries(parameters)).toEqual({
      ...{ client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token: first.refreshToken!, client_info: "1" },
      ...{ scope: "Mail.Read openid profile offline_access", claims: '{"access_token":{}}' },
    });
  });

  test("refreshTokens() gives a token of another tenant to the same account", async () => {
    entra.behaviour.idToken = {
      tid: OTHER_TENANT,
      iss: `https://login.microsoftonline.com/${OTHER_TENANT}/v2.0`,
      oid: "guest",
    };
    const other = await findProvider(parseAuthority(`https://login.microsoftonline.com/${OTHER_TENANT}`), entra);
    const { result } = await refresh({ account: first.result.account }, other);
    expect(result).toMatchObject({
      tenantId: OTHER_TENANT,
      account: { homeAccountId: `${JANE}.${TENANT}`, localAccountId: "guest" },
    });
  });

  test("refreshTokens() does without an id token", async () => {
    entra.behaviour.reply = { id_token: undefined, client_info: undefined };
    expect((await refresh({ account: first.result.account })).result.account).toEqual(first.result.account);
    expect((await failure(refresh())).code).toBe("invalid_response");
  });

  test.each([
    ["another app's", { aud: FAMILY_MEMBER }],
    ["another issuer's", { iss: "https://login.contoso.com/" }],
    ["over", { exp: 1_600_000_000 }],
  ])("refreshTokens() refuses an id token that is %s", async (_what, idToken) => {
    entra.behaviour.idToken = idToken;
    expect((await failure(refresh())).code).toBe("invalid_response");
  });

  test("refreshTokens() refuses an answer for another account", async () => {
    const account = { ...first.result.account, homeAccountId: `${OTHER_TENANT}.${TENANT}` };
    expect((await failure(refresh({ account }))).code).toBe("interaction_required");
  });

  test("a refused refresh token is interaction_required, with all that the server said", async () => {
    const claims = '{"access_token":{"capolids":{"essential":true,"values":["a"]}}}';
    entra.behaviour.answers = [{
      ...{
        error: "interaction_required",
        suberror: "basic_action",
        number: 50076,
        text: "Use multi-factor authentication.",
        claims,
      },
    }];
    const error = await failure(refresh());
    expect(error).toMatchObject({
      ...{
        code: "interaction_required",
        error: "interaction_required",
        subError: "basic_action",
        errorCodes: [50076],
        claims,
      },
      hint: expect.stringContaining("acquireTokenInteractive"),
    });
    expect(error.correlationId).not.toBe("");
    expectNoSecret(error, first.refreshToken!, "capolids");
    expect(entra.requests).toHaveLength(1);
  });

  test("a refresh token that is none is interaction_required, and is not shown", async () => {
    const error = await failure(refresh({ refreshToken: "no-such-token" }));
    expect(error).toMatchObject({ code: "interaction_required", error: "invalid_grant", subError: "bad_token" });
    expectNoSecret(error, "no-such-token");
  });

  test("a refresh token of the family is good for another app of it, and for no other app", async () => {
    entra.behaviour.family = [CLIENT_ID, FAMILY_MEMBER];
    const ours = await signIn();
    expect(ours.familyId).toBe("1");
    const theirs = await refresh({ clientId: FAMILY_MEMBER, refreshToken: ours.refreshToken! });
    expect(theirs).toMatchObject({ familyId: "1", result: { account: ours.result.account } });
    entra.behaviour.family = [CLIENT_ID];
    const error = await failure(refresh({ clientId: FAMILY_MEMBER, refreshToken: ours.refreshToken! }));
    expect(error).toMatchObject({ code: "interaction_required", subError: "client_mismatch" });
  });

  test.each([[500, undefined, 1000], [503, "2", 2000], [503, "0", 0], [429, "10", 10_000], [502, "soon", 1000]])(
    "a status of %d with Retry-After %p is tried again once, after %d ms",
    async (status, retryAfter, milliseconds) => {
      const headers: Record<string, string> = retryAfter === undefined ? {} : { "retry-after": retryAfter };
      entra.behaviour.answers = [{ status, headers, body: "busy" }];
      expect((await refresh()).result.accessToken).toBeTruthy();
      expect(waited).toEqual([milliseconds]);
      expect(entra.requests).toHaveLength(2);
    },
  );

  test("Retry-After may be a date", async () => {
    const now = Date.parse("2026-01-01T00:00:00Z"), date = new Date(now + 3000).toUTCString();
    entra.behaviour.answers = [{ status: 503, headers: { "retry-after": date } }, {
      error: "invalid_grant",
      number: 1,
      text: "x",
    }];
    expect((await failure(refresh({ now: () => now }))).code).toBe("interaction_required");
    expect(waited).toEqual([3000]);
  });

  test("a server that fails twice is temporarily_unavailable", async () => {
    entra.behaviour.answers = [{ status: 500, body: "busy" }, { status: 504, body: "busy" }, {
      status: 500,
      body: "busy",
    }];
    expect((await failure(refresh())).code).toBe("temporarily_unavailable");
    expect(entra.requests).toHaveLength(2);
  });

  test("a server that wants to be left alone for long is not waited for", async () => {
    entra.behaviour.answers = [{ status: 429, headers: { "retry-after": "120" } }];
    expect(await failure(refresh())).toMatchObject({
      code: "temporarily_unavailable",
      hint: "Try again in 120 seconds",
    });
    expect(waited).toEqual([]);
    expect(entra.requests).toHaveLength(1);
  });

  test("a connection that fails is tried again once, and then is no_network", async () => {
    let calls = 0;
    const broken = (times: number) => (url: string, init: RequestInit) => {
      if (calls++ < times) {
        return Promise.reject(new TypeError(`failed with ${init.body}`, { cause: { code: "ECONNRESET" } }));
      }
      return entra.fetch(url, init);
    };
    expect((await refresh({ fetch: broken(1) })).result.accessToken).toBeTruthy();
    calls = 0;
    const error = await failure(refresh({ fetch: broken(5) }));
    expect(error).toMatchObject({ code: "no_network", message: "Cannot reach login.microsoftonline.com (ECONNRESET)" });
    expectNoSecret(error, first.refreshToken!);
    expect(calls).toBe(2);
  });

  test.each([
    ["no JSON", "<html>at-secret"],
    ["a list", []],
    ["no token", { token_type: "Bearer" }],
    ["a number for a token", { access_token: 1, token_type: "Bearer" }],
    ["no type", { access_token: "at-secret" }],
    ["another type", { access_token: "at-secret", token_type: "mac" }],
    ["a lifetime that is none", { access_token: "at-secret", token_type: "Bearer", expires_in: "long" }],
  ])("an answer with %s is invalid, and is not shown", async (_what, body) => {
    entra.behaviour.answers = [{ body }];
    const error = await failure(refresh({ account: first.result.account }));
    expect(error.code).toBe("invalid_response");
    expectNoSecret(error, "at-secret", first.refreshToken!);
  });

  test("an answer with a challenge in its header is read all the same", async () => {
    entra.behaviour.answers = [{
      status: 401,
      headers: { "www-authenticate": 'Bearer realm="x"' },
      body: {
        error: "invalid_client",
        error_description: "AADSTS7000218: The request body must contain client_assertion.",
      },
    }];
    expect(await failure(refresh())).toMatchObject({ code: "configuration", errorCodes: [7000218] });
  });

  test("a redirect is refused, and nothing follows it", async () => {
    entra.behaviour.answers = [{ status: 307, headers: { location: "https://login.example.com/token" } }];
    const error = await failure(refresh());
    expect(error).toMatchObject({
      code: "invalid_response",
      message: "login.microsoftonline.com redirects where it has to answer",
    });
    expect(entra.requests).toHaveLength(1);
  });

  test("an answer of more than a megabyte is refused", async () => {
    entra.behaviour.reply = { padding: "x".repeat(1024 * 1024) };
    expect(await failure(refresh())).toMatchObject({
      code: "invalid_response",
      message: expect.stringContaining("bytes"),
    });
  });
});

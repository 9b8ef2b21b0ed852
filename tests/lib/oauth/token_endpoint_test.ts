// The refresh of tokens at Microsoft Entra ID, played by a fake.
import { beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { TokenEndpointResponse } from "@panva/oauth4webapi";
import type { AccountInfo } from "../../../lib/account.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { finishAuthorization, startAuthorization } from "../../../lib/oauth/authorization_code.ts";
import type { HttpOptions } from "../../../lib/oauth/bounded_fetch.ts";
import { findProvider, type Provider } from "../../../lib/oauth/provider.ts";
import {
  type RefreshRequest,
  refreshTokens,
  type TokenReply,
  tokenReply,
  type TokenReplyContext,
} from "../../../lib/oauth/token_endpoint.ts";
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
      hint: "Try again in 2 minutes",
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

const NOW = 1_700_000_000_000;
const CLIENT_INFO = btoa(JSON.stringify({ uid: JANE, utid: TENANT }));

function read(
  body: Record<string, unknown> = {},
  context: Partial<TokenReplyContext> & { readonly authority?: string } = {},
) {
  const { authority = "https://login.microsoftonline.com/common", ...rest } = context;
  const whole = { access_token: "at", token_type: "bearer", expires_in: 3600, ...body } as TokenEndpointResponse;
  return tokenReply(whole, {
    provider: { authority: parseAuthority(authority), server: { issuer: authority } },
    ...{ claims: { sub: "subject" }, scopes: ["asked"], correlationId: "id", now: NOW },
    ...rest,
  });
}

const seconds = (date: Date | undefined) => date && (date.getTime() - NOW) / 1000;
const errorOf = (body: Record<string, unknown>, context?: Partial<TokenReplyContext>) =>
  failure((async () => await read(body, { authority: "https://id.contoso.com", ...context }))());

test("tokenReply() reads times that are numbers or texts", () => {
  const entra = { claims: { oid: JANE, tid: TENANT } };
  for (const kind of [Number, String]) {
    const { result } = read({ expires_in: kind(4000), ext_expires_in: kind(8000), refresh_in: kind(2000) }, entra);
    expect(seconds(result.expiresOn)).toBe(4000);
    expect(seconds(result.extendedExpiresOn)).toBe(8000);
    expect(seconds(result.refreshOn)).toBe(2000);
  }
});

test.each([[undefined, 600], ["", 600], ["x", 600], [-1, 600], [0, 0], ["0", 0], [1e300, 100 * 365 * 24 * 60 * 60]])(
  "tokenReply() with a lifetime of %p: %d",
  (expires_in, lifetime) => {
    const { result } = read({ expires_in, ext_expires_in: "x", refresh_in: null }, {
      claims: { oid: JANE, tid: TENANT },
    });
    expect(seconds(result.expiresOn)).toBe(lifetime);
    expect(result).not.toContainAnyKeys(["extendedExpiresOn", "refreshOn"]);
  },
);

test.each([[undefined, ["asked"]], ["", ["asked"]], [" ", ["asked"]], ["a  b\tc", ["a", "b", "c"]]])(
  "tokenReply() with a scope of %p",
  (scope, scopes) => {
    expect(read({ scope }, { claims: { oid: JANE, tid: TENANT } }).result.scopes).toEqual(scopes);
  },
);

const PLAIN = "https://id.contoso.com", GUID = "00000003-0000-0000-c000-000000000000";

// Hydra leaves a scope out that the user has not granted, and the token was printed as one for it.
test.each([
  [PLAIN, ["api"], "email openid offline_access", ["api"]],
  [PLAIN, ["api.read", "api.write"], "api.read openid", ["api.write"]],
  [PLAIN, ["api"], "apis API-2", ["api"]],
  [PLAIN, ["Api"], "openid api more", undefined],
  [PLAIN, ["api"], undefined, undefined],
  [PLAIN, ["email", "phone"], "openid https://www.googleapis.com/auth/userinfo.email", undefined],
  // Microsoft's servers refuse instead, and name scopes in several ways.
  ["https://login.microsoftonline.com/common", ["User.Read"], "https://graph.microsoft.com/User.Read", undefined],
  [
    "https://login.microsoftonline.com/common",
    [`${GUID}/.default`],
    "https://graph.microsoft.com/User.Read",
    undefined,
  ],
  ["https://login.microsoftonline.com/common", ["https://graph.microsoft.com/User.Read"], "User.Read email", undefined],
  ["https://contoso.ciamlogin.com/contoso.com", ["api://contoso/a"], "openid", undefined],
  ["https://contoso.b2clogin.com/contoso.com/B2C_1_in", ["https://contoso.com/api/a"], "a openid", undefined],
  ["https://adfs.contoso.com/adfs", ["https://contoso.com/api/a"], "openid", undefined],
])("tokenReply() at %s compares %p with %p", (authority, scopes, scope, declinedScopes) => {
  const claims = { sub: "subject", oid: JANE, tid: TENANT };
  expect(read({ scope }, { authority, claims, scopes }).declinedScopes).toEqual(declinedScopes);
});

// A provider may leave a scope out of the response that its token has: the token was refused.
test.each<[object, string[]]>([
  [{ scope: "openid Api.Write" }, ["api.write"]],
  [{ scp: ["api.read", "api.write"] }, ["api.write"]],
  [{ scp: "api.write", scope: 7 }, ["api.write"]],
  [{ scope: "api.read" }, []],
])("tokenReply() finds the scopes of a token with %p", (claims, found) => {
  const access_token = ["e30", Buffer.from(JSON.stringify(claims)).toString("base64url"), "sig"].join(".");
  const { result, declinedScopes } = read({ scope: "openid", access_token }, {
    authority: PLAIN,
    scopes: ["api.write"],
  });
  expect(result.scopes).toEqual(["openid", ...found]);
  expect(declinedScopes).toEqual(found.length > 0 ? undefined : ["api.write"]);
});

test("tokenReply() does not compare scopes at a custom domain of Entra External ID", () => {
  const authority = parseAuthority(`https://id.contoso.com/${TENANT}`);
  const server = { issuer: `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0` };
  const context = { provider: { authority, server }, claims: { sub: "subject" }, scopes: ["api://contoso/a"] };
  expect(read({ scope: "openid" }, context).declinedScopes).toBeUndefined();
});

test("tokenReply() counts a scope that names claims as granted, so that its token is found again", () => {
  const { result } = read({ scope: "openid userinfo.email" }, { authority: PLAIN, scopes: ["email"] });
  expect(result.scopes).toEqual(["openid", "userinfo.email", "email"]);
});

const ACCOUNTS: readonly [
  what: string,
  authority: string,
  clientInfo: string | undefined,
  claims: Record<string, unknown>,
  account: Partial<AccountInfo>,
][] = [
  ["Entra's client_info", "https://login.windows.net/common", CLIENT_INFO, {
    oid: "guest",
    tid: "other",
    sub: "s",
    preferred_username: "jane@contoso.com",
  }, {
    ...{
      homeAccountId: `${JANE}.${TENANT}`,
      localAccountId: "guest",
      tenantId: "other",
      realm: "other",
      environment: "login.microsoftonline.com",
    },
    username: "jane@contoso.com",
  }],
  ["Entra's id token", "https://login.microsoftonline.com/common", undefined, {
    oid: JANE,
    tid: TENANT,
    upn: "jane@contoso.com",
  }, {
    ...{
      homeAccountId: `${JANE}.${TENANT}`,
      localAccountId: JANE,
      tenantId: TENANT,
      realm: TENANT,
      username: "jane@contoso.com",
    },
  }],
  [
    "B2C's client_info",
    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin",
    btoa(JSON.stringify({ uid: `${JANE}-b2c_1_signin`, utid: TENANT })),
    { oid: JANE, emails: ["jane@contoso.com"] },
    {
      ...{
        homeAccountId: `${JANE}-b2c_1_signin.${TENANT}`,
        localAccountId: JANE,
        tenantId: TENANT,
        realm: TENANT,
        environment: "contoso.b2clogin.com",
      },
      username: "jane@contoso.com",
    },
  ],
  ["External ID's client_info", "https://contoso.ciamlogin.com", CLIENT_INFO, {
    oid: JANE,
    tid: TENANT,
    email: "jane@contoso.com",
  }, {
    ...{
      homeAccountId: `${JANE}.${TENANT}`,
      tenantId: TENANT,
      realm: TENANT,
      environment: "contoso.ciamlogin.com",
      username: "jane@contoso.com",
    },
  }],
  ["ADFS' subject", "https://adfs.contoso.com/adfs", undefined, { sub: "subject", upn: "jane@contoso.com" }, {
    ...{
      homeAccountId: "subject",
      localAccountId: "subject",
      tenantId: "adfs",
      realm: "adfs",
      environment: "adfs.contoso.com",
      username: "jane@contoso.com",
    },
  }],
  ["an OpenID provider's subject", "https://id.contoso.com/realms/a", undefined, { sub: "subject", name: "Jane" }, {
    ...{
      homeAccountId: "subject",
      localAccountId: "subject",
      tenantId: "realms/a",
      realm: "realms/a",
      environment: "id.contoso.com/realms/a",
      username: "",
      name: "Jane",
    },
  }],
  ["half a client_info", "https://id.contoso.com", btoa('{"uid":"x"}'), { sub: "subject" }, {
    homeAccountId: "subject",
  }],
  ["a client_info that is none", "https://id.contoso.com", "%%%", { sub: "subject" }, { homeAccountId: "subject" }],
];

test.each(ACCOUNTS.map((row) => [...row]))(
  "tokenReply() knows an account by %s",
  (_what, authority, clientInfo, claims, account) => {
    const { result } = read({ client_info: clientInfo }, { authority, claims });
    expect(result.account).toMatchObject({ source: "cache", ...account });
  },
);

// Anybody's client_info, oid and tid were taken for Microsoft's, so that a provider chose whose account its people were.
test.each([
  "https://id.contoso.com/realms/a",
  "https://adfs.contoso.com/adfs",
  "https://login.contoso.com/contoso.onmicrosoft.com/b2c_1_signin",
  "https://contoso.b2clogin.evil.com/tfp/contoso.onmicrosoft.com/b2c_1_signin",
  `https://login.contoso.com/${TENANT}/v2.0`,
])("tokenReply() knows an account of %s by its subject and nothing else", (authority) => {
  for (const claims of [{ sub: "mallory" }, { sub: "mallory", oid: JANE, tid: TENANT }]) {
    const { result, ...rest } = read({ client_info: CLIENT_INFO }, { authority, claims });
    expect(result.account).toMatchObject({ homeAccountId: "mallory", localAccountId: "mallory" });
    expect([result.account.realm, result.tenantId]).not.toContain(TENANT);
    expect(result.tenantId).toBe(result.account.realm);
    expect(rest.clientInfo).toBeUndefined();
  }
});

// The subject is any text, so that it could be one of Microsoft's ids too.
test("tokenReply() adds the issuer to a subject that looks like an id of Microsoft's", () => {
  const authority = "https://id.contoso.com/realms/a", claims = { sub: `${JANE}.${TENANT}` };
  const { account } = read({}, { authority, claims }).result;
  expect(account.homeAccountId).toBe(`${JANE}.${TENANT}#id.contoso.com/realms/a`);
  expect(read({}, { authority, claims, account }).result.account).toEqual(account);
});

test("tokenReply() takes what the answer does not say from the account that was asked for", () => {
  const account: AccountInfo = {
    ...{
      homeAccountId: `${JANE}.${TENANT}`,
      localAccountId: JANE,
      environment: "login.microsoftonline.com",
      tenantId: TENANT,
      realm: TENANT,
    },
    ...{ username: "jane@contoso.com", name: "Jane", source: "cache" },
  };
  expect(read({}, { account, claims: undefined }).result).toMatchObject({ account, tenantId: TENANT });
  expect(read({ client_info: CLIENT_INFO.toUpperCase() }, { account, claims: undefined }).result.account).toEqual(
    account,
  );
});

test("tokenReply() has what renews the token", () => {
  expect(read({ refresh_token: "rt", foci: "1", client_info: CLIENT_INFO })).toMatchObject({
    ...{ refreshToken: "rt", familyId: "1", clientInfo: CLIENT_INFO },
  });
  expect(Object.keys(read({}, { claims: { oid: JANE, tid: TENANT } }))).toEqual(["result"]);
});

const account: AccountInfo = {
  ...{
    homeAccountId: "other",
    localAccountId: "other",
    environment: "id.contoso.com",
    tenantId: "",
    realm: "",
    username: "",
    source: "cache",
  },
};
const REFUSED: readonly [
  what: string,
  body: Record<string, unknown>,
  context: Partial<TokenReplyContext>,
  code: LatchkeyErrorCode,
][] = [
  ["a token that would split a header", { access_token: "a\r\nb" }, {}, "invalid_response"],
  ["a token of another type", { token_type: "dpop" }, {}, "invalid_response"],
  ["a token of nobody", {}, { claims: undefined }, "invalid_response"],
  ["a token of somebody else", {}, { account }, "interaction_required"],
  [
    "a token of a subject in other letters",
    {},
    { account: { ...account, homeAccountId: "SUBJECT" } },
    "interaction_required",
  ],
  // The id alone was compared: the same subject of another issuer is another person.
  [
    "a token of another issuer's subject",
    {},
    { account: { ...account, homeAccountId: "subject", environment: "id.example.com" } },
    "interaction_required",
  ],
];

test.each(REFUSED.map((row) => [...row]))("tokenReply() refuses %s", async (_what, body, context, code) => {
  expect(await errorOf(body, context)).toMatchObject({ code, correlationId: "id" });
});

import type { TokenEndpointResponse } from "@panva/oauth4webapi";
import { expect, test } from "bun:test";
import type { AccountInfo } from "../../../lib/account.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { tokenReply, type TokenReplyContext } from "../../../lib/oauth/token_endpoint.ts";
import { JANE, TENANT } from "../../fakes/fake_entra.ts";
import { failure } from "../../fixture.ts";

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

import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { finishAuthorization, startAuthorization } from "../../../lib/oauth/authorization_code.ts";
import { findProvider, isIssuerOf } from "../../../lib/oauth/provider.ts";
import { jwt, TENANT } from "../../fakes/fake_entra.ts";
import { CLIENT_ID, expectNoSecret, failure, rejection, useEntra } from "../../fixture.ts";

const REDIRECT_URI = "http://localhost";
const B2C = "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin";

/** A fetch that has one document for all, and counts. */
function serve(document: unknown, init: ResponseInit = {}) {
  const asked: string[] = [];
  const fetch = (url: string): Promise<Response> => {
    asked.push(url);
    const body = typeof document === "string" ? document : JSON.stringify(document);
    return Promise.resolve(new Response(body, { headers: { "content-type": "application/json" }, ...init }));
  };
  return { asked, http: { fetch, wait: () => Promise.resolve() } };
}

/** A document as it has to be. */
function documentOf(issuer: string, more: Record<string, unknown> = {}) {
  return { issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, ...more };
}

test.each([
  ["https://login.microsoftonline.com/common", "https://login.microsoftonline.com/{tenantid}/v2.0"],
  ["https://login.windows.net/contoso.com", "https://login.microsoftonline.com/{tenantid}/v2.0"],
  ["https://login.chinacloudapi.cn/common", "https://login.partner.microsoftonline.cn/{tenantid}/v2.0"],
  ["https://login.sovcloud-identity.de/common", "https://login.sovcloud-identity.de/{tenantid}/v2.0"],
])("findProvider(%s) asks nobody", async (url, issuer) => {
  const { asked, http } = serve({}), provider = await findProvider(parseAuthority(url), http);
  expect(asked).toEqual([]);
  expect(provider.server).toMatchObject({
    issuer,
    authorization_endpoint: `${url}/oauth2/v2.0/authorize`,
    token_endpoint: `${url}/oauth2/v2.0/token`,
    device_authorization_endpoint: `${url}/oauth2/v2.0/devicecode`,
  });
});

test.each([
  ["https://id.contoso.com", "https://id.contoso.com"],
  ["https://id.contoso.com/realms/a/", "https://id.contoso.com/realms/a"],
  ["https://adfs.contoso.com/adfs", "https://adfs.contoso.com/adfs"],
  [B2C, `${B2C}/v2.0`],
  [`${B2C}/v2.0`, `${B2C}/v2.0`],
  ["https://contoso.ciamlogin.com", "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/v2.0"],
  [`https://contoso.ciamlogin.com/${TENANT}`, `https://contoso.ciamlogin.com/${TENANT}/v2.0`],
  ["https://login-us.microsoftonline.com/common", "https://login-us.microsoftonline.com/common/v2.0"],
])("findProvider(%s) asks below %s", async (url, base) => {
  const { asked, http } = serve("{}");
  expect((await failure(findProvider(parseAuthority(url), http))).code).toBe("invalid_response");
  expect(asked).toEqual([`${base}/.well-known/openid-configuration`]);
});

describe("findProvider() at Microsoft's other servers", () => {
  const entra = useEntra();

  test.each([
    [B2C, `https://contoso.b2clogin.com/${TENANT}/v2.0/`],
    ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
    ["https://adfs.contoso.com/adfs", "https://adfs.contoso.com/adfs"],
    ["https://login-us.microsoftonline.com/common", "https://login.microsoftonline.us/{tenantid}/v2.0"],
  ])("a person signs in at %s", async (url, issuer) => {
    entra.behaviour.metadata = { issuer };
    entra.behaviour.idToken = { iss: issuer.replace("{tenantid}", TENANT) };
    const fetch = (url: string, init: RequestInit) => entra.fetch(url, init); // nothing is kept of another test's
    const provider = await findProvider(parseAuthority(url), { fetch });
    const flow = await startAuthorization(provider, {
      clientId: CLIENT_ID,
      scopes: ["api"],
      redirectUri: REDIRECT_URI,
    });
    const { result } = await finishAuthorization(provider, flow, entra.authorize(flow.authUri), { fetch });
    expect(result.account.environment).toBe(new URL(url).host);
  });
});

test("findProvider() asks once for all who ask at the same time, and once a day", async () => {
  const { asked, http } = serve(documentOf("https://id.contoso.com")),
    authority = parseAuthority("https://id.contoso.com");
  let time = 1_000_000;
  const call = { ...http, now: () => time };
  const [one, two] = await Promise.all([findProvider(authority, call), findProvider(authority, call)]);
  expect(one).toBe(two);
  time += 24 * 60 * 60_000 - 1;
  expect(await findProvider(authority, call)).toBe(one);
  expect(asked).toHaveLength(1);
  time += 2;
  expect(await findProvider(authority, call)).not.toBe(one);
  expect(asked).toHaveLength(2);
  await findProvider(parseAuthority("https://id.contoso.com"), { ...call, fetch: (url) => http.fetch(url) });
  expect(asked).toHaveLength(3); // another fetch is another world
});

test("findProvider() does not keep a failure", async () => {
  const answers = [new Response("busy", { status: 503 }), new Response("busy", { status: 503 })];
  const document = JSON.stringify(documentOf("https://id.contoso.com"));
  const http = {
    fetch: () => Promise.resolve(answers.shift() ?? new Response(document)),
    wait: () => Promise.resolve(),
  };
  const authority = parseAuthority("https://id.contoso.com");
  expect((await failure(findProvider(authority, http))).code).toBe("temporarily_unavailable");
  expect((await findProvider(authority, http)).server.issuer).toBe("https://id.contoso.com");
});

test("findProvider() lets a caller who aborts go, and the others have their answer", async () => {
  const answer = Promise.withResolvers<Response>(), authority = parseAuthority("https://id.contoso.com");
  const fetch = () => answer.promise, controller = new AbortController(), reason = new Error("over");
  const first = rejection(findProvider(authority, { fetch, signal: controller.signal }));
  const second = findProvider(authority, { fetch });
  controller.abort(reason);
  expect(await first).toBe(reason as never);
  answer.resolve(new Response(JSON.stringify(documentOf("https://id.contoso.com"))));
  expect((await second).server.issuer).toBe("https://id.contoso.com");
});

test("findProvider() does not wait for ever for a call that has lost its answer", async () => {
  let time = 0, calls = 0;
  const fetch = () =>
    ++calls === 1
      ? new Promise<Response>(() => {})
      : Promise.resolve(new Response(JSON.stringify(documentOf("https://id.contoso.com"))));
  const authority = parseAuthority("https://id.contoso.com"), now = () => time;
  const controller = new AbortController();
  const lost = rejection(findProvider(authority, { fetch, now, signal: controller.signal }));
  time += 31_000;
  expect((await findProvider(authority, { fetch, now })).server.issuer).toBe("https://id.contoso.com");
  controller.abort();
  await lost;
});

test("findProvider() asks by itself when a call that was under way does not come to an end", async () => {
  let calls = 0;
  const fetch = () =>
    ++calls === 1
      ? new Promise<Response>(() => {})
      : Promise.resolve(new Response(JSON.stringify(documentOf("https://id.contoso.com"))));
  const authority = parseAuthority("https://id.contoso.com"), controller = new AbortController();
  const lost = rejection(findProvider(authority, { fetch, signal: controller.signal }));
  const own = await findProvider(authority, { fetch, timeoutMs: 1_000 });
  expect(own.server.issuer).toBe("https://id.contoso.com");
  expect(await findProvider(authority, { fetch })).toBe(own);
  expect(calls).toBe(2);
  controller.abort();
  await lost;
});

test("findProvider() falls back to the metadata of OAuth (RFC 8414)", async () => {
  const asked: string[] = [];
  const fetch = (url: string) => {
    asked.push(url);
    if (url.includes("openid-configuration")) return Promise.resolve(new Response("no", { status: 404 }));
    return Promise.resolve(new Response(JSON.stringify(documentOf("https://id.contoso.com/a"))));
  };
  expect((await findProvider(parseAuthority("https://id.contoso.com/a"), { fetch })).server.token_endpoint).toBe(
    "https://id.contoso.com/a/token",
  );
  expect(asked[1]).toBe("https://id.contoso.com/.well-known/oauth-authorization-server/a");
});

const ELSEWHERE = "https://id.example.com";
const OWN = "https://id.contoso.com";

test.each([
  ["another issuer", OWN, documentOf(ELSEWHERE)],
  ["another issuer and endpoints of its own", OWN, { ...documentOf(OWN), issuer: ELSEWHERE }],
  [
    "another's sign-in page, and the code for itself",
    OWN,
    documentOf(OWN, { authorization_endpoint: `${ELSEWHERE}/authorize` }),
  ],
  // A device code of another's would have been polled for at the stranger's token endpoint.
  [
    "another's device codes, and their tokens for itself",
    OWN,
    documentOf(OWN, { device_authorization_endpoint: `${ELSEWHERE}/device` }),
  ],
  ["endpoints without TLS", OWN, documentOf(OWN, { token_endpoint: "http://id.contoso.com/token" })],
  ["endpoints without TLS on loopback", OWN, documentOf(OWN, { token_endpoint: "http://127.0.0.1/token" })],
  ["a sign-in page without TLS", OWN, documentOf(OWN, { authorization_endpoint: "http://id.contoso.com/" })],
  ["a sign-in page that is a program", OWN, documentOf(OWN, { authorization_endpoint: "javascript:alert(1)" })],
  ["device codes without TLS", OWN, documentOf(OWN, { device_authorization_endpoint: "file:///etc/passwd" })],
  ["an endpoint that is a number", OWN, documentOf(OWN, { token_endpoint: 1 })],
  ["endpoints elsewhere, of ADFS", `${OWN}/adfs`, documentOf(`${OWN}/adfs`, { token_endpoint: `${ELSEWHERE}/token` })],
  ["endpoints elsewhere, of B2C", B2C, {
    ...documentOf(B2C),
    issuer: `https://contoso.b2clogin.com/${TENANT}/v2.0/`,
    device_authorization_endpoint: ELSEWHERE,
  }],
  [
    "plain endpoints that are not on loopback",
    "http://127.0.0.1:8080",
    documentOf("http://127.0.0.1:8080", { token_endpoint: "http://id.contoso.com/" }),
  ],
])("a discovery document with %s is untrusted", async (_what, url, document) => {
  const error = await failure(findProvider(parseAuthority(url), serve(document).http));
  expect(error.code).toBe("untrusted_authority");
  expectNoSecret(error, "id.example.com");
});

test.each([
  ["no JSON", "<html>"],
  ["a list", "[]"],
  ["no issuer", JSON.stringify({ ...documentOf(OWN), issuer: undefined })],
  ["a number for an issuer", JSON.stringify({ ...documentOf(OWN), issuer: 1 })],
  ["no token endpoint", JSON.stringify({ ...documentOf(OWN), token_endpoint: undefined })],
  ["more than a megabyte", JSON.stringify(documentOf(OWN, { padding: "x".repeat(1024 * 1024) }))],
])("a discovery document with %s cannot be read", async (_what, body) => {
  const error = await failure(findProvider(parseAuthority(OWN), serve(body).http));
  expect(error.code).toBe("invalid_response");
  expectNoSecret(error, "xxx");
});

test.each([301, 302, 303, 307, 308])(
  "a discovery document that is somewhere else (%d) is not fetched",
  async (status) => {
    const { asked, http } = serve("", { status, headers: { location: `${OWN}/.well-known/openid-configuration` } });
    expect((await failure(findProvider(parseAuthority(OWN), http))).code).toBe("invalid_response");
    expect(asked).toHaveLength(1);
  },
);

test.each([400, 401, 403, 404])("no discovery document (%d) is the configuration's fault", async (status) => {
  const error = await failure(
    findProvider(parseAuthority(B2C), serve('{"error":"invalid_tenant"}', { status }).http),
  );
  expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("Check the authority") });
});

test("endpoints of an OpenID provider may be elsewhere, as Google's are", async () => {
  const document = {
    issuer: "https://accounts.google.com",
    authorization_endpoint: "https://accounts.google.com/o/oauth2/v2/auth",
    token_endpoint: "https://oauth2.googleapis.com/token",
    device_authorization_endpoint: "https://oauth2.googleapis.com/device/code",
    scopes_supported: ["openid", "email", "profile"],
  };
  const provider = await findProvider(parseAuthority("https://accounts.google.com"), serve(document).http);
  const request = { clientId: CLIENT_ID, scopes: ["email"], redirectUri: REDIRECT_URI };
  const { authUri: url } = await startAuthorization(provider, request);
  expect(new URL(url).searchParams.get("scope")).toBe("email openid profile");
  expect(new URL(url).searchParams.has("prompt")).toBe(false);
  expect(new URL(url).searchParams.has("response_mode")).toBe(false);
  expect(new URL(url).searchParams.has("client_info")).toBe(false);
});

test("endpoints may be together at another host, as Cognito's are", async () => {
  const issuer = "https://cognito-idp.eu-west-1.amazonaws.com/pool",
    other = "https://contoso.auth.eu-west-1.amazoncognito.com";
  const document = documentOf(issuer, {
    authorization_endpoint: `${other}/authorize`,
    token_endpoint: `${other}/token`,
  });
  const provider = await findProvider(parseAuthority(issuer), serve(document).http);
  expect(provider.server.token_endpoint).toBe(`${other}/token`);
});

test("an id token without a signature is not taken, although the provider offers it", async () => {
  const document = documentOf(OWN, { id_token_signing_alg_values_supported: ["none", "HS256", "RS256"] });
  const provider = await findProvider(parseAuthority(OWN), serve(document).http);
  const flow = await startAuthorization(provider, { clientId: CLIENT_ID, scopes: ["api"], redirectUri: REDIRECT_URI });
  for (const alg of ["none", "HS256", "RS256"]) {
    const exp = Math.floor(Date.now() / 1000) + 600;
    const claims = { iss: OWN, aud: CLIENT_ID, sub: "jane", nonce: flow.nonce, exp, iat: exp - 600 };
    const reply = { access_token: "at", token_type: "Bearer", expires_in: 600, id_token: jwt({ alg }, claims) };
    const answer = new URLSearchParams({ code: "c", state: flow.state });
    const call = finishAuthorization(provider, flow, answer, serve(reply).http);
    if (alg === "RS256") expect((await call).result.account.homeAccountId).toBe("jane");
    else expect((await failure(call)).code).toBe("invalid_response");
  }
});

const OTHER = "6babcaad-604b-40ac-a9d7-9fd97c0b779f";

const B2C_DOMAIN = "https://login.contoso.com/contoso.onmicrosoft.com/b2c_1_signin";
const US = "https://login-us.microsoftonline.com/common";

test.each([
  ["https://id.contoso.com", "https://id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com/"],
  ["https://id.contoso.com/realms/a/", "https://id.contoso.com/realms/a"],
  ["https://id.contoso.com:8443/realms/a", "https://id.contoso.com:8443/realms/a/"],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
  [`https://login.contoso.com/${TENANT}/v2.0`, `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  ["https://adfs.contoso.com/adfs", "https://adfs.contoso.com/adfs"],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  ["https://contoso.ciamlogin.com/contoso.onmicrosoft.com", `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  [`https://contoso.ciamlogin.com/${TENANT}`, `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  [B2C, `https://contoso.b2clogin.com/${TENANT}/v2.0/`],
  [B2C, `https://contoso.b2clogin.com/tfp/${TENANT}/b2c_1_signin/v2.0/`],
  [B2C, `https://login.microsoftonline.com/${TENANT}/v2.0/`],
  [B2C_DOMAIN, `https://login.contoso.com/${TENANT}/v2.0/`],
  [US, "https://login.microsoftonline.us/{tenantid}/v2.0"],
  [US, `https://login-us.microsoftonline.com/${TENANT}/v2.0`],
])("isIssuerOf(%s) takes %s", (authority, issuer) => {
  expect(isIssuerOf(parseAuthority(authority), issuer)).toBe(true);
});

test.each([
  ["https://id.contoso.com", "https://id.example.com"],
  ["https://id.contoso.com", "https://id.contoso.com.example.com"],
  ["https://id.contoso.com", "http://id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com/other"],
  ["https://id.contoso.com/realms/a", "https://id.contoso.com/realms/b"],
  ["https://id.contoso.com/realms/a", "https://id.contoso.com"],
  ["https://id.contoso.com", "https://login.microsoftonline.com/common/v2.0"],
  ["https://id.contoso.com", "https://jane@id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com?x"],
  ["https://id.contoso.com", "id.contoso.com"],
  ["https://id.contoso.com", ""],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8081"],
  [`https://login.contoso.com/${TENANT}/v2.0`, `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://login.contoso.com/contoso", `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://adfs.contoso.com/adfs", "https://adfs.example.com/adfs"],
  ["https://adfs.contoso.com/adfs", "http://adfs.contoso.com/adfs/services/trust"],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com.example.com/${TENANT}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://fabrikam.ciamlogin.com/${TENANT}/v2.0`],
  [`https://contoso.ciamlogin.com/${TENANT}`, `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://login.microsoftonline.com/${TENANT}/v2.0`],
  [B2C, `https://fabrikam.b2clogin.com/${TENANT}/v2.0/`],
  [B2C, `https://login.example.com/${TENANT}/v2.0/`],
  [B2C, "https://login.microsoftonline.com/common/v2.0"],
  [B2C_DOMAIN, `https://login.microsoftonline.com/${TENANT}/v2.0/`], // a stranger's host can have such a path
  [B2C_DOMAIN, `https://contoso.b2clogin.com/${TENANT}/v2.0/`],
  ["https://contoso.b2clogin.example.com/tfp/b2c_1_signin", `https://login.microsoftonline.com/${TENANT}/v2.0/`],
  [US, "https://login.example.com/{tenantid}/v2.0"],
  [US, "https://login.microsoftonline.us/common/v2.0"],
])("isIssuerOf(%s) refuses %s", (authority, issuer) => {
  expect(isIssuerOf(parseAuthority(authority), issuer)).toBe(false);
});

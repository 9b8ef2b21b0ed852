import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../lib/authority.ts";
import { capabilitiesOf, claimsRequest } from "../../lib/claims.ts";
import {
  checkCall,
  checkPop,
  checkSignIn,
  type PopScheme,
  type Prompt,
  tokenQuery,
  withAccount,
  withChallenge,
} from "../../lib/request.ts";
import { checkScopes } from "../../lib/scopes.ts";

describe("checkScopes()", () => {
  test("takes scopes, each once", () => {
    expect(checkScopes(["User.Read", "https://graph.microsoft.com/.default", "User.Read", "openid"])).toEqual([
      "User.Read",
      "https://graph.microsoft.com/.default",
      "openid",
    ]);
  });

  test.each([[[]], [["openid", "profile"]], [[""]], [["a b"]], [['a"']], [["a\\"]], [["a\n"]], [["ä"]], [[1]], [
    "User.Read",
  ], [undefined]])("of %p is a mistake", (scopes) => {
    expect(() => checkScopes(scopes as string[])).toThrow(TypeError);
  });

  test("given as text are a mistake that names the list", () => {
    expect(() => checkScopes("User.Read" as never)).toThrow('scopes must be a list, such as ["User.Read"]');
  });
});

describe("checkSignIn()", () => {
  test("takes what a sign-in can carry", () => {
    checkSignIn({});
    for (const prompt of ["none", "login", "consent", "create", "select_account"] as const) checkSignIn({ prompt });
    for (const maxAge of [0, 3600]) checkSignIn({ maxAge });
    checkSignIn({ extraQueryParameters: { dc: "ESTS-PUB", domain_hint: "contoso.com", "": "" } });
    checkSignIn({ prompt: "login", interactive: "always" });
    checkSignIn({ prompt: "none", interactive: "never" });
  });

  test.each(["never", "", "Login", null, 1])("of the prompt %p is a mistake", (prompt) => {
    expect(() => checkSignIn({ prompt: prompt as Prompt })).toThrow("prompt must be one of none, login");
  });

  test("of a window although nobody may be asked is a mistake", () => {
    expect(() => checkSignIn({ prompt: "none", interactive: "always" })).toThrow(TypeError);
  });

  test.each([-1, 1.5, NaN, Infinity, 2 ** 60, "60", null])("of the age %p is a mistake", (maxAge) => {
    expect(() => checkSignIn({ maxAge: maxAge as number })).toThrow(RangeError);
  });

  test.each([-1, 65_536, 1.5, NaN, "8080", null])("of the port %p is a mistake", (port) => {
    expect(() => checkSignIn({ port: port as number })).toThrow(RangeError);
  });

  test.each([
    ...["client_id", "redirect_uri", "response_type", "response_mode", "state", "nonce", "scope"],
    ...["code_challenge", "code_challenge_method", "CLIENT_ID", "State", "resource"],
  ])("of the parameter %s is a mistake", (name) => {
    expect(() => checkSignIn({ extraQueryParameters: { [name]: "x" } })).toThrow(TypeError);
  });

  test("of a parameter that is no text is a mistake, and does not repeat it", () => {
    const extraQueryParameters = { dc: ["secret"] } as unknown as Record<string, string>;
    expect(() => checkSignIn({ extraQueryParameters })).toThrow("extraQueryParameters.dc must be a string");
  });
});

describe("checkPop()", () => {
  const scheme = { type: "pop", method: "GET", url: "https://api.contoso.com/orders" } as const;

  test("takes a request, or none", () => {
    checkPop(undefined);
    checkPop(scheme);
    checkPop({ ...scheme, method: "M-SEARCH", url: "http://localhost:8080", nonce: "" });
  });

  test.each<[object]>([
    [{ type: "bearer" }],
    [{ type: undefined }],
    [{ method: "" }],
    [{ method: "GE T" }],
    [{ method: "GET\r\nx: y" }],
    [{ method: undefined }],
    [{ url: "/orders" }],
    [{ url: "" }],
    [{ url: "ftp://api.contoso.com" }],
    [{ url: new URL("https://api.contoso.com") }],
    [{ nonce: 1 }],
    [{ nonce: null }],
  ])("of %j is a mistake", (mistake) => {
    expect(() => checkPop({ ...scheme, ...mistake } as PopScheme)).toThrow(TypeError);
  });
});

const authority = parseAuthority("https://login.microsoftonline.com/common");
const query = (request: object, app: object = {}) => tokenQuery({ scopes: ["a"], ...request }, { authority, ...app });

describe("tokenQuery()", () => {
  test("refuses parameters of the protocol and other options that checkSignIn() refuses", () => {
    expect(() => query({ extraQueryParameters: { state: "x" } })).toThrow(TypeError);
    expect(() => query({ maxAge: -1 })).toThrow(RangeError);
  });

  const claimsOf = (clientCapabilities: readonly string[], claims?: string) =>
    query({ clientCapabilities, claims }).claims;

  test("merges client capabilities with a claims challenge", () => {
    expect(claimsOf([])).toBeUndefined();
    expect(JSON.parse(claimsOf(["cp1"])!)).toEqual({ access_token: { xms_cc: { values: ["cp1"] } } });
    const challenge = '{"access_token":{"nbf":{"essential":true}},"id_token":{"a":null}}';
    expect(JSON.parse(claimsOf(["cp1"], challenge)!)).toEqual({
      access_token: { nbf: { essential: true }, xms_cc: { values: ["cp1"] } },
      id_token: { a: null },
    });
    expect(claimsOf([], ` ${challenge} `)).toBe(challenge);
    expect(query({}, { clientCapabilities: ["cp1"] })).toMatchObject({ capabilities: "cp1", skipCache: false });
  });

  test.each(["x", "[]", "null", "1", '"secret"'])("refuses the claims %p, and does not quote them", (challenge) => {
    for (const capabilities of [[], ["cp1"]]) {
      expect(() => claimsOf(capabilities, challenge)).toThrow("claims must be a JSON object");
      expect(() => claimsOf(capabilities, challenge)).not.toThrow("secret");
    }
  });

  test("keeps a claim whose name every object has", () => {
    const challenge = '{"__proto__":{"a":1},"access_token":{"__proto__":{"b":2}}}';
    expect(claimsOf(["cp1"], challenge)).toBe(
      '{"__proto__":{"a":1},"access_token":{"__proto__":{"b":2},"xms_cc":{"values":["cp1"]}}}',
    );
  });

  test("makes one cache key for equal requests, and another for another token", () => {
    const { cacheKey } = query({ scopes: ["a", "b"], username: "jane@contoso.com" });
    const equal = { scopes: ["b", "a", "b"], username: "Jane@Contoso.com", forceRefresh: true, prompt: "login" };
    expect(query(equal).cacheKey).toBe(cacheKey);
    for (const other of [{ scopes: ["a"] }, { username: "joe" }, { tenantId: "t" }, { clientCapabilities: ["cp1"] }]) {
      expect(query({ ...equal, ...other }).cacheKey).not.toBe(cacheKey);
    }
    expect(withAccount(query(equal), { username: "joe" }).cacheKey).toBe(query({ ...equal, username: "JOE" }).cacheKey);
  });
});

test("withChallenge() is the same query with other claims, for which no cached token will do", () => {
  const claims = '{"access_token":{"nbf":{"essential":true}}}', asked = query({ clientCapabilities: ["cp1"] });
  expect(withChallenge(asked, claims)).toEqual({
    ...query({ clientCapabilities: ["cp1"], claims }),
    ...{ correlationId: asked.correlationId, claims: expect.stringContaining("nbf") },
  });
});

describe("checkCall()", () => {
  test("returns the caller's correlation id, or a new one", () => {
    const correlationId = "99999999-9999-4999-8999-999999999999";
    expect(checkCall({ correlationId }).correlationId).toBe(correlationId);
    expect(checkCall({}).correlationId).toMatch(/^[0-9a-f-]{36}$/);
    expect(checkCall({}).correlationId).not.toBe(checkCall({}).correlationId);
  });

  test.each([[{ correlationId: "\u001b[31m" }], [{ correlationId: "" }], [{ correlationId: 1 }], [undefined], [null]])(
    "refuses %p",
    (request) => {
      expect(() => checkCall(request as object)).toThrow(TypeError);
    },
  );
});

// Accounts that an earlier version, or MSAL for Node, stored have one of the tenant's names only.

const CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}';
const BASE64 = btoa(CLAIMS);

test.each([
  ["JSON", CLAIMS],
  ["JSON with space around it", `\n ${CLAIMS} `],
  ["base64", BASE64],
  [
    "a header of Microsoft Graph",
    `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="${BASE64}"`,
  ],
  ["a header with base64url", `Bearer error="insufficient_claims", claims="${BASE64.replaceAll("=", "")}"`],
  ["a header with JSON", `Bearer error="insufficient_claims", claims="${CLAIMS.replaceAll('"', '\\"')}"`],
  ["a header without quotes", `Bearer claims=${BASE64}, error=insufficient_claims`],
  [
    "a header with several challenges",
    `PoP nonce="a, claims=b", Bearer realm="x", Claims = "${BASE64}", Basic realm="y"`,
  ],
  ["a header with claims that cannot be read before", `Bearer claims="x", Bearer claims="${BASE64}"`],
])("claimsRequest() reads %s", (_what, challenge) => {
  const challenges = challenge === BASE64 ? `Bearer claims="${challenge}"` : challenge;
  expect(claimsRequest(challenges)).toBe(CLAIMS);
});

const NBF = '{"access_token":{"nbf":{"essential":true, "value":"1726258122"}}}';
const REVOKED = '{"access_token":{"nbf":{"essential":true,"value":"1726077595"},"xms_caeerror":{"value":"10012"}}}';

// Forms that Azure's SDKs for JavaScript and Go test for: services answer so, and some of it is no grammar's.
test.each([
  [
    "a space behind the last quotation mark",
    `Bearer realm="", error="insufficient_claims", claims="${btoa(NBF)}" `,
    NBF,
  ],
  ["claims in the middle", `Bearer realm="", claims="${btoa(REVOKED)}", error="insufficient_claims"`, REVOKED],
  [
    "a proof-of-possession challenge first, whose nonce looks like claims",
    `PoP realm="", authorization_uri="http://localhost", client_id="...", nonce="ey==", Bearer realm="", ` +
    `error="insufficient_claims", error_description="result: InteractionRequired and code: X", claims="${btoa(NBF)}"`,
    NBF,
  ],
  [
    "a challenge before that nobody can parse",
    `Foo bar=can't parse this, error=my bad, Bearer claims="${btoa(NBF)}"`,
    NBF,
  ],
  ["no spaces at all", `Bearer realm="",error="insufficient_claims",claims="${btoa(NBF)}"`, NBF],
  ["lines", `Bearer realm="",\r\n  claims="${btoa(NBF)}"`, NBF],
  ["parameters that end in the name", `Bearer xclaims="x", claims_x="y", claims="${btoa(NBF)}"`, NBF],
  ["a name in capitals, a scheme in small letters", `bearer CLAIMS="${btoa(NBF)}"`, NBF],
  ["a comma and a semicolon in a description", `Bearer error_description="a, claims; b", claims="${btoa(NBF)}"`, NBF],
])("claimsRequest() reads a header with %s", (_, header, claims) => {
  expect(JSON.parse(claimsRequest(header)!)).toEqual(JSON.parse(claims));
});

test.each([
  ["no base64", 'Bearer claims="not base64", error="insufficient_claims"'],
  ["base64 of half an object", 'Bearer error="insufficient_claims", claims="ey=="'],
  ["nothing between the marks", 'Bearer realm="", error_description="", error="insufficient_claims", claims=""'],
  ["no mark", "Bearer error=insufficient_claims, claims="],
  ["another error", 'Bearer authorization_uri="https://login.windows.net/", error="invalid_token"'],
])("claimsRequest() refuses a header with %s", (_, header) => {
  expect(() => claimsRequest(header)).toThrow(TypeError);
});

// As MSAL for Python parses claims that an app passes on.
test.each(["not json", "[1, 2]", "null", "123", '"a string"', "true", '{"super": "secret-value-123"'])(
  "claimsRequest() refuses %s for claims, and does not repeat them",
  (claims) => {
    expect(() => claimsRequest(claims, ["cp1"])).toThrow(TypeError);
    expect(() => claimsRequest(claims, ["cp1"])).not.toThrow("secret-value");
  },
);

test("claimsRequest() merges a challenge with capabilities, and drops nothing of the challenge", () => {
  const challenge =
    '{"access_token":{"xms_az_nwperimid":{"essential":true},"acrs":{"values":["c1"]}},"id_token":{"a":null}}';
  expect(JSON.parse(claimsRequest(challenge, ["cp1"])!)).toEqual({
    access_token: { xms_az_nwperimid: { essential: true }, acrs: { values: ["c1"] }, xms_cc: { values: ["cp1"] } },
    id_token: { a: null },
  });
});

test.each([undefined, "", "  "])("claimsRequest(%p) is nothing", (challenge) => {
  expect(claimsRequest(challenge)).toBeUndefined();
});

test.each([
  "Bearer",
  'Bearer error="invalid_token"',
  'Bearer claims="secret"',
  `Bearer claims="${btoa("[1]")}"`,
  `Bearer x="claims=${BASE64}`,
  "{secret",
  "[]",
  '"secret"',
])("claimsRequest() refuses %s, and does not repeat it", (challenge) => {
  expect(() => claimsRequest(challenge)).toThrow(TypeError);
  expect(() => claimsRequest(challenge)).not.toThrow("secret");
});

test("claimsRequest() is quick with a header that was made to be slow", () => {
  expect(() => claimsRequest(`Bearer ${'a="\\'.repeat(20_000)}`)).toThrow(TypeError);
  expect(() => claimsRequest(`Bearer ${"a".repeat(100_000)}`)).toThrow(TypeError);
  expect(() => claimsRequest(`Bearer ${" =".repeat(50_000)}`)).toThrow(TypeError);
  expect(() => claimsRequest(`Bearer a${" ".repeat(100_000)}`)).toThrow(TypeError);
});

test("claimsRequest() reads base64 by itself, as Azure CLI prints it", () => {
  expect(claimsRequest(` ${BASE64}\n`)).toBe(CLAIMS);
});

test.each([
  [undefined, ""],
  ["{}", ""],
  ['{"access_token":null}', ""],
  ['{"access_token":{"xms_cc":{"values":"cp1"}}}', ""],
  ['{"access_token":{"xms_cc":{"values":["protapp","CP1"]}}}', "cp1 protapp"],
  ['{"access_token":{"xms_cc":{"values":["cp1","protapp"]}}}', "cp1 protapp"],
])("capabilitiesOf(%p) is %p", (claims, capabilities) => {
  expect(capabilitiesOf(claims)).toBe(capabilities);
});

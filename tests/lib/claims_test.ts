import { expect, test } from "bun:test";
import { capabilitiesOf, claimsRequest } from "../../lib/claims.ts";

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

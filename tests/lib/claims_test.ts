import { expect, test } from "bun:test";
import { capabilitiesOf, claimsRequest } from "../../lib/request.ts";

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

import { expect, test } from "bun:test";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { oauthError, type RefusalContext, refusalOf } from "../../../lib/oauth/errors.ts";
import { entraError } from "../../fakes/fake_entra.ts";
import { expectNoSecret } from "../../fixture.ts";

const CONTEXT: RefusalContext = {
  ...{ flow: "browser", clientId: "app", redirectUri: "http://localhost", scopes: ["User.Read"] },
  correlationId: "00000000-0000-4000-8000-000000000001",
};

const ROWS: readonly (readonly [error: string, code: LatchkeyErrorCode])[] = [
  ["invalid_grant", "interaction_required"],
  ["interaction_required", "interaction_required"],
  ["login_required", "interaction_required"],
  ["account_selection_required", "interaction_required"],
  ["consent_required", "interaction_required"],
  ["insufficient_user_authentication", "interaction_required"],
  ["unmet_authentication_requirements", "interaction_required"],
  ["user_authentication_required", "interaction_required"],
  ["access_denied", "user_canceled"],
  ["authorization_declined", "user_canceled"],
  ["expired_token", "timed_out"],
  ["authorization_pending", "temporarily_unavailable"],
  ["slow_down", "temporarily_unavailable"],
  ["bad_verification_code", "refused"],
  ["temporarily_unavailable", "temporarily_unavailable"],
  ["server_error", "temporarily_unavailable"],
  ["invalid_client", "configuration"],
  ["unauthorized_client", "configuration"],
  ["invalid_scope", "configuration"],
  ["invalid_target", "configuration"],
  ["invalid_resource", "configuration"],
  ["not_allowed", "configuration"],
  ["unsupported_grant_type", "configuration"],
  ["unsupported_response_type", "configuration"],
  ["unsupported_response_mode", "configuration"],
  ["invalid_tenant", "configuration"],
  ["invalid_instance", "untrusted_authority"],
  ["invalid_request", "refused"],
  ["invalid_request_object", "refused"],
  ["invalid_request_uri", "refused"],
  ["request_not_supported", "refused"],
  ["request_uri_not_supported", "refused"],
  ["registration_not_supported", "refused"],
];

test.each(ROWS.map((row) => [...row]))("the OAuth error %s is %s", (error, code) => {
  expect(oauthError({ error }, CONTEXT)).toMatchObject({ code, error });
});

test.each(["no_such_error", "constructor", "__proto__", "x".repeat(200)])(
  "the error %p is unexpected",
  (error) => {
    const made = oauthError({ error, error_description: "why" }, CONTEXT);
    expect(made).toMatchObject({ code: "unexpected", errorDescription: "why" });
    expect(made.error!.length).toBeLessThanOrEqual(100);
  },
);

test.each(
  [
    [{ error_subcode: "cancel", error_description: "AADSTS65004: declined" }, "user_canceled"],
    [{ error_subcode: "cancel" }, "user_canceled"],
    [{ error_description: "The resource owner said no" }, "user_canceled"],
    [{ error_description: "AADSTS53003: blocked by policy" }, "refused"],
    [{ error_codes: [53003] }, "refused"],
    [{ suberror: "message_only" }, "refused"],
  ] as const,
)("access_denied with %p is %s", (fields, code) => {
  expect(oauthError({ error: "access_denied", ...fields }, CONTEXT)).toMatchObject({ code, error: "access_denied" });
});

test("oauthError() keeps what Entra says of its refusal", () => {
  const body = entraError({
    ...{ error: "invalid_grant", suberror: "token_expired", number: 700082, text: "The refresh token has expired." },
    claims: '{"access_token":{"capolids":{"essential":true,"values":["a"]}}}',
  });
  expect(oauthError(body, CONTEXT)).toMatchObject({
    ...{ code: "interaction_required", error: "invalid_grant", subError: "token_expired", errorCodes: [700082] },
    ...{ claims: body.claims, correlationId: body.correlation_id, errorDescription: body.error_description },
    hint: expect.stringContaining("acquireTokenInteractive"),
  });
});

// Keycloak refuses offline_access, which no caller names, without a word on what to do.
test.each([
  ["not_allowed", ["api.read", "openid", "offline_access"], /^Ask .* to allow offline_access for the app app /],
  ["not_allowed", ["api.read", "openid"], undefined],
  [
    "invalid_scope",
    ["api.read", "openid", "offline_access"],
    /these: api\.read openid offline_access\. offline_access is /,
  ],
  ["invalid_scope", ["api.read", "openid"], /these: api\.read openid$/],
  ["invalid_scope", undefined, undefined],
  ["invalid_client", ["api.read", "offline_access"], undefined],
])("oauthError() of %s after %p says what to do", (error, sentScopes, hint) => {
  const made = oauthError({ error }, { ...CONTEXT, sentScopes });
  if (hint) expect(made.hint).toMatch(hint);
  else expect(made.hint).toBeUndefined();
});

test("oauthError() does not take what is of the wrong kind", () => {
  const odd = {
    error: 1,
    error_description: ["x"],
    error_codes: "50076",
    suberror: {},
    claims: "{",
    correlation_id: "a b",
  };
  expect(oauthError(odd, CONTEXT)).toMatchObject({
    ...{ code: "unexpected", error: undefined, errorDescription: undefined, errorCodes: [], subError: undefined },
    ...{ claims: undefined, correlationId: CONTEXT.correlationId, message: "The server refused: status 400" },
  });
});

test("oauthError() reads the numbers in the text where none are listed", () => {
  expect(oauthError({ error: "invalid_grant", error_description: "AADSTS50076: MFA" }, CONTEXT).errorCodes).toEqual([
    50076,
  ]);
});

test("oauthError() takes control characters out, and bounds the length", () => {
  const made = oauthError({
    error: "invalid_grant\u0007",
    error_description: "a\r\nb\u001b[2J\u202e" + "c".repeat(9000),
  }, CONTEXT);
  expect(made.message).toMatch(/^The server refused: a b \[2J c+$/);
  expect(made.message.length).toBeLessThan(4100);
  expect(made.error).toBe("invalid_grant");
});

test("oauthError() conceals what was sent", () => {
  const secret = "0.AVYA-the-refresh-token";
  const made = oauthError({ error: secret, error_description: `bad ${secret}`, suberror: secret }, {
    ...CONTEXT,
    secrets: [secret, ""],
  });
  expectNoSecret(made, secret);
  expect(made.errorDescription).toBe("bad [concealed]");
});

// A device code of one letter made `invali[concealed]_grant` of the error.
test("oauthError() conceals no string of fewer than eight characters", () => {
  const fields = { error: "invalid_grant", error_description: "invalid code: d, 1234567, 12345678" };
  const made = oauthError(fields, { ...CONTEXT, secrets: ["d", "1234567", "12345678"] });
  expect(made).toMatchObject({ error: "invalid_grant", errorDescription: "invalid code: d, 1234567, [concealed]" });
});

test.each([
  [429, "", "temporarily_unavailable"],
  [500, "<html>", "temporarily_unavailable"],
  [503, '{"error":"no_such_error"}', "temporarily_unavailable"],
  [503, '{"error":"invalid_grant"}', "interaction_required"],
  [400, "<html>", "invalid_response"],
  [400, "[]", "invalid_response"],
  [404, "{}", "invalid_response"],
  [201, '{"access_token":"x"}', "invalid_response"],
])("refusalOf() a status of %d with %s is %s", (status, body, code) => {
  expect(refusalOf({ status, body }, CONTEXT).code).toBe(code as LatchkeyErrorCode);
});

test("refusalOf() tells how long the server wants to be left alone", () => {
  expect(refusalOf({ status: 429, body: "" }, CONTEXT, 61_500).hint).toBe("Try again in 62 seconds");
  expect(refusalOf({ status: 429, body: '{"error":"temporarily_unavailable"}' }, CONTEXT, 5_000)).toMatchObject({
    ...{ code: "temporarily_unavailable", hint: "Try again in 5 seconds" },
  });
  const loop = JSON.stringify({ error: "invalid_grant", error_description: "AADSTS50196: a loop" });
  expect(refusalOf({ status: 400, body: loop }, CONTEXT, 60_000).hint).toMatch(
    /the same one was sent too often\. Try again in a minute$/,
  );
});

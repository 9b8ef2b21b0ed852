import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { parseAuthority } from "../../../lib/authority.ts";
import { codeOfStatus } from "../../../lib/broker/errors.ts";
import { nativeError, rawAccountOf, rawTokenOf, withLatchkeyErrors } from "../../../lib/broker/msalruntime.ts";
import type { NativeToken } from "../../../lib/broker/msalruntime_addon.ts";
import { readAccount, readTokenResponse } from "../../../lib/broker/wire.ts";
import { LatchkeyError } from "../../../lib/errors.ts";

const CONTEXT = {
  correlationId: "99999999-9999-4999-8999-999999999999",
  flow: "broker",
  clientId: "11111111-2222-4333-8444-555555555555",
  redirectUri: "ms-appx-web://Microsoft.AAD.BrokerPlugin/11111111-2222-4333-8444-555555555555",
  scopes: ["User.Read"],
} as const;
const AUTHORITY = parseAuthority("https://login.microsoftonline.com/common");
const REQUEST = { scopes: ["User.Read"], authority: AUTHORITY };
const NOW = Date.UTC(2026, 10, 24);
const ACCOUNT = {
  homeAccountId: "22222222-2222-2222-2222-222222222222.11111111-1111-1111-1111-111111111111",
  localAccountId: "22222222-2222-2222-2222-222222222222",
  environment: "login.microsoftonline.com",
  tenantId: "11111111-1111-1111-1111-111111111111",
  realm: "11111111-1111-1111-1111-111111111111",
  username: "jane@contoso.com",
  displayName: "Jane Doe",
};
const JWT = `e30.${btoa(JSON.stringify({ tid: ACCOUNT.realm, preferred_username: "jane@contoso.com" }))}.c`;
const TOKEN: NativeToken = {
  CheckError: () => {},
  accessToken: "bearer-token",
  rawIdToken: JWT,
  grantedScopes: "User.Read Mail.Read",
  expiresOn: NOW / 1000 + 3600,
  isPopAuthorization: false,
  account: ACCOUNT,
};

const read = (token: NativeToken, request: Parameters<typeof readTokenResponse>[1]["request"] = REQUEST) =>
  readTokenResponse(rawTokenOf(token), { ...CONTEXT, request, now: NOW }).result;

test("rawAccountOf() has an account in the words of the brokers' JSON", () => {
  const { displayName, ...same } = ACCOUNT;
  expect(readAccount(rawAccountOf(ACCOUNT), {}, AUTHORITY, CONTEXT.correlationId)).toEqual({
    ...same,
    name: displayName,
    source: "broker",
  });
  expect(readAccount(rawAccountOf({ username: "joe@contoso.com" }), {}, AUTHORITY, "")).toMatchObject({
    homeAccountId: "joe@contoso.com",
    environment: "login.microsoftonline.com",
    tenantId: "",
    realm: "",
  });
});

test("rawTokenOf() has a token, whose end the library tells in seconds", () => {
  expect(read(TOKEN)).toMatchObject({
    accessToken: "bearer-token",
    tokenType: "Bearer",
    expiresOn: new Date(NOW + 3_600_000),
    scopes: ["User.Read", "Mail.Read"],
    idToken: JWT,
    account: { username: "jane@contoso.com", name: "Jane Doe" },
    tenantId: ACCOUNT.realm,
    source: "broker",
    correlationId: CONTEXT.correlationId,
  });
  expect(inspect(read(TOKEN))).not.toContain("bearer-token");
});

test("rawTokenOf() takes what was asked for as granted where the library does not say", () => {
  expect(read({ ...TOKEN, grantedScopes: "" }).scopes).toEqual(["User.Read"]);
});

test("rawTokenOf() takes a token that is bound to a request from the header that it goes into", () => {
  const pop = { type: "pop", method: "GET", url: "https://graph.microsoft.com/v1.0/me" } as const;
  const bound = { ...TOKEN, isPopAuthorization: true, authorizationHeader: "pop signed.request.token" };
  expect(read(bound, { ...REQUEST, pop })).toMatchObject({ accessToken: "signed.request.token", tokenType: "pop" });
  expect(() => read({ ...bound, authorizationHeader: "" }, { ...REQUEST, pop })).toThrow("missing or malformed");
  expect(() => read(TOKEN, { ...REQUEST, pop })).toThrow("a bearer token instead of a bound one");
});

test.each([
  ["no token", { accessToken: "" }],
  ["a token that fits into no header", { accessToken: "a\r\nb" }],
  ["no end", { expiresOn: 0 }],
])("readTokenResponse() refuses %s", (_, part) => {
  expect(() => read({ ...TOKEN, ...part })).toThrow("Cannot read the broker's reply");
});

test("withLatchkeyErrors() returns a result", () => {
  expect(withLatchkeyErrors(CONTEXT, () => 1)).toBe(1);
});

test.each(Array.from({ length: 22 }, (_, status) => status))(
  "withLatchkeyErrors() takes status %d for the library's own number",
  (errorStatus) => {
    const failed = {
      CheckError() {
        throw { errorStatus, errorCode: -2147024891, errorTag: 123, errorContext: "AADSTS50076: (pii)\u001b[31m" };
      },
    };
    const error = thrownBy(() => withLatchkeyErrors(CONTEXT, () => failed.CheckError()));
    expect(error).toMatchObject({
      code: codeOfStatus(errorStatus),
      message: "The broker refused: AADSTS50076: (pii) [31m",
      errorDescription: "AADSTS50076: (pii) [31m",
      errorCodes: [50076],
      correlationId: CONTEXT.correlationId,
      broker: { status: errorStatus, subStatus: 0, tag: 123, errorCode: -2147024891 },
    });
  },
);

test("nativeError() tells numbers if the text is nothing but personal data", () => {
  const refusal = { errorStatus: 0, errorCode: -2147024891, errorTag: 123, errorContext: "(pii)" };
  const message = "The broker refused: status 0, tag 123, code 0x80070005";
  expect(nativeError(refusal, CONTEXT)).toMatchObject({ message, errorDescription: "" });
});

test("nativeError() knows a redirect URI that is missing, and names it", () => {
  const refusal = { errorStatus: 9, errorCode: 0, errorTag: 0, errorContext: "AADSTS50011: no" };
  expect(nativeError(refusal, CONTEXT).hint).toContain(CONTEXT.redirectUri);
});

test("nativeError() knows a broker that went away", () => {
  const context = "DBUS failed to send a message. Error: org.freedesktop.DBus.Error.ServiceUnknown ((pii)).";
  const error = nativeError({ errorStatus: 0, errorCode: 0, errorTag: 0, errorContext: context }, CONTEXT);
  expect(error).toMatchObject({ code: "broker_unavailable", errorDescription: context, broker: undefined });
});

test.each([
  ["an error of JavaScript's", new Error("Invalid argument"), "MSALRuntime failed: Invalid argument"],
  ["a text", "x\u0000y", "MSALRuntime failed: x y"],
])("nativeError() of %s is unexpected", (_, thrown, message) => {
  expect(nativeError(thrown, CONTEXT)).toMatchObject({ code: "unexpected", message });
});

function thrownBy(act: () => void): LatchkeyError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(LatchkeyError);
    return error as LatchkeyError;
  }
  throw new Error("it did not throw");
}

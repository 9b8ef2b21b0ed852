import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest } from "../../../lib/broker/broker.ts";
import { fillParameters, redirectUriOf, signInHint, windowBytes } from "../../../lib/broker/msalruntime.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../../../lib/request.ts";
import { CLIENT_ID } from "../../fixture.ts";

const REQUEST = { scopes: ["User.Read"], authority: parseAuthority("https://login.microsoftonline.com/common") };
const JANE = {
  homeAccountId: "22222222-2222-2222-2222-222222222222.11111111-1111-1111-1111-111111111111",
  localAccountId: "22222222-2222-2222-2222-222222222222",
  environment: "login.microsoftonline.com",
  tenantId: "11111111-1111-1111-1111-111111111111",
  realm: "11111111-1111-1111-1111-111111111111",
  username: "jane@contoso.com",
  source: "broker",
} as const;

test.each([
  ["win32", `ms-appx-web://Microsoft.AAD.BrokerPlugin/${CLIENT_ID}`],
  ["darwin", "msauth.com.msauth.unsignedapp://auth"],
  ["linux", "https://login.microsoftonline.com/common/oauth2/nativeclient"],
])("redirectUriOf() on %s is %s", (system, uri) => {
  expect(redirectUriOf(CLIENT_ID, system)).toBe(uri);
});

describe("fillParameters()", () => {
  const fill = (request: Partial<BrokerTokenRequest>, system = "darwin") => {
    const calls: string[][] = [];
    const recorder = new Proxy({}, {
      get: (_, name) => (...values: string[]) => void calls.push([String(name), ...values]),
    });
    const parameters = recorder as Parameters<typeof fillParameters>[0];
    const notTaken = fillParameters(parameters, { ...REQUEST, ...request }, { clientId: CLIENT_ID, system });
    return { calls, notTaken };
  };
  const least = [
    ["CreateAuthParameters", CLIENT_ID, "https://login.microsoftonline.com/common"],
    ["SetRedirectUri", "msauth.com.msauth.unsignedapp://auth"],
    ["SetRequestedScopes", "User.Read"],
  ];

  test("sets what the request has and nothing else, the client and the authority first", () => {
    expect(fill({})).toEqual({ calls: least, notTaken: [] });
    const pop = { type: "pop", method: "GET", url: "https://graph.microsoft.com/v1.0/me", nonce: "n" } as const;
    const request = { claims: "{}", accessTokenToRenew: "t", pop, extraParameters: { a: "1", b: "2" } };
    expect(fill(request).calls).toEqual([
      ...least,
      ["SetDecodedClaims", "{}"],
      ["SetAccessTokenToRenew", "t"],
      ["SetPopParams", "GET", "graph.microsoft.com", "/v1.0/me", "n"],
      ["SetAdditionalParameter", "a", "1"],
      ["SetAdditionalParameter", "b", "2"],
    ]);
  });

  test("sets the redirect URI of the platform", () => {
    expect(fill({}, "win32").calls[1]).toEqual([
      "SetRedirectUri",
      `ms-appx-web://Microsoft.AAD.BrokerPlugin/${CLIENT_ID}`,
    ]);
  });

  test("leaves out the scopes that are in every sign-in", () => {
    const scopes = ["openid", "Mail.Read", "profile", "email", "offline_access", "User.Read"];
    expect(fill({ scopes }).calls[2]).toEqual(["SetRequestedScopes", "Mail.Read email User.Read"]);
  });

  test("splits the address that a token is bound to", () => {
    const pop = { type: "pop", method: "POST", url: "https://graph.microsoft.com:444/v1.0/me?a=b" } as const;
    expect(fill({ pop }).calls[3]).toEqual(["SetPopParams", "POST", "graph.microsoft.com:444", "/v1.0/me", ""]);
  });

  test("leaves out the parameters for which the library refuses a request, and names all but the prompt", () => {
    const extraParameters = {
      ...{ prompt: "login", domain_hint: "contoso.com", DC: "x", client_id: "a", scope: "b", response_type: "c" },
      ...{ redirect_uri: "d", nonce: "e", code_challenge: "f", client_info: "1", max_age: "60", foo: "bar" },
    };
    const { calls, notTaken } = fill({ extraParameters });
    expect(calls.slice(3)).toEqual([
      ["SetAdditionalParameter", "max_age", "60"],
      ["SetAdditionalParameter", "foo", "bar"],
    ]);
    expect(notTaken).toEqual([
      ...["domain_hint", "DC", "client_id", "scope", "response_type", "redirect_uri", "nonce", "code_challenge"],
      "client_info",
    ]);
  });
});

describe("signInHint() is", () => {
  const account = undefined, anyone = (hint: string) => hint;
  const login = { extraParameters: { prompt: "login" } }, choose = { extraParameters: { prompt: "select_account" } };

  test.each<[string, Partial<BrokerInteractiveRequest>, ReturnType<typeof signInHint>]>([
    ["anyone's without an account", {}, anyone("")],
    ["anyone's, with a hint", { loginHint: "joe@contoso.com" }, anyone("joe@contoso.com")],
    ["the account's", { account: JANE }, account],
    ["the account's to consent", { account: JANE, extraParameters: { prompt: "consent" } }, account],
    [
      "anyone's with the account as a hint, to type the password anew",
      { account: JANE, ...login },
      anyone(JANE.username),
    ],
    ["anyone's to choose, whatever the hint", { loginHint: "joe@contoso.com", ...choose }, anyone("")],
    ["anyone's to choose, whatever the account", { account: JANE, ...choose }, anyone("")],
    ["anyone's for a new account", { account: JANE, extraParameters: { prompt: "create" } }, anyone(JANE.username)],
  ])("%s", (_, request, hint) => {
    expect(signInHint({ ...REQUEST, ...request })).toBe(hint);
  });
});

test.each<[string, WindowHandle | undefined, number[]]>([
  ["no window", undefined, [0, 0, 0, 0, 0, 0, 0, 0]],
  ["the console", CONSOLE_WINDOW_HANDLE, [0, 0, 0, 0, 0, 0, 0, 0]],
  ["a number", 0x1234, [0x34, 0x12, 0, 0, 0, 0, 0, 0]],
  ["a bigint", 0x0102030405n, [5, 4, 3, 2, 1, 0, 0, 0]],
  ["four bytes", new Uint8Array([1, 2, 3, 0xff]), [1, 2, 3, 0xff, 0, 0, 0, 0]],
  ["eight bytes", new Uint8Array([1, 2, 3, 4, 5, 6, 0, 0]), [1, 2, 3, 4, 5, 6, 0, 0]],
  ["eight full bytes", new Uint8Array(8).fill(0xff), [255, 255, 255, 255, 255, 255, 255, 255]],
  ["a handle with its sign extended", 0xFFFFFFFF80001234n, [0x34, 0x12, 0, 0x80, 255, 255, 255, 255]],
  ["the same with a sign", -0x7FFFEDCCn, [0x34, 0x12, 0, 0x80, 255, 255, 255, 255]],
  ["the same as a number", -0x7FFFEDCC, [0x34, 0x12, 0, 0x80, 255, 255, 255, 255]],
  ["X11's name", "x11:ff", [0xff, 0, 0, 0, 0, 0, 0, 0]],
])("windowBytes() of %s has the eight bytes that the library reads", (_, handle, bytes) => {
  expect([...windowBytes(handle)]).toEqual(bytes);
});

test("windowBytes() refuses what only Wayland knows", () => {
  expect(() => windowBytes("wayland:abc")).toThrow(TypeError);
});

test.each<[string, WindowHandle]>([
  ["a bigint of more than 64 bits", 2n ** 64n],
  ["a bigint that is too far below 0", -(2n ** 63n) - 1n],
  ["a fraction", 1.5],
  ["a number that is not exact", 2 ** 53],
  ["three bytes", new Uint8Array(3)],
])("windowBytes() refuses %s", (_, handle) => {
  expect(() => windowBytes(handle)).toThrow(TypeError);
});

import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import type { BrokerInteractiveRequest } from "../../../lib/broker/broker.ts";
import {
  fillParameters,
  nativeRequest,
  redirectUriOf,
  windowBytes,
  windowWay,
} from "../../../lib/broker/msalruntime.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../../../lib/request.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const REQUEST = { scopes: ["User.Read"], authority: parseAuthority("https://login.microsoftonline.com/common") };
const JANE = {
  homeAccountId: "22222222-2222-2222-2222-222222222222.11111111-1111-1111-1111-111111111111",
  localAccountId: "22222222-2222-2222-2222-222222222222",
  environment: "login.microsoftonline.com",
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

describe("nativeRequest()", () => {
  test("has what was asked for, and nothing that was not", () => {
    expect(nativeRequest(CLIENT_ID, REQUEST, "win32")).toEqual({
      clientId: CLIENT_ID,
      authority: "https://login.microsoftonline.com/common",
      redirectUri: `ms-appx-web://Microsoft.AAD.BrokerPlugin/${CLIENT_ID}`,
      scopes: "User.Read",
      claims: undefined,
      accessTokenToRenew: undefined,
      pop: undefined,
      parameters: {},
      leftOut: [],
    });
  });

  test("leaves out the scopes that are in every sign-in", () => {
    const scopes = ["openid", "Mail.Read", "profile", "email", "offline_access", "User.Read"];
    expect(nativeRequest(CLIENT_ID, { ...REQUEST, scopes }, "linux").scopes).toBe("Mail.Read email User.Read");
  });

  test("takes the address that a token is to be bound to apart", () => {
    const pop = { type: "pop", method: "POST", url: "https://graph.microsoft.com:444/v1.0/me?a=b" } as const;
    expect(nativeRequest(CLIENT_ID, { ...REQUEST, pop }, "win32").pop).toEqual([
      "POST",
      "graph.microsoft.com:444",
      "/v1.0/me",
      "",
    ]);
    expect(nativeRequest(CLIENT_ID, { ...REQUEST, pop: { ...pop, nonce: "n" } }, "win32").pop?.[3]).toBe("n");
  });

  test("leaves out the parameters over which the library refuses a request, and tells of all but the prompt", () => {
    const extraParameters = {
      ...{ prompt: "login", domain_hint: "contoso.com", DC: "x", client_id: "a", scope: "b", response_type: "c" },
      ...{ redirect_uri: "d", nonce: "e", code_challenge: "f", client_info: "1", max_age: "60", foo: "bar" },
    };
    const { parameters, leftOut } = nativeRequest(CLIENT_ID, { ...REQUEST, extraParameters }, "linux");
    expect(parameters).toEqual({ max_age: "60", foo: "bar" });
    expect(leftOut).toEqual([
      ...["domain_hint", "DC", "client_id", "scope", "response_type", "redirect_uri", "nonce", "code_challenge"],
      "client_info",
    ]);
  });
});

describe("fillParameters()", () => {
  const filled = (request: Parameters<typeof nativeRequest>[1]) => {
    const calls: string[][] = [];
    const recorder = new Proxy({}, {
      get: (_, name) => (...values: string[]) => void calls.push([String(name), ...values]),
    });
    fillParameters(recorder as Parameters<typeof fillParameters>[0], nativeRequest(CLIENT_ID, request, "darwin"));
    return calls;
  };
  const least = [
    ["CreateAuthParameters", CLIENT_ID, "https://login.microsoftonline.com/common"],
    ["SetRedirectUri", "msauth.com.msauth.unsignedapp://auth"],
    ["SetRequestedScopes", "User.Read"],
  ];

  test("sets what there is, the client and the authority first", () => {
    expect(filled(REQUEST)).toEqual(least);
    const pop = { type: "pop", method: "GET", url: "https://graph.microsoft.com/v1.0/me", nonce: "n" } as const;
    const request = { ...REQUEST, claims: "{}", accessTokenToRenew: "t", pop, extraParameters: { a: "1", b: "2" } };
    expect(filled(request)).toEqual([
      ...least,
      ["SetDecodedClaims", "{}"],
      ["SetAccessTokenToRenew", "t"],
      ["SetPopParams", "GET", "graph.microsoft.com", "/v1.0/me", "n"],
      ["SetAdditionalParameter", "a", "1"],
      ["SetAdditionalParameter", "b", "2"],
    ]);
  });
});

describe("windowWay() is", () => {
  const account = { way: "account" } as const, anyone = (hint: string) => ({ way: "anyone", hint }) as const;
  const login = { extraParameters: { prompt: "login" } }, choose = { extraParameters: { prompt: "select_account" } };

  test.each<[string, Partial<BrokerInteractiveRequest>, ReturnType<typeof windowWay>]>([
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
  ])("%s", (_, request, way) => {
    expect(windowWay({ ...REQUEST, ...request })).toEqual(way);
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

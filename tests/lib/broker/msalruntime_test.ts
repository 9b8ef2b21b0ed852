import { describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import { parseAuthority } from "../../../lib/authority.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest } from "../../../lib/broker/broker.ts";
import { codeOfStatus } from "../../../lib/broker/errors.ts";
import {
  callNative,
  fillParameters,
  type NativeCallOptions,
  nativeError,
  rawAccountOf,
  rawTokenOf,
  redirectUriOf,
  signInHint,
  windowBytes,
  withLatchkeyErrors,
} from "../../../lib/broker/msalruntime.ts";
import type { NativeToken } from "../../../lib/broker/msalruntime_addon.ts";
import { readAccount, readTokenResponse } from "../../../lib/broker/wire.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../../../lib/request.ts";
import { CLIENT_ID, failure, rejection } from "../../fixture.ts";

const OPTIONS: NativeCallOptions = { name: "SignIn", correlationId: "id", isCancellable: true };

/** A call that a test ends when it likes. */
function makeCall() {
  const begun = Promise.withResolvers<(result: string) => void>();
  let cancelled = 0;
  return {
    start(done: (result: string) => void) {
      begun.resolve(done);
      return { CancelAsyncOperation: () => void cancelled++ };
    },
    begun: begun.promise,
    cancelled: () => cancelled,
  };
}

test("callNative() gives the result of the callback", async () => {
  const call = makeCall(), result = callNative(call.start, OPTIONS);
  (await call.begun)("token");
  expect(await result).toBe("token");
  expect(call.cancelled()).toBe(0);
});

test.each([Infinity, 2 ** 31])("callNative() takes a time limit of %p for a long one", async (timeoutMs) => {
  const call = makeCall(), result = callNative(call.start, { ...OPTIONS, timeoutMs });
  const done = await call.begun;
  await new Promise((resolve) => setTimeout(resolve, 10)); // a timer that goes off at once is before this one
  done("token");
  expect(await result).toBe("token");
});

test("callNative() takes a result that is there before the call returns", async () => {
  const refusedAtOnce = (done: (result: string) => void) => {
    done("refusal");
    return { CancelAsyncOperation() {} };
  };
  expect(await callNative(refusedAtOnce, OPTIONS)).toBe("refusal");
});

test("callNative() throws what the call throws when it is made, and lets the next one have its turn", async () => {
  const broken = () => {
    throw new RangeError("no");
  };
  const queued = { ...OPTIONS, mutex: "broken" };
  expect(await rejection(callNative(broken, queued))).toBeInstanceOf(RangeError);
  const call = makeCall(), result = callNative(call.start, queued);
  (await call.begun)("token");
  expect(await result).toBe("token");
});

test("callNative() makes no call for a signal that has gone off", async () => {
  const reason = new Error("before");
  const never = () => {
    throw new Error("it was called");
  };
  expect<Error>(await rejection(callNative(never, { ...OPTIONS, signal: AbortSignal.abort(reason) }))).toBe(reason);
});

test("callNative() lets the caller go at once with the signal's reason, cancels, and drops the result", async () => {
  const call = makeCall(), controller = new AbortController(), reason = new Error("enough");
  const result = callNative(call.start, { ...OPTIONS, signal: controller.signal });
  const done = await call.begun;
  controller.abort(reason);
  expect<Error>(await rejection(result)).toBe(reason);
  expect(call.cancelled()).toBe(1);
  done("too late");
});

test("callNative() does not cancel where that would wait for the broker", async () => {
  const call = makeCall(), controller = new AbortController();
  const result = callNative(call.start, { ...OPTIONS, signal: controller.signal, isCancellable: false });
  await call.begun;
  controller.abort(new Error("enough"));
  await rejection(result);
  expect(call.cancelled()).toBe(0);
});

test("callNative() has a time limit", async () => {
  const call = makeCall();
  const error = await failure(callNative(call.start, { ...OPTIONS, timeoutMs: 1 }));
  expect(error).toMatchObject({
    code: "timed_out",
    message: "The broker did not answer SignIn within 1 ms",
    correlationId: "id",
  });
  expect(call.cancelled()).toBe(1);
});

test("callNative() makes the calls of a queue one after the other", async () => {
  const first = makeCall(), second = makeCall(), queued = { ...OPTIONS, mutex: "in turn", isCancellable: false };
  const results = [callNative(first.start, queued), callNative(second.start, queued)];
  const isBegun = () => Promise.race([second.begun.then(() => true), Promise.resolve(false)]);
  const done = await first.begun;
  expect(await isBegun()).toBe(false);
  done("one");
  (await second.begun)("two");
  expect(await Promise.all(results)).toEqual(["one", "two"]);
});

test("callNative() leaves a call that cannot be cancelled its turn when nobody waits for it any more", async () => {
  const first = makeCall(), second = makeCall(), controller = new AbortController();
  const queued = { ...OPTIONS, mutex: "abandoned", isCancellable: false };
  const left = callNative(first.start, { ...queued, signal: controller.signal });
  const done = await first.begun;
  controller.abort(new Error("enough"));
  await rejection(left);
  const late = await failure(callNative(second.start, { ...queued, timeoutMs: 1 }));
  expect(late).toMatchObject({ code: "timed_out" });
  const third = makeCall(), result = callNative(third.start, queued);
  done("dropped");
  (await third.begun)("three");
  expect(await result).toBe("three");
  expect(await Promise.race([second.begun.then(() => true), Promise.resolve(false)])).toBe(false);
});

test.each([["has ended", 600_000], ["does not end in its time", 1]])(
  "callNative() gives the turn of a call that was cancelled to the next one when that %s",
  async (how, closingMs) => {
    const first = makeCall(), second = makeCall(), controller = new AbortController();
    const queued = { ...OPTIONS, mutex: `cancelled ${closingMs}`, closingMs };
    const left = callNative(first.start, { ...queued, signal: controller.signal });
    const done = await first.begun;
    const result = callNative(second.start, queued);
    controller.abort(new Error("enough"));
    await rejection(left);
    if (how === "has ended") {
      expect(await Promise.race([second.begun.then(() => true), Promise.resolve(false)])).toBe(false);
      done("dropped");
    }
    (await second.begun)("two");
    expect(await result).toBe("two");
  },
);

test("callNative() lets go although the call cannot be cancelled after all", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  const stubborn = () => ({
    CancelAsyncOperation() {
      throw { errorStatus: 0, errorContext: "no" };
    },
  });
  const left = callNative(stubborn, { ...OPTIONS, signal: controller.signal });
  controller.abort(reason);
  expect<Error>(await rejection(left)).toBe(reason);
});

/** What the library throws is of no class. */
const NATIVE_FAILURE = { errorStatus: 1, errorContext: "no such operation", errorTag: 1, errorCode: 1 };

function makeUncancellable() {
  const begun = Promise.withResolvers<void>();
  const start = () => {
    begun.resolve();
    return {
      CancelAsyncOperation() {
        throw NATIVE_FAILURE;
      },
    };
  };
  return { start, begun: begun.promise };
}

test("callNative() lets the caller go, and tells of it, when a call cannot be cancelled", async () => {
  const controller = new AbortController(), reason = new Error("enough"), thrown: unknown[] = [];
  const { start, begun } = makeUncancellable();
  const options = { ...OPTIONS, onNotCancelled: (error: unknown) => void thrown.push(error) };
  const result = callNative(start, { ...options, signal: controller.signal });
  await begun;
  controller.abort(reason);
  expect<Error>(await rejection(result)).toBe(reason);
  expect(await failure(callNative(makeUncancellable().start, { ...options, timeoutMs: 1 }))).toMatchObject({
    code: "timed_out",
  });
  expect(thrown).toEqual([NATIVE_FAILURE, NATIVE_FAILURE]);
});

test("callNative() cancels a call whose caller goes while it is made", async () => {
  const controller = new AbortController(), reason = new Error("enough");
  let cancelled = 0;
  const start = () => {
    controller.abort(reason);
    return { CancelAsyncOperation: () => void cancelled++ };
  };
  expect<Error>(await rejection(callNative(start, { ...OPTIONS, signal: controller.signal }))).toBe(reason);
  expect(cancelled).toBe(1);
});

const AUTHORITY = parseAuthority("https://login.microsoftonline.com/common");
const REQUEST = { scopes: ["User.Read"], authority: AUTHORITY };
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

const CONTEXT = {
  correlationId: "99999999-9999-4999-8999-999999999999",
  flow: "broker",
  clientId: "11111111-2222-4333-8444-555555555555",
  redirectUri: "ms-appx-web://Microsoft.AAD.BrokerPlugin/11111111-2222-4333-8444-555555555555",
  scopes: ["User.Read"],
} as const;
const NOW = Date.UTC(2026, 10, 24);
const ACCOUNT = { ...JANE, displayName: "Jane Doe" };
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

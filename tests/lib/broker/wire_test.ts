import { describe, expect, test } from "bun:test";
import { commandHint } from "../../../bin/cli/failures.ts";
import { parseAuthority } from "../../../lib/authority.ts";
import { checkWindow, parseReply, readToken, readWindow } from "../../../lib/broker/wire.ts";
import type { LatchkeyError } from "../../../lib/errors.ts";
import { CONSOLE_WINDOW_HANDLE, type WindowHandle } from "../../../lib/request.ts";
import { HOSTILE_TEXTS, UNSAFE } from "../../fakes/hostile_texts.ts";
import { fillWire } from "../../fakes/wire.ts";
import { failure } from "../../fixture.ts";

const NOW = Date.UTC(2026, 10, 24), CONTOSO = "11111111-1111-1111-1111-111111111111";
const FABRIKAM = "33333333-3333-3333-3333-333333333333", [JANE, JOE] = ["aaaaaaaa", "bbbbbbbb"].map(oidOf);
const JANES = {
  ...{ homeAccountId: `${JANE}.${CONTOSO}`, localAccountId: JANE!, environment: "login.microsoftonline.com" },
  ...{ tenantId: CONTOSO, realm: CONTOSO, username: "jane@contoso.com", source: "broker" } as const,
};

function oidOf(start: string): string {
  return `${start}-2222-2222-2222-222222222222`;
}

/** Reads a reply to a request for jane. */
async function read(claims: object | undefined, more: object = {}) {
  const idToken = claims && `e30.${btoa(JSON.stringify(claims))}.c`;
  const token = { accessToken: "a.b.c", accessTokenType: 0, expiresOn: NOW + 3_600_000, idToken, ...more };
  const authority = parseAuthority("https://login.microsoftonline.com/common"), scopes = ["User.Read"];
  const { result } = await readToken(JSON.stringify({ brokerTokenResponse: token }), {
    ...{ correlationId: "id", flow: "broker", clientId: "1", redirectUri: "", scopes, now: NOW },
    request: { scopes, authority, account: JANES },
  });
  return result;
}

// A reply that was too long was said to be no object.
test("parseReply() says of a reply that is too long that it is too long", () => {
  const parse = (json: string) => () => parseReply(json, { correlationId: "id" });
  expect(parse(`{"a":"${"a".repeat(4_000_000)}"}`)).toThrow("it has more than 4000000 characters");
  expect(parse("[]")).toThrow("it is not a JSON object");
});

describe("readToken() of a reply that names no account", () => {
  test.each([
    ["no id token", undefined],
    ["her id token", { oid: JANE, tid: CONTOSO, preferred_username: "jane@contoso.com" }],
    ["her id token, in capitals, with a new user name", {
      ...{ oid: JANE!.toUpperCase(), tid: CONTOSO.toUpperCase(), preferred_username: "jane.doe@contoso.com" },
    }],
    ["hers as a guest", { oid: JOE, tid: FABRIKAM, preferred_username: "JANE@contoso.com" }],
    ["hers as a guest by a made name", {
      ...{ oid: JOE, tid: FABRIKAM, preferred_username: "jane_contoso.com#EXT#@fabrikam.com" },
    }],
    ["one that says little", { sub: "x" }],
  ])("takes %s for who was asked for", async (_, claims) => {
    expect((await read(claims)).account).toBe(JANES);
  });

  test("takes somebody else's id token for theirs", async () => {
    expect((await read({ oid: JOE, tid: CONTOSO, preferred_username: "joe@contoso.com" })).account).toMatchObject({
      ...{ homeAccountId: `${JOE}.${CONTOSO}`, username: "joe@contoso.com" },
    });
    expect((await read({ oid: JOE, tid: CONTOSO })).account.homeAccountId).toBe(`${JOE}.${CONTOSO}`);
    expect((await read({ oid: JOE, tid: FABRIKAM, preferred_username: "joe@fabrikam.com" })).account).toMatchObject({
      ...{ homeAccountId: `${JOE}.${FABRIKAM}`, username: "joe@fabrikam.com" },
    });
    expect((await read({ preferred_username: "joe@contoso.com" })).account.username).toBe("joe@contoso.com");
  });
});

describe("readToken() of an end in milliseconds and seconds at once", () => {
  const iat = NOW / 1000 - 3_000, exp = NOW / 1000 + 600, claims = { oid: JANE, tid: CONTOSO };
  const ahead = { expiresOn: NOW + 3_599 }, extended = { extendedExpiresOn: NOW / 1000 + 7_200 };
  const ends = async (...of: Parameters<typeof read>) => (await read(...of)).expiresOn.getTime() - NOW;

  test("takes the id token's end, however old that is", async () => {
    expect(await ends({ ...claims, iat, exp }, { ...ahead, ...extended })).toBe(600_000);
    expect(await ends({ ...claims, iat, exp }, ahead)).toBe(600_000);
    expect(await ends({ ...claims, iat: NOW / 1000, exp }, ahead)).toBe(600_000);
  });

  test("takes the token's own where the id token has ended, or has none", async () => {
    expect(await ends({ ...claims, iat, exp: NOW / 1000 - 1 }, { ...ahead, ...extended })).toBe(3_599);
    expect(await ends(claims, { ...ahead, ...extended })).toBe(3_599);
  });

  test("does not prolong a token of Microsoft's that is at its end, nor one that has ended", async () => {
    expect(await ends({ ...claims, iat, exp }, { ...ahead, extendedExpiresOn: NOW + 7_200_000 })).toBe(3_599);
    expect(await ends({ ...claims, iat, exp }, { expiresOn: NOW / 1000 + 4 })).toBe(4_000);
    expect(await ends({ ...claims, iat, exp }, { expiresOn: NOW - 1, ...extended })).toBe(-1);
    expect(await ends({ ...claims, iat, exp }, { expiresOn: NOW + 120_000, ...extended })).toBe(120_000);
  });
});

/** Text of Microsoft's broker since 2.5, as it was captured. */
const REFUSED = (error: string, subError: string, description = "(pii)") =>
  `Recieved an error from AAD. Code: '${error}' description: '${description}' correlation id: ` +
  `'cccccccc-2222-2222-2222-222222222222' suberror: '${subError}'`;
const NATIVE_CLIENT = "https://login.microsoftonline.com/common/oauth2/nativeclient";

/** Reads a refusal in the shape of 2.5.2. */
async function refusal(fields: { context?: string; status?: number; tag?: number; errorCode?: number }) {
  const values = { context: "(pii)", status: 2, subStatus: 0, tag: 595719680, errorCode: 0, ...fields };
  const json = JSON.stringify(fillWire("microsoft-2.5.2", "error", values));
  const request = { scopes: ["User.Read"], authority: parseAuthority("https://login.microsoftonline.com/common") };
  const context = { correlationId: "id", flow: "broker", clientId: "app-1", redirectUri: NATIVE_CLIENT } as const;
  return await failure(readToken(json, { ...context, scopes: request.scopes, request, now: NOW })) as LatchkeyError;
}

describe("readToken() of a refusal without AADSTS numbers", () => {
  test.each(
    [
      ["invalid_grant", "token_expired", 2, "interaction_required", /^Sign in again/],
      ["invalid_grant", "bad_token", 2, "interaction_required", /^Sign in again/],
      ["invalid_grant", "user_password_expired", 2, "interaction_required", /password has expired/],
      ["invalid_grant", "device_authentication_failed", 2, "interaction_required", /Register the device again/],
      ["invalid_grant", "consent_required", 2, "interaction_required", /consent/],
      ["invalid_grant", "basic_action", 2, "interaction_required", /pass a check/],
      ["interaction_required", "additional_action", 2, "interaction_required", /pass a check/],
      ["interaction_required", "", 2, "interaction_required", /^Sign in: /],
      ["invalid_grant", "", 0, "interaction_required", /^Sign in: /],
      ["invalid_grant", "", 13, "account_unusable", /Sign in again/],
      ["invalid_grant", "", 16, "interaction_required", /^Sign in: /],
      ["invalid_client", "", 2, "configuration", /^Check clientId/],
      ["invalid_scope", "", 6, "configuration", /^Check clientId/],
      ["temporarily_unavailable", "", 2, "temporarily_unavailable", /in a minute/],
      ["contoso_error", "contoso_suberror", 2, "interaction_required", /^Sign in: /],
      ["contoso_error", "", 0, "unexpected", undefined],
      // The broker's own states, which no server refuses with.
      ["invalid_grant", "", 7, "user_canceled", undefined],
      ["invalid_grant", "", 3, "no_network", /online/],
    ] as const,
  )("takes %p and %p of its text with the status %d for %s", async (error, subError, status, code, hint) => {
    const read = await refusal({ context: REFUSED(error, subError), status });
    expect([read.code, read.error, read.subError]).toEqual([code, error, subError || undefined]);
    if (hint) expect(read.hint).toMatch(hint);
    else expect(read.hint).toBeUndefined();
  });

  test("goes by the server's own words, not by those of its description", async () => {
    const description = "no. Code: 'server_error' suberror: 'basic_action'";
    const read = await refusal({ context: REFUSED("invalid_grant", "token_expired", description) });
    expect([read.error, read.subError]).toEqual(["invalid_grant", "token_expired"]);
  });

  test("says nothing of a text that was masked as a whole, but the numbers", async () => {
    const read = await refusal({ tag: 7, errorCode: -2147024891 });
    expect(read).toMatchObject({ code: "interaction_required", error: undefined, errorDescription: "" });
    expect(read.message).toBe("The broker refused: status 2, tag 7, code 0x80070005");
  });

  const quoted = "a' suberror: 'b";
  test.each([
    ["nothing between the marks", REFUSED("", ""), undefined],
    ["no second mark", "Code: 'invalid_grant", undefined],
    ["a line between the marks", REFUSED("invalid\ngrant", "token_\u0000expired"), undefined],
    ["a sub-error alone", "suberror: 'token_expired'", undefined],
    ["words that end like the marks", "errorCode: 'invalid_grant' notsuberror: 'token_expired'", undefined],
    ["an error that is too long", REFUSED("a".repeat(101), "b".repeat(101)), undefined],
    ["marks without an end", "Code: '".repeat(100_000), undefined],
    ["what stands behind four thousand characters", "x".repeat(4_000) + REFUSED("invalid_grant", ""), undefined],
    ["marks in the error", REFUSED(quoted, quoted), "a"],
    ["a name of the prototype", REFUSED("__proto__", "constructor"), "__proto__"],
    ...Object.entries(HOSTILE_TEXTS).map(([what, text]) => [what, REFUSED(text, text, text), undefined] as const),
  ])("takes no harm from %s", async (_, context, error) => {
    const read = await refusal({ context });
    expect(read.code).toBe("interaction_required");
    expect(read.error).toBe(error);
    for (const text of [read.message, read.errorDescription!, read.hint ?? ""]) {
      expect(text).not.toMatch(UNSAFE);
      expect(text.length).toBeLessThan(5_000);
    }
  });

  test.each([
    [{ status: 6, errorCode: 3399614473, tag: 557973642 }],
    [{ status: 6, errorCode: -895352823 }],
    [{ status: 6, errorCode: 3399614473 }],
    [{ status: 6, errorCode: 2156265475 }],
    [{ status: 6, errorCode: 2156265475 - 2 ** 32 }],
    [{ status: 6, tag: 557973642 }],
    [{ status: 0, context: "Invalid redirectUri" }],
  ])("says which redirect URI is missing: %j", async (fields) => {
    const error = await refusal(fields);
    const { code, hint } = error;
    expect(code).toBe(fields.status === 6 ? "refused" : "unexpected");
    expect(hint).toContain(`Add the redirect URI ${NATIVE_CLIENT} to the app registration app-1`);
    expect(commandHint(error)).toMatch(/; see latchkey app$/);
  });

  test("suspects no redirect URI for other numbers", async () => {
    expect((await refusal({ status: 6, errorCode: 3399614474, tag: 1 })).hint).toBeUndefined();
    const numbered = { status: 6, tag: 557973642, context: "AADSTS65001: consent" };
    expect((await refusal(numbered)).hint).toMatch(/consent/);
  });
});

test("readWindow() takes no window, and the console, for none that a broker knows", () => {
  expect(readWindow(undefined)).toEqual({ id: 0 });
  expect(readWindow(CONSOLE_WINDOW_HANDLE)).toEqual({ id: 0 });
  expect(CONSOLE_WINDOW_HANDLE).toBe(Symbol.for("latchkey.consoleWindow") as typeof CONSOLE_WINDOW_HANDLE);
});

test.each<[string, WindowHandle, number]>([
  ["a number", 0x1267, 0x1267],
  ["0", 0, 0],
  ["the largest number there is", Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ["a bigint", 0x1267n, 0x1267],
  ["four bytes, the least first", new Uint8Array([0x67, 0x12, 0, 0x80]), 0x80001267],
  ["eight bytes", new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]), 2 ** 33 + 1],
  ["bytes within others", new Uint8Array([9, 9, 1, 0, 0, 0, 9]).subarray(2, 6), 1],
  ["a Buffer, as Electron gives it", Buffer.from([0x67, 0x12, 0, 0]), 0x1267],
  ["the desktop portal's name of an X11 window", "x11:1f4c", 0x1f4c],
  ["the same in capitals", "X11:1F4C", 0x1f4c],
])("readWindow() reads %s", (_, handle, id) => {
  expect(readWindow(handle)).toEqual({ id });
});

test("readWindow() reads a name that Wayland gave out", () => {
  expect(readWindow("wayland:kde:1")).toEqual({ exportedHandle: "kde:1" });
  expect(readWindow("kde-1")).toEqual({ exportedHandle: "kde-1" });
});

test.each<[string, unknown]>([
  ["a number below 0", -1],
  ["a bigint below 0", -1n],
  ["a fraction", 1.5],
  ["NaN", NaN],
  ["an infinite number", Infinity],
  ["a number that is not exact", 2 ** 53],
  ["a bigint that is too large", 2n ** 53n],
  ["bytes that are too many for a number", new Uint8Array(8).fill(255)],
  ["three bytes", new Uint8Array(3)],
  ["no bytes", new Uint8Array()],
  ["an empty text", ""],
  ["Wayland's empty name", "wayland:"],
  ["X11's empty name", "x11:"],
  ["X11's name of no number", "x11:window"],
  ["X11's name of a number that is too large", "X11:123456789"],
  ["null", null],
  ["an object", {}],
  ["another symbol", Symbol("latchkey.consoleWindow")],
])("readWindow() refuses %s", (_, handle) => {
  expect(() => readWindow(handle as WindowHandle)).toThrow(TypeError);
});

test.each<WindowHandle | undefined>(
  [undefined, CONSOLE_WINDOW_HANDLE, 1, -1, 2n ** 64n - 1n, "wayland:kde", new Uint8Array(8).fill(255)],
)("checkWindow() takes what Windows' broker may know: %p", (handle) => {
  checkWindow(handle, "win32");
});

test.each<WindowHandle>([-1, 2n ** 64n - 1n, new Uint8Array(8).fill(255)])(
  "checkWindow() refuses on Linux what only Windows has: %p",
  (handle) => {
    expect(() => checkWindow(handle, "linux")).toThrow(TypeError);
  },
);

test.each<unknown>([1.5, 2n ** 64n, "", new Uint8Array(3), null, {}])("checkWindow() refuses %p", (handle) => {
  for (const system of ["win32", "linux", undefined]) {
    expect(() => checkWindow(handle as WindowHandle, system)).toThrow(TypeError);
  }
});

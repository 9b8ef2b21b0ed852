// A result has its tokens concealed from whatever a runtime's console.log shows.
import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { LatchkeyError } from "../../lib/errors.ts";
import { type AuthenticationResult, isSignInRecent, redactTokens, refuseOld } from "../../lib/token.ts";

/** What console.log uses on Deno, on Bun and on Node. */
const INSPECTORS: readonly ((value: unknown) => string)[] = [
  inspect,
  ...(typeof Deno === "undefined" ? [] : [Deno.inspect]),
  ...(typeof Bun === "undefined" ? [] : [Bun.inspect]),
];

test("redactTokens() keeps tokens out of inspection and in JSON", () => {
  const account = {
    homeAccountId: "a.b",
    localAccountId: "a",
    environment: "e",
    tenantId: "b",
    realm: "b",
    username: "jane@contoso.com",
    source: "broker",
  } as const;
  const result = redactTokens({
    ...{
      accessToken: "secret-at",
      tokenType: "Bearer",
      expiresOn: new Date(),
      scopes: [],
      idToken: "secret-it",
      idTokenClaims: { sub: "secret-sub" },
    },
    ...{ account, tenantId: "b", source: "broker", correlationId: "c" },
  });
  for (const show of INSPECTORS) {
    expect(show(result)).toContain("jane@contoso.com");
    expect(show({ result })).not.toContain("secret");
  }
  expect(JSON.parse(JSON.stringify(result)).accessToken).toBe("secret-at");
  expect({ ...result }.idToken).toBe("secret-it");
});

// With a clock that was behind, whoever had signed in at whatever time counted as having done so just now.
test("refuseOld() refuses a sign-in of too long ago, of the time to come, and of a time that nobody knows", () => {
  const signedInAt = (auth_time?: number) => ({ idTokenClaims: { auth_time } }) as unknown as AuthenticationResult;
  for (const time of [940, 1000, 1299]) expect(() => refuseOld(signedInAt(time), 60, 1_000_000)).not.toThrow();
  for (const time of [939, 1301, undefined]) {
    expect(() => refuseOld(signedInAt(time), 60, 1_000_000)).toThrow(LatchkeyError);
  }
});

test("isSignInRecent() counts the age from the start of the sign-in, and the future from now", () => {
  const isRecent = (authTime: unknown) => isSignInRecent(authTime, 60, { since: 1_000_000, now: 2_000_000 });
  for (const time of [940, 1000, 1301, 2300]) expect(isRecent(time)).toBe(true);
  for (const time of [939, 2301, undefined, "1000"]) expect(isRecent(time)).toBe(false);
});

import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { checkScopes, mergeClaims } from "../../lib/request.ts";
import { concealTokens } from "../../lib/token.ts";

test("checkScopes() takes scopes, each once", () => {
  expect(checkScopes(["User.Read", "https://graph.microsoft.com/.default", "User.Read"])).toEqual([
    "User.Read",
    "https://graph.microsoft.com/.default",
  ]);
});

test.each([[[]], [["openid", "profile"]], [[""]], [["a b"]], [['a"']], [["a\n"]], [["ä"]], [[1]], ["User.Read"], [
  undefined,
]])(
  "checkScopes(%p) is a mistake",
  (scopes) => {
    expect(() => checkScopes(scopes as string[])).toThrow(TypeError);
  },
);

test("mergeClaims() puts capabilities beside a challenge", () => {
  expect(mergeClaims([], undefined)).toBeUndefined();
  expect(JSON.parse(mergeClaims(["cp1"], undefined)!)).toEqual({ access_token: { xms_cc: { values: ["cp1"] } } });
  expect(JSON.parse(mergeClaims(["cp1"], '{"access_token":{"nbf":{"essential":true}},"id_token":{"a":null}}')!))
    .toEqual({
      access_token: { nbf: { essential: true }, xms_cc: { values: ["cp1"] } },
      id_token: { a: null },
    });
});

test.each(["", "x", "[]", "null", "1", '"secret"'].slice(1))(
  "mergeClaims() refuses %p, and does not repeat it",
  (challenge) => {
    expect(() => mergeClaims([], challenge)).toThrow("claims has to be a JSON object");
    expect(() => mergeClaims([], challenge)).not.toThrow("secret");
  },
);

test("concealTokens() keeps tokens out of inspection and in JSON", () => {
  const account = {
    homeAccountId: "a.b",
    localAccountId: "a",
    environment: "e",
    realm: "b",
    username: "jane@contoso.com",
    source: "broker",
  } as const;
  const result = concealTokens({
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
  expect(inspect(result)).toContain("jane@contoso.com");
  expect(inspect({ result })).not.toContain("secret");
  expect(JSON.parse(JSON.stringify(result)).accessToken).toBe("secret-at");
  expect({ ...result }.idToken).toBe("secret-it");
});

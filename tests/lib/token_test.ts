import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { concealTokens } from "../../lib/token.ts";

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

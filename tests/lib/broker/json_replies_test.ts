import { describe, expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { readToken } from "../../../lib/broker/wire.ts";

const NOW = Date.UTC(2026, 10, 24), CONTOSO = "11111111-1111-1111-1111-111111111111";
const FABRIKAM = "33333333-3333-3333-3333-333333333333", [JANE, JOE] = ["aaaaaaaa", "bbbbbbbb"].map(oidOf);
const JANES = {
  ...{ homeAccountId: `${JANE}.${CONTOSO}`, localAccountId: JANE!, environment: "login.microsoftonline.com" },
  ...{ realm: CONTOSO, username: "jane@contoso.com", source: "broker" } as const,
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

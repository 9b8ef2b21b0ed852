import { expect, test } from "bun:test";
import { type AccountInfo, accountKey, checkAccount, clientKey, idKey, isSameAccount } from "../../lib/account.ts";

const JANE = "22222222-aaaa-4222-8222-222222222222", CONTOSO = "11111111-bbbb-4111-8111-111111111111";
const ENTRA_ID = `${JANE}.${CONTOSO}`;

function account(more: Partial<AccountInfo> = {}): AccountInfo {
  const id = { homeAccountId: ENTRA_ID, localAccountId: JANE, tenantId: CONTOSO, realm: CONTOSO };
  return { ...id, environment: "login.microsoftonline.com", username: "jane@contoso.com", source: "cache", ...more };
}

function ofIssuer(homeAccountId: string, environment = "id.contoso.com/realms/a"): AccountInfo {
  return account({
    homeAccountId,
    environment,
    tenantId: environment.slice(environment.indexOf("/") + 1),
    realm: environment.slice(environment.indexOf("/") + 1),
  });
}

test("isSameAccount() compares the ids of Microsoft's accounts without case, in whatever tenant and cloud's name", () => {
  const elsewhere = {
    homeAccountId: ENTRA_ID.toUpperCase(),
    tenantId: "other",
    realm: "other",
    environment: "login.windows.net",
  };
  expect(isSameAccount(account(), account(elsewhere))).toBe(true);
  expect(isSameAccount(account(), account({ environment: "" }))).toBe(true); // brokers can leave it out
  expect(isSameAccount(account(), account({ homeAccountId: `${CONTOSO}.${CONTOSO}` }))).toBe(false);
});

// Brokers' accounts, sign-outs and --account compared all ids without case, so that one OpenID subject stood for another.
test.each([
  ["Jane", "jane"],
  ["24400320", "24400321"],
  [JANE, JANE.toUpperCase()],
  [`${JANE}-b2c_1_in.${CONTOSO}`, `${JANE}-B2C_1_IN.${CONTOSO}`],
])("isSameAccount() tells the subjects %s and %s apart", (one, other) => {
  expect(isSameAccount(ofIssuer(one), ofIssuer(one))).toBe(true);
  expect(isSameAccount(ofIssuer(one), ofIssuer(other))).toBe(false);
  expect(idKey(one)).not.toBe(idKey(other));
});

// The issuer did not count: a subject means another person at another provider.
test("isSameAccount() tells the same subject of two issuers apart", () => {
  expect(isSameAccount(ofIssuer("jane"), ofIssuer("jane", "id.evil.com/realms/a"))).toBe(false);
  expect(isSameAccount(ofIssuer("jane"), ofIssuer("jane", "id.contoso.com/realms/A"))).toBe(false);
  expect(isSameAccount(ofIssuer(ENTRA_ID), account())).toBe(false);
});

test("accountKey() cannot be forged by what an issuer writes into a subject", () => {
  const victim = ofIssuer("jane", "id.contoso.com");
  const forged = ofIssuer("jane\nid.contoso.com\nid.contoso.com", "id.evil.com");
  expect(accountKey(forged)).not.toBe(accountKey(victim));
});

test("accountKey() tells the tenants of an account apart", () => {
  expect(accountKey(account())).toBe(
    accountKey(account({ tenantId: CONTOSO.toUpperCase(), realm: CONTOSO.toUpperCase() })),
  );
  expect(accountKey(account())).not.toBe(accountKey(account({ tenantId: "fabrikam", realm: "fabrikam" })));
});

test("clientKey() compares GUIDs without case, and no other ids", () => {
  expect(clientKey(JANE.toUpperCase())).toBe(clientKey(JANE));
  expect(clientKey("App")).not.toBe(clientKey("app"));
});

test("checkAccount() returns an account with both names of its tenant", () => {
  const account = { homeAccountId: "o.t" }, known = { ...account, realm: "t", tenantId: "t" };
  expect(checkAccount({ ...account, tenantId: "t" } as never)).toEqual(known as never);
  expect(checkAccount({ ...account, realm: "t" } as never)).toEqual(known as never);
  expect(checkAccount(account as never)).toBe(account as never);
  for (const wrong of [undefined, null, "jane@contoso.com", {}]) {
    expect(() => checkAccount(wrong as never)).toThrow("account is missing, or is not one of getAccounts");
  }
});

import { describe, expect, test } from "bun:test";
import { errorCodesIn, type RemedyFacts, remedyFor } from "../../lib/aadsts.ts";
import { hintOf } from "../../lib/remedies.ts";

const FACTS: RemedyFacts = {
  flow: "broker",
  clientId: "11111111-2222-4333-8444-555555555555",
  redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
  scopes: ["User.Read", "https://vault.azure.net/.default"],
};

const hintOfCode = (code: number, facts: Partial<RemedyFacts> = {}) =>
  hintFor({ errorCodes: [code], text: `AADSTS${code}: no` }, { ...FACTS, ...facts });
const hintOfText = (text: string, subError?: string) =>
  hintFor({ errorCodes: errorCodesIn(text), subError, text }, FACTS);

function hintFor(refusal: Parameters<typeof remedyFor>[0], facts: RemedyFacts): string | undefined {
  const remedy = remedyFor(refusal, facts, "linux");
  return remedy && hintOf(remedy);
}

/** Each number, and what its hint has to say. */
const ROWS: readonly (readonly [code: number, ...said: string[]])[] = [
  [53000, "dsreg --status", "Intune"],
  [530003, "dsreg --status", "Intune"],
  [53003, "administrator", "correlation id", "place, app or device"],
  [530084, "bound to the device", "requireBroker"],
  [50005, "through the broker"],
  [53001, "no Linux device can meet this policy"],
  [50097, "Register the device again", "dsreg --status"],
  [50129, "Register the device again", "dsreg --status"],
  [50155, "Register the device again", "dsreg --status"],
  [50187, "Register the device again", "dsreg --status"],
  [50127, "Install", "microsoft-identity-broker"],
  [53002, "administrator", "approve the app"],
  [50072, "acquireTokenInteractive", "claims"],
  [50074, "acquireTokenInteractive", "claims"],
  [50076, "acquireTokenInteractive", "claims"],
  [50078, "acquireTokenInteractive", "claims"],
  [50079, "acquireTokenInteractive", "claims"],
  [50158, "acquireTokenInteractive", "claims"],
  [50173, "password was changed", "acquireTokenInteractive"],
  [50132, "password was changed", "acquireTokenInteractive"],
  [50133, "password was changed", "acquireTokenInteractive"],
  [70008, "not used for too long", "acquireTokenInteractive"],
  [700082, "not used for too long", "acquireTokenInteractive"],
  [70043, "tenant limits how long", "acquireTokenInteractive"],
  [50011, FACTS.redirectUri, FACTS.clientId],
  [7000218, "public client flows", FACTS.redirectUri, FACTS.clientId],
  [700016, "clientId", "authority"],
  [700011, "clientId", "authority"],
  [65001, "onsent", "getAuthorizationRequestUrl"],
  [65002, "app registration of your own"],
  [50105, "administrator", "assign"],
  [50020, "authority", "account"],
  [16000, "authority", "account"],
  [50194, "authority", "account"],
  [500011, ...FACTS.scopes, "/.default"],
  [650057, ...FACTS.scopes, "/.default"],
  [70011, ...FACTS.scopes, "/.default"],
  [50196, "a minute", "which process repeats"],
  [70016, "Keep polling"],
  [70019, "new code"],
  [50199, "in the browser"],
];

test.each(ROWS as unknown as [number, ...string[]][])("remedyFor() AADSTS%d says %s", (code, ...said) => {
  for (const words of said) expect(hintOfCode(code)).toContain(words);
});

test.each([[53000], [530003]])("remedyFor() AADSTS%d sends what did not go through the broker there", (code) => {
  for (const flow of ["browser", "device_code"] as const) {
    for (const words of ["requireBroker", "dsreg --status", "Intune", "a device code cannot pass"]) {
      expect(hintOfCode(code, { flow })).toContain(words);
    }
  }
});

test("remedyFor() AADSTS53003 suspects the device code where there was one", () => {
  expect(hintOfCode(53003, { flow: "device_code" })).toMatch(/broker.*browser.*device codes/);
  expect(hintOfCode(53003, { flow: "browser" })).toBe(hintOfCode(53003)!);
});

test("remedyFor() names the redirect URI of the flow", () => {
  for (const code of [50011, 7000218]) {
    expect(hintOfCode(code, { redirectUri: "http://localhost" })).toMatch(
      /add the redirect URI http:\/\/localhost to/i,
    );
  }
});

test("remedyFor() goes by the first number; others are what its text refers to", () => {
  expect(hintOfText("AADSTS50076: MFA. See AADSTS50011.")).toBe(hintOfCode(50076)!);
  expect(hintOfText("AADSTS50011: no. See AADSTS50076.")).toBe(hintOfCode(50011)!);
  expect(hintOfText("AADSTS90001: of no row. AADSTS50076: MFA")).toBe(hintOfCode(50076)!);
  expect(hintOfText("AADSTS50011: 4kv4v")).toBe(hintOfCode(50011)!);
});

describe("remedyFor() of a text without a number", () => {
  test.each<[string, ...string[]]>([
    ["tag 4kv4v: keyring", "gnome-keyring", "KDE", "Look for the cause"],
    ["Error 4KV4V", "gnome-keyring"],
    ["tag=4ko04, key not found", "Unlock the login keyring", "sign in"],
    ["invalid_grant: token_expired", "Sign in again"],
    ["device_authentication_failed (965ya)", "Register the device again", "dsreg --status"],
    ["Unable to find account", "Log in to this machine with an Entra account"],
    ["Not implemented", "himmelblau"],
    ["declined scopes: openid", "fewer"],
  ])("%p says %s", (text, ...said) => {
    for (const words of said) expect(hintOfText(text)).toContain(words);
  });

  test.each([
    ["token_expired", "Sign in again"],
    ["device_authentication_failed", "Register the device again"],
  ])("and the suberror %s says %s", (subError, words) => {
    expect(hintOfText("invalid_grant (965ya)", subError)).toContain(words);
  });

  test.each(["", "invalid_grant (965ya)", "x4kv4v", "This is not implemented yet", "AADSTS: no number"])(
    "has nothing to say to %p",
    (text) => {
      expect(hintOfText(text)).toBeUndefined();
    },
  );
});

test("errorCodesIn() finds the numbers, each once, in their order", () => {
  expect(errorCodesIn("AADSTS50076: MFA (AADSTS700016), see AADSTS50076")).toEqual([50076, 700016]);
  expect(errorCodesIn('{"error_codes":[50076]} AADSTS AADSTSx aadsts50011')).toEqual([]);
  expect(errorCodesIn("")).toEqual([]);
});

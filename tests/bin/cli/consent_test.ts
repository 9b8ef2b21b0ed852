import { expect, test } from "bun:test";
import { withConsentUrl } from "../../../bin/cli/failures.ts";
import { LatchkeyError, PublicClientApplication } from "../../../mod.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", SCOPES = ["User.Read"];
const MISSING = new LatchkeyError("interaction_required", "The server refused: AADSTS65001", {
  ...{ errorCodes: [65001], correlationId: "id", claims: "{}", hint: "Ask" },
});
/** It has no network. */
const makeApp = (authority: string) => {
  const fetch = () => Promise.reject(new TypeError("fetch failed"));
  return new PublicClientApplication({ clientId: CLIENT_ID, authority, fetch });
};

test("withConsentUrl() tells where to consent, in the tenant that was asked", async () => {
  const error = await withConsentUrl(MISSING, makeApp("https://login.microsoftonline.com/common"), {
    ...{ scopes: SCOPES, tenantId: "fabrikam.com" },
  });
  expect(error).toMatchObject({ code: "interaction_required", errorCodes: [65001], claims: "{}", correlationId: "id" });
  expect((error as LatchkeyError).hint).toContain(
    "https://login.microsoftonline.com/fabrikam.com/oauth2/v2.0/authorize?",
  );
});

test("withConsentUrl() leaves the error as it is where there is no address, or consent is not what is missing", async () => {
  const app = makeApp("https://id.contoso.com");
  expect(await withConsentUrl(MISSING, app, { scopes: SCOPES })).toBe(MISSING);
  expect(await withConsentUrl(MISSING, makeApp("https://contoso.ciamlogin.com"), { scopes: [] })).toBe(MISSING);
  const other = new LatchkeyError("refused", "no"), bug = new TypeError("bug");
  for (const error of [other, bug]) expect(await withConsentUrl(error, app, { scopes: SCOPES })).toBe(error);
});

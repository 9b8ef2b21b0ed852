import { expect, test } from "bun:test";
import { AKS_SERVER, isMicrosoftApp, isOrganizationScope, microsoftApiOf } from "../../../lib/oauth/microsoft_apps.ts";

const TENANT = "22222222-3333-4444-8555-666666666666";

test("isMicrosoftApp() knows Microsoft's apps by their ids, whatever the case", () => {
  const ids = ["00000003-0000-0000-c000-000000000000", "00000002-0000-0FF1-CE00-000000000000"];
  for (const id of [...ids, "797F4846-ba00-4fd7-ba43-dac1f8f63013"]) expect(isMicrosoftApp(id)).toBe(true);
  for (const id of [TENANT, "00000003-0000-0000-c000-000000000001", ""]) expect(isMicrosoftApp(id)).toBe(false);
});

test.each([
  ["api://contoso/read", true],
  ["api://contoso/tools/.default", true],
  [`api://${TENANT}/.default`, true],
  [`api://mcp.contoso.com/${TENANT}/access_as_user`, true],
  ["api://AzureADTokenExchange/.default", false],
  ["api://azureadtokenexchangeusgov/.default", false],
  ["api://contoso", false],
  ["api://contoso/../x", false],
  ["api://contoso@graph.microsoft.com/.default", false],
  ["api://contoso%2f/read", false],
  ["API://contoso/read", false],
])("isOrganizationScope() of %s", (scope, isOrganizations) => expect(isOrganizationScope(scope)).toBe(isOrganizations));

// Entra takes an application id in api:// as well, and a host with a dot at its end: the cluster got the token of another API.
test.each([
  ["797f4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"],
  ["api://797F4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"],
  ["spn:797f4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"],
  ["api://00000003-0000-0000-c000-000000000000/x", "Microsoft Graph"],
  ["https://graph.microsoft.com.", "the API https://graph.microsoft.com. of Microsoft"],
  ["http://graph.microsoft.com", "the API http://graph.microsoft.com of Microsoft"],
  ["https://service.powerapps.com/", "the API https://service.powerapps.com/ of Microsoft"],
  ["https://login.microsoftonline.com", "the API https://login.microsoftonline.com of Microsoft"],
  [AKS_SERVER, undefined],
  [`spn:${AKS_SERVER}`, undefined],
  ["api://contoso", undefined],
  [`api://${TENANT}`, undefined],
  ["https://notmicrosoft.com", undefined],
])("microsoftApiOf() of %s", (id, name) => expect(microsoftApiOf(id)).toBe(name));

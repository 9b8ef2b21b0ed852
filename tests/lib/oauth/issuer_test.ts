import { expect, test } from "bun:test";
import { parseAuthority } from "../../../lib/authority.ts";
import { isIssuerOf } from "../../../lib/oauth/provider.ts";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47", OTHER = "6babcaad-604b-40ac-a9d7-9fd97c0b779f";

const B2C = "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin";
const B2C_DOMAIN = "https://login.contoso.com/contoso.onmicrosoft.com/b2c_1_signin";
const US = "https://login-us.microsoftonline.com/common";

test.each([
  ["https://id.contoso.com", "https://id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com/"],
  ["https://id.contoso.com/realms/a/", "https://id.contoso.com/realms/a"],
  ["https://id.contoso.com:8443/realms/a", "https://id.contoso.com:8443/realms/a/"],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
  [`https://login.contoso.com/${TENANT}/v2.0`, `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  ["https://adfs.contoso.com/adfs", "https://adfs.contoso.com/adfs"],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  ["https://contoso.ciamlogin.com/contoso.onmicrosoft.com", `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  [`https://contoso.ciamlogin.com/${TENANT}`, `https://${TENANT}.ciamlogin.com/${TENANT}/v2.0`],
  [B2C, `https://contoso.b2clogin.com/${TENANT}/v2.0/`],
  [B2C, `https://contoso.b2clogin.com/tfp/${TENANT}/b2c_1_signin/v2.0/`],
  [B2C, `https://login.microsoftonline.com/${TENANT}/v2.0/`],
  [B2C_DOMAIN, `https://login.contoso.com/${TENANT}/v2.0/`],
  [US, "https://login.microsoftonline.us/{tenantid}/v2.0"],
  [US, `https://login-us.microsoftonline.com/${TENANT}/v2.0`],
])("isIssuerOf(%s) takes %s", (authority, issuer) => {
  expect(isIssuerOf(parseAuthority(authority), issuer)).toBe(true);
});

test.each([
  ["https://id.contoso.com", "https://id.example.com"],
  ["https://id.contoso.com", "https://id.contoso.com.example.com"],
  ["https://id.contoso.com", "http://id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com/other"],
  ["https://id.contoso.com/realms/a", "https://id.contoso.com/realms/b"],
  ["https://id.contoso.com/realms/a", "https://id.contoso.com"],
  ["https://id.contoso.com", "https://login.microsoftonline.com/common/v2.0"],
  ["https://id.contoso.com", "https://jane@id.contoso.com"],
  ["https://id.contoso.com", "https://id.contoso.com?x"],
  ["https://id.contoso.com", "id.contoso.com"],
  ["https://id.contoso.com", ""],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8081"],
  [`https://login.contoso.com/${TENANT}/v2.0`, `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://login.contoso.com/contoso", `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://adfs.contoso.com/adfs", "https://adfs.example.com/adfs"],
  ["https://adfs.contoso.com/adfs", "http://adfs.contoso.com/adfs/services/trust"],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com.example.com/${TENANT}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://${TENANT}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://fabrikam.ciamlogin.com/${TENANT}/v2.0`],
  [`https://contoso.ciamlogin.com/${TENANT}`, `https://${OTHER}.ciamlogin.com/${OTHER}/v2.0`],
  ["https://contoso.ciamlogin.com", `https://login.microsoftonline.com/${TENANT}/v2.0`],
  [B2C, `https://fabrikam.b2clogin.com/${TENANT}/v2.0/`],
  [B2C, `https://login.example.com/${TENANT}/v2.0/`],
  [B2C, "https://login.microsoftonline.com/common/v2.0"],
  [B2C_DOMAIN, `https://login.microsoftonline.com/${TENANT}/v2.0/`], // a stranger's host can have such a path
  [B2C_DOMAIN, `https://contoso.b2clogin.com/${TENANT}/v2.0/`],
  ["https://contoso.b2clogin.example.com/tfp/b2c_1_signin", `https://login.microsoftonline.com/${TENANT}/v2.0/`],
  [US, "https://login.example.com/{tenantid}/v2.0"],
  [US, "https://login.microsoftonline.us/common/v2.0"],
])("isIssuerOf(%s) refuses %s", (authority, issuer) => {
  expect(isIssuerOf(parseAuthority(authority), issuer)).toBe(false);
});

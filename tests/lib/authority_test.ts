import { expect, test } from "bun:test";
import {
  authorityOfTenant,
  environmentAliases,
  environmentOf,
  isLoopbackHost,
  isMicrosoftAuthority,
  isMicrosoftHost,
  isMultiTenant,
  parseAuthority,
} from "../../lib/authority.ts";

const KINDS: [url: string, kind: string, tenant: string][] = [
  ["https://login.microsoftonline.com/common", "entra", "common"],
  ["https://login.microsoftonline.com/contoso.com/", "entra", "contoso.com"],
  ["https://LOGIN.MicrosoftOnline.com/organizations", "entra", "organizations"],
  ["https://login.windows.net/common", "entra", "common"],
  ["https://login.microsoftonline.us/common", "entra", "common"],
  ["https://login.partner.microsoftonline.cn/common", "entra", "common"],
  ["https://adfs.contoso.com/adfs", "adfs", "adfs"],
  ["https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin", "b2c", "contoso.onmicrosoft.com"],
  ["https://login.microsoftonline.com/tfp/contoso.onmicrosoft.com/B2C_1_signin", "b2c", "tfp"],
  ["https://login.microsoftonline.com/contoso.onmicrosoft.com/b2c_1_signin", "b2c", "contoso.onmicrosoft.com"],
  ["https://contoso.b2clogin.us/contoso.onmicrosoft.com/signin", "b2c", "contoso.onmicrosoft.com"],
  ["https://login.contoso.com/contoso.onmicrosoft.com/B2C_1_signin", "b2c", "contoso.onmicrosoft.com"],
  ["https://contoso.ciamlogin.com", "ciam", ""],
  ["https://id.contoso.com/realms/a", "oidc", "realms"],
  ["http://localhost:8080/common", "oidc", "common"],
  ["https://login.microsoftonline.com.example.com/common", "oidc", "common"],
  ["https://contoso.b2clogin.example.com/contoso/signin", "oidc", "contoso"],
  ["https://contoso.b2clogin.com.example.com/contoso/signin", "oidc", "contoso"],
  ["https://contoso.ciamlogin.com.example.com/contoso", "oidc", "contoso"],
];

test.each(KINDS)("parseAuthority(%s) is %s", (url, kind, tenant) => {
  expect(parseAuthority(url)).toMatchObject({ kind: kind as "entra", tenant });
});

test("parseAuthority() has no slash at the end of the URL", () => {
  expect(parseAuthority("https://login.microsoftonline.com//contoso.com//").url).toBe(
    "https://login.microsoftonline.com/contoso.com",
  );
});

test.each([
  ["https://login.microsoftonline.com/contoso.com/v2.0", "https://login.microsoftonline.com/contoso.com"],
  ["https://LOGIN.microsoftonline.us/contoso.com/oauth2/v2.0/", "https://login.microsoftonline.us/contoso.com"],
  ["https://id.contoso.com/realms/a", "https://id.contoso.com/realms/a"],
  ["https://adfs.contoso.com/adfs/ls", "https://adfs.contoso.com/adfs/ls"],
  [
    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0",
    "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0",
  ],
])("parseAuthority(%s) has the URL %s", (text, url) => {
  expect(parseAuthority(text).url).toBe(url);
});

test.each([
  "",
  "common",
  "http://login.microsoftonline.com/common",
  "https://login.microsoftonline.com",
  "file:///common",
])(
  "parseAuthority(%p) is a mistake",
  (url) => expect(() => parseAuthority(url)).toThrow(TypeError),
);

test.each([
  "https://jane:hunter2@login.microsoftonline.com/common",
  "https://login.microsoftonline.com/common?secret=hunter2",
])(
  "parseAuthority() does not repeat a secret: %s",
  (url) => {
    expect(() => parseAuthority(url)).toThrow(TypeError);
    expect(() => parseAuthority(url)).not.toThrow("hunter2");
  },
);

test("authorityOfTenant() keeps the host", () => {
  const authority = parseAuthority("https://login.microsoftonline.us/common");
  expect(authorityOfTenant(authority, "contoso.us").url).toBe("https://login.microsoftonline.us/contoso.us");
  for (const tenant of ["a/../b", "..", "a b", "", "a?b"]) {
    expect(() => authorityOfTenant(authority, tenant)).toThrow(TypeError);
  }
});

test("isMultiTenant() is so for common and organizations", () => {
  const of = (tenant: string) => isMultiTenant(parseAuthority(`https://login.microsoftonline.com/${tenant}`));
  expect([of("common"), of("Organizations"), of("consumers"), of("contoso.com")]).toEqual([true, true, false, false]);
});

test("environmentAliases() tells which names are one cloud's", () => {
  const isSameEnvironment = (one: string, other: string) => environmentAliases(one)[0] === environmentAliases(other)[0];
  expect(isSameEnvironment("login.windows.net", "login.microsoftonline.com")).toBe(true);
  expect(isSameEnvironment("STS.windows.net", "login.microsoft.com")).toBe(true);
  expect(isSameEnvironment("login.chinacloudapi.cn", "login.partner.microsoftonline.cn")).toBe(true);
  expect(isSameEnvironment("login.microsoftonline.us", "login.microsoftonline.com")).toBe(false);
  expect(isSameEnvironment("id.contoso.com", "ID.contoso.com")).toBe(true);
  expect(isSameEnvironment("id.contoso.com", "login.microsoftonline.com")).toBe(false);
});

test("environmentAliases() begins with the name that the cloud goes by", () => {
  expect(environmentAliases("login.windows.net")[0]).toBe("login.microsoftonline.com");
  expect(environmentAliases("id.contoso.com")).toEqual(["id.contoso.com"]);
});

test("isLoopbackHost() knows this machine by three names", () => {
  const hosts = ["http://LOCALHOST:3000", "http://127.0.0.1", "http://[0:0::1]:80"].map((url) => new URL(url).hostname);
  expect(hosts.map(isLoopbackHost)).toEqual([true, true, true]);
  for (
    const host of ["localhost.evil.com", "evil-localhost", "127.0.0.1.evil.com", "128.0.0.1", "0.0.0.0", "[::]", ""]
  ) {
    expect(isLoopbackHost(host)).toBe(false);
  }
});

test.each([
  ...["login.microsoftonline.com", "login.windows.net", "sts.windows.net", "login.partner.microsoftonline.cn"],
  ...[
    "login.microsoftonline.us",
    "login-us.microsoftonline.com",
    "login.sovcloud-identity.fr",
    "contoso.ciamlogin.com",
  ],
  ...["contoso.b2clogin.com", "contoso.b2clogin.cn", "contoso.b2clogin.us", "login.live.com"],
  ...["microsoft.com", "www.microsoft.com", "aka.ms"],
])("isMicrosoftHost(%s)", (host) => expect(isMicrosoftHost(host)).toBe(true));

// A pattern took all that has b2clogin and then any domain for one of Microsoft's hosts.
test.each([
  ...[
    "contoso.b2clogin.evil.com",
    "contoso.b2clogin.com.evil.com",
    "evilb2clogin.com",
    "b2clogin.com",
    "b2clogin.evil",
  ],
  ...["contoso.ciamlogin.com.evil.com", "evilciamlogin.com", "ciamlogin.com", "login.microsoftonline.com.evil.com"],
  ...["evil.login.microsoftonline.com.evil.com", "evil.microsoft.com", "evilmicrosoft.com", "evil.aka.ms", ""],
  ...["login.microsoftonline.evil", "sovcloud-identity.evil", "login.sovcloud-identity.evil"],
])("isMicrosoftHost(%p) is false", (host) => expect(isMicrosoftHost(host)).toBe(false));

// A path like Azure AD B2C's, and a host that has b2clogin in it, made any host one of Microsoft's.
test.each([
  ["https://login.windows.net/common", true],
  ["https://contoso.ciamlogin.com", true],
  ["https://contoso.b2clogin.cn/contoso.partner.onmschina.cn/B2C_1_signin", true],
  ["https://login.microsoftonline.com/tfp/contoso.onmicrosoft.com/B2C_1_signin", true],
  ["https://login.contoso.com/contoso.onmicrosoft.com/B2C_1_signin", false],
  ["https://evil.com/tfp/contoso.onmicrosoft.com/signin", false],
  ["https://contoso.b2clogin.evil.com/contoso.onmicrosoft.com/B2C_1_signin", false],
  ["https://adfs.contoso.com/adfs", false],
  ["https://accounts.google.com", false],
])("isMicrosoftAuthority(%s) is %p", (url, expected) => {
  expect(isMicrosoftAuthority(parseAuthority(url))).toBe(expected);
});

// All of an issuer's URL was lower case, so that two realms of one server shared their accounts.
test("environmentOf() keeps the case of an issuer's path", () => {
  const of = (url: string) => environmentOf(parseAuthority(url));
  expect(of("https://ID.contoso.com/realms/Staff/")).toBe("id.contoso.com/realms/Staff");
  expect(of("https://login.contoso.com/Contoso/B2C_1_In")).toBe("login.contoso.com/Contoso/B2C_1_In");
  expect(of("https://contoso.b2clogin.com/Contoso/B2C_1_In")).toBe("contoso.b2clogin.com");
  expect(of("https://login.windows.net/common")).toBe("login.microsoftonline.com");
  expect(of("https://ADFS.contoso.com/adfs")).toBe("adfs.contoso.com");
});

// Rows of MSAL for Python's tests: what is not Entra's, B2C's or ADFS', and is taken for an OpenID provider.
test.each(
  [
    ["https://login.b2clogin.com/contoso/b2c_policy", "b2c"],
    ["https://contoso.com/adfs", "adfs"],
    ["https://contoso.com/ADFS", "adfs"],
    ["https://private.cloud/foo", "oidc"],
    ["https://contoso.ciamlogin.com/anything", "ciam"],
    ["https://test-instance1-dsts.dsts.core.azure-test.net/dstsv2/common", "oidc"],
    ["https://eastus.login.microsoft.com/common", "oidc"],
  ] as const,
)("parseAuthority(%s) is of the kind %s", (url, kind) => {
  expect(parseAuthority(url).kind).toBe(kind);
});

test.each([
  "https://login.microsoftonline.com/tenant/subpath?foo=bar#fragment",
  "https://login.microsoftonline.com/tenant#fragment",
  "http://non.https.example.com/tenant",
  "https://login.microsoftonline.us/",
])("parseAuthority(%s), which MSAL for Python takes apart or refuses, is a mistake", (url) => {
  expect(() => parseAuthority(url)).toThrow(TypeError);
});

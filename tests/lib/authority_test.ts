import { expect, test } from "bun:test";
import {
  authorityOfTenant,
  environmentAliases,
  isLoopbackHost,
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
  ["https://contoso.ciamlogin.com", "ciam", ""],
  ["https://id.contoso.com/realms/a", "oidc", "realms"],
  ["http://localhost:8080/common", "oidc", "common"],
  ["https://login.microsoftonline.com.example.com/common", "oidc", "common"],
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

import { describe, expect, test } from "bun:test";
import { challengedTenant, findGitHost, isGitHost, takesBearer } from "../../../../bin/commands/git/git.ts";

const AZURE_DEVOPS = ["499b84ac-1321-427f-aa17-267ca6975798/.default"];
const TENANT = "33333333-2222-4333-8444-555555555555";
const find = (address: string, entries: Parameters<typeof findGitHost>[1] = {}) => {
  const [protocol = "", host = ""] = address.split("://");
  return findGitHost({ protocol, host }, entries);
};

describe("findGitHost()", () => {
  test.each([
    "https://dev.azure.com",
    "https://DEV.azure.com:443",
    "https://contoso.visualstudio.com",
    "https://a-1.visualstudio.com",
  ])(
    "knows Azure DevOps at %s",
    (address) => expect(find(address)).toEqual({ scopes: AZURE_DEVOPS, values: {} }),
  );

  test.each([
    ...[
      "https://github.com",
      "https://dev.azure.com.evil.com",
      "https://evil.com/dev.azure.com",
      "https://notdev.azure.com",
    ],
    ...["https://dev.azure.com.", "https://x.dev.azure.com", "https://dev.azure.com:8443", "http://dev.azure.com"],
    ...[
      "http://dev.azure.com:443",
      "https://visualstudio.com",
      "https://evil-visualstudio.com",
      "https://-.visualstudio.com",
    ],
    ...["https://a.b.visualstudio.com", "https://.visualstudio.com", "https://visualstudio.com.evil.com", "https://"],
    ...["https://dev.azure.com@evil.com", "https://evil.com@dev.azure.com", "https://dev.azure.com%2eevil.com"],
    ...["https://dev.azure.com#evil.com", "https://dev.azure.com?evil.com", "https://dev.azure.com\\evil.com"],
    ...[
      "https://dev.azure.com evil.com",
      "https://dev.azure.com\tevil.com",
      "https://dev。azure.com",
      "https://dev.azure.com:99999",
    ],
    ...[
      "HTTPS://dev.azure.com",
      "ssh://dev.azure.com",
      "ftp://dev.azure.com",
      "javascript://dev.azure.com",
      "://dev.azure.com",
    ],
  ])("knows nothing at %s", (address) => expect(find(address)).toBeUndefined());

  test("takes what the configuration file has for a server, by host and port", () => {
    const entries = {
      "git.contoso.com": { scope: "a/.default  b", tenant: "contoso.com" },
      "git.contoso.com:8443": { scope: "c" },
    };
    expect(find("https://git.contoso.com", entries)).toEqual({
      scopes: ["a/.default", "b"],
      values: { tenant: "contoso.com" },
    });
    expect(find("https://GIT.contoso.com:443", entries)?.scopes).toEqual(["a/.default", "b"]);
    expect(find("https://git.contoso.com:8443", entries)?.scopes).toEqual(["c"]);
    for (const other of ["https://git.contoso.com:9", "http://git.contoso.com", "https://x.git.contoso.com"]) {
      expect(find(other, entries)).toBeUndefined();
    }
  });

  test("needs no scope for Azure DevOps, and one for others", () => {
    const entries = { "dev.azure.com": { "client-id": "azure-cli" }, "git.contoso.com": { "client-id": "azure-cli" } };
    expect(find("https://dev.azure.com", entries)).toEqual({
      scopes: AZURE_DEVOPS,
      values: { "client-id": "azure-cli" },
    });
    expect(find("https://git.contoso.com", entries)).toBeUndefined();
  });

  test("gives a token to a server without TLS only on this machine, or where it is named so", () => {
    const local = { "localhost:3000": { scope: "a" }, "127.0.0.1": { scope: "b" }, "[::1]:3000": { scope: "c" } };
    expect(find("http://localhost:3000", local)?.scopes).toEqual(["a"]);
    expect(find("https://localhost:3000", local)?.scopes).toEqual(["a"]);
    expect(find("http://127.0.0.1", local)?.scopes).toEqual(["b"]);
    expect(find("http://[::1]:3000", local)?.scopes).toEqual(["c"]);
    const plain = { "http://git.contoso.com:8080": { scope: "a" } };
    expect(find("http://git.contoso.com:8080", plain)?.scopes).toEqual(["a"]);
    expect(find("https://git.contoso.com:8080", plain)).toBeUndefined();
    expect(find("http://127.0.0.1.evil.com", { "127.0.0.1.evil.com": { scope: "a" } })).toBeUndefined();
  });
});

test("isGitHost() takes hosts and origins, and nothing more", () => {
  const good = ["git.contoso.com", "git.contoso.com:8443", "https://git.contoso.com/", "http://localhost", "[::1]:1"];
  const bad = [
    "",
    "git.contoso.com/path",
    "https://git.contoso.com/path",
    "ftp://git.contoso.com",
    "*.contoso.com",
    "a b",
    "a:b",
  ];
  expect(good.filter((name) => !isGitHost(name))).toEqual([]);
  expect([...bad, "jane@git.contoso.com", "git.contoso.com:99999", "__proto__ "].filter(isGitHost)).toEqual([]);
});

test("takesBearer() is what the server's challenges say", () => {
  const takes = (...challenges: string[]) => takesBearer({ challenges });
  expect([takes(), takes("Bearer"), takes('Basic realm="x"', "bearer realm=y"), takes('Basic realm="x", Bearer')])
    .toEqual([
      ...[true, true, true, true],
    ]);
  expect([takes("TFS-Federated"), takes('Basic realm="x"'), takes('Basic realm="Bearer"', "Negotiate")]).toEqual([
    true,
    false,
    false,
  ]);
});

describe("challengedTenant()", () => {
  const tenantOf = (...challenges: string[]) => challengedTenant({ challenges });

  test("finds the tenant that Azure DevOps names", () => {
    expect(tenantOf("Basic", `Bearer authorization_uri=https://login.microsoftonline.com/${TENANT}`)).toBe(TENANT);
    const quoted =
      `Bearer realm="", authorization_uri="https://login.windows.net/${TENANT.toUpperCase()}/oauth2/authorize"`;
    expect(tenantOf(quoted)).toBe(TENANT);
  });

  test.each([
    ...["Bearer", "Bearer authorization_uri=", `Basic authorization_uri=https://login.microsoftonline.com/${TENANT}`],
    ...[
      `Bearer authorization_uri=https://evil.com/${TENANT}`,
      `Bearer authorization_uri=http://login.microsoftonline.com/${TENANT}`,
    ],
    ...[
      "Bearer authorization_uri=https://login.microsoftonline.com/common",
      "Bearer authorization_uri=https://login.microsoftonline.com",
    ],
    "Bearer authorization_uri=https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000",
    `Bearer authorization_uri=https://login.microsoftonline.com.evil.com/${TENANT}`,
    `Bearer authorization_uri=https://login.microsoftonline.com:8443/${TENANT}`,
  ])("finds none in %p", (challenge) => expect(tenantOf(challenge)).toBeUndefined());
});

import { describe, expect, test } from "bun:test";
import { UsageError } from "../../../../bin/cli/command_line.ts";
import {
  challengedTenant,
  findGitHost,
  isGitHost,
  isWholeRequest,
  MAX_REQUEST_BYTES,
  readRequest,
  takesBearer,
  writeCredential,
} from "../../../../bin/commands/git/git.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const read = (text: string) => readRequest(bytesOf(text));
const EMPTY = {
  ...{ protocol: "", host: "", username: undefined, secret: undefined, capabilities: new Set<string>() },
  ...{ states: [], challenges: [] },
};

describe("readRequest()", () => {
  test("gives what git wrote, to an empty line or the end", () => {
    const request = { ...EMPTY, protocol: "https", host: "dev.azure.com" };
    expect(read("protocol=https\nhost=dev.azure.com\n")).toEqual(request);
    expect(read("protocol=https\nhost=dev.azure.com")).toEqual(request);
    expect(read("protocol=https\nhost=dev.azure.com\n\nhost=evil.com\n")).toEqual(request);
    expect(read("")).toEqual(EMPTY);
    expect(read("\nprotocol=https\n")).toEqual(EMPTY);
  });

  test("gives lists in order, and an empty value clears one", () => {
    const text =
      "capability[]=authtype\ncapability[]=state\nwwwauth[]=one\nwwwauth[]=\nwwwauth[]=two\nwwwauth[]=a=b\n" +
      "state[]=latchkey:token\nstate[]=manager:x\n";
    expect(read(text)).toEqual({
      ...EMPTY,
      capabilities: new Set(["authtype", "state"]),
      states: ["latchkey:token", "manager:x"],
      challenges: ["two", "a=b"],
    });
  });

  test("takes a credential before a password, an empty user name for none, and passes over what it does not know", () => {
    const text = "username=\npassword=one\nauthtype=Bearer\ncredential=two\noauth_refresh_token=x\nto-come=\n";
    expect(read(text)).toEqual({ ...EMPTY, secret: "two" });
    expect(read("username=jane\npassword=a=b")).toEqual({ ...EMPTY, username: "jane", secret: "a=b" });
  });

  test("takes the longest line and no longer one", () => {
    expect(read(`path=${"x".repeat(65_535 - 6)}\n`)).toEqual(EMPTY);
    expect(() => read(`path=${"x".repeat(65_535 - 5)}\n`)).toThrow("a line has more than 65535 bytes");
  });

  test.each([
    ...["nonsense\n", "=value\n", "protocol=https\nprotocol=https\n", "host=a\nhost=b\n", "host=a\0b\n", "host=a\r\n"],
    ...["pass\0word=x\n", "x=y\n".repeat(MAX_REQUEST_BYTES / 4 + 1)],
  ])("refuses %p, and repeats none of it", (text) => {
    const error = (() => {
      try {
        return read(text);
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toMatch(
      /: (a line is not KEY=VALUE|(protocol|host) appears twice|it contains a NUL or a carriage return|it has more than 1048576 bytes)$/,
    );
  });
});

describe("isWholeRequest()", () => {
  test("finds the empty line in what is new", () => {
    expect(isWholeRequest(bytesOf("\n"), 0)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\n"), 0)).toBe(false);
    expect(isWholeRequest(bytesOf("a=b\n\n"), 4)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\n\nc"), 0)).toBe(true);
    expect(isWholeRequest(bytesOf("a=b\nc=d"), 4)).toBe(false);
  });
});

describe("writeCredential()", () => {
  const credential = { username: "jane@contoso.com", token: "token", expiresOn: new Date(1_800_000_000_999) };

  test("writes a user name and a password, or a bearer token; a time in whole seconds", () => {
    expect(writeCredential({ ...credential, isBearer: false })).toBe(
      "username=jane@contoso.com\npassword=token\npassword_expiry_utc=1800000000\n",
    );
    expect(writeCredential({ ...credential, isBearer: true, state: "latchkey:token" })).toBe(
      "capability[]=authtype\ncapability[]=state\nauthtype=Bearer\ncredential=token\nephemeral=1\n" +
        "password_expiry_utc=1800000000\nstate[]=latchkey:token\n",
    );
  });

  test("writes no value that git would take for two", () => {
    for (const end of ["\n", "\r", "\0"]) {
      expect(() => writeCredential({ ...credential, username: `jane${end}host=evil.com`, isBearer: false })).toThrow(
        "line",
      );
      expect(() => writeCredential({ ...credential, token: `token${end}`, isBearer: true })).toThrow("line");
    }
  });
});

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
  ])("knows Azure DevOps at %s", (address) => expect(find(address)).toEqual({ scopes: AZURE_DEVOPS, values: {} }));

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
    .toEqual([true, true, true, true]);
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

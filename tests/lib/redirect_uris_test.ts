import { expect, test } from "bun:test";
import { parseAuthority } from "../../lib/authority.ts";
import {
  checkRedirectPath,
  isAtRedirectUri,
  loopbackRedirectUri,
  redirectPath,
  redirectUris,
  uriToRegister,
} from "../../lib/redirect_uris.ts";
import { CLIENT_ID } from "../fixture.ts";

test.each([
  ["http://localhost:34475", "http://localhost"],
  ["http://localhost", "http://localhost"],
  ["http://localhost:3000/signed-in?a=:1", "http://localhost/signed-in?a=:1"],
  ["http://localhost.contoso.com:80/", "http://localhost.contoso.com:80/"],
  ["http://127.0.0.1:34475/id.contoso.com", "http://127.0.0.1/id.contoso.com"],
  ["http://127.0.0.1.contoso.com:80/", "http://127.0.0.1.contoso.com:80/"],
  ["https://localhost:3000/", "https://localhost:3000/"],
  ["https://app.contoso.com:8443/signed-in", "https://app.contoso.com:8443/signed-in"],
])("uriToRegister() of %s is %s", (sent, registered) => {
  expect(uriToRegister(sent)).toBe(registered);
});

test.each([
  ["https://id.contoso.com", "/id.contoso.com"],
  ["https://id.contoso.com/", "/id.contoso.com"],
  ["https://ID.contoso.com/realms/Main_1", "/id.contoso.com/realms/Main_1"],
  ["https://id.contoso.com:8443/a", "/id.contoso.com~3A8443/a"],
  ["http://127.0.0.1:8080", "/127.0.0.1~3A8080"],
  ["https://id.contoso.com/a~3A", "/id.contoso.com/a~7E3A"],
  ["https://adfs.contoso.com/adfs", "/adfs.contoso.com/adfs"],
])("redirectPath(%s) is %s", (authority, path) => {
  expect(redirectPath(authority)).toBe(path);
  checkRedirectPath(path);
});

// A URL parser takes %2e%2e for "..", so that one authority's path could have become another's.
test("redirectPath() is no other authority's, whatever a stranger's URL has in it", () => {
  const paths = ["https://evil.example/%2e%2e/id.contoso.com", "https://evil.example/.%2E/id.contoso.com"].map(
    redirectPath,
  );
  for (const path of paths) expect(new URL(`http://127.0.0.1${path}`).pathname).not.toBe("/id.contoso.com");
});

test.each([
  ["https://login.microsoftonline.com/common", "http://localhost:80"],
  ["https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin", "http://localhost:80"],
  ["https://contoso.ciamlogin.com", "http://localhost:80"],
  [
    "https://contoso.b2clogin.evil.example/x/b2c_1_signin",
    "http://127.0.0.1:80/contoso.b2clogin.evil.example/x/b2c_1_signin",
  ],
  ["https://login.contoso.com/tfp/x", "http://127.0.0.1:80/login.contoso.com/tfp/x"],
  ["https://adfs.contoso.com/adfs", "http://127.0.0.1:80/adfs.contoso.com/adfs"],
  ["https://id.contoso.com", "http://127.0.0.1:80/id.contoso.com"],
])("loopbackRedirectUri() of %s is %s", (authority, uri) => {
  expect(loopbackRedirectUri(parseAuthority(authority), { port: 80 })).toBe(uri);
});

test("redirectUris() are of all brokers and the browser at Microsoft's, and the browser's alone at others", () => {
  expect(redirectUris(CLIENT_ID, { authority: "https://login.microsoftonline.us/common" })).toEqual(
    redirectUris(CLIENT_ID),
  );
  expect(redirectUris(CLIENT_ID, { redirectPath: "/signed-in" }).at(-1)!.uri).toBe("http://localhost");
  const authority = "https://id.contoso.com/realms/main";
  expect(redirectUris("app", { authority })).toEqual([
    { uri: "http://127.0.0.1/id.contoso.com/realms/main", ways: ["browser"] },
  ]);
  expect(redirectUris("app", { authority, redirectPath: "/signed-in" })[0]!.uri).toBe("http://127.0.0.1/signed-in");
});

test.each(["", "/", "//", "signed-in", "/a b", "/a?b", "/a#b", "/../a", "/a/%2e%2e", "/\u00e4", 1, null])(
  "checkRedirectPath() refuses %p",
  (path) => {
    expect(() => checkRedirectPath(path)).toThrow(TypeError);
    const authority = "https://id.contoso.com";
    expect(() => redirectUris("app", { authority, redirectPath: path as string })).toThrow(TypeError);
  },
);

test.each([
  ["http://localhost:80/?code=a", "http://localhost:80", true],
  ["http://127.0.0.1:81/a?code=a#b", "http://127.0.0.1:81/a", true],
  ["https://app.contoso.com/a?b=c&code=a", "https://app.contoso.com/a?b=c", true],
  ["http://127.0.0.1:81/a/?code=a", "http://127.0.0.1:81/a", false],
  ["http://127.0.0.1:81/A?code=a", "http://127.0.0.1:81/a", false],
  ["http://127.0.0.1:82/a?code=a", "http://127.0.0.1:81/a", false],
  ["https://127.0.0.1:81/a?code=a", "http://127.0.0.1:81/a", false],
  ["http://localhost:81/a?code=a", "http://127.0.0.1:81/a", false],
  ["http://a@127.0.0.1:81/a?code=a", "http://127.0.0.1:81/a", false],
  ["/a?code=a", "http://127.0.0.1:81/a", false],
  ["", "", false],
])("isAtRedirectUri(%p, %p) is %p", (address, redirectUri, isAt) => {
  expect(isAtRedirectUri(address, redirectUri)).toBe(isAt);
});

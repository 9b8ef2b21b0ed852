import { expect, test } from "bun:test";
import { uriToRegister } from "../../lib/redirect_uris.ts";

test.each([
  ["http://localhost:34475", "http://localhost"],
  ["http://localhost", "http://localhost"],
  ["http://localhost:3000/signed-in?a=:1", "http://localhost/signed-in?a=:1"],
  ["http://localhost.contoso.com:80/", "http://localhost.contoso.com:80/"],
  ["https://localhost:3000/", "https://localhost:3000/"],
  ["https://app.contoso.com:8443/signed-in", "https://app.contoso.com:8443/signed-in"],
])("uriToRegister() of %s is %s", (sent, registered) => {
  expect(uriToRegister(sent)).toBe(registered);
});

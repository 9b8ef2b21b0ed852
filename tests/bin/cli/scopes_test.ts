// Which resources --resource takes.
import { expect, test } from "bun:test";
import { UsageError } from "../../../bin/cli/command_line.ts";
import { scopeOfResource } from "../../../bin/cli/scopes.ts";
import { rejection } from "../../fixture.ts";

const ID = "11111111-2222-4333-8444-555555555555";

test.each([
  ...[
    "https://vault.azure.net",
    "https://database.windows.net/",
    "http://contoso.com/api",
    "https://graph.microsoft.com",
  ],
  // Valid application id URIs, which were refused.
  ...[`api://${ID}`, "app://contoso", `spn://${ID}`, `ms-appx-web://microsoft.aad/${ID}`, "urn:contoso:orders", ID],
  "https://graph.microsoft.com/openid",
])("scopeOfResource() takes %s", (resource) => {
  expect(scopeOfResource(resource)).toBe(`${resource}/.default`);
  expect(scopeOfResource(`${resource}/.default`)).toBe(`${resource}/.default`);
});

test.each([
  ...[
    "htps://vault.azure.net",
    "htpps://contoso.com",
    "ttps://contoso.com",
    "http:/contoso.com",
    "https:///contoso.com",
  ],
  ...[
    "nonsense",
    "vault.azure.net",
    "localhost:8080",
    "contoso.com:443/api",
    "",
    "deadbeef-deadbeef-deadbeef-deadbeef-",
  ],
])("scopeOfResource() refuses %p", async (resource) => {
  const error = await rejection(Promise.try(() => scopeOfResource(resource)));
  expect(error).toBeInstanceOf(UsageError);
  expect(error).toMatchObject({ message: expect.stringContaining("--resource takes a URL such as") });
});

// A version of Microsoft Graph was called a permission.
test.each([
  ["https://graph.microsoft.com/v1.0", "write --resource https://graph.microsoft.com"],
  ["https://graph.microsoft.com/beta/", "write --resource https://graph.microsoft.com"],
  ["https://graph.microsoft.us/v1.0/me", "write --resource https://graph.microsoft.us"],
  ["https://graph.microsoft.com/User.Read", "write --scope https://graph.microsoft.com/User.Read"],
  [
    "https://graph.microsoft.com/User-LifeCycleInfo.Read.All",
    "write --scope https://graph.microsoft.com/User-LifeCycleInfo.Read.All",
  ],
])("scopeOfResource() says what to write for %s", async (resource, advice) => {
  const error = await rejection(Promise.try(() => scopeOfResource(resource)));
  expect((error as Error).message).toEndWith(advice);
});

import { describe, expect, test } from "bun:test";
import { UsageError } from "../../../bin/cli/command_line.ts";
import { scopeOfResource } from "../../../bin/cli/scopes.ts";
import { CLIENT_ID as ID, rejection } from "../../fixture.ts";

describe("scopeOfResource()", () => {
  const messageOf = async (resource: string): Promise<string> => {
    const error = await rejection(Promise.try(() => scopeOfResource(resource)));
    expect(error).toBeInstanceOf(UsageError);
    return error.message;
  };

  test.each([
    ...["https://vault.azure.net", "https://database.windows.net/", "http://contoso.com/api"],
    ...["https://graph.microsoft.com", "https://graph.microsoft.com/openid"],
    // Valid application id URIs, which were refused.
    ...[`api://${ID}`, "app://contoso", `spn://${ID}`, `ms-appx-web://microsoft.aad/${ID}`, "urn:contoso:orders", ID],
  ])("takes %s", (resource) => {
    expect(scopeOfResource(resource)).toBe(`${resource}/.default`);
    expect(scopeOfResource(`${resource}/.default`)).toBe(`${resource}/.default`);
  });

  test.each([
    ...["htps://vault.azure.net", "htpps://contoso.com", "ttps://contoso.com", "http:/contoso.com"],
    ...["https:///contoso.com", "nonsense", "vault.azure.net", "localhost:8080", "contoso.com:443/api", ""],
    "deadbeef-deadbeef-deadbeef-deadbeef-",
  ])("refuses %p", async (resource) => {
    expect(await messageOf(resource)).toContain("--resource takes a URL such as");
  });

  // A version of Microsoft Graph was called a permission.
  test.each([
    ["https://graph.microsoft.com/v1.0", "--resource https://graph.microsoft.com"],
    ["https://graph.microsoft.com/beta/", "--resource https://graph.microsoft.com"],
    ["https://graph.microsoft.us/v1.0/me", "--resource https://graph.microsoft.us"],
    ["https://graph.microsoft.com/User.Read", "--scope https://graph.microsoft.com/User.Read"],
    ["https://graph.microsoft.com/User-Life.Read.All", "--scope https://graph.microsoft.com/User-Life.Read.All"],
  ])("says what to write for %s", async (resource, advice) => {
    expect(await messageOf(resource)).toEndWith(`write ${advice}`);
  });
});

import { expect, test } from "bun:test";
import { defaultScope, isDefaultScope, resourceOf } from "../../lib/scopes.ts";

test.each([
  ["https://vault.azure.net", "https://vault.azure.net/.default"],
  // Azure SQL's resource ends in a slash, and its scope has two.
  ["https://database.windows.net/", "https://database.windows.net//.default"],
  ["https://vault.azure.net/.default", "https://vault.azure.net/.default"],
  ["https://vault.azure.net/.DEFAULT/", "https://vault.azure.net/.default"],
])("defaultScope(%s) is %s", (resource, scope) => {
  expect(defaultScope(resource)).toBe(scope);
  expect(isDefaultScope(scope)).toBe(true);
  expect(defaultScope(resourceOf(scope))).toBe(scope);
});

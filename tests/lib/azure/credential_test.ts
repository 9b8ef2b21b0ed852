import { describe, expect, test } from "bun:test";
import {
  AuthenticationRequiredError,
  authorizedFetch,
  graphAuthenticationProvider,
  LatchkeyCredential,
} from "../../../lib/azure.ts";
import type { LatchkeyError } from "../../../lib/errors.ts";

const clientId = "11111111-2222-4333-8444-555555555555", scope = "https://vault.azure.net/.default";
const caught = (error: unknown) => error as Error;

// Its failures named calls of another class, and whoever printed message and hint printed the hint twice.
describe("LatchkeyCredential.getToken()", () => {
  test("fails with the credential's own words, each once", async () => {
    const credential = new LatchkeyCredential({ clientId, interactive: "never" });
    const error = await credential.getToken(scope).catch(caught) as AuthenticationRequiredError;
    expect(error).toBeInstanceOf(AuthenticationRequiredError);
    expect(error.message).toMatch(
      /^Nobody is signed in, and no broker is enabled\. To use the device's broker, set \w+; or sign in: authenticate$/,
    );
    expect(error.cause).toMatchObject({
      code: "interaction_required",
      message: "Nobody is signed in, and no broker is enabled",
      hint: undefined,
    });
  });

  test("says once why there is no broker", async () => {
    const credential = new LatchkeyCredential({ clientId, requireBroker: true });
    const error = await credential.getToken(scope).catch(caught) as Error & { readonly cause: LatchkeyError };
    expect(error).toMatchObject({ name: "CredentialUnavailableError", cause: { code: "broker_unavailable" } });
    expect(error.message).toStartWith(error.cause.message);
    expect(error.cause.hint).toBeUndefined();
  });
});

describe("LatchkeyCredential", () => {
  test("takes the options of an application and its own, and no others", () => {
    expect(() => new LatchkeyCredential({ clientId, usernme: "jane@contoso.com" } as never)).toThrow(
      'LatchkeyCredential has no option "usernme": did you mean username?',
    );
    const options = { username: "jane@contoso.com", interactive: "never", additionallyAllowedTenants: ["*"] } as const;
    expect(new LatchkeyCredential({ clientId, requireBroker: true, ...options })).toBeInstanceOf(LatchkeyCredential);
  });
});

// Without scopes it was "Spread syntax requires ...iterable".
describe("authorizedFetch()", () => {
  const credential = new LatchkeyCredential({ clientId }), origins = ["https://vault.azure.net"];

  test.each<[string, unknown, unknown, string]>([
    ["no scopes", credential, { origins }, 'scopes must be a list, such as ["User.Read"]'],
    ["empty scopes", credential, { origins, scopes: [] }, 'scopes must be a list, such as ["User.Read"]'],
    ["no options", credential, undefined, "scopes must be a list"],
    ["no origins", credential, { scopes: scope }, "origins must be a list"],
    ["an origin that is no string", credential, { scopes: scope, origins: [1] }, "Cannot send a token to 1"],
    ["no credential", undefined, { scopes: scope, origins }, "credential must have getToken"],
    [
      "an unknown option",
      credential,
      { scopes: scope, origin: origins },
      'has no option "origin": did you mean origins?',
    ],
  ])("refuses %s", (_, source, options, message) => {
    expect(() => authorizedFetch(source as never, options as never)).toThrow(TypeError);
    expect(() => authorizedFetch(source as never, options as never)).toThrow(message);
  });

  test("graphAuthenticationProvider() refuses an unknown option", () => {
    expect(() => graphAuthenticationProvider(credential, { scope } as never)).toThrow(
      'graphAuthenticationProvider has no option "scope": did you mean scopes?',
    );
  });
});

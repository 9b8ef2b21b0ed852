import { describe, expect, test } from "bun:test";
import {
  type AccountInfo,
  fileStore,
  LatchkeyError,
  plaintextStore,
  PublicClientApplication,
  type PublicClientApplicationOptions,
} from "../../mod.ts";
import { operatingSystem } from "../../lib/runtime/host.ts";
import { WebApplication } from "../../lib/web.ts";
import { failure } from "../fixture.ts";

const clientId = "11111111-2222-4333-8444-555555555555", scopes = ["User.Read"];
const account: AccountInfo = {
  ...{ homeAccountId: "o.t", localAccountId: "o", environment: "login.microsoftonline.com", source: "broker" as const },
  ...{ tenantId: "t", realm: "t", username: "jane@contoso.com" },
};
/** Options as JavaScript passes them. */
const untyped = (options: object): never => options as never;

const FLAGS: Readonly<Record<string, string>> = {
  ...{ linux: "enableBrokerOnLinux", win32: "enableBrokerOnWindows", darwin: "enableBrokerOnMac" },
};

// A program that had never heard of the flags was told that nobody was signed in, and not that no broker was asked.
describe("acquireToken() without a broker and without accounts", () => {
  test("says that no broker is enabled, and how to enable this system's", async () => {
    const app = new PublicClientApplication({ clientId });
    const flag = FLAGS[operatingSystem()]!;
    for (const whose of [{}, { username: "jane@contoso.com" }, { account }]) {
      const error = await failure(app.acquireToken({ scopes, interactive: "never", ...whose }));
      expect(error).toMatchObject({
        code: "interaction_required",
        message: expect.stringMatching(
          /^(No user is signed in|jane@contoso\.com must sign in), and no broker is enabled$/,
        ),
        hint: `To use the device's broker, set ${flag}; or sign in: acquireTokenInteractive`,
        remedy: { kind: "enable_broker", options: [flag] },
      });
    }
  });

  test("speaks of no broker at an authority that has none", async () => {
    const app = new PublicClientApplication({
      clientId,
      authority: "https://contoso.b2clogin.com/contoso/B2C_1_sign_in",
    });
    expect(await failure(app.acquireToken({ scopes, interactive: "never" }))).toMatchObject({
      message: "No user is signed in",
      hint: "Sign in: acquireTokenInteractive",
      remedy: { kind: "sign_in" },
    });
  });
});

// JavaScript ignored `enableBroker: true`, and no broker was asked.
describe("an option that does not exist", () => {
  test.each<[object, string]>([
    [
      { enableBroker: true },
      'PublicClientApplication has no option "enableBroker": did you mean one of enableBrokerOnWindows, ' +
      "enableBrokerOnWsl, enableBrokerOnMac, enableBrokerOnLinux?",
    ],
    [{ clientID: "1" }, 'PublicClientApplication has no option "clientID": did you mean clientId?'],
    [{ auth: {} }, 'PublicClientApplication has no option "auth": did you mean authority?'],
    [{ secret: undefined }, 'PublicClientApplication has no option "secret"'],
    [{ timeLimits: { silent: 1 } }, 'timeLimits has no option "silent": did you mean silentMs?'],
  ])("%j is refused by the constructor", (options, message) => {
    const mistaken = untyped({ clientId, ...options });
    expect(() => new PublicClientApplication(mistaken)).toThrow(new TypeError(message));
  });

  test("is refused by WebApplication and the stores", () => {
    expect(() => new WebApplication(untyped({ clientId, clientSecret: "?" }))).toThrow(
      'WebApplication has no option "clientSecret"',
    );
    expect(() => fileStore(untyped({ path: "/tmp" }))).toThrow('fileStore has no option "path"');
    expect(() => plaintextStore("/tmp/cache", untyped({ log: () => {} }))).toThrow(
      'plaintextStore has no option "log": did you mean logger?',
    );
  });

  test("is refused by every call, before anything is done", async () => {
    const app = new PublicClientApplication({ clientId, fetch: () => expect.unreachable() });
    const wrong = { scopes, account, url: "https://login.microsoftonline.com/", tenant: "contoso.com" };
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      acquireSsoCookies: () => app.acquireSsoCookies(untyped(wrong)),
      acquireToken: () => app.acquireToken(untyped({ ...wrong, url: undefined })),
      acquireTokenByAuthCodeFlow: () => app.acquireTokenByAuthCodeFlow(untyped({}), {}, untyped(wrong)),
      acquireTokenByDeviceCode: () => app.acquireTokenByDeviceCode(untyped(wrong)),
      acquireTokenInteractive: () => app.acquireTokenInteractive(untyped(wrong)),
      acquireTokenSilent: () => app.acquireTokenSilent(untyped(wrong)),
      brokerStatus: () => app.brokerStatus(untyped(wrong)),
      getAccounts: () => app.getAccounts(untyped(wrong)),
      getAuthorizationRequestUrl: () => app.getAuthorizationRequestUrl(untyped(wrong)),
      initiateAuthCodeFlow: () => app.initiateAuthCodeFlow(untyped(wrong)),
      isPopSupported: () => app.isPopSupported(untyped(wrong)),
      removeAccount: () => app.removeAccount(account, untyped(wrong)),
      signHttpRequest: () => app.signHttpRequest(untyped(wrong)),
    };
    const names = Object.getOwnPropertyNames(PublicClientApplication.prototype);
    expect(Object.keys(calls)).toEqual(names.filter((name) => !["constructor", "close"].includes(name)).sort());
    for (const [name, call] of Object.entries(calls)) {
      const error = await call().then(() => undefined, (error) => error);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toStartWith(`${name} has no option "`);
    }
    const scheme = { type: "pop", method: "GET", url: "https://graph.microsoft.com/", key: "?" };
    const bound = app.acquireToken({ scopes, authenticationScheme: untyped(scheme) });
    await expect(bound).rejects.toThrow('authenticationScheme has no option "key"');
  });
});

// Microsoft Entra ID refused a name only at the sign-in.
describe("a client id that is no GUID", () => {
  const makeApp = (options: PublicClientApplicationOptions) => () => new PublicClientApplication(options);

  test("is refused at Microsoft's authorities", () => {
    const refusal = /^Cannot make an application: clientId must be a GUID at https:\/\/\S+, not "my-app": pass the App/;
    expect(makeApp({ clientId: "my-app" })).toThrow(refusal);
    expect(makeApp({ clientId: "my-app", authority: "https://contoso.ciamlogin.com/contoso" })).toThrow(refusal);
    expect(() => new WebApplication({ clientId: "my-app" })).toThrow(refusal);
  });

  test("is another provider's to choose", () => {
    for (const authority of ["https://id.contoso.com/realms/main", "https://id.contoso.com/adfs"]) {
      expect(makeApp({ clientId: "my-app", authority })).not.toThrow();
      expect(makeApp({ clientId: " ", authority })).toThrow("clientId is missing");
    }
  });
});

// Node 20 failed with "Map.groupBy is not a function".
test("PublicClientApplication says which runtimes are supported where one is too old", () => {
  const { groupBy } = Map;
  try {
    Map.groupBy = undefined as never;
    const make = () => new PublicClientApplication({ clientId });
    expect(make).toThrow("latchkey needs Node 22.18 or later, Bun 1.3 or Deno 2.6");
    expect(make).toThrow(LatchkeyError);
  } finally {
    Map.groupBy = groupBy;
  }
});

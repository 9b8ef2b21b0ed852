// The library on a real bus, against each broker's wire.
import { describe, expect } from "bun:test";
import { type AccountInfo, ArgumentError, CONSOLE_WINDOW_HANDLE, PublicClientApplication } from "../../mod.ts";
import type { Reply } from "../fakes/behaviour.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { BROKER, SENDERS } from "../fakes/tested_broker.ts";
import { CLIENT_ID, CONTOSO, failure, JANE, JOE, useStage } from "../fixture.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
const stage = useStage({ broker: {} }), { makeApp, behave } = stage;

const silently = (app: PublicClientApplication, more: object = {}) =>
  app.acquireToken({ scopes: SCOPES, interactive: "never", ...more });

for (const sender of SENDERS) {
  describe(`with ${sender}`, () => {
    test("PublicClientApplication.getAccounts() lists the accounts", async () => {
      await behave({ sender, accounts: [{ ...JANE, name: "Jane Doe" }, JOE] });
      const accounts = await makeApp().getAccounts();
      expect(accounts.map(({ username }) => username)).toEqual(["jane@contoso.com", "joe@contoso.com"]);
      expect(accounts[0]).toMatchObject({
        homeAccountId: `${accounts[0]!.localAccountId}.${CONTOSO}`,
        environment: expect.stringMatching(/^login\.(microsoftonline\.com|windows\.net)$/),
        tenantId: CONTOSO,
        realm: CONTOSO,
        name: "Jane Doe",
        source: "broker",
      });
      expect((await makeApp().getAccounts({ username: "JOE@Contoso.com" })).map(({ username }) => username)).toEqual([
        "joe@contoso.com",
      ]);
    });

    test("PublicClientApplication.acquireTokenSilent() gets a token for an account", async () => {
      await behave({ sender, accounts: [JANE, JOE] });
      const app = makeApp(), [account] = await app.getAccounts({ username: "joe@contoso.com" });
      const asked = Date.now();
      const result = (await app.acquireTokenSilent({
        scopes: ["User.Read", "openid", "profile", "offline_access"],
        account: account!,
      }))!;
      expect(JSON.parse(atob(result.accessToken.split(".")[1]!))).toMatchObject({
        upn: "joe@contoso.com",
        scp: "User.Read",
      });
      expect(result).toMatchObject({ tokenType: "Bearer", tenantId: CONTOSO, source: "broker", scopes: ["User.Read"] });
      expect(result.account).toMatchObject({
        homeAccountId: account!.homeAccountId,
        username: "joe@contoso.com",
        realm: CONTOSO,
      });
      expect(Math.abs(result.expiresOn.getTime() - asked - 4_000_000)).toBeLessThan(60_000);
      expect(result.extendedExpiresOn === undefined || result.extendedExpiresOn >= result.expiresOn).toBe(true);
      expect(result.idTokenClaims).toMatchObject({ preferred_username: "joe@contoso.com", tid: CONTOSO });
    });

    test("PublicClientApplication.acquireToken() takes the account of the device", async () => {
      await behave({ sender });
      expect((await silently(makeApp())).account.username).toBe("jane@contoso.com");
      await behave({ sender, accounts: [JANE, JOE], defaultAccount: JOE.username });
      expect((await silently(makeApp(), { username: "Jane@Contoso.com" })).account.username).toBe("jane@contoso.com");
      if (sender.startsWith("himmelblau")) return; // it serves the one person who is logged in
      expect((await silently(makeApp())).account.username).toBe("joe@contoso.com");
      const error = await failure(silently(makeApp(), { username: "stranger@contoso.com" }));
      expect(error.code).toBe("interaction_required");
    });

    test("PublicClientApplication.acquireToken() throws the refusal", async () => {
      const context = "AADSTS50076: multi-factor authentication needed\u202e\x1b[31m, see AADSTS53003";
      await behave({
        sender,
        replies: { acquireTokenSilently: { kind: "broker_error", status: 2, subStatus: 6001, context } },
      });
      const app = makeApp(), error = await failure(silently(app));
      expect(error).toMatchObject({
        code: "interaction_required",
        errorCodes: [50076, 53003],
        broker: { status: 2, subStatus: 6001 },
      });
      expect(error.errorDescription).toBe("AADSTS50076: multi-factor authentication needed [31m, see AADSTS53003");
      expect(error.correlationId).toMatch(/^[0-9a-f-]{36}$/);
      expect((await stage.broker.calls("acquireTokenSilently"))[0]!.correlationId).toBe(error.correlationId!);
      const [account] = await app.getAccounts();
      expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBeNull();
    });

    test("PublicClientApplication.acquireTokenSilent() takes the account of a token for another tenant", async () => {
      await behave({ sender, accounts: [JANE, JOE] });
      const app = makeApp(), [account] = await app.getAccounts(), tenantId = "33333333-3333-3333-3333-333333333333";
      const elsewhere = await app.acquireTokenSilent({ scopes: SCOPES, account: account!, tenantId });
      const again = await app.acquireTokenSilent({ scopes: ["b"], account: elsewhere!.account });
      expect(again!.account.homeAccountId).toBe(account!.homeAccountId);
    });

    test("PublicClientApplication.brokerStatus() tells the version if it is asked for", async () => {
      await behave({ sender });
      const app = makeApp();
      expect(await app.brokerStatus()).toMatchObject({ state: "active", kind: BROKER, version: null, reason: null });
      const status = await app.brokerStatus({ version: true });
      expect(status).toMatchObject({ state: "active", kind: BROKER, reason: null });
      expect(status.version === null || /^\d+\.\d+/.test(status.version)).toBe(true);
    });
  });
}

// himmelblau's session half forwards one call at a time: a silent one waits behind a prompt of any program.
test("acquireTokenSilent() ends at its time limit, and says that a prompt may be in its way", async () => {
  if (BROKER !== "linux") return;
  await behave({ sender: "himmelblau-4.0" });
  const app = makeApp({ timeLimits: { silentMs: 300 } }), [account] = await app.getAccounts();
  await behave({ sender: "himmelblau-4.0", replies: { acquireTokenSilently: { kind: "hang" } } });
  const error = await failure(app.acquireTokenSilent({ scopes: SCOPES, account: account! }));
  expect(error.code).toBe("timed_out");
  expect(error.hint).toMatch(/prompt, for whichever program.*systemctl --user restart .*himmelblau-broker/);
});

describe("Clouds of their own", () => {
  test.each([
    ["login.microsoftonline.us", "login.microsoftonline.us"],
    ["login.usgovcloudapi.net", "login.microsoftonline.us"],
    ["login.partner.microsoftonline.cn", "login.partner.microsoftonline.cn"],
    ["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
    ["login-us.microsoftonline.com", "login-us.microsoftonline.com"],
    ["login.sovcloud-identity.fr", "login.sovcloud-identity.fr"],
    ["login.sovcloud-identity.de", "login.sovcloud-identity.de"],
    ["login.sovcloud-identity.sg", "login.sovcloud-identity.sg"],
  ])("%s goes through the broker", async (host, environment) => {
    await behave({ accounts: [{ ...JANE, environment }] });
    const app = makeApp({ authority: `https://${host}/organizations` }), [account] = await app.getAccounts();
    expect(account).toMatchObject({ environment, source: "broker" });
    const token = await app.acquireTokenSilent({ scopes: SCOPES, account: account! });
    expect(token).toMatchObject({ source: "broker", account: { environment, username: JANE.username } });
    const { authParameters } = (await stage.broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters).toMatchObject({
      authority: `https://${BROKER === "msalruntime" ? environment : host}/${CONTOSO}`, // it knows the cloud's names
      account: { environment },
      redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
    });
    const signedIn = await app.acquireTokenInteractive({
      ...{ scopes: SCOPES, prompt: "login", loginHint: JANE.username, parentWindowHandle: CONSOLE_WINDOW_HANDLE },
    });
    expect(signedIn.account.environment).toBe(environment);
    const [window] = await stage.broker.calls("acquireTokenInteractively");
    expect(window!.request.authParameters.authority).toMatch(/^https:\/\/[^/]+\/organizations$/);
  });
});

describe("PublicClientApplication's requests", () => {
  test("are those of Microsoft's client", async () => {
    const app = makeApp({ clientCapabilities: ["cp1"] }), [account] = await app.getAccounts();
    await app.acquireTokenSilent({
      scopes: SCOPES,
      account: account!,
      correlationId: "99999999-9999-4999-8999-999999999999",
    });
    const [accounts, silent] = (await stage.broker.calls()).filter(({ member }) => member !== "Ping");
    expect(accounts).toMatchObject({
      member: "getAccounts",
      signature: "sss",
      protocolVersion: "0.0",
      request: { clientId: CLIENT_ID, redirectUri: CLIENT_ID },
    });
    const { account: sent, ...parameters } = silent!.request.authParameters;
    expect(silent).toMatchObject({
      member: "acquireTokenSilently",
      correlationId: "99999999-9999-4999-8999-999999999999",
    });
    expect(Object.keys(silent!.request)).toEqual(["authParameters"]);
    expect(sent).toMatchObject({
      username: "jane@contoso.com",
      passwordExpiry: expect.anything(),
      clientInfo: expect.any(String),
    });
    expect(parameters).toEqual({
      accessTokenToRenew: "",
      additionalQueryParametersForAuthorization: {},
      authority: `https://login.microsoftonline.com/${CONTOSO}`,
      authorizationType: 1,
      clientId: CLIENT_ID,
      decodedClaims: '{"access_token":{"xms_cc":{"values":["cp1"]}}}',
      enrollmentId: "",
      isTestMode: false,
      password: "",
      popParams: null,
      redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
      requestedScopes: ["User.Read"],
      username: "jane@contoso.com",
      uxContextHandle: -1,
    });
  });

  test("sign the device's account in when there is none, or several and none chosen", async () => {
    await behave({ accounts: [JANE, JOE] });
    await failure(
      silently(makeApp({ authority: "https://login.microsoftonline.com/organizations" }), {
        username: "other@contoso.com",
      }),
    );
    const { request } = (await stage.broker.calls("acquireTokenSilently"))[0]!;
    expect(request.authParameters).toMatchObject({
      account: null,
      isSignIn: true,
      username: "other@contoso.com",
      authority: "https://login.microsoftonline.com/organizations",
    });
  });

  test("have the only account there is, whole", async () => {
    await silently(makeApp());
    const { authParameters } = (await stage.broker.calls("acquireTokenSilently"))[0]!.request;
    expect(authParameters.account).toMatchObject({ username: "jane@contoso.com", familyName: expect.anything() });
    expect(authParameters.isSignIn).toBeUndefined();
  });

  test("go to the tenant that was asked for", async () => {
    await silently(makeApp(), { tenantId: "fabrikam.com" });
    expect((await stage.broker.calls("acquireTokenSilently"))[0]!.request.authParameters.authority).toBe(
      "https://login.microsoftonline.com/fabrikam.com",
    );
  });

  test("find an account again that an earlier run knew", async () => {
    const [account] = await makeApp().getAccounts();
    const stored = JSON.parse(JSON.stringify(account));
    expect((await makeApp().acquireTokenSilent({ scopes: SCOPES, account: stored }))!.account.username).toBe(
      "jane@contoso.com",
    );
    const gone = { ...stored, homeAccountId: "a.b" };
    expect(await makeApp().acquireTokenSilent({ scopes: SCOPES, account: gone })).toBeNull();
    expect((await failure(silently(makeApp(), { account: gone }))).code).toBe("account_not_found");
  });
});

describe("PublicClientApplication's held tokens", () => {
  test("are returned without asking while they are good for five more minutes", async () => {
    let now = Date.now();
    const app = makeApp({ now: () => now });
    const first = await silently(app), [account] = await app.getAccounts();
    await stage.broker.forgetCalls();
    const held = await silently(app);
    expect(held).toMatchObject({ accessToken: first.accessToken, source: "cache" });
    expect(held.correlationId).not.toBe(first.correlationId);
    expect((await app.acquireTokenSilent({ scopes: SCOPES, account: account! }))!.accessToken).toBe(first.accessToken);
    expect(await stage.broker.calls()).toEqual([]);
    now = first.expiresOn.getTime() - 300_000;
    expect((await silently(app)).source).toBe("broker");
  });

  // On WSL the request, and so the token, would stand in the list of processes.
  if (BROKER === "wsl") {
    test("are passed over with forceRefresh, and are not shown to the broker", async () => {
      const app = makeApp();
      await silently(app);
      expect((await silently(app, { forceRefresh: true })).source).toBe("broker");
      expect((await silently(makeApp(), { forceRefresh: true })).source).toBe("broker");
      const requests = (await stage.broker.calls("acquireTokenSilently")).map(({ request }) => request.authParameters);
      expect(requests.map(({ accessTokenToRenew }) => accessTokenToRenew)).toEqual(["", "", ""]);
    });
  }

  if (BROKER !== "wsl") {
    test("are passed over with forceRefresh, which renews them", async () => {
      const app = makeApp(), first = await silently(app), second = await silently(app, { forceRefresh: true });
      expect(second.accessToken).not.toBe(first.accessToken);
      expect((await stage.broker.calls("acquireTokenSilently")).at(-1)!.request.authParameters.accessTokenToRenew).toBe(
        first.accessToken,
      );
      expect((await silently(app)).accessToken).toBe(second.accessToken);
      const elsewhere = await silently(makeApp(), { forceRefresh: true });
      expect(elsewhere.accessToken).not.toBe(second.accessToken);
    });

    test("are shown to the broker to be renewed although they end soon", async () => {
      await behave({ tokenLifetimeSeconds: 200 });
      const app = makeApp(), scopes = ["Short.Read"];
      const { accessToken } = await silently(app, { scopes });
      await silently(app, { scopes, forceRefresh: true });
      const sent = (await stage.broker.calls("acquireTokenSilently")).map(({ request }) =>
        request.authParameters.accessTokenToRenew
      );
      expect(sent).toEqual(["", accessToken]);
    });
  }

  test("are passed over with claims, and replaced by what answers them", async () => {
    const app = makeApp(), claims = '{"access_token":{"nbf":{"essential":true,"value":"1"}}}';
    const first = await silently(app), challenged = await silently(app, { claims });
    expect(challenged.source).toBe("broker");
    expect(JSON.parse((await stage.broker.calls("acquireTokenSilently")).at(-1)!.request.authParameters.decodedClaims))
      .toEqual(JSON.parse(claims));
    expect(challenged.accessToken).not.toBe(first.accessToken);
    expect(await silently(app)).toMatchObject({ accessToken: challenged.accessToken, source: "cache" });
  });

  test("are one account's and one scope's", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane, joe] = await app.getAccounts();
    const token = async (account: typeof jane, scopes: string[]) =>
      (await app.acquireTokenSilent({ account: account!, scopes }))!.accessToken;
    const tokens = [
      await token(jane, ["a"]),
      await token(joe, ["a"]),
      await token(jane, ["b"]),
      await token(jane, ["a", "b"]),
    ];
    expect(new Set(tokens).size).toBe(4);
    expect(await token(jane, ["b", "a"])).toBe(tokens[3]!);
  });

  test("show in no inspection", async () => {
    const app = makeApp(), { accessToken } = await silently(app);
    const { inspect } = await import("node:util");
    expect(inspect(app, { depth: 9, showHidden: true })).not.toContain(accessToken);
  });
});

describe("PublicClientApplication with calls under way", () => {
  test("makes a thousand equal requests one call", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "delay", ms: 50 } } });
    const app = makeApp(), [account] = await app.getAccounts();
    const results = await Promise.all(
      Array.from({ length: 1000 }, () => app.acquireTokenSilent({ scopes: SCOPES, account: account! })),
    );
    expect(new Set(results.map((result) => result!.accessToken)).size).toBe(1);
    expect(await stage.broker.calls("acquireTokenSilently")).toHaveLength(1);
  });

  test("answers each of many different requests with its own token", async () => {
    const app = makeApp(), [account] = await app.getAccounts();
    const scopes = Array.from({ length: 300 }, (_, index) => [`scope${index}`]);
    const results = await Promise.all(scopes.map((scopes) => app.acquireTokenSilent({ scopes, account: account! })));
    expect(results.map((result) => result!.scopes)).toEqual(scopes);
  });

  test("lets a caller go who aborts, and no other", async () => {
    const app = makeApp(), [account] = await app.getAccounts();
    await behave({ replies: { acquireTokenSilently: { kind: "delay", ms: 100 } } });
    const leaving = new AbortController(), reason = new Error("enough");
    const gone = app.acquireTokenSilent({ scopes: SCOPES, account: account!, signal: leaving.signal }).catch((error) =>
      error
    );
    const staying = app.acquireTokenSilent({ scopes: SCOPES, account: account! });
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    expect((await staying)!.source).toBe("broker");
    expect(
      await app.acquireTokenSilent({ scopes: ["b"], account: account!, signal: leaving.signal }).catch((error) =>
        error
      ),
    ).toBe(reason);
  });
});

describe("PublicClientApplication without a broker", () => {
  test("probes nothing while the flag is off", async () => {
    const app = makeApp({
      enableBrokerOnLinux: false,
      enableBrokerOnMac: true,
      enableBrokerOnWindows: true,
      enableBrokerOnWsl: BROKER !== "wsl",
    });
    expect(await app.getAccounts()).toEqual([]);
    expect(await app.brokerStatus()).toMatchObject({ state: "off", kind: null, version: null });
    expect((await failure(silently(app))).code).toBe("interaction_required");
    expect(await stage.broker.calls()).toEqual([]);
  });

  test.each([
    ["https://adfs.contoso.com/adfs"],
    ["https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_a"],
    ["https://contoso.ciamlogin.com"],
    ["https://id.contoso.com"],
  ])("bypasses it for %s", async (authority) => {
    const app = makeApp({ authority });
    expect(await app.brokerStatus()).toMatchObject({ state: "off" });
    expect(await app.getAccounts()).toEqual([]);
    expect(await stage.broker.calls()).toEqual([]);
    expect((await failure(makeApp({ authority, requireBroker: true }).getAccounts())).code).toBe("broker_unavailable");
  });

  // Windows' broker takes no bus.
  if (BROKER === "linux") {
    test("says when there is no bus", async () => {
      const address = process.env.DBUS_SESSION_BUS_ADDRESS;
      delete process.env.DBUS_SESSION_BUS_ADDRESS;
      try {
        expect(await makeApp().brokerStatus()).toMatchObject({
          state: "unavailable",
          reason: expect.stringContaining("DBUS_SESSION_BUS_ADDRESS"),
        });
        process.env.DBUS_SESSION_BUS_ADDRESS = `unix:path=${stage.bus.directory}/nobody`;
        expect(await makeApp().brokerStatus()).toMatchObject({ state: "unavailable" });
      } finally {
        process.env.DBUS_SESSION_BUS_ADDRESS = address;
      }
    });
  }
});

describe("PublicClientApplication's reading of replies", () => {
  const answers = (reply: Reply, member = "acquireTokenSilently") => behave({ replies: { [member]: reply } });
  const token = (fields: object) =>
    JSON.stringify({ brokerTokenResponse: { accessToken: "a.b.c", accessTokenType: 0, expiresOn: 4e12, ...fields } });

  test("takes accounts with anything left out", async () => {
    await answers({
      kind: "text",
      text: '{"accounts":[{"username":"jane.doe@contoso.com"},{"username":null,"homeAccountId":"o.t"}]}',
    }, "getAccounts");
    const [nobody, somebody] = await makeApp().getAccounts();
    expect(nobody).toMatchObject({
      homeAccountId: "jane.doe@contoso.com",
      realm: "",
      environment: "login.microsoftonline.com",
    });
    expect(somebody).toMatchObject({ homeAccountId: "o.t", localAccountId: "o", realm: "t", username: "" });
  });

  test("keeps the text of an error that is none of the known ones", async () => {
    await answers({ kind: "text", text: '{"error":"Unable to find account"}' });
    expect(await failure(silently(makeApp()))).toMatchObject({
      code: "unexpected",
      errorDescription: "Unable to find account",
    });
  });

  if (BROKER === "linux") {
    test("keeps the text of an error of the bus, and of a method that is not known", async () => {
      await answers({ kind: "dbus_error", name: "com.contoso.Error.Own", message: "no, thanks" });
      expect(await failure(silently(makeApp()))).toMatchObject({
        code: "unexpected",
        error: undefined,
        errorDescription: "com.contoso.Error.Own: no, thanks",
      });
      await answers({ kind: "dbus_error", name: "org.freedesktop.DBus.Error.UnknownMethod", message: "?" });
      const needing = makeApp({ requireBroker: true });
      expect(await failure(silently(needing))).toMatchObject({ code: "broker_unavailable", hint: "Update the broker" });
      const going = makeApp(); // the browser would go on without it; where no sign-in follows, it is the cause
      expect(await failure(silently(going))).toMatchObject({
        code: "broker_unavailable",
        hint: "Update the broker. To go on without the broker, sign in: acquireTokenInteractive",
      });
      // Where no browser opens either, the broker's failure was not told.
      const windowless = makeApp({ openBrowser: () => false });
      const signIn = windowless.acquireTokenInteractive({ scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE });
      expect(await failure(signIn)).toMatchObject({
        code: "broker_unavailable",
        hint: expect.stringMatching(/^Update the broker\. To go on without the broker, show the user the URL/),
        cause: expect.objectContaining({ code: "missing_dependency" }),
      });
      const account: AccountInfo = {
        ...{ homeAccountId: "o.t", localAccountId: "o", environment: "login.microsoftonline.com", realm: "t" },
        ...{ tenantId: "t", username: "jane@contoso.com", source: "broker" },
      };
      expect(await going.acquireTokenSilent({ scopes: SCOPES, account })).toBeNull();
      expect(await going.getAccounts()).toEqual([]);
      expect(await going.brokerStatus()).toMatchObject({
        state: "unavailable",
        reason: expect.stringContaining("acquire"),
      });
    });
  }

  test("does not take another account's token", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane, joe] = await app.getAccounts();
    const ofJoe = await app.acquireTokenSilent({ scopes: SCOPES, account: joe! });
    for (const account of [{ ...joe, clientInfo: undefined }, undefined]) {
      const clientInfo = btoa(JSON.stringify({ uid: joe!.homeAccountId.split(".")[0], utid: CONTOSO }));
      await answers({ kind: "text", text: token({ accessToken: ofJoe!.accessToken, account, clientInfo }) });
      const error = await failure(silently(app, { scopes: ["b"], account: jane! }));
      expect(error).toMatchObject({
        code: "interaction_required",
        message: expect.stringContaining("not for jane@contoso.com"),
      });
    }
    await behave({ accounts: [JANE, JOE], replies: { acquireTokenSilently: { kind: "text", text: token({}) } } });
    expect((await failure(silently(app, { scopes: ["b"] }))).code).toBe("invalid_response");
  });

  test("does not take another's token for the account's where the id token alone says whose it is", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane, joe] = await app.getAccounts(), [oid, tid] = joe!.homeAccountId.split(".");
    const idToken = `a.${btoa(JSON.stringify({ oid, tid, preferred_username: joe!.username }))}.c`;
    await answers({ kind: "text", text: token({ idToken }) });
    expect(await failure(silently(app, { scopes: ["b"], account: jane! }))).toMatchObject({
      ...{ code: "interaction_required", message: "The broker answered for joe@contoso.com, not for jane@contoso.com" },
    });
  });

  test("tells the log of a bearer token that is bound to a key", async () => {
    const cnf = { kid: "the-key" }, lines: string[] = [];
    const logger = (level: string, message: string) => level === "debug" && lines.push(message);
    const bound = `e30.${btoa(JSON.stringify({ cnf })).replaceAll("=", "")}.c`, app = makeApp({ logger });
    for (const [accessToken, times] of [["a.b.c", 0], ["opaque", 0], [bound, 1]] as const) {
      await answers({ kind: "text", text: token({ accessToken }) });
      await silently(app, { scopes: [accessToken.slice(0, 5)] });
      expect({ accessToken, times: lines.filter((line) => line.includes("(cnf)")).length }).toEqual({
        accessToken,
        times,
      });
    }
    expect(lines.join("\n")).not.toContain("the-key");
  });

  test("keeps one person's accounts in two tenants apart", async () => {
    const FABRIKAM = "33333333-3333-3333-3333-333333333333", homeAccountId = `o.${CONTOSO}`;
    const accounts = [CONTOSO, FABRIKAM].map((realm) => ({
      homeAccountId,
      realm,
      localAccountId: "o",
      username: "jane@contoso.com",
    }));
    await behave({
      replies: {
        getAccounts: { kind: "text", text: JSON.stringify({ accounts }) },
        acquireTokenSilently: { kind: "text", text: token({}) },
      },
    });
    const app = makeApp();
    for (const account of await app.getAccounts()) {
      await app.acquireTokenSilent({ scopes: SCOPES, account });
      const { authParameters } = (await stage.broker.calls("acquireTokenSilently")).at(-1)!.request;
      expect([authParameters.account.realm, authParameters.authority]).toEqual([
        account.realm,
        `https://login.microsoftonline.com/${account.realm}`,
      ]);
    }
    expect(await stage.broker.calls("acquireTokenSilently")).toHaveLength(2);
  });

  test("does not make an expired token good", async () => {
    const iat = Math.floor(Date.now() / 1000) - 3600, claims = { tid: CONTOSO, iat, exp: iat + 7200 };
    const idToken = `a.${btoa(JSON.stringify(claims))}.c`, expiresOn = (iat + 3599) * 1000;
    await answers({ kind: "text", text: token({ expiresOn, idToken }) });
    expect((await silently(makeApp(), { scopes: ["Old.Read"] })).expiresOn.getTime()).toBe(expiresOn);
  });
});

describe("PublicClientApplication", () => {
  test("refuses mistakes before it asks anything", async () => {
    expect(() => new PublicClientApplication({ clientId: " " })).toThrow(TypeError);
    expect(() => makeApp({ authority: "common" })).toThrow(TypeError);
    const app = makeApp();
    for (
      const mistake of [{ scopes: [] }, { scopes: ["a b"] }, { claims: "x" }, { interactive: "sometimes" as "never" }]
    ) {
      expect(await silently(app, mistake).catch((error) => error)).toBeInstanceOf(TypeError);
    }
    const nobody = { scopes: SCOPES, account: undefined! };
    expect(await app.acquireTokenSilent(nobody).catch((error) => error)).toBeInstanceOf(TypeError);
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("says what is wrong with a call, before it asks anything", async () => {
    const app = makeApp(), wrong = (value: unknown) => value as never, parentWindowHandle = 0;
    const calls: readonly [() => Promise<unknown>, says: string][] = [
      [() => app.acquireToken(wrong(undefined)), "the request is missing"],
      [() => app.acquireToken(wrong(null)), "the request is missing"],
      [() => app.acquireTokenInteractive(wrong(undefined)), "the request is missing"],
      [() => app.getAccounts(wrong(null)), "the request is missing"],
      [() => app.initiateAuthCodeFlow(wrong(undefined)), "the request is missing"],
      [() => app.getAuthorizationRequestUrl(wrong(undefined)), "the request is missing"],
      [() => app.acquireSsoCookies(wrong(undefined)), "the request is missing"],
      [() => app.signHttpRequest(wrong(undefined)), "the request is missing"],
      [() => app.acquireTokenByDeviceCode(wrong(undefined)), "onUserCode has to be a function"],
      [() => app.acquireTokenByAuthCodeFlow(wrong(undefined), {}), "the flow is not one that was started"],
      [() => app.acquireTokenSilent(wrong(undefined)), "account is missing"],
      [() => app.isPopSupported(wrong(null)), "the request is missing"],
      [() => app.acquireToken({ scopes: SCOPES, claims: wrong(5) }), "claims must be a string"],
      [() => app.getAccounts({ username: wrong(5) }), "username must be a string"],
      [() => app.acquireToken({ scopes: SCOPES, username: wrong(5) }), "username must be a string"],
      [() => app.acquireToken({ scopes: SCOPES, tenantId: wrong({}) }), "tenantId must be a string"],
      [() => app.acquireToken({ scopes: SCOPES, clientCapabilities: wrong("cp1") }), "clientCapabilities must be"],
      [
        () => app.acquireTokenInteractive({ scopes: SCOPES, parentWindowHandle, loginHint: wrong(5) }),
        "loginHint must",
      ],
      [
        () => app.acquireTokenInteractive({ scopes: SCOPES, parentWindowHandle, username: wrong(5) }),
        "username must",
      ],
    ];
    for (const [call, says] of calls) {
      const error: unknown = await call().catch((error) => error);
      expect(error).toBeInstanceOf(ArgumentError);
      expect(error).toBeInstanceOf(TypeError);
      expect(String(error)).toContain(says);
    }
    expect((await makeApp({ enableBrokerOnLinux: false }).brokerStatus(wrong(null))).state).toBe("off");
    expect(() => makeApp({ clientCapabilities: wrong("cp1") })).toThrow("clientCapabilities must be a list");
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("ends its calls when it is closed, whatever they wait for, and asks nothing again", async () => {
    const closed = { code: "broker_unavailable", message: "The application was closed" };
    await behave({ noPing: true });
    const looking = makeApp(), found = failure(silently(looking));
    while ((await stage.broker.calls("Ping")).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    looking.close();
    expect(await found).toMatchObject(closed);
    await behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const asking = makeApp(), asked = failure(silently(asking));
    while ((await stage.broker.calls("acquireTokenSilently")).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    asking.close();
    expect(await asked).toMatchObject(closed);
    expect(await stage.broker.calls("acquireTokenSilently")).toHaveLength(1);
  });

  test("refuses time limits that are none", () => {
    for (const limit of [0, -1, NaN, "5" as unknown as number]) {
      expect(() => makeApp({ timeLimits: { silentMs: limit } })).toThrow(RangeError);
    }
  });

  test("closes, and connects anew when it is used again", async () => {
    const app = makeApp();
    await app.getAccounts();
    app.close();
    app.close();
    expect(await app.getAccounts()).toHaveLength(1);
    await app[Symbol.asyncDispose]();
  });

  test("writes the address to consent at", async () => {
    const url = new URL(
      await makeApp({ authority: "https://login.microsoftonline.com/contoso.com" }).getAuthorizationRequestUrl({
        scopes: SCOPES,
      }),
    );
    expect(url.origin + url.pathname).toBe("https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize");
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      client_id: CLIENT_ID,
      response_type: "code",
      scope: "User.Read openid profile offline_access",
    });
  });
});

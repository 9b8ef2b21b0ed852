// Sign-ins through the broker: silently first, then by its window.
import { describe, expect } from "bun:test";
import {
  CONSOLE_WINDOW_HANDLE,
  type InteractiveRequest,
  type Prompt,
  type PublicClientApplication,
  type WindowHandle,
} from "../../mod.ts";
import type { Reply } from "../fakes/behaviour.ts";
import { limitedTest } from "../fakes/test_within_limits.ts";
import { startPrivateBus } from "../fakes/private_bus.ts";
import { activatableFakeBroker } from "../fakes/start_fake_broker.ts";
import { BROKER, registeredUri, SENDERS } from "../fakes/tested_broker.ts";
import { CLIENT_ID, CONTOSO, failure, JANE, JOE, useStage } from "../fixture.ts";

const test = limitedTest(import.meta.url);

const SCOPES = ["User.Read"];
const stage = useStage({ broker: {} }), { makeApp, behave, called, requestOf, steps } = stage;

const signIn = (app: PublicClientApplication, more: Partial<InteractiveRequest> = {}) =>
  app.acquireTokenInteractive({ scopes: SCOPES, parentWindowHandle: CONSOLE_WINDOW_HANDLE, ...more });
const refusal = (status: number, context?: string): Reply => ({
  ...{ kind: "broker_error", status },
  ...(context !== undefined && { context }),
});
/** What a call is refused or let go with. */
const caught = (error: unknown) => error;

test("acquireTokenInteractive() refuses somebody else than the one who has to sign in", async () => {
  await behave({ accounts: [JANE] });
  const prompt = "select_account"; // which leaves it to the person
  const error = await failure(signIn(makeApp(), { prompt, username: "joe@contoso.com" }));
  expect(error).toMatchObject({ code: "interaction_required", hint: expect.stringContaining("joe@contoso.com") });
  expect((await steps()).at(-1)).toBe("window");
  expect(await signIn(makeApp(), { username: "JANE@contoso.com" })).toMatchObject({ source: "broker" });
});

for (const sender of SENDERS) {
  const isMicrosoft = sender.startsWith("microsoft");

  describe(`with ${sender}`, () => {
    test("acquireTokenInteractive() takes what can be had without a window", async () => {
      await behave({ sender, accounts: [JANE, JOE] });
      const result = await signIn(makeApp(), { loginHint: "Joe@Contoso.com" });
      expect(result).toMatchObject({ source: "broker", account: { username: "joe@contoso.com" } });
      expect(await steps()).toEqual(["silently joe@contoso.com"]);
    });

    test("acquireTokenInteractive() signs in by the window, and holds the token", async () => {
      await behave({ sender });
      const app = makeApp(), asked = Date.now();
      const result = await signIn(app, { prompt: "login", loginHint: "jane@contoso.com" });
      expect(result).toMatchObject({ tokenType: "Bearer", scopes: SCOPES, source: "broker", tenantId: CONTOSO });
      expect(result.account).toMatchObject({ username: "jane@contoso.com", tenantId: CONTOSO, realm: CONTOSO });
      expect(Number(result.idTokenClaims!.auth_time)).toBeGreaterThan(asked / 1000 - 60);
      expect(await steps()).toEqual(["window"]);
      const { accessToken, source } = (await app.acquireTokenSilent({ scopes: SCOPES, account: result.account }))!;
      expect({ accessToken, source }).toEqual({ accessToken: result.accessToken, source: "cache" });
      expect((await app.getAccounts()).map(({ homeAccountId }) => homeAccountId)).toEqual([
        result.account.homeAccountId,
      ]);
    });

    test("acquireTokenInteractive() sends an account where the sender looks for it", async () => {
      await behave({ sender });
      await signIn(makeApp(), { prompt: "login" });
      const request = await requestOf("acquireTokenInteractively");
      const { account, isSignIn, username } = request.authParameters;
      if (isMicrosoft) expect({ account, isSignIn, username }).toEqual({ account: null, isSignIn: true, username: "" });
      else expect({ account, isSignIn }).toMatchObject({ account: JANE, isSignIn: undefined });
      // A null at the root would hide the account below from himmelblau, whose first releases look at the root alone.
      expect("account" in request).toBe(sender === "himmelblau-0.1");
    });

    test.each(["AADSTS50011", "AADSTS7000218"])(
      "acquireTokenInteractive() names the URI that %s misses",
      async (number) => {
        const reply = refusal(9, `${number}: the redirect URI is not registered`);
        await behave({ sender, replies: { acquireTokenInteractively: reply } });
        const error = await failure(signIn(makeApp(), { prompt: "login" }));
        expect(error).toMatchObject({
          code: "configuration",
          errorCodes: [Number(number.replace("AADSTS", ""))],
          hint: expect.stringContaining(registeredUri(CLIENT_ID)),
        });
      },
    );

    test("a silent refusal without a status is an error that says what may help", async () => {
      await behave({ sender, replies: { acquireTokenSilently: refusal(0, "Failed acquiring token") } });
      const app = makeApp(), hint = expect.stringContaining("acquireTokenInteractive with a prompt");
      for (const call of [() => signIn(app), () => app.acquireToken({ scopes: SCOPES })]) {
        expect(await failure(call())).toMatchObject({ code: "unexpected", broker: { status: 0 }, hint });
      }
      await behave({ sender, replies: { acquireTokenSilently: refusal(0, "Unable to find account") } });
      expect((await failure(signIn(makeApp()))).hint).toMatch(/^Log in to this machine with an Entra account/);
    });

    test("acquireTokenInteractive() lets go at an abort, and ends the window once", async () => {
      await behave({ sender, replies: { acquireTokenInteractively: { kind: "hang" } } });
      const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
      const gone = signIn(app, { prompt: "login", signal: leaving.signal }).catch(caught);
      const [asked] = await called("acquireTokenInteractively");
      leaving.abort(reason);
      expect(await gone).toBe(reason);
      const [cancel] = await called("cancelInteractiveFlow");
      expect(cancel!.correlationId).toBe(asked!.correlationId!);
      await app.getAccounts(); // what else were sent would have come before this
      expect(await stage.broker.calls("cancelInteractiveFlow")).toHaveLength(1);
      await behave({ sender });
      expect((await signIn(app, { prompt: "login" })).source).toBe("broker");
    });
  });
}

describe("acquireTokenInteractive() silently first", () => {
  test("sends the account of the device whole when there is one", async () => {
    await signIn(makeApp());
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
    const { account, isSignIn, authority, username } = (await requestOf("acquireTokenSilently")).authParameters;
    expect(account).toMatchObject({ ...JANE, clientInfo: expect.any(String), familyName: expect.any(String) });
    expect({ isSignIn, authority, username }).toEqual({
      isSignIn: undefined,
      authority: "https://login.microsoftonline.com/common", // nobody chose the account
      username: "jane@contoso.com",
    });
  });

  test("asks the tenant of the account that the hint chose", async () => {
    await behave({ accounts: [JANE, JOE] });
    await signIn(makeApp(), { loginHint: "joe@contoso.com" });
    const { account, isSignIn, authority } = (await requestOf("acquireTokenSilently")).authParameters;
    expect({ account, isSignIn, authority }).toEqual({
      account: expect.objectContaining(JOE),
      isSignIn: undefined,
      authority: `https://login.microsoftonline.com/${CONTOSO}`,
    });
  });

  test.each([[[JANE, JOE]], [[]]])("names no account when there are %j", async (accounts) => {
    await behave({ accounts });
    await signIn(makeApp());
    expect((await steps())[0]).toBe("silently whoever is signed in");
    expect((await requestOf("acquireTokenSilently")).authParameters).toMatchObject({
      account: null,
      isSignIn: true,
      authority: "https://login.microsoftonline.com/common",
    });
  });

  test("goes to the window when the hint is for somebody whom the broker does not know", async () => {
    const { account } = await signIn(makeApp(), { loginHint: "joe@contoso.com" });
    expect(account.username).toBe("joe@contoso.com");
    expect(await steps()).toEqual(["silently jane@contoso.com", "window"]);
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      account: null,
      isSignIn: true,
      username: "joe@contoso.com",
      authority: "https://login.microsoftonline.com/common",
    });
  });

  test("takes whoever is signed in when the hint is for two accounts and one of them answers", async () => {
    const account = { homeAccountId: `o.${CONTOSO}`, localAccountId: "o", username: "jane@contoso.com" };
    const accounts = [CONTOSO, "33333333-3333-3333-3333-333333333333"].map((realm) => ({
      ...account,
      tenantId: realm,
      realm,
    }));
    await behave({ replies: { getAccounts: { kind: "text", text: JSON.stringify({ accounts }) } } });
    expect((await signIn(makeApp(), { loginHint: "JANE@contoso.com" })).account.username).toBe("jane@contoso.com");
    expect(await steps()).toEqual(["silently whoever is signed in"]);
  });

  test.each<[Reply]>([
    ...[0, 2, 3, 6, 12, 13].map((status): [Reply] => [refusal(status)]),
    [{ kind: "text", text: "<html>" }],
    ...(BROKER === "linux" ? [[{ kind: "dbus_error", name: "com.contoso.Error.Own", message: "no" }] as [Reply]] : []),
    [{ kind: "hang" }],
  ])("goes on after any failure of the hint's account: %j", async (reply) => {
    await behave({
      accounts: [JANE, JOE],
      defaultAccount: JOE.username,
      replies: { acquireTokenSilently: { ...reply, times: 1 } },
    });
    const app = makeApp(reply.kind === "hang" ? { timeLimits: { silentMs: 2_000 } } : {});
    const { account } = await signIn(app, { loginHint: "joe@contoso.com" });
    expect(account.username).toBe("joe@contoso.com");
    expect(await steps()).toEqual(["silently joe@contoso.com", "silently whoever is signed in"]);
  });

  test("goes on when the broker cannot list its accounts", async () => {
    await behave({ replies: { getAccounts: { ...refusal(5), times: 1 } } });
    expect((await signIn(makeApp(), { loginHint: "jane@contoso.com" })).account.username).toBe("jane@contoso.com");
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
  });

  // Wire statuses that say what a window mends: interaction required, account unusable.
  test.each(Array.from({ length: 22 }, (_, status) => [status] as const))(
    "takes the status %d of the account of the device for what it is",
    async (status) => {
      await behave({ replies: { acquireTokenSilently: refusal(status) } });
      const signedIn = signIn(makeApp());
      if (status === 2 || status === 13) {
        expect((await signedIn).account.username).toBe("jane@contoso.com");
        expect(await steps()).toEqual(["silently jane@contoso.com", "window"]);
      } else {
        expect((await failure(signedIn)).broker).toBeDefined();
        expect(await steps()).toEqual(["silently jane@contoso.com"]);
      }
    },
  );

  test("does not take another person's token for the hint's", async () => {
    await behave({ accounts: [JANE, JOE], replies: { acquireTokenSilently: { ...refusal(3), times: 1 } } });
    expect((await signIn(makeApp(), { loginHint: "joe@contoso.com" })).account.username).toBe("joe@contoso.com");
    expect(await steps()).toEqual(["silently joe@contoso.com", "silently whoever is signed in", "window"]);
  });

  test("takes a token that is held", async () => {
    const app = makeApp(), { accessToken } = await signIn(app);
    expect(await signIn(app)).toMatchObject({ accessToken, source: "cache" });
    expect(await steps()).toHaveLength(1);
  });
});

describe("acquireTokenInteractive() with a prompt", () => {
  test("of none ends with what the account of the device gave", async () => {
    expect((await signIn(makeApp(), { prompt: "none" })).account.username).toBe("jane@contoso.com");
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    expect((await failure(signIn(makeApp(), { prompt: "none" }))).broker!.status).toBe(2);
    await behave();
    const error = await failure(signIn(makeApp(), { prompt: "none", loginHint: "joe@contoso.com" }));
    expect(error).toMatchObject({
      code: "interaction_required",
      message: "The broker answered for jane@contoso.com, not for joe@contoso.com",
    });
    expect(await steps()).not.toContain("window");
  });

  test.each<[Prompt]>([["login"], ["consent"], ["create"]])("of %s goes to the window at once", async (prompt) => {
    await behave({ accounts: [JANE, JOE] });
    expect((await signIn(makeApp(), { prompt, loginHint: "joe@contoso.com" })).account.username).toBe(
      "joe@contoso.com",
    );
    expect(await steps()).toEqual(["window"]);
    const { additionalQueryParametersForAuthorization, username } =
      (await requestOf("acquireTokenInteractively")).authParameters;
    expect({ username, ...additionalQueryParametersForAuthorization }).toEqual({ username: "joe@contoso.com", prompt });
  });

  test("of select_account goes to the window at once, and drops the hint", async () => {
    await behave({ accounts: [JANE, JOE] });
    await signIn(makeApp(), { prompt: "select_account", loginHint: "joe@contoso.com" });
    expect(await steps()).toEqual(["window"]);
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      account: null,
      username: "",
      additionalQueryParametersForAuthorization: { prompt: "select_account" },
    });
  });
});

describe("acquireTokenInteractive() with maxAge", () => {
  const secondsAgo = (seconds: number) => ({ ...JANE, signedInAt: Math.floor(Date.now() / 1000) - seconds });

  test("takes a silent answer of a sign-in that is young enough, and no held token", async () => {
    await behave({ accounts: [secondsAgo(30)] });
    const app = makeApp();
    for (const loginHint of [undefined, undefined, "jane@contoso.com"]) {
      expect((await signIn(app, { maxAge: 600, loginHint })).source).toBe("broker");
    }
    expect(await steps()).toEqual(Array(3).fill("silently jane@contoso.com"));
    const { additionalQueryParametersForAuthorization } = (await requestOf("acquireTokenSilently")).authParameters;
    expect(additionalQueryParametersForAuthorization).toEqual({ max_age: "600" });
  });

  test("goes to the window when the sign-in is too old", async () => {
    await behave({ accounts: [secondsAgo(700)] });
    const app = makeApp(), old = { scopes: ["Old.Read"], maxAge: 600 }; // a scope that the fake has no younger token for
    expect((await failure(signIn(app, { ...old, prompt: "none" }))).code).toBe("interaction_required");
    expect((await signIn(app, old)).idTokenClaims!.auth_time).toBeGreaterThan(Date.now() / 1000 - 60);
    expect(await steps()).toEqual(["silently jane@contoso.com", "silently jane@contoso.com", "window"]);
    const { additionalQueryParametersForAuthorization } = (await requestOf("acquireTokenInteractively")).authParameters;
    expect(additionalQueryParametersForAuthorization).toEqual({ max_age: "600" });
  });

  test("goes to the window when nobody knows how old the sign-in is", async () => {
    const idToken = `a.${btoa(JSON.stringify({ oid: "o", tid: CONTOSO, preferred_username: "jane@contoso.com" }))}.c`;
    const brokerTokenResponse = { accessToken: "a.b.c", accessTokenType: 0, expiresOn: Date.now() + 4e6, idToken };
    await behave({
      replies: { acquireTokenSilently: { kind: "text", text: JSON.stringify({ brokerTokenResponse }) } },
    });
    await signIn(makeApp(), { maxAge: 600 });
    expect(await steps()).toEqual(["silently jane@contoso.com", "window"]);
  });
});

describe("acquireTokenInteractive()'s window", () => {
  /** X11's and Wayland's mean nothing to Windows. */
  const ofLinux = (handle: number): number => BROKER === "wsl" ? 0 : handle;

  test.each<[string, WindowHandle, number]>([
    ["a number", 4711, 4711],
    ["a bigint", 4711n, 4711],
    ["four bytes", new Uint8Array([0x67, 0x12, 0, 0]), ofLinux(0x1267)],
    ["eight bytes", new Uint8Array([0x67, 0x12, 0, 0, 1, 0, 0, 0]), ofLinux(2 ** 32 + 0x1267)],
    ["X11's name", "x11:1267", ofLinux(0x1267)],
    ["the console", CONSOLE_WINDOW_HANDLE, 0],
  ])("belongs to another by %s", async (_, parentWindowHandle, handle) => {
    await signIn(makeApp(), { prompt: "login", parentWindowHandle });
    const request = await requestOf("acquireTokenInteractively");
    expect(request).toMatchObject({ parentWindowHandle: handle, authParameters: { parentWindow: { handle } } });
    expect(request.parentWindowExportedHandle).toBeUndefined();
  });

  test("belongs to another by Wayland's name", async () => {
    await signIn(makeApp(), { prompt: "login", parentWindowHandle: "wayland:kde-1" });
    const request = await requestOf("acquireTokenInteractively");
    const windows = [
      request.parentWindowExportedHandle,
      request.parentWindowHandle,
      request.authParameters.parentWindow,
    ];
    expect(windows).toEqual(
      BROKER === "wsl" ? [undefined, 0, { handle: 0 }] : ["kde-1", undefined, { exportedHandle: "kde-1" }],
    );
  });

  test.each<[object]>([[{}], [{ enableBrokerOnWsl: true }]])(
    "has to be given where a broker serves: %j",
    async (more) => {
      const mistake = await makeApp(more).acquireTokenInteractive({ scopes: SCOPES }).catch(caught);
      expect(mistake).toBeInstanceOf(TypeError);
      expect(String(mistake)).toContain("CONSOLE_WINDOW_HANDLE");
      expect(await stage.broker.calls()).toEqual([]);
    },
  );

  test.each([
    [{ enableBrokerOnLinux: false }],
    [{ authority: "https://adfs.contoso.com/adfs" }],
    [{ authority: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_a" }],
    [{ authority: "https://contoso.ciamlogin.com" }],
    [{ authority: "https://id.contoso.com" }],
  ])("need not be given where none does: %j", async (more) => {
    const reason = new Error("enough"), signal = AbortSignal.abort(reason); // all that is wanted is whether it begins
    expect(await makeApp(more).acquireTokenInteractive({ scopes: SCOPES, signal }).catch(caught)).toBe(
      reason,
    );
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("cannot belong to what is no window, and the broker does not hear of it", async () => {
    for (const handle of [-1, 1.5, "", "wayland:", "x11:window", new Uint8Array(3), null, 2n ** 60n]) {
      const mistake = signIn(makeApp(), { parentWindowHandle: handle as number }).catch(caught);
      expect(await mistake).toBeInstanceOf(TypeError);
    }
    expect(await stage.broker.calls()).toEqual([]);
  });

  test("is told of once, just before it opens", async () => {
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    const events: unknown[] = [];
    const app = makeApp({
      logger: (_, message) => events.push(...message.match(/^\w+(?= (was answered|failed))/)?.slice(0, 1) ?? []),
    });
    await signIn(app, { onBeforeLaunchingUi: (event) => events.push(event) });
    expect(events).toEqual(["getAccounts", "acquireTokenSilently", { ui: "broker" }, "acquireTokenInteractively"]);
  });

  test("is not told of when it does not open", async () => {
    const told: unknown[] = [];
    await signIn(makeApp(), { onBeforeLaunchingUi: (event) => told.push(event) });
    expect(told).toEqual([]);
  });

  test("does not open when who is told of it throws", async () => {
    const reason = new Error("no window, please");
    const onBeforeLaunchingUi = () => {
      throw reason;
    };
    expect(await signIn(makeApp(), { prompt: "login", onBeforeLaunchingUi }).catch(caught)).toBe(reason);
    expect(await steps()).toEqual([]);
  });
});

describe("acquireTokenInteractive()'s request", () => {
  test("is that of Microsoft's client", async () => {
    const correlationId = "99999999-9999-4999-8999-999999999999", loginHint = "jane@contoso.com";
    const app = makeApp({ clientCapabilities: ["cp1"] });
    await signIn(app, { prompt: "login", loginHint, correlationId, scopes: ["User.Read", "openid", "email"] });
    const [call] = await called("acquireTokenInteractively");
    expect(call).toMatchObject({ signature: "sss", protocolVersion: "0.0", correlationId });
    expect(call!.request).toEqual({
      authParameters: {
        accessTokenToRenew: "",
        account: null,
        additionalQueryParametersForAuthorization: { prompt: "login" },
        authority: "https://login.microsoftonline.com/common",
        authorizationType: 6,
        clientId: CLIENT_ID,
        decodedClaims: '{"access_token":{"xms_cc":{"values":["cp1"]}}}',
        enrollmentId: "",
        isSignIn: true,
        isTestMode: false,
        parentWindow: { handle: 0 },
        password: "",
        popParams: null,
        redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
        requestedScopes: ["User.Read", "email"],
        username: loginHint,
        uxContextHandle: -1,
      },
      parentWindowHandle: 0,
    });
  });

  test("carries parameters, hints and claims, silently and to the window", async () => {
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    const claims = '{"id_token":{"acr":{"essential":true,"value":"c1"}}}';
    await signIn(makeApp(), {
      ...{ claims, domainHint: "contoso.com", maxAge: 60, tenantId: "contoso.com" },
      extraQueryParameters: { dc: "ESTS-PUB", domain_hint: "overridden" },
    });
    for (const member of ["acquireTokenSilently", "acquireTokenInteractively"]) {
      expect((await requestOf(member)).authParameters).toMatchObject({
        authority: "https://login.microsoftonline.com/contoso.com",
        decodedClaims: claims,
        additionalQueryParametersForAuthorization: { dc: "ESTS-PUB", domain_hint: "contoso.com", max_age: "60" },
      });
    }
  });

  test("says in the log what a broker does not take, and no secret", async () => {
    await behave({ replies: { acquireTokenSilently: refusal(2) } });
    const lines: string[] = [], claims = '{"id_token":{"acr":{"value":"of-the-challenge"}}}';
    const app = makeApp({ logger: (level, message) => lines.push(`${level}: ${message}`) });
    const { accessToken, idToken } = await signIn(app, { claims, extraScopesToConsent: ["Mail.Read"] });
    expect(lines).toContain("warn: The broker does not take extraScopesToConsent");
    for (const secret of [accessToken, idToken!, "of-the-challenge"]) expect(lines.join("\n")).not.toContain(secret);
  });

  test("is never repeated, although the bus would start the broker again", async () => {
    const other = await startPrivateBus(), started = await activatableFakeBroker(other);
    process.env.DBUS_SESSION_BUS_ADDRESS = other.address;
    try {
      await started.behave({ replies: { acquireTokenInteractively: { kind: "exit", times: 1 } } });
      const app = makeApp();
      expect((await failure(signIn(app, { prompt: "login" }))).code).toBe("broker_unavailable");
      expect(await started.calls("acquireTokenInteractively")).toHaveLength(1);
      expect((await signIn(app, { prompt: "login" })).source).toBe("broker");
    } finally {
      process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
      await started.kill();
      await other.stop();
    }
  });

  test("is one for each call", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "hang" } } });
    const app = makeApp(), leaving = new AbortController();
    const gone = [1, 2].map(() => signIn(app, { prompt: "login", signal: leaving.signal }).catch(caught));
    const ids = (await called("acquireTokenInteractively", 2)).map(({ correlationId }) => correlationId);
    leaving.abort(new Error("enough"));
    await Promise.all(gone);
    const ended = (await called("cancelInteractiveFlow", 2)).map(({ correlationId }) => correlationId);
    expect(ended.toSorted()).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(2);
  });
});

describe("acquireTokenInteractive() that waits for the person", () => {
  // Windows' broker is ended with the program that asks it.
  test.each(BROKER === "linux" ? ["broker", "bus"] as const : [])(
    "lets go at an abort although the %s does not run",
    async (stopped) => {
      const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
      await app.getAccounts();
      const opening = Promise.withResolvers<void>(), onBeforeLaunchingUi = () => opening.resolve();
      stage[stopped].pause();
      const gone = signIn(app, { prompt: "login", signal: leaving.signal, onBeforeLaunchingUi }).catch(caught);
      await opening.promise;
      leaving.abort(reason);
      expect(await gone).toBe(reason);
      stage[stopped].resume();
      const [asked] = await called("acquireTokenInteractively"), [cancel] = await called("cancelInteractiveFlow");
      expect(cancel!.correlationId).toBe(asked!.correlationId!);
    },
  );

  test("lets go at an abort of the silent step, and opens no window", async () => {
    await behave({ replies: { acquireTokenSilently: { kind: "hang" } } });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = signIn(app, { loginHint: "jane@contoso.com", signal: leaving.signal }).catch(caught);
    await called("acquireTokenSilently");
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await app.getAccounts();
    expect(await steps()).toEqual(["silently jane@contoso.com"]);
    expect(await stage.broker.calls("cancelInteractiveFlow")).toEqual([]);
  });

  test("ends when the application is closed, and ends the window once", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "hang" } } });
    const app = makeApp(), gone = failure(signIn(app, { prompt: "login" }));
    const [asked] = await called("acquireTokenInteractively");
    app.close();
    expect(await gone).toMatchObject({ code: "broker_unavailable", message: "The application was closed" });
    const [cancel] = await called("cancelInteractiveFlow");
    expect(cancel!.correlationId).toBe(asked!.correlationId!);
    await app.getAccounts();
    expect(await stage.broker.calls("cancelInteractiveFlow")).toHaveLength(1);
  });

  test("tells the broker nothing once it has answered", async () => {
    const app = makeApp(), leaving = new AbortController();
    await signIn(app, { prompt: "login", signal: leaving.signal });
    leaving.abort();
    await app.getAccounts();
    expect(await stage.broker.calls("cancelInteractiveFlow")).toEqual([]);
  });

  test("holds up no silent call", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "hang" } } });
    const app = makeApp(), [account] = await app.getAccounts(), leaving = new AbortController();
    const gone = signIn(app, { prompt: "login", signal: leaving.signal }).catch(caught);
    await called("acquireTokenInteractively");
    const scopes = Array.from({ length: 200 }, (_, index) => [`scope${index}`]);
    const results = await Promise.all(scopes.map((scopes) => app.acquireTokenSilent({ scopes, account: account! })));
    expect(results.map((result) => result!.scopes)).toEqual(scopes);
    leaving.abort(new Error("enough"));
    expect(await gone).toEqual(new Error("enough"));
  });

  test("has the person's answer although it comes late", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "delay", ms: 300 } } });
    expect((await signIn(makeApp({ timeLimits: { silentMs: 50 } }), { prompt: "login" })).source).toBe("broker");
  });
});

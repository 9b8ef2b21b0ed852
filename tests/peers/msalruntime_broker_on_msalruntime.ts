// What latchkey makes of Microsoft's library itself, beside what the suites of brokers say of every way to one.
import { afterAll, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { addonBelowPackage } from "../../lib/broker/msalruntime_addon.ts";
import { CONSOLE_WINDOW_HANDLE, type PublicClientApplication, type WindowHandle } from "../../mod.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { activatableFakeBroker } from "../fakes/start_fake_broker.ts";
import { SENDERS } from "../fakes/tested_broker.ts";
import { CONTOSO, failure, JANE, JOE, useStage } from "../fixture.ts";
import { ownRuntimePath } from "../runtimes/runtime_paths.ts";

const SCOPES = ["User.Read"];
/** So long that what comes after it is told from what does not wait for it. */
const SLOW = { kind: "delay", ms: 300 } as const;

const stage = useStage({ broker: {} }), { makeApp, behave, called, requestOf, steps } = stage;
const packageFolder = process.env.LATCHKEY_MSALRUNTIME!;
const { name, version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));

const silently = (app: PublicClientApplication, more: object = {}) =>
  app.acquireToken({ scopes: SCOPES, interactive: "never", ...more });
const byWindow = (app: PublicClientApplication, more: object = {}) =>
  app.acquireToken({ scopes: SCOPES, interactive: "always", parentWindowHandle: CONSOLE_WINDOW_HANDLE, ...more });

test("brokerStatus() names the library, and the version of its package", async () => {
  await behave();
  expect(await makeApp().brokerStatus({ version: true })).toEqual({
    state: "active",
    kind: "msalruntime",
    version,
    reason: null,
  });
});

test("addonBelowPackage() names what the package has for each machine", () => {
  expect(name).toBe("@azure/msal-node-runtime");
  const machines = [["win32", "x86_64"], ["win32", "aarch64"], ["win32", "ia32"], ["darwin", "aarch64"]] as const;
  const releases = ["", 'ID="rhel"\nVERSION_ID="9.4"', 'ID="rhel"\nVERSION_ID="10.0"'];
  const paths = [
    ...machines.map(([system, arch]) => addonBelowPackage({ system, arch })),
    ...releases.map((osRelease) => addonBelowPackage({ system: "linux", arch: "x86_64", osRelease })),
  ];
  expect(paths.filter((path) => !existsSync(join(packageFolder, path.replaceAll("\\", "/"))))).toEqual([]);
});

for (const sender of SENDERS) {
  test(`with ${sender} a refusal has its status, code and tag, and the request's id`, async () => {
    const context = "AADSTS50076: multi-factor authentication needed\u202e\x1b[31m, see AADSTS53003";
    const refusal = { kind: "broker_error", status: 2, tag: 123, errorCode: -5, context } as const;
    await behave({ sender, replies: { acquireTokenSilently: refusal } });
    const app = makeApp(), error = await failure(silently(app));
    expect(error).toMatchObject({
      code: "interaction_required",
      errorDescription: "AADSTS50076: multi-factor authentication needed [31m, see AADSTS53003",
      errorCodes: [50076, 53003],
      broker: { status: 2, subStatus: 0, tag: 123, errorCode: -5 },
    });
    expect((await called("acquireTokenSilently"))[0]!.correlationId).toBe(error.correlationId!);
    const [account] = await app.getAccounts();
    expect(await app.acquireTokenSilent({ scopes: SCOPES, account: account! })).toBeNull();
  });
}

describe("A call", () => {
  test("lets go at an abort, and its token is dropped", async () => {
    await behave({ replies: { acquireTokenSilently: SLOW } });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = silently(app, { signal: leaving.signal }).catch((error) => error);
    await called("acquireTokenSilently");
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await behave();
    expect((await silently(app)).source).toBe("broker"); // not the one that was held, since none was
  });

  test("by a window lets go at an abort, and the next one waits until the library is free", async () => {
    await behave({ replies: { acquireTokenInteractively: { ...SLOW, times: 1 } } });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = byWindow(app, { signal: leaving.signal }).catch((error) => error);
    await called("acquireTokenInteractively");
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    expect((await byWindow(app, { scopes: ["Mail.Read"] })).scopes).toEqual(["Mail.Read"]);
    const [first, second] = await called("acquireTokenInteractively", 2);
    expect([first, second].map((call) => call!.request.authParameters.requestedScopes)).toEqual([SCOPES, [
      "Mail.Read",
    ]]);
  });

  test("ends in its time", async () => {
    await behave({ replies: { acquireTokenSilently: SLOW } });
    expect(await failure(silently(makeApp({ timeLimits: { silentMs: 50 } })))).toMatchObject({
      code: "timed_out",
      message: "The broker did not answer acquireTokenSilently within 50 ms",
    });
  });

  test("that gives up before its turn is not made", async () => {
    await behave({ replies: { acquireTokenInteractively: SLOW } });
    const app = makeApp({ timeLimits: { silentMs: 20 } }), [account] = await app.getAccounts(), window = byWindow(app);
    await called("acquireTokenInteractively");
    expect((await failure(silently(app, { account }))).code).toBe("timed_out");
    expect((await window).account.username).toBe("jane@contoso.com");
    expect(await app.getAccounts()).toHaveLength(1);
    expect(await steps()).toEqual(["window"]);
  });

  test("ends when the application is closed", async () => {
    await behave({ replies: { acquireTokenSilently: SLOW } });
    const app = makeApp(), gone = failure(silently(app));
    await called("acquireTokenSilently");
    app.close();
    expect(await gone).toMatchObject({ code: "broker_unavailable", message: "The application was closed" });
  });

  test("has its own answer among many", async () => {
    await behave();
    const app = makeApp(), [account] = await app.getAccounts();
    const scopes = Array.from({ length: 12 }, (_, index) => [`scope${index}`]);
    const results = await Promise.all(scopes.map((scopes) => app.acquireTokenSilent({ scopes, account: account! })));
    expect(results.map((result) => result!.scopes)).toEqual(scopes);
  });

  test("fails when the broker is gone, and is made again when it is back", async () => {
    await behave();
    const app = makeApp(), [account] = await app.getAccounts();
    await stage.broker.kill();
    expect(await failure(silently(app, { account }))).toMatchObject({
      code: "broker_unavailable",
      message: expect.stringContaining("The broker went away"),
      broker: undefined,
    });
    await stage.broker.start();
    expect((await silently(app, { account })).account.username).toBe("jane@contoso.com");
  });

  test("is made once more when the broker dies over it, a window never", async () => {
    const started = await activatableFakeBroker(stage.bus);
    await stage.broker.kill();
    try {
      await started.behave({ replies: { acquireTokenSilently: { kind: "exit", times: 1 } } });
      const app = makeApp();
      expect((await silently(app)).account.username).toBe("jane@contoso.com");
      expect(await started.calls("acquireTokenSilently")).toHaveLength(2);
      await started.behave({ replies: { acquireTokenInteractively: { kind: "exit", times: 1 } } });
      expect((await failure(byWindow(app))).code).toBe("broker_unavailable");
      expect(await started.calls("acquireTokenInteractively")).toHaveLength(1);
    } finally {
      await started.kill();
      await stage.broker.start();
    }
  });
});

describe("An account", () => {
  test("of an earlier run is known to the library, and the broker is not asked for it", async () => {
    await behave({ accounts: [JANE, JOE] });
    const stored = JSON.parse(JSON.stringify((await makeApp().getAccounts())[1]));
    await stage.broker.forgetCalls();
    const result = await makeApp().acquireTokenSilent({ scopes: SCOPES, account: stored });
    expect(result!.account.username).toBe("joe@contoso.com");
    expect(await stage.broker.calls("getAccounts")).toEqual([]);
  });

  test("that nobody knows is not found", async () => {
    await behave();
    const [account] = await makeApp().getAccounts(), homeAccountId = `33333333-3333-3333-3333-333333333333.${CONTOSO}`;
    const gone = { ...account!, homeAccountId };
    expect((await failure(silently(makeApp(), { account: gone }))).code).toBe("account_not_found");
    expect(await steps()).toEqual([]);
  });

  test("is unusable once it was taken from the broker, of which that hears nothing", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [jane] = await app.getAccounts();
    await stage.broker.forgetCalls();
    await app.removeAccount(jane!, { fromBroker: true });
    expect(await failure(silently(makeApp(), { account: jane! }))).toMatchObject({
      code: "account_unusable",
      broker: { status: 13 },
    });
    expect((await stage.broker.calls()).filter(({ member }) => member !== "getAccounts")).toEqual([]);
  });
});

describe("A window", () => {
  test.each<[string, WindowHandle, number]>([
    ["the console, which has none here", CONSOLE_WINDOW_HANDLE, 1],
    ["a number", 0x1267, 0x1267],
    ["four bytes", new Uint8Array([1, 2, 3, 0]), 0x030201],
  ])("belongs to that of %s", async (_, parentWindowHandle, id) => {
    await behave();
    await byWindow(makeApp(), { parentWindowHandle });
    expect(await requestOf("acquireTokenInteractively")).toMatchObject({
      parentWindowHandle: id,
      authParameters: { account: null, isSignIn: true },
    });
  });

  test("is for the account that was chosen, but with a prompt to sign in anew", async () => {
    await behave({ accounts: [JANE, JOE] });
    const app = makeApp(), [, joe] = await app.getAccounts();
    await byWindow(app, { account: joe });
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      account: JOE,
      username: "joe@contoso.com",
    });
    expect((await byWindow(app, { account: joe, prompt: "login" })).account.username).toBe("joe@contoso.com");
    // The library passes a hint on that it knows itself, and no other.
    expect((await requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      ...{ account: null, isSignIn: true, username: "joe@contoso.com" },
    });
  });

  test("is told of once, just before it opens", async () => {
    await behave();
    const app = makeApp(), told: string[] = [];
    await byWindow(app, { onBeforeLaunchingUi: ({ ui }: { ui: string }) => void told.push(ui) });
    expect(told).toEqual(["broker"]);
  });

  test("that the person closed is user_canceled", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "broker_error", status: 7, tag: 1, errorCode: 2 } } });
    expect(await failure(byWindow(makeApp()))).toMatchObject({ code: "user_canceled", broker: { status: 7 } });
  });
});

describe("A request", () => {
  test("has its parameters, less those that the library refuses, and says in the log which", async () => {
    await behave();
    const lines: string[] = [], app = makeApp({ logger: (_, line) => void lines.push(line) });
    const extraQueryParameters = { foo: "bar" }, claims = '{"id_token":{"auth_time":{"essential":true}}}';
    await byWindow(app, { claims, domainHint: "contoso.com", extraQueryParameters, maxAge: 60 });
    const { authParameters } = await requestOf("acquireTokenInteractively");
    expect(authParameters).toMatchObject({
      decodedClaims: claims,
      additionalQueryParametersForAuthorization: { foo: "bar", max_age: "60" },
    });
    expect(authParameters.additionalQueryParametersForAuthorization.domain_hint).toBeUndefined();
    expect(lines.filter((line) => line.startsWith("MSALRuntime does not take domain_hint"))).toHaveLength(1);
  });

  test("of another tenant goes there", async () => {
    await behave();
    const tenantId = "33333333-3333-4333-8333-333333333333";
    await silently(makeApp(), { tenantId });
    expect((await requestOf("acquireTokenSilently")).authParameters.authority).toBe(
      `https://login.microsoftonline.com/${tenantId}`,
    );
  });

  test("for a token that is bound to one HTTP request names that", async () => {
    await behave();
    const app = makeApp(), [account] = await app.getAccounts(), url = "https://api.contoso.com:8443/orders/7?all=yes";
    const authenticationScheme = { type: "pop", method: "POST", url, nonce: "n-1" } as const;
    const { accessToken, tokenType } = await silently(app, { account, authenticationScheme });
    expect(tokenType).toBe("pop");
    expect(JSON.parse(atob(accessToken.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")))).toMatchObject({
      ...{ m: "POST", u: "api.contoso.com:8443", p: "/orders/7", nonce: "n-1" },
    });
    expect((await silently(app, { account })).tokenType).toBe("Bearer");
  });

  test("for such a token fails with a broker that can give none", async () => {
    await behave({ sender: "himmelblau-2.0" });
    const app = makeApp(), [account] = await app.getAccounts();
    const authenticationScheme = { type: "pop", method: "GET", url: "https://api.contoso.com/" } as const;
    const error = await failure(silently(app, { account, authenticationScheme }));
    expect(error).toMatchObject({ code: "unexpected", errorDescription: "PoP is not available" });
    expect(error.hint).toContain("isPopSupported");
  });
});

describe("What the library has no way to", () => {
  test("is refused: cookies, and signatures of requests alone", async () => {
    await behave();
    const app = makeApp(), account = (await app.getAccounts())[0]!, url = "https://login.microsoftonline.com/";
    for (
      const call of [app.acquireSsoCookies({ account, url }), app.signHttpRequest({ account, method: "GET", url })]
    ) {
      expect(await failure(call)).toMatchObject({
        code: "refused",
        message: expect.stringContaining("MSALRuntime does not"),
        hint: expect.any(String),
        correlationId: expect.any(String),
      });
    }
    expect(await app.isPopSupported()).toBe(false);
  });
});

describe("A program", () => {
  const program = fileURLToPath(new URL("asking_program.ts", import.meta.url));
  const addon = join(packageFolder, addonBelowPackage({ system: "linux", arch: "x86_64" }));
  const otherBus = Promise.withResolvers<PrivateBus>();
  afterAll(async () => await (await otherBus.promise).stop());

  /** What it printed; it has to end by itself. */
  async function outputOf(
    command: readonly string[],
    how = "token",
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const [file = "", ...args] = [...command, how];
    const { stdout, stderr } = await promisify(execFile)(file, args, { env: { ...process.env, ...env } });
    expect(stderr).toBe("");
    return stdout;
  }

  test("that closes nothing ends by itself, although it has a logger", async () => {
    await behave();
    const lines = await outputOf([...ownRuntimePath().program(), program]);
    expect(lines).toMatch(/\ntoken of jane@contoso\.com\n$/);
    expect(lines).not.toContain("MSALRuntime:");
  });

  test("has the library's log where it wants it, without any secret", async () => {
    await behave();
    const log = { LATCHKEY_MSALRUNTIME_LOG: "1" };
    const lines = await outputOf([...ownRuntimePath().program(), program], "window", log);
    expect(lines).toMatch(/\ntoken of jane@contoso\.com\n$/);
    expect(lines).toMatch(/^debug MSALRuntime: .*SignInInteractively/m);
    const [reply] = (await stage.broker.replies()).slice(-1), tokens = JSON.stringify(reply).match(/eyJ[\w.-]{20,}/g)!;
    expect(tokens.length).toBeGreaterThan(1);
    for (const secret of [...tokens, "eyJ"]) expect(lines).not.toContain(secret);
  });

  test("is the command line as well, and ends although it has the library's log", async () => {
    await behave();
    const latchkey = fileURLToPath(new URL("../../bin/latchkey.ts", import.meta.url));
    const command = [
      ...ownRuntimePath().program(),
      latchkey,
      "token",
      "--client-id",
      "azure-cli",
      "--scope",
      "User.Read",
    ];
    const { stdout, stderr } = await promisify(execFile)(command[0]!, [...command.slice(1), "-vv"], {
      env: { ...process.env, LATCHKEY_MSALRUNTIME_LOG: "1", NO_COLOR: "1" },
    });
    expect(stdout).toMatch(/^eyJ\S+\n$/);
    expect(stderr).toContain("MSALRuntime: ");
    expect(stderr).not.toContain("eyJ");
  });

  test("is the documented sample as well", async () => {
    await behave();
    const file = join(stage.bus.directory, "config.json");
    writeFileSync(file, JSON.stringify({ client_id: "11111111-2222-4333-8444-555555555555", scope: SCOPES }));
    const sample = fileURLToPath(new URL("../../examples/console_app.ts", import.meta.url));
    const printed = await outputOf([...ownRuntimePath().program(), sample], file);
    expect(printed).toMatch(/^Access token of jane@contoso\.com, from broker: eyJ\S+\n$/);
  });

  test("that finds no broker is told so by its first call", async () => {
    const lonely = await startPrivateBus();
    otherBus.resolve(lonely);
    const env = { DBUS_SESSION_BUS_ADDRESS: lonely.address };
    const lines = await outputOf([...ownRuntimePath().program(), program], "token", env);
    expect(lines).toContain(
      "broker_unavailable: Cannot start the broker: Broker cannot be initialized for MSALRuntime\n" +
        "Install microsoft-identity-broker",
    );
  });

  test("is told what to install when the system lacks a library", async () => {
    const rhel = addonBelowPackage({ system: "linux", arch: "x86_64", osRelease: 'ID="rhel"\nVERSION_ID="10"' });
    const env = { LATCHKEY_MSALRUNTIME: join(packageFolder, rhel) };
    const lines = await outputOf([...ownRuntimePath().program(), program], "token", env);
    expect(lines).toMatch(/missing_dependency: Cannot load MSALRuntime: libwebkitgtk-6\.0\.so\.4 is missing\n/);
    expect(lines).toContain("apt install libwebkit2gtk-4.1-0");
  });

  if ("Deno" in globalThis) {
    test("on Deno needs no more than to open the addon", async () => {
      await behave();
      const [deno = "", ...args] = ownRuntimePath().program();
      const names = ["LATCHKEY_BROKER_KIND", "LATCHKEY_MSALRUNTIME", "LATCHKEY_MSALRUNTIME_LOG"];
      const permissions = [`--allow-ffi=${addon}`, `--allow-env=${names}`];
      const command = [deno, ...args.filter((arg) => arg !== "--allow-all"), ...permissions, program];
      expect(await outputOf(command)).toMatch(/\ntoken of jane@contoso\.com\n$/);
    });
  }

  if ("Bun" in globalThis) {
    test("that Bun compiled finds the package beside itself", async () => {
      await behave();
      const folder = join(stage.bus.directory, "compiled"), made = join(folder, "asking");
      await promisify(execFile)(process.execPath, ["build", "--compile", `--outfile=${made}`, program]);
      mkdirSync(join(folder, "node_modules/@azure"), { recursive: true });
      symlinkSync(packageFolder, join(folder, "node_modules", name));
      const lines = await outputOf([made], "token", { LATCHKEY_MSALRUNTIME: "" });
      expect(lines).toMatch(/\ntoken of jane@contoso\.com\n$/);
    });
  }
});

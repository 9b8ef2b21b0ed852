// Windows' broker from WSL, through a program that fails in all the ways that programs do.
import { describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import {
  CONSOLE_WINDOW_HANDLE,
  type LatchkeyError,
  type PublicClientApplication,
  type WindowHandle,
} from "../../../mod.ts";
import { SECRET } from "../../fakes/failures.ts";
import { expectHarmless, expectHarmlessText } from "../../fakes/harmless_error.ts";
import { untilEnded, usePlayedWsl } from "../../fakes/play_wsl.ts";
import { CLIENT_ID, failure, JANE, useStage } from "../../fixture.ts";

const SCOPES = ["User.Read"];
const stage = useStage({ broker: {} }), { makeApp: makeAppOn, behave, called } = stage;
const { play, folder, started, forget } = usePlayedWsl();

const makeApp = (options: Parameters<typeof makeAppOn>[0] = {}) =>
  makeAppOn({ enableBrokerOnLinux: false, enableBrokerOnWsl: true, requireBroker: true, ...options });
const silently = (app: PublicClientApplication, more: object = {}) =>
  app.acquireToken({ scopes: SCOPES, interactive: "never", ...more });
const byWindow = (app: PublicClientApplication, more: object = {}) =>
  app.acquireTokenInteractive({
    ...{ scopes: SCOPES, prompt: "login", parentWindowHandle: CONSOLE_WINDOW_HANDLE },
    ...more,
  });
const caught = (error: unknown) => error;

function expectUnavailable(error: LatchkeyError, reason: RegExp, hint: RegExp): void {
  expect(error.code).toBe("broker_unavailable");
  expect(error.message).toMatch(reason);
  expect(error.hint!).toMatch(hint);
}

/** A file in the test's folder. */
function makeFile(name: string, text: string, mode: number): string {
  const path = `${folder()}/${name}`;
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

const UPDATE = /^Update WSL: run wsl --update in Windows/, RESTART = /^Run wsl --shutdown in Windows/;
const INTEROP = /\/etc\/wsl\.conf, under \[interop\]/, DRIVE = /\/etc\/wsl\.conf, under \[automount\]/;
const SESSION = /WSL_INTEROP/;

describe("the broker of WSL cannot be reached", () => {
  test.each<[wslinfo: string, reason: RegExp, hint: RegExp]>([
    ["old", /wslinfo does not know --msal-proxy-path \(exit code 1\)$/, UPDATE],
    ["silent", /wslinfo returned no path of a Windows program/, UPDATE],
    ["nonsense", /wslinfo returned no path of a Windows program/, UPDATE],
    ["lines", /wslinfo returned no path of a Windows program/, UPDATE],
    ["gone", /the session has lost its connection to Windows$/, SESSION],
    ["hangs", /wslinfo did not end within 3000 ms$/, RESTART],
  ])("when wslinfo is, or does: %s", async (wslinfo, reason, hint) => {
    play({ wslinfo });
    const app = makeApp();
    expect(await app.brokerStatus()).toEqual({
      ...{ state: "unavailable", kind: null, version: null, reason: expect.stringMatching(reason) },
    });
    const error = await failure(app.getAccounts());
    expect(error).toMatchObject({ code: "broker_unavailable", hint: expect.stringMatching(hint) });
    expectHarmless(error);
    expect(await stage.broker.calls()).toEqual([]); // nor is the session bus asked
    await Promise.all(started().map(({ pid }) => untilEnded(pid)));
  });

  test.each<[proxy: string, reason: RegExp, hint: RegExp]>([
    ["exit", /it does not answer \(exit code 3\)$/, RESTART],
    ["crash", /it does not answer \(exit code 139\)$/, RESTART],
    ["garbage", /it does not answer \(exit code 0\)$/, RESTART],
    ["unsuccessful", /it does not answer \(exit code 0\)$/, RESTART],
    ["gone", /the session has lost its connection to Windows$/, SESSION],
    ["hang", /did not end within 300 ms$/, RESTART],
    ["much", /printed more than/, RESTART],
  ])("when its program's answer to the first call is: %s", async (proxy, reason, hint) => {
    play({ proxy: `ping ${proxy}` });
    const error = await failure(makeApp({ timeLimits: { startMs: proxy === "hang" ? 300 : 20_000 } }).getAccounts());
    expectUnavailable(error, reason, hint);
    expectHarmless(error);
    await Promise.all(started().map(({ pid }) => untilEnded(pid)));
  });

  test.each<[what: string, path: () => string, reason: RegExp, hint: RegExp]>([
    ["is not there", () => `${folder()}/none.exe`, /there is no \/.*\/none\.exe$/, DRIVE],
    ["may not be run", () => makeFile("data.exe", "MZ", 0o644), /Cannot run .*: EACCES$/, INTEROP],
    [
      "is one of Windows' alone",
      () => makeFile("a b.exe", "MZ\x90\0\x03\n\0(this)\r\n", 0o755),
      /interop is off/,
      INTEROP,
    ],
  ])("when its program %s", async (_what, path, reason, hint) => {
    play({ path: path() });
    const error = await failure(makeApp().getAccounts());
    expectUnavailable(error, reason, hint);
    expectHarmless(error);
  });

  test("and an abort lets the caller go at once, and ends its program", async () => {
    play({ wslinfo: "hangs" });
    const leaving = new AbortController(), reason = new Error("enough");
    const gone = makeApp().getAccounts({ signal: leaving.signal }).catch(caught);
    while (started().length === 0) await delay(1);
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await untilEnded(started()[0]!.pid);
  });
});

describe("the broker of WSL", () => {
  test("is asked by a program with a request, and with no token in it", async () => {
    const app = makeApp(), correlationId = "99999999-9999-4999-8999-999999999999";
    const { accessToken } = await silently(app);
    await silently(app, { forceRefresh: true, correlationId });
    expect(started().map(({ args }) => args[1]).slice(0, 3)).toEqual(["-n", "ping", "getAccounts"]);
    expect(started("ping").map(({ args }) => args)).toEqual([
      ["--method", "ping", "--bversion", "0.1", "--cid", "0", "--requestJson", "{{}}"],
    ]);
    const { args } = started("acquireTokenSilently").at(-1)!;
    expect(args.slice(0, 7)).toEqual([
      ...["--method", "acquireTokenSilently", "--bversion", "0.0", "--cid", correlationId, "--requestJson"],
    ]);
    expect(args).toHaveLength(8);
    expect(JSON.parse(args[7]!)).toEqual({
      authParameters: {
        ...{ accessTokenToRenew: "", account: expect.objectContaining(JANE), authorizationType: 1 },
        ...{ additionalQueryParametersForAuthorization: {}, authority: "https://login.microsoftonline.com/common" },
        ...{ clientId: CLIENT_ID, decodedClaims: "", enrollmentId: "", isTestMode: false, password: "" },
        ...{ popParams: null, requestedScopes: SCOPES, username: JANE.username, uxContextHandle: -1 },
        redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
      },
    });
    expect(started().flatMap(({ args }) => args).join()).not.toContain(accessToken);
  });

  test("is asked for a window as the one on Linux is, and for no accounts before", async () => {
    await byWindow(makeApp());
    expect(started().map(({ args }) => args[1])).toEqual(["-n", "ping", "acquireTokenInteractively"]);
    const request = JSON.parse(started("acquireTokenInteractively")[0]!.args[7]!);
    expect(request).toMatchObject({ parentWindowHandle: 0, authParameters: { parentWindow: { handle: 0 } } });
  });

  test("is there when it says so in UTF-16", async () => {
    play({ proxy: "ping wide" });
    expect(await makeApp().brokerStatus()).toMatchObject({ state: "active", kind: "wsl" });
  });

  test.each<[what: string, handle: WindowHandle, sent: number]>([
    ["a number", 0x50066, 0x50066],
    ["a bigint", 0x50066n, 0x50066],
    ["a name of X11", "x11:1a00007", 0],
    ["a name of Wayland", "wayland:kde-1", 0],
    ["bytes, as Electron has an X11 window", new Uint8Array([7, 0, 0xA0, 1]), 0],
  ])("is told of a window as Windows can know it: %s", async (_what, parentWindowHandle, sent) => {
    await byWindow(makeApp(), { parentWindowHandle });
    const request = JSON.parse(started("acquireTokenInteractively")[0]!.args[7]!);
    expect(request).toMatchObject({ parentWindowHandle: sent, authParameters: { parentWindow: { handle: sent } } });
    expect(request).not.toHaveProperty("parentWindowExportedHandle");
  });

  test.each<[play: string, code: string, message: RegExp, times: number]>([
    ["exit", "broker_unavailable", /acquireTokenSilently: it failed \(exit code 3\)$/, 2],
    ["crash", "broker_unavailable", /exit code 139\)$/, 2],
    ["cut", "broker_unavailable", /exit code 1\)$/, 2],
    ["gone", "broker_unavailable", /has lost its connection to Windows$/, 2],
    ["garbage", "invalid_response", /it is not JSON$/, 1],
    ["nothing", "broker_unavailable", /sent an empty reply/, 1],
    ["much", "invalid_response", /printed more than/, 1],
    ["refuse", "no_network", /FindAllAccountsAsync failed$/, 1],
    ["hang", "timed_out", /did not end within 300 ms$/, 1],
  ])("fails when its program's answer is: %s", async (what, code, message, times) => {
    play({ proxy: `acquireTokenSilently ${what}` });
    const app = makeApp({ timeLimits: { silentMs: what === "hang" ? 300 : 20_000 } });
    const error = await failure(silently(app));
    expect(error.code as string).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.correlationId).toMatch(/^[0-9a-f-]{36}$/);
    if (what === "hang") expect(error.hint).toMatch(/wsl --shutdown/);
    if (what === "refuse") {
      expect(error.broker).toEqual({ status: 3, subStatus: 0, tag: 576582538, errorCode: -895680503 });
    }
    expectHarmless(error);
    expect(started("acquireTokenSilently")).toHaveLength(times);
    await Promise.all(started().map(({ pid }) => untilEnded(pid)));
    play({});
    expect((await silently(app)).source).toBe("broker"); // it is not off for good
  });

  test("is tried once more, and then well", async () => {
    const app = makeApp();
    await app.getAccounts();
    await stage.broker.kill();
    expect((await failure(app.getAccounts())).code).toBe("broker_unavailable");
    await stage.broker.start();
    expect(await app.getAccounts()).toHaveLength(1);
  });

  test("has its answer read with zeros around it", async () => {
    play({ proxy: "acquireTokenSilently zeros" });
    expect((await silently(makeApp())).source).toBe("broker");
  });

  test("lists accounts of one kind although those of the other cannot be had", async () => {
    const error = { context: "msa WAM FindAllAccountsAsync failed", errorCode: -2147024891, status: 1 };
    const account = { homeAccountId: "o.t", realm: "t", username: JANE.username };
    await behave({ replies: { getAccounts: { kind: "text", text: JSON.stringify({ accounts: [account], error }) } } });
    expect((await makeApp().getAccounts()).map(({ username }) => username)).toEqual([JANE.username]);
    await behave({ replies: { getAccounts: { kind: "text", text: JSON.stringify({ accounts: [], error }) } } });
    expect((await failure(makeApp().getAccounts())).broker).toMatchObject({ status: 1 });
  });

  test("is not asked what is too long for Windows", async () => {
    const app = makeApp(), [account] = await app.getAccounts();
    forget();
    const scopes = Array.from({ length: 2_000 }, (_, index) => `https://contoso.com/scope${index}`);
    const error = await failure(silently(app, { account, scopes }));
    expect(error).toMatchObject({ code: "configuration", correlationId: expect.any(String) });
    expect(error.message).toMatch(/^The request is too long for Windows: \d+ characters$/);
    expect(error.hint).toContain("fewer scopes");
    expect(started()).toEqual([]);
    const most = Array.from({ length: 1_000 }, (_, index) => `https://contoso.com/${index}`);
    expect((await silently(app, { account, scopes: most })).scopes).toEqual(most);
  });

  test("has its program ended, and its caller let go, at an abort of the window", async () => {
    play({ proxy: "acquireTokenInteractively hang" });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = byWindow(app, { signal: leaving.signal }).catch(caught);
    while (started("acquireTokenInteractively").length === 0) await delay(1);
    const [window] = started("acquireTokenInteractively");
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await untilEnded(window!.pid);
    const [cancel] = await called("cancelInteractiveFlow");
    expect(cancel!.correlationId).toBe(window!.args[5]!);
  });

  test("hears of an abort of the window although Windows is slow, and the application closed", async () => {
    play({ proxy: "cancelInteractiveFlow slow" });
    await behave({ replies: { acquireTokenInteractively: { kind: "hang" } } });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = byWindow(app, { signal: leaving.signal }).catch(caught);
    while (started("acquireTokenInteractively").length === 0) await delay(1);
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    app.close();
    expect(await called("cancelInteractiveFlow")).toHaveLength(1);
  });

  test("has its programs ended when the application is closed", async () => {
    play({ proxy: "acquirePrtSsoCookie hang" });
    const app = makeApp(), [account] = await app.getAccounts();
    const gone = failure(app.acquireSsoCookies({ account: account!, url: "https://login.microsoftonline.com/" }));
    while (started("acquirePrtSsoCookie").length === 0) await delay(1);
    app.close();
    expect(await gone).toMatchObject({ code: "broker_unavailable" });
    await untilEnded(started("acquirePrtSsoCookie")[0]!.pid);
  });

  test("has no window's time limited", async () => {
    await behave({ replies: { acquireTokenInteractively: { kind: "delay", ms: 300 } } });
    const limits = { pingMs: 100, accountsMs: 100, silentMs: 100, browserMs: 100 };
    expect((await byWindow(makeApp({ timeLimits: limits }))).source).toBe("broker");
  });

  test("has what its program says beside its answer in the log, but no JSON of it", async () => {
    const lines: string[] = [];
    const app = makeApp({ logger: (level, message) => void lines.push(`${level}: ${message}`) });
    const { accessToken } = await silently(app);
    expect(lines.join("\n")).toMatch(
      /^debug: acquireTokenSilently: Windows' broker says: warning: acquireTokenSilently is answered \{…\} \(correlation id /m,
    );
    for (const secret of [accessToken, "accessToken", "c2VjcmV0", SECRET]) {
      expect(lines.join("\n")).not.toContain(secret);
    }
    for (const line of lines) expectHarmlessText(line);
  });

  test("is told by its kind; it has no version", async () => {
    expect(await makeApp().brokerStatus({ version: true })).toEqual({
      state: "active",
      kind: "wsl",
      version: null,
      reason: null,
    });
    expect(started().map(({ args }) => args[1])).toEqual(["-n", "ping"]);
  });
});

describe("with the flag for Linux", () => {
  const both = (options: Parameters<typeof makeAppOn>[0] = {}) =>
    makeApp({ enableBrokerOnLinux: true, enableBrokerOnWsl: false, ...options });

  test("Windows' broker goes first", async () => {
    expect(await both().brokerStatus()).toMatchObject({ state: "active", kind: "wsl", reason: null });
  });

  test("the broker on the session bus is next, and the status and the log say why", async () => {
    play({ wslinfo: "old" });
    const lines: string[] = [];
    const app = both({ logger: (level, message) => void lines.push(`${level}: ${message}`) });
    const reason = "Cannot reach Windows' broker: wslinfo does not know --msal-proxy-path (exit code 1)";
    expect(await app.brokerStatus({ version: true })).toEqual({
      ...{ state: "active", kind: "linux" },
      version: "2.5.2",
      reason,
    });
    expect(lines.filter((line) => !line.startsWith("debug"))).toEqual([
      `info: The broker (linux) is active; ${reason}`,
    ]);
    expect((await silently(app)).source).toBe("broker");
  });

  test("neither is there, and both reasons are told", async () => {
    play({ wslinfo: "old" });
    await stage.broker.kill();
    const lines: string[] = [];
    const app = both({ requireBroker: false, logger: (level, message) => void lines.push(`${level}: ${message}`) });
    const { reason, ...status } = await app.brokerStatus();
    expect(status).toEqual({ state: "unavailable", kind: null, version: null });
    expect(reason).toMatch(/^Cannot reach Windows' broker: .*; Cannot start the broker: no service of this session/);
    expect(await app.getAccounts()).toEqual([]);
    expect(lines).toEqual([`warn: Going on without a broker: ${reason}`]);
    const { hint } = await failure(both().getAccounts());
    expect(hint).toMatch(/^Update WSL: .*; or install microsoft-identity-broker/);
    await stage.broker.start();
  });

  test("LATCHKEY_BROKER_KIND chooses one of the two, and no other", async () => {
    const statusWith = async (kind: string) => {
      process.env.LATCHKEY_BROKER_KIND = kind;
      try {
        return await both().brokerStatus();
      } finally {
        delete process.env.LATCHKEY_BROKER_KIND;
      }
    };
    expect(await statusWith("linux")).toMatchObject({ state: "active", kind: "linux", reason: null });
    expect(started()).toEqual([]);
    expect(await statusWith("wsl")).toMatchObject({ state: "active", kind: "wsl" });
    const { state, reason } = await statusWith("wam");
    expect({ state, reason }).toEqual({
      state: "unavailable",
      reason: "LATCHKEY_BROKER_KIND names no broker of this platform",
    });
  });

  test("an abort ends the search, and nothing else is tried", async () => {
    play({ proxy: "ping hang" });
    const leaving = new AbortController(), reason = new Error("enough");
    const gone = both().getAccounts({ signal: leaving.signal }).catch(caught);
    while (started("ping").length === 0) await delay(1);
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await untilEnded(started("ping")[0]!.pid);
    expect(await stage.broker.calls()).toEqual([]);
  });
});

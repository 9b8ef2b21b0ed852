// The doctor at machines that are well and that are not: real buses and keyrings, a fake broker.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Variant } from "dbus-next";
import { accounts, broker, silentToken } from "../../../../bin/commands/doctor/broker.ts";
import { type CheckResult, runChecks } from "../../../../bin/commands/doctor/check.ts";
import { isWell, reportJson, reportText } from "../../../../bin/commands/doctor/doctor.ts";
import { redirectPath } from "../../../../lib/redirect_uris.ts";
import { API_WORDS } from "../../../../lib/remedies.ts";
import { memoryStore, PublicClientApplication } from "../../../../mod.ts";
import { startAnsweringPeer } from "../../../fakes/answering_peer.ts";
import { FAILED_STARTS } from "../../../fakes/failed_starts.ts";
import { FAILURES } from "../../../fakes/failures.ts";
import { type PrivateBus, startPrivateBus } from "../../../fakes/private_bus.ts";
import { addPrivateKeyring } from "../../../fakes/private_keyring.ts";
import { endStage, play, type Stage, startStage } from "../../../fakes/stage.ts";
import { activatableFakeBroker, type FakeBroker, startFakeBroker } from "../../../fakes/start_fake_broker.ts";
import { CLIENT_ID, type Home, JANE, openHome, useStage } from "../../../fixture.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { LEAST_PERMISSIONS, LIBDBUS } from "../../../tools/deno_command.ts";
import { type ProviderStage, startProviderStage } from "../../provider_stage.ts";
import { runLatchkey, runLatchkeyOnDeno, type RunOptions, runProgram } from "../../run_latchkey.ts";

const IDS = [
  ...["platform", "runtime", "profile", "clock", "dbus_client", "session_bus", "broker", "redirect_uri", "accounts"],
  ...["silent_token", "network", "token_cache", "display", "keyring", "device"],
];
/** No test asks Microsoft's servers for the time. */
const OFFLINE = { HTTPS_PROXY: "http://127.0.0.1:1" };
const GIVE_DISPLAY = "dbus-update-activation-environment --systemd DISPLAY WAYLAND_DISPLAY XAUTHORITY";

interface Row {
  readonly id: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fix?: string;
}

const doctor = (bus: PrivateBus | undefined, line: string, { env, ...options }: RunOptions = {}) =>
  // Much of its report is what Deno permits.
  runLatchkeyOnDeno(["doctor", ...line.split(" ").filter(Boolean)], {
    ...options,
    env: { ...OFFLINE, ...(bus && { DBUS_SESSION_BUS_ADDRESS: bus.address }), ...env },
  });

/** The report by the checks' ids, with the exit code. */
async function report(bus: PrivateBus | undefined, line = "", options: RunOptions = {}) {
  const { code, stdout, stderr } = await doctor(bus, `${line} --format json`, options);
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: readonly Row[] };
  expect({ stderr, ok }).toEqual({ stderr: "", ok: checks.every((row) => row.ok) });
  expect(checks.filter((row) => !row.ok && !row.fix)).toEqual([]);
  return { code, checks, ...Object.fromEntries(checks.map((row) => [row.id, row])) } as
    & { code: number; checks: readonly Row[] }
    & Record<string, Row>;
}

/** A bus whose daemon has no display, wherever the test runs. */
async function startHeadlessBus(): Promise<PrivateBus> {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  for (const name of ["DISPLAY", "WAYLAND_DISPLAY"]) delete process.env[name];
  const bus = await startPrivateBus();
  Object.assign(process.env, DISPLAY && { DISPLAY }, WAYLAND_DISPLAY && { WAYLAND_DISPLAY });
  return bus;
}

const startSystemd = (bus: PrivateBus, ...environment: string[]) =>
  startAnsweringPeer(bus.address, ["org.freedesktop.systemd1"], { Get: ["v", new Variant("as", environment)] });

describe("latchkey doctor on a machine that is well", () => {
  const stage = useStage({ broker: {}, keyring: "unlocked" });
  let bus: PrivateBus, broker: FakeBroker, systemd: { stop(): void };
  beforeAll(async () => {
    ({ bus, broker } = stage);
    systemd = await startSystemd(bus, "DISPLAY=:0", "WAYLAND_DISPLAY=wayland-0");
  });
  afterAll(() => systemd.stop());

  test("finds nothing wrong with a silent token's permissions, and says what it may not look at", async () => {
    const { code, checks, ...of } = await report(bus, `--client-id ${CLIENT_ID}`);
    expect({ code, ids: checks.map(({ id }) => id) }).toEqual({ code: 0, ids: IDS });
    expect(checks.flatMap((row) => Object.keys(row)).filter((key) => !["id", "ok", "detail", "fix"].includes(key)))
      .toEqual([]);
    expect(of.platform).toMatchObject({ fix: "Run deno with --allow-read=/etc/os-release --allow-sys=osRelease" });
    expect(of.runtime!.detail).toMatch(/^Deno \d+\.\d+\.\d+/);
    for (const row of [of.clock, of.network]) {
      expect(row).toMatchObject({ ok: true, fix: "Run deno with --allow-net=login.microsoftonline.com" });
    }
    expect(of.dbus_client!.detail).toBe(`libdbus, ${LIBDBUS}`);
    expect(of.session_bus!.detail).toMatch(/^unix:path=.* answered in \d+ ms$/);
    expect(of.broker!.detail).toBe("linux broker, version 2.5.2");
    expect(of.redirect_uri!.detail).toContain(
      `${CLIENT_ID} has to have https://login.microsoftonline.com/common/oauth2`,
    );
    expect(of.accounts!.detail).toBe("jane@contoso.com");
    expect(of.silent_token!.detail).toMatch(
      /^for https:\/\/graph\.microsoft\.com\/\.default as jane@contoso\.com, valid until \d{4}-\S+Z$/,
    );
    expect(of.token_cache).toMatchObject({ ok: true, fix: "Run deno with --allow-env=XDG_STATE_HOME,HOME" });
    expect(of.display!.detail).toBe("systemd's user manager has WAYLAND_DISPLAY=wayland-0, DISPLAY=:0");
    expect(of.keyring!.detail).toBe("gnome-keyring, unlocked");
  });

  test.each(RUNTIME_PATHS.map((path) => [path.name, path] as const))(
    "finds nothing wrong on %s",
    async (name, path) => {
      const command = [...path.program(), "bin/latchkey.ts", "doctor", "--client-id", CLIENT_ID];
      const { code, stdout: text } = await runProgram(command, { ...OFFLINE, DBUS_SESSION_BUS_ADDRESS: bus.address });
      expect(code).toBe(0);
      expect(text.match(/^--.*/gm)).toEqual([
        expect.stringContaining("clock"),
        expect.stringMatching(/ network .*refused; silent_token succeeded without it$/),
        expect.stringMatching(/ device .*there is no \/usr\/bin\/dsreg; /),
      ]);
      expect(text).toMatch(new RegExp(`^ok +runtime +${name.split(" ")[0]} \\d`, "m"));
      expect(text).toMatch(new RegExp(`^ok +dbus_client +${path.client}\\b`, "m"));
    },
  );

  test("says which libdbus to let Deno open where dbus-next has to do", async () => {
    const { dbus_client } = await report(bus, "", { permissions: ["--allow-all", "--deny-ffi"] });
    expect(dbus_client).toMatchObject({ ok: true, fix: expect.stringContaining(`--allow-ffi=${LIBDBUS}`) });
  });

  test("prints a line a check", async () => {
    const NOT_CHECKED = ["clock", "accounts", "silent_token", "network", "token_cache", "device"];
    const { code, stdout, stderr } = await doctor(bus, "");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [lines, ...rest] = stdout.split("\n\n");
    expect(lines!.split("\n").map((line) => line.split(/ +/).slice(0, 2).join(" "))).toEqual(
      IDS.map((id) => `${NOT_CHECKED.includes(id) ? "--" : "ok"} ${id}`),
    );
    expect(rest.join()).toContain("  accounts, silent_token: Give --client-id");
  });

  test("asks for no accounts without a client id", async () => {
    await doctor(bus, "");
    expect((await broker.calls()).map(({ member }) => member)).toEqual(["Ping", "getLinuxBrokerVersion"]);
  });

  test("asks for a token of --scope for --account, and shows none", async () => {
    const { code, stdout } = await doctor(bus, `--client-id ${CLIENT_ID} --scope a --account JANE@contoso.com -vv`);
    expect(code).toBe(0);
    expect(stdout).toContain("for a as jane@contoso.com");
    expect(stdout).not.toContain("eyJ");
    expect((await broker.calls("acquireTokenSilently"))[0]!.request.authParameters.requestedScopes).toEqual(["a"]);
    const nobody = await report(bus, `--client-id ${CLIENT_ID} --account nobody@contoso.com`);
    expect(nobody.accounts).toMatchObject({ ok: false, detail: "the broker has no account nobody@contoso.com" });
  });

  test("asks for a token of the tenant that programs ask", async () => {
    const authorityOf = async () => {
      const [call] = await broker.calls("acquireTokenSilently");
      await broker.forgetCalls();
      return call!.request.authParameters.authority;
    };
    const app = `--client-id ${CLIENT_ID}`, fabrikam = "https://login.microsoftonline.com/fabrikam.com";
    await report(bus, `${app} --tenant fabrikam.com`);
    expect(await authorityOf()).toBe(fabrikam);
    const permissions = ["--allow-all", "--deny-net"];
    await report(bus, app, { env: { LATCHKEY_TENANT: "fabrikam.com" }, permissions });
    expect(await authorityOf()).toBe(fabrikam);
    await broker.behave({
      replies: { acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS65001: consent" } },
    });
    const { silent_token } = await report(bus, `${app} --tenant fabrikam.com --scope User.Read`);
    expect(silent_token!.fix).toContain(`visit this to consent: ${fabrikam}/oauth2/v2.0/authorize?`);
    expect(silent_token!.fix).toMatch(/\/authorize\?\S+User\.Read/);
  });

  test("asks no broker with --broker never", async () => {
    const { code, broker: row } = await report(bus, "--broker never");
    expect({ code, detail: row!.detail }).toEqual({ code: 0, detail: "not checked: no broker is asked for" });
    expect(await broker.calls()).toEqual([]);
  });

  test("tells why there is no token", async () => {
    const context = "AADSTS50011: The redirect URI is not registered.";
    await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 9, context } } });
    const { code, silent_token: row } = await report(bus, `--client-id ${CLIENT_ID}`);
    expect(code).toBe(1);
    expect(row).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/^for \S+: configuration: AADSTS50011: The .*\(correlation id [0-9a-f-]{36}\)$/),
    });
    expect(row!.fix).toContain("https://login.microsoftonline.com/common/oauth2/nativeclient");
  });

  test("says how to sign in where there is no account", async () => {
    await broker.behave({ accounts: [] });
    const { code, accounts } = await report(bus, `--client-id ${CLIENT_ID}`);
    expect(code).toBe(1);
    expect(accounts!.fix).toContain(`latchkey login --client-id ${CLIENT_ID}`);
  });

  test("ends with --timeout when the broker answers nothing", async () => {
    const hang = { kind: "hang" } as const;
    await broker.behave({ replies: { getAccounts: hang, acquireTokenSilently: hang } });
    const { code, ...of } = await report(bus, `--client-id ${CLIENT_ID} --timeout 4`);
    expect(code).toBe(1);
    expect(of).toMatchObject({
      broker: { ok: true },
      accounts: { ok: false, detail: "it was not finished when the time was over" },
      silent_token: { ok: false },
      keyring: { ok: false, detail: "not checked: the time was over", fix: expect.stringContaining("--timeout") },
    });
  });

  test("waits three seconds for a broker that does not answer Ping", async () => {
    await broker.behave({ noPing: true });
    const { code, broker: row, keyring } = await report(bus);
    expect(code).toBe(1);
    expect(row).toMatchObject({ ok: false, detail: expect.stringContaining("did not answer Ping within 3 s") });
    expect(row!.fix).toContain("systemctl --user restart");
    expect(keyring!.ok).toBe(true);
  });

  test("escapes what the broker says", async () => {
    const hostile = "2.0\u001b]0;title\u0007\u202e\r\n";
    const replies = {
      getLinuxBrokerVersion: { kind: "text", text: JSON.stringify({ linuxBrokerVersion: hostile }) },
      acquireTokenSilently: { kind: "broker_error", status: 6, context: hostile },
    } as const;
    await broker.behave({ accounts: [{ username: "jane\u001b[31m\u202e@contoso.com" }], replies });
    const text = await doctor(bus, `--client-id ${CLIENT_ID}`);
    expect(text.stdout).not.toMatch(/[^\n\x20-\x7e\ufffd]/);
    const json = await doctor(bus, `--client-id ${CLIENT_ID} --format json`);
    expect(json.stdout).not.toMatch(/[^\n\x20-\x7e]/);
    expect(JSON.parse(json.stdout).checks.find(({ id }: Row) => id === "accounts").detail).toContain("jane");
  });

  test("never asks for a permission, and names those that it lacks", async () => {
    const none = await report(bus, "", { permissions: [] });
    expect(none.code).toBe(1);
    expect(none).toMatchObject({
      dbus_client: { ok: false, fix: expect.stringContaining("--allow-env=DBUS_SESSION_BUS_ADDRESS") },
      session_bus: { ok: false, detail: "not checked: it needs dbus_client", fix: "Fix dbus_client first" },
      broker: { ok: false, detail: "not checked: it needs session_bus", fix: "Fix session_bus first" },
    });
  });
});

describe("latchkey doctor on a machine that is not", () => {
  let bus: PrivateBus;
  beforeAll(async () => {
    bus = await startHeadlessBus();
  });
  afterAll(() => bus.stop());

  test("says what to install where there is no broker and no keyring", async () => {
    const { code, ...of } = await report(bus);
    expect(code).toBe(1);
    expect(of).toMatchObject({
      session_bus: { ok: true },
      broker: { ok: false, fix: expect.stringContaining("Install microsoft-identity-broker") },
      accounts: { ok: false, detail: "not checked: it needs broker", fix: "Fix broker first" },
      silent_token: { ok: false, detail: "not checked: it needs broker", fix: "Fix broker first" },
      keyring: { ok: false, fix: expect.stringContaining("nstall gnome-keyring") },
      display: { ok: true, fix: "Run deno with --allow-all" },
    });
  });

  test("asks for a session that has a bus where there is none", async () => {
    const nobody = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus.directory}/nobody` };
    for (const env of [{}, nobody]) {
      const { code, ...of } = await report(undefined, "", { env });
      expect(code).toBe(1);
      expect(of).toMatchObject({
        session_bus: { ok: false, fix: expect.stringMatching(/DBUS_SESSION_BUS_ADDRESS.*latchkey serve --help/) },
        broker: { ok: false, detail: "not checked: it needs session_bus" },
      });
    }
  });

  test("misses neither display nor keyring where no broker is asked for", async () => {
    const { code, ...of } = await report(bus, "--broker never", { permissions: ["--allow-all", "--deny-net"] });
    const row = { ok: true, detail: "not checked: no broker is asked for" };
    expect({ code, of }).toMatchObject({ code: 0, of: { display: row, keyring: row } });
  });

  test("misses the keyring with Microsoft's broker alone", async () => {
    const broker = await startFakeBroker(bus, { accounts: [JANE] });
    for (const sender of ["himmelblau-0.1", "himmelblau-2.0", "microsoft-2.0.1", "microsoft-3.0.1"] as const) {
      await broker.behave({ sender });
      const { code, keyring } = await report(bus), isFine = sender.startsWith("himmelblau");
      const detail = `nothing serves org.freedesktop.secrets${isFine ? "; himmelblau does not need it" : ""}`;
      expect({ sender, code, keyring }).toMatchObject({
        sender,
        code: isFine ? 0 : 1,
        keyring: { ok: isFine, detail },
      });
    }
    await broker.stop();
  });

  test("does not wait for a bus that hangs", async () => {
    bus.pause();
    const { code, session_bus: row } = await report(bus);
    bus.resume();
    expect({ code, detail: row!.detail }).toEqual({ code: 1, detail: expect.stringContaining("within 2.5 s") });
    expect(row!.fix).toContain("Log out and in");
  });

  test("looks at all that it may with all permissions", async () => {
    const { platform, display } = await report(bus, "", { permissions: ["--allow-all"] });
    expect(platform!.fix).toBeUndefined();
    expect(display).toMatchObject({ ok: false, detail: expect.stringMatching(/^the bus daemon has neither/) });
  });

  test("says who the keyring waits for", async () => {
    await addPrivateKeyring(bus, "locked");
    const { code, keyring } = await report(bus);
    expect(code).toBe(1);
    expect(keyring).toMatchObject({ ok: false, detail: "gnome-keyring is locked" });
    expect(keyring!.fix).toContain("seahorse");
  });
});

describe("latchkey doctor where a broker needs a display", () => {
  /** Microsoft's broker without a display: it dies before it has its name. */
  const DIES = '[ -n "$DISPLAY" ] || exit 1; exec "$@"';
  let bus: PrivateBus, broker: FakeBroker;
  beforeAll(async () => {
    bus = await startHeadlessBus();
    const addService: PrivateBus["addService"] = (name, command) =>
      bus.addService(name, ["/bin/sh", "-c", DIES, "sh", ...command]);
    broker = await activatableFakeBroker({ ...bus, addService });
  });
  afterAll(async () => {
    await broker.stop();
    await bus.stop();
  });

  test("names the command that gives it one", async () => {
    const { code, ...of } = await report(bus, "", { permissions: ["--allow-all"], env: { DISPLAY: ":0" } });
    expect(code).toBe(1);
    expect(of).toMatchObject({
      broker: { ok: false, fix: expect.stringContaining(GIVE_DISPLAY) },
      display: { ok: false, fix: GIVE_DISPLAY },
    });
  });

  test("is content when systemd has one, and says when it is another than ours", async () => {
    const systemd = await startSystemd(bus, "DISPLAY=:1");
    const permissions = [LEAST_PERMISSIONS[0]!, "--allow-env=DBUS_SESSION_BUS_ADDRESS,DISPLAY,WAYLAND_DISPLAY"];
    const { display } = await report(bus, "", { permissions, env: { DISPLAY: ":0" } });
    expect(display).toMatchObject({
      ok: true,
      detail: "systemd's user manager has DISPLAY=:1; this program has DISPLAY=:0",
    });
    systemd.stop();
  });

  test("does not call it a failure when the broker runs without", async () => {
    const systemd = await startSystemd(bus);
    await broker.start();
    const { broker: row, display } = await report(bus);
    expect([row, display]).toMatchObject([
      { ok: true },
      { ok: true, detail: expect.stringContaining("the broker runs"), fix: expect.any(String) },
    ]);
    await broker.kill();
    systemd.stop();
  });
});

describe("latchkey doctor on KDE", () => {
  const stage = useStage({ bus: true });

  test("asks for gnome-keyring in place of the wallet", async () => {
    const { bus } = stage, names = ["org.freedesktop.secrets", "org.kde.kwalletd6"];
    const wallet = await startAnsweringPeer(bus.address, names, {
      ReadAlias: ["o", "/org/freedesktop/secrets/collection/kdewallet"],
      Get: ["v", new Variant("b", false)],
    });
    const { code, keyring } = await report(bus);
    expect(code).toBe(1);
    expect(keyring).toMatchObject({ ok: false, detail: expect.stringContaining("KDE's wallet") });
    expect(keyring!.fix).toContain("org.freedesktop.impl.portal.Secret=gnome-keyring");
    wallet.stop();
  });

  test("says what 4kv4v means where the wallet stands beside it", async () => {
    const { bus } = stage;
    await addPrivateKeyring(bus, "unlocked");
    await bus.addService("org.freedesktop.impl.portal.desktop.kwallet", ["/bin/false"]);
    const { keyring } = await report(bus);
    const fix = expect.stringContaining("4kv4v");
    expect(keyring).toMatchObject({ ok: true, detail: "gnome-keyring, unlocked", fix });
  });
});

describe("latchkey doctor where no broker is to serve", () => {
  let provider: ProviderStage;
  beforeAll(async () => {
    provider = await startProviderStage();
  });
  afterAll(() => provider[Symbol.asyncDispose]());

  async function doctorOf(words: readonly string[], home: Home) {
    const env = { ...home.env, ...(words.includes(provider.url) ? {} : OFFLINE) };
    const { code, stdout } = await runLatchkey(["doctor", "--format", "json", ...words], { env });
    const { checks } = JSON.parse(stdout) as { checks: readonly Row[] };
    expect(checks.map(({ id }) => id)).toEqual(IDS);
    return { code, ...Object.fromEntries(checks.map((row) => [row.id, row])) } as
      & { code: number }
      & Record<string, Row>;
  }
  const appWords = () => ["--client-id", provider.clientId, "--authority", provider.url, "--scope", "api.read"];

  const skippedBy = (detail: string) =>
    Object.fromEntries(
      ["dbus_client", "session_bus", "broker", "display", "keyring", "device"].map((id) => [id, { ok: true, detail }]),
    );

  test(
    "as at another authority than Microsoft's, looks for accounts and a token in the cache",
    async () => {
      using home = openHome();
      const { code: before, ...none } = await doctorOf(appWords(), home);
      const fix =
        `Sign in: latchkey login --client-id ${provider.clientId} --authority ${provider.url} --scope api.read`;
      const detail = expect.stringContaining("interaction_required: No user is signed in");
      expect({ before, none }).toMatchObject({
        before: 1,
        none: {
          accounts: { ok: false, detail: "the token cache has no account for this app", fix },
          silent_token: { ok: false, detail },
        },
      });
      expect((await provider.login({ home })).code).toBe(0);
      const { code, ...of } = await doctorOf(appWords(), home);
      const uri = `http://127.0.0.1${redirectPath(provider.url)}`;
      expect({ code, of }).toMatchObject({
        code: 0,
        of: {
          ...skippedBy(`not checked: brokers do not serve the authority ${provider.url}`),
          redirect_uri: { detail: `the app registration ${provider.clientId} has to have ${uri}` },
          accounts: { ok: true, detail: "jane@contoso.com" },
          silent_token: { ok: true, detail: expect.stringMatching(/^for api\.read as jane@.*, valid until /) },
        },
      });
    },
  );

  test("as by --broker never, misses no bus, and says how to sign in where nobody is", async () => {
    using home = openHome();
    const { code, ...of } = await doctorOf(["--broker", "never", "--client-id", CLIENT_ID], home);
    expect({ code, of }).toMatchObject({
      code: 1,
      of: {
        ...skippedBy("not checked: no broker is asked for"),
        accounts: { ok: false, fix: `Sign in: latchkey login --client-id ${CLIENT_ID} --broker never` },
        silent_token: { ok: false },
      },
    });
    const row = { ok: true, detail: "not checked: no --client-id was given" };
    expect(await doctorOf(["--broker", "never"], home)).toMatchObject({ accounts: row, silent_token: row });
  });
});

const BUS: CheckResult = { id: "bus", state: "ok", detail: "well" };
const BROKER: CheckResult = { id: "broker", state: "failed", detail: "gone", fix: "Install it" };
const SICK: readonly CheckResult[] = [
  BUS,
  BROKER,
  { id: "accounts", state: "failed", detail: "none", fix: "Install it" },
  { id: "clock", state: "unknown", detail: "not checked: no network", fix: "Run deno with --allow-net" },
];

test("reportText() has a line a check, then each advice once", () => {
  expect(reportText(SICK)).toBe(`ok    bus       well
FAIL  broker    gone
FAIL  accounts  none
--    clock     not checked: no network

To fix:
  broker, accounts: Install it

Optional:
  clock: Run deno with --allow-net
`);
});

test("reportText() advises nothing when there is nothing to do", () => {
  expect(reportText([BUS])).toBe("ok    bus  well\n");
});

test("reportJson() has ok, id, detail, and fix where there is one", () => {
  expect(JSON.parse(reportJson(SICK))).toEqual({
    ok: false,
    checks: [
      { id: "bus", ok: true, detail: "well" },
      { id: "broker", ok: false, detail: "gone", fix: "Install it" },
      { id: "accounts", ok: false, detail: "none", fix: "Install it" },
      { id: "clock", ok: true, detail: "not checked: no network", fix: "Run deno with --allow-net" },
    ],
  });
});

test("a check that another one stands in the way of is not ok, and its advice is not repeated to people", () => {
  const results: readonly CheckResult[] = [
    BROKER,
    { id: "accounts", state: "blocked", detail: "not checked: it needs broker", fix: "Fix broker first" },
  ];
  expect(reportText(results)).toBe(`FAIL  broker    gone
--    accounts  not checked: it needs broker

To fix:
  broker: Install it
`);
  const accounts = { id: "accounts", ok: false, detail: "not checked: it needs broker", fix: "Fix broker first" };
  expect(JSON.parse(reportJson(results)).checks[1]).toEqual(accounts);
  expect(isWell(results.slice(1))).toBe(false);
});

test("isWell() is not troubled by what could not be looked at", () => {
  expect([isWell(SICK), isWell([SICK[0]!, SICK[3]!])]).toEqual([false, true]);
});

test("reports have no character that a terminal obeys", () => {
  const hostile = "a\u001b]0;title\u0007b\r\nc\u202e\u009b";
  const results: readonly CheckResult[] = [{ id: "x", state: "failed", detail: hostile, fix: hostile }];
  expect(reportText(results)).not.toMatch(/[^\n\x20-\x7e\ufffd]/);
  expect(reportText(results).split("\n")).toHaveLength(5);
  expect(reportJson(results)).not.toMatch(/[^\n\x20-\x7e]/);
  expect(JSON.parse(reportJson(results)).checks[0]).toMatchObject({ detail: hostile, fix: hostile });
});

// What the doctor says of a fake broker at each failure of the library's table.

describe("the checks of a broker", () => {
  const IMPATIENT = { accountsMs: 400, silentMs: 400 };

  let stage: Stage;
  beforeAll(async () => {
    stage = await startStage();
  });
  afterAll(async () => {
    delete process.env.DBUS_SESSION_BUS_ADDRESS;
    await endStage(stage);
  });

  async function examineBroker(timeLimits: Readonly<Record<string, number>>) {
    const options = { clientId: CLIENT_ID, enableBrokerOnLinux: true, requireBroker: true, timeLimits };
    const app = new PublicClientApplication(options);
    await app.brokerStatus();
    return {
      app,
      results: async () => {
        const nobody = () => Promise.reject(new Error("no check of the broker opens a bus"));
        const context = { app, clientId: CLIENT_ID, username: undefined, scopes: ["User.Read"] };
        const profile = { name: undefined, problem: undefined };
        const at = { authority: "", tenantId: undefined, signIn: "latchkey login" };
        const kept = {
          ...at,
          words: () => API_WORDS,
          profile,
          tokenPlace: () => ({ kind: "memory" }) as const,
          cache: memoryStore(),
        };
        const found = await runChecks([broker, accounts, silentToken], { ...context, ...kept, bus: nobody });
        app.close();
        return found;
      },
    };
  }

  test.each(FAILURES.filter(([method]) => ["getAccounts", "acquireTokenSilently"].includes(method)))(
    "each failed check says what to run when in %s the broker %s",
    async (method, _name, failure) => {
      process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
      const { results } = await examineBroker(failure.code === "timed_out" ? IMPATIENT : {});
      await stage.broker.forgetCalls();
      await play(stage, {
        ...{ failure, method, call: results },
        afterwards(found) {
          const failed = found.filter(({ state }) => state === "failed" || state === "blocked");
          expect(failed.length).toBeGreaterThan(0);
          expect(failed.filter(({ fix }) => !fix)).toEqual([]);
          if (failure.code === "timed_out") expect(failed[0]!.fix).toContain("systemctl --user restart");
        },
      });
    },
  );

  test.each(FAILED_STARTS.map((row) => [row.name, row] as const))(
    "each failed check says what to run when a broker %s",
    async (_name, { install, isSilent, hint }) => {
      const bus = await startPrivateBus();
      process.env.DBUS_SESSION_BUS_ADDRESS = bus.address;
      const fake = await install(bus);
      const { results } = await examineBroker(isSilent ? { pingMs: 1000, startMs: 1000 } : {});
      expect(await results()).toMatchObject([
        { id: "broker", state: "failed", fix: expect.stringMatching(hint) },
        { id: "accounts", state: "blocked", fix: "Fix broker first" },
        { id: "silent_token", state: "blocked", fix: "Fix broker first" },
      ]);
      await fake?.stop();
      await bus.stop();
    },
  );
});

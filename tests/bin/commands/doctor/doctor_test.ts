// The doctor at machines that are well and that are not: real buses and keyrings, a fake broker.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { Variant } from "dbus-next";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startAnsweringPeer } from "../../../fakes/answering_peer.ts";
import type { Behaviour } from "../../../fakes/behaviour.ts";
import { makeCertificateAuthority } from "../../../fakes/certificates.ts";
import { type ConnectProxy, startConnectProxy } from "../../../fakes/connect_proxy.ts";
import { type PrivateBus, startPrivateBus } from "../../../fakes/private_bus.ts";
import { addPrivateKeyring } from "../../../fakes/private_keyring.ts";
import { activatableFakeBroker, type FakeBroker, startFakeBroker } from "../../../fakes/start_fake_broker.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { LEAST_PERMISSIONS, LIBDBUS } from "../../../tools/deno_command.ts";
import { openHome } from "../../../fixture.ts";
import { runLatchkeyOnDeno, type RunOptions, runProgram } from "../../run_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const NORMAL: Behaviour = {
  noPing: false,
  sender: "microsoft-2.5.2",
  accounts: [{ username: "jane@contoso.com" }],
  replies: {},
};
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
  let bus: PrivateBus, broker: FakeBroker, systemd: { stop(): void };
  beforeAll(async () => {
    bus = await startPrivateBus();
    broker = await startFakeBroker(bus);
    systemd = await startSystemd(bus, "DISPLAY=:0", "WAYLAND_DISPLAY=wayland-0");
    await addPrivateKeyring(bus, "unlocked");
  });
  beforeEach(async () => {
    await broker.behave(NORMAL);
    await broker.forgetCalls();
  });
  afterAll(async () => {
    systemd.stop();
    await broker.stop();
    await bus.stop();
  });

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
      using home = openHome();
      const child = Bun.spawn([...path.program(), "bin/latchkey.ts", "doctor", "--client-id", CLIENT_ID], {
        cwd: fileURLToPath(new URL("../../../../", import.meta.url)),
        env: { ...OFFLINE, ...home.env, DBUS_SESSION_BUS_ADDRESS: bus.address },
        stdio: ["ignore", "pipe", "inherit"],
      });
      const text = await new Response(child.stdout).text();
      expect(await child.exited).toBe(0);
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
    const { silent_token } = await report(bus, `${app} --tenant fabrikam.com`);
    expect(silent_token!.fix).toContain(`${fabrikam}/oauth2/v2.0/authorize`);
  });

  test("asks no broker with --broker never", async () => {
    const { code, broker: row } = await report(bus, "--broker never");
    expect({ code, detail: row!.detail }).toEqual({
      code: 0,
      detail: "not checked: no broker is asked for",
    });
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

  test("says where to consent", async () => {
    const context = "AADSTS65001: consent is missing";
    await broker.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2, context } } });
    const { silent_token: row } = await report(bus, `--client-id ${CLIENT_ID} --scope User.Read`);
    expect(row!.fix).toMatch(/visit this to consent: https:\/\/\S+\/authorize\?\S+User\.Read/);
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
        session_bus: { ok: false, fix: expect.stringMatching(/DBUS_SESSION_BUS_ADDRESS.*latchkey serve --forward/) },
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
    const broker = await startFakeBroker(bus, { ...NORMAL, sender: "himmelblau-2.0" });
    for (const sender of ["himmelblau-0.1", "himmelblau-2.0"] as const) {
      await broker.behave({ sender });
      const { code, keyring } = await report(bus);
      const detail = "nothing serves org.freedesktop.secrets; himmelblau does not need it";
      expect({ code, keyring }).toMatchObject({ code: 0, keyring: { ok: true, detail } });
    }
    for (const sender of ["microsoft-2.0.1", "microsoft-2.0.2", "microsoft-2.5.2", "microsoft-3.0.1"] as const) {
      await broker.behave({ sender });
      const { code, keyring } = await report(bus);
      expect({ code, keyring }).toMatchObject({
        code: 1,
        keyring: { ok: false, detail: "nothing serves org.freedesktop.secrets" },
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
  let bus: PrivateBus;
  beforeAll(async () => {
    bus = await startPrivateBus();
  });
  afterAll(() => bus.stop());

  test("asks for gnome-keyring in place of the wallet", async () => {
    const names = ["org.freedesktop.secrets", "org.kde.kwalletd6"];
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
    await addPrivateKeyring(bus, "unlocked");
    await bus.addService("org.freedesktop.impl.portal.desktop.kwallet", ["/bin/false"]);
    const { keyring } = await report(bus);
    expect(keyring).toMatchObject({
      ok: true,
      detail: "gnome-keyring, unlocked",
      fix: expect.stringContaining("4kv4v"),
    });
  });
});

describe("latchkey doctor beside a server's clock", () => {
  test.each([
    [0, true, undefined],
    [240, true, undefined],
    [-3600, false, "sudo timedatectl set-ntp true"],
    [3600, false, "sudo timedatectl set-ntp true"],
  ])("of %d s more", async (offset, ok, fix) => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(null, { headers: { date: new Date(Date.now() + offset * 1000).toUTCString() } }),
    });
    const { clock, broker } = await report(undefined, `--authority http://127.0.0.1:${server.port}/common`, {
      permissions: [...LEAST_PERMISSIONS, `--allow-net=127.0.0.1:${server.port}`],
    });
    expect(clock).toMatchObject({ ok, ...(fix && { fix }) });
    expect(clock!.detail).toContain(`127.0.0.1:${server.port}`);
    expect(broker!.detail).toMatch(/^not checked: brokers do not serve the authority /);
  });

  test("is not troubled when the server is out of reach, or tells no time", async () => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response(null, { headers: { date: "soon" } }),
    });
    for (const port of [server.port, 1]) {
      const permissions = [`--allow-net=127.0.0.1:${port}`];
      const { clock } = await report(undefined, `--authority http://127.0.0.1:${port}/common`, { permissions });
      expect(clock).toMatchObject({ ok: true, detail: expect.stringMatching(/^not checked: 127\.0\.0\.1/) });
    }
  });
});

describe("latchkey doctor in a company's network", () => {
  const stops: (() => void)[] = [];
  let proxy: ConnectProxy, folder: string, authorityFile: string;
  beforeAll(async () => {
    const company = makeCertificateAuthority();
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: company.issue(["login.microsoftonline.com", "contoso.ciamlogin.com", "fabrikam.ciamlogin.com"]),
      fetch: (request) => {
        const { pathname } = new URL(request.url), at = "https://contoso.ciamlogin.com/contoso.onmicrosoft.com";
        if (/^\/(contoso|fabrikam)\.onmicrosoft\.com\/v2\.0\/\.well-known\/openid-configuration$/.test(pathname)) {
          return Response.json({
            issuer: `${at}/v2.0`,
            authorization_endpoint: `${at}/oauth2/v2.0/authorize`,
            token_endpoint: `${at}/oauth2/v2.0/token`,
          });
        }
        const isKnown = pathname === "/common/v2.0/.well-known/openid-configuration";
        return new Response("{}", { status: isKnown || request.method === "HEAD" ? 200 : 404 });
      },
    });
    proxy = await startConnectProxy({ port: server.port! });
    folder = mkdtempSync(join(tmpdir(), "doctor-network-"));
    authorityFile = join(folder, "authority.pem");
    writeFileSync(authorityFile, company.cert);
    stops.push(() => proxy.stop(), () => void server.stop(true), () => rmSync(folder, { recursive: true }));
  });
  afterAll(() => {
    for (const stop of stops) stop();
  });

  const inCompany = async (program: readonly string[], line: string, env: Record<string, string> = {}) => {
    const { stdout } = await runProgram([
      ...program,
      "bin/latchkey.ts",
      "doctor",
      "--format",
      "json",
      ...line.split(" "),
    ], {
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      ...env,
    });
    const { checks } = JSON.parse(stdout) as { checks: readonly Row[] };
    return checks.find(({ id }) => id === "network")!;
  };

  test.each(RUNTIME_PATHS.map((path) => [path.name, path] as const))(
    "names the variable that a certificate asks for on %s, and the proxy",
    async (name, { program }) => {
      const variable = name.startsWith("Deno") ? "DENO_CERT" : "NODE_EXTRA_CA_CERTS";
      const unknown = await inCompany(program(), "--broker never");
      expect(unknown).toMatchObject({
        ok: false,
        detail: expect.stringContaining("its certificate is not signed by a trusted authority"),
      });
      expect(unknown.fix).toContain(variable);
      expect(await inCompany(program(), "--broker never", { [variable]: authorityFile })).toMatchObject({
        ok: true,
        detail: expect.stringMatching(
          new RegExp(`^login\\.microsoftonline\\.com answered through the proxy 127\\.0\\.0\\.1:${proxy.port} in`),
        ),
      });
    },
  );

  test("asks an authority as a sign-in does: another host's document is no answer, and Entra External ID has its own", async () => {
    const of = (authority: string) =>
      inCompany(RUNTIME_PATHS[0]!.program(), `--broker never --authority ${authority}`, { DENO_CERT: authorityFile });
    expect(await of("https://contoso.ciamlogin.com")).toMatchObject({
      ok: true,
      detail: expect.stringContaining("contoso.ciamlogin.com answered through the proxy"),
    });
    expect(await of("https://fabrikam.ciamlogin.com")).toMatchObject({
      ...{ ok: false, detail: "https://fabrikam.ciamlogin.com says that it is another issuer" },
    });
  });

  test("says when what answers is no authority", async () => {
    const line = "--broker never --authority https://login.microsoftonline.com/nobody";
    expect(await inCompany(RUNTIME_PATHS[0]!.program(), line, { DENO_CERT: authorityFile })).toMatchObject({
      ...{ ok: false, fix: "Check --authority", detail: expect.stringContaining("(status 404)") },
    });
  });
});

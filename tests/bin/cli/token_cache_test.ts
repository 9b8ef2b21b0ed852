// Notices of the token cache, what a command does with a store that fails, and sign-ins without a broker that last: what one process
// stores, another one finds.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { HeldNotices } from "../../../bin/cli/application.ts";
import { type Notice, NoticePrinter, ReportingStore } from "../../../bin/cli/token_cache.ts";
import { replaceProgramIo } from "../../../lib/runtime/host.ts";
import { type CacheStore, LatchkeyError, memoryStore } from "../../../mod.ts";
import { CLIENT_ID, type Home, openHome, openStage, useStage } from "../../fixture.ts";
import { denoRun, joinFlags } from "../../tools/deno_command.ts";
import { FULL_DISK, READ_ONLY_DISK } from "../../tools/worn_disk.ts";
import {
  errorOf,
  JANE_LINE,
  type ProviderStage,
  SIGN_IN_PERMISSIONS,
  sourceOf,
  startProviderStage,
} from "../provider_stage.ts";
import { latchkeyOf } from "../run_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

const READ = "The token cache cannot be read";
const WRITTEN = "The token cache cannot be written, and nothing is kept for the next run";

type Failing = "read" | "update" | "setAside";

/** Opens a store whose methods fail as long as they are told to. */
function openFailing({ hasSpare = true, path = "unused" } = {}) {
  const kept = memoryStore();
  const told: Notice[] = [];
  const fails = new Map<Failing, LatchkeyError>();
  const check = (name: Failing): void => {
    const error = fails.get(name);
    if (error) throw error;
  };
  const store: CacheStore = {
    async readAccounts(call) {
      check("read");
      return await kept.readAccounts(call);
    },
    async read(id, call) {
      check("read");
      return await kept.read(id, call);
    },
    async update(id, change, call) {
      check("update");
      await kept.update(id, change, call);
    },
    // deno-lint-ignore require-await
    async setAside() {
      check("setAside");
      return "jane.damaged";
    },
  };
  const tell = (notice: Notice) => void told.push(notice);
  const place = { kind: "plaintext", path, isNamed: false } as const;
  const reporting = new ReportingStore(place, store, { needsCache: false, hasSpare, tell });
  return { kept, fails, reporting, told: () => told.map(({ what, error }) => `${what}: ${error?.message}`) };
}

const failed = (message: string) => new LatchkeyError("configuration", message);
const messageOf = (promise: Promise<unknown>) => promise.catch((error) => error.message);

describe("ReportingStore", () => {
  test("reads from memory once reading has failed, and still writes to the store", async () => {
    const { kept, fails, reporting, told } = openFailing();
    fails.set("read", failed("The key is lost"));
    expect(await reporting.readAccounts()).toEqual([]);
    expect(await reporting.read("jane")).toBeUndefined();
    fails.delete("read");
    await reporting.update("jane", () => "{}");
    expect(await kept.read("jane")).toBe("{}");
    expect(await reporting.read("jane")).toBe("{}");
    expect(told()).toEqual([`${READ}: The key is lost`]);
  });

  test("writes to memory if both fail", async () => {
    const { fails, reporting, told } = openFailing();
    fails.set("read", failed("The key is lost")).set("update", failed("The disk is read-only"));
    expect(await reporting.read("jane")).toBeUndefined();
    await reporting.update("jane", () => "{}");
    expect(await reporting.read("jane")).toBe("{}");
    expect(told()).toEqual([`${READ}: The key is lost`, `${WRITTEN}: The disk is read-only`]);
  });

  test("treats a document that cannot be quarantined as missing", async () => {
    const { kept, fails, reporting, told } = openFailing();
    await kept.update("jane", () => "damaged");
    fails.set("setAside", failed("The disk is read-only"));
    expect(await reporting.setAside!("jane", () => true)).toBeUndefined();
    expect(await reporting.read("jane")).toBeUndefined();
    expect(await messageOf(reporting.update("jane", () => "{}"))).toBe("The disk is read-only");
    expect(new Set(told())).toEqual(new Set([`${WRITTEN}: The disk is read-only`]));
  });

  test("rethrows a failure to read if there is no other store, and reports nothing after an abort", async () => {
    const { fails, reporting, told } = openFailing({ hasSpare: false });
    fails.set("read", failed("The key is lost"));
    expect(await messageOf(reporting.read("jane", { signal: AbortSignal.abort() }))).toBe("The key is lost");
    expect(told()).toEqual([]);
    expect(await messageOf(reporting.read("jane"))).toBe("The key is lost");
    expect(told()).toEqual([`${READ}: The key is lost`]);
  });

  test("reports a damaged document, and where it was quarantined", async () => {
    const { kept, reporting, told } = openFailing();
    await kept.update("jane", () => "damaged");
    await reporting.readAccounts();
    expect(await reporting.setAside!("jane", () => true)).toBe("jane.damaged");
    expect(told()).toEqual([
      `${READ}: it is damaged. Sign in again: latchkey login: undefined`,
      "The token cache was damaged. It was set aside as jane.damaged, and a new one was started: undefined",
    ]);
  });

  test("tryOut() reports what prevents writing, then reading, and respects its signal", async () => {
    using home = openHome();
    const file = join(home.path, "file");
    writeFileSync(file, "");
    const noFolder = openFailing({ path: join(file, "cache.json") });
    await noFolder.reporting.tryOut();
    expect(noFolder.told()).toEqual([expect.stringContaining(`${WRITTEN}: `)]);
    await expect(noFolder.reporting.tryOut({ signal: AbortSignal.abort() })).rejects.toThrow();

    const locked = openFailing({ path: join(home.path, "cache.json") });
    await locked.reporting.tryOut();
    expect(locked.told()).toEqual([]);
    locked.fails.set("read", failed("The key is lost"));
    await locked.reporting.tryOut();
    expect(locked.told()).toEqual([`${READ}: The key is lost`]);
  });
});

describe("NoticePrinter and HeldNotices", () => {
  /** Returns what `work` writes to standard error. */
  async function errorsOf(work: () => unknown): Promise<string> {
    let written = "";
    using _ = replaceProgramIo({
      environment: {},
      input: new Blob().stream(),
      terminals: [],
      write: (_stream, bytes) => written += new TextDecoder().decode(bytes),
      onSignals: () => ({ [Symbol.dispose]() {} }),
    });
    await work();
    return written;
  }

  test("tell() prints a notice once, and a reason once", async () => {
    const error = failed("The key is lost");
    const { tell } = new NoticePrinter();
    const written = await errorsOf(() => [READ, READ, WRITTEN].forEach((what) => tell({ what, error })));
    expect(written).toBe(`latchkey: ${READ}: The key is lost\nlatchkey: ${WRITTEN}\n`);
  });

  test("during() returns or throws as the work does, and prints what was held unless it repeats the failure", async () => {
    const error = failed("The key is lost");
    const notices = new HeldNotices();
    const returned = await errorsOf(async () => {
      notices.hold({ what: READ, error });
      expect(await notices.during(() => Promise.resolve(1))).toBe(1);
    });
    expect(returned).toBe(`latchkey: ${READ}: The key is lost\n`);
    const thrown = await errorsOf(async () => {
      notices.hold({ what: WRITTEN, error });
      await expect(notices.during(() => Promise.reject(failed("The key is lost")))).rejects.toThrow("The key is lost");
    });
    expect(thrown).toBe("");
  });
});

describe("a token cache that cannot be read", () => {
  const latchkey = latchkeyOf(useStage({ broker: {} }), "--client-id", CLIENT_ID);

  test.each(["accounts", "token --scope User.Read"])(
    "latchkey %s has its result from the broker, and says so",
    async (line) => {
      using home = openHome();
      mkdirSync(join(home.path, "elsewhere"), { mode: 0o700 });
      mkdirSync(join(home.state, ".."), { recursive: true });
      symlinkSync(join(home.path, "elsewhere"), home.state);
      const { code, stdout, stderr } = await latchkey(line, { env: home.env });
      expect({ code, isEmpty: stdout === "" }).toEqual({ code: 0, isEmpty: false });
      expect(stderr).toMatch(/^latchkey: The token cache cannot be read: .*it is a symbolic link\. .*\n$/);
    },
  );
});

let provider: ProviderStage;
beforeAll(async () => {
  provider = await startProviderStage();
});
afterAll(() => provider[Symbol.asyncDispose]());

const SILENT = "--interactive never", BY_BROWSER = "--interactive always";
const FROM_CACHE = { code: 0, source: "cache" }, FRESH = { code: 0, source: "identity_provider" };
const SIGN_IN = { code: 3, error: "interaction_required" };
const UNREADABLE = { code: 1, error: "configuration" };

/** Every file in a home, by its path. */
function filesIn({ path: home }: Home): ReadonlyMap<string, Buffer> {
  const paths = readdirSync(home, { recursive: true, encoding: "utf8" });
  return new Map(
    paths.map((path) => join(home, path)).filter((path) => statSync(path).isFile())
      .map((path) => [path, readFileSync(path)]),
  );
}

describe("latchkey login without a broker", () => {
  test.each(TESTED_PATHS)("on $name is the last sign-in for other processes", async ({ program: programOf }) => {
    using home = openHome();
    const options = { home, program: latchkeyBy(programOf()) };
    expect(await provider.login(options)).toMatchObject({ code: 0, stdout: JANE_LINE });
    expect(sourceOf(await provider.token(options, `${SILENT} --force-refresh`))).toEqual(FRESH);
    expect(sourceOf(await provider.token(options, SILENT))).toEqual(FROM_CACHE);
  });

  test("is the last sign-in until latchkey logout: other commands have tokens without a window", async () => {
    using home = openHome();
    const options = { home };
    expect(await provider.login(options)).toMatchObject({ code: 0, stdout: JANE_LINE });

    const first = await provider.token(options, SILENT);
    expect(sourceOf(first)).toEqual(FROM_CACHE);
    const renewed = await provider.token(options, `${SILENT} --force-refresh`);
    expect(sourceOf(renewed)).toEqual(FRESH);
    const second = await provider.token(options, SILENT);
    expect(sourceOf(second)).toEqual(FROM_CACHE);
    expect(JSON.parse(second.stdout).access_token).toBe(JSON.parse(renewed.stdout).access_token);
    for (const { stderr } of [first, renewed, second]) expect(stderr).toBe("");
    expect(await provider.accounts(options)).toMatchObject({ code: 0, stdout: JANE_LINE, stderr: "" });
    expect(sourceOf(await provider.token(options, `${SILENT} --account JANE@contoso.com`))).toEqual(FROM_CACHE);
    expect(sourceOf(await provider.token(options, `${SILENT} --account jane`))).toEqual(FROM_CACHE); // the home account id
    expect(errorOf(await provider.token(options, `${SILENT} --account joe`))).toEqual(SIGN_IN);

    const tokens = [first, renewed].flatMap((
      { stdout },
    ) => [JSON.parse(stdout).access_token, JSON.parse(stdout).id_token]);
    const files = filesIn(home);
    expect([...files.keys()].filter((path) => path.startsWith(`${home.state}/`))).not.toEqual([]);
    for (const [path, bytes] of files) {
      expect({ path, hasToken: tokens.some((token) => bytes.includes(token)), hasName: bytes.includes("jane@") })
        .toEqual({ path, hasToken: false, hasName: false });
      expect(statSync(path).mode & 0o077).toBe(0);
    }
    expect(statSync(home.state).mode & 0o777).toBe(0o700);

    expect(await provider.logout(options)).toEqual({
      ...{ code: 0, stdout: "" },
      stderr: "latchkey: jane@contoso.com is signed out of this app; other apps keep their sign-ins\n",
    });
    expect(errorOf(await provider.token(options, SILENT))).toEqual(SIGN_IN);
    expect(await provider.accounts(options)).toMatchObject({
      ...{
        code: 3,
        stdout: "",
        stderr: expect.stringContaining("there is no account: nothing is stored for this app. "),
      },
    });
  });
});

describe("latchkey --store", () => {
  test("plaintext is one file of MSAL's, which --cache-file alone names as well", async () => {
    using home = openHome();
    const path = join(home.path, "shared.json");
    expect(await provider.login({ home }, `--cache-file ${path}`)).toMatchObject({ code: 0, stdout: JANE_LINE });
    expect(Object.keys(JSON.parse(readFileSync(path, "utf8")))).toEqual(
      expect.arrayContaining(["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata"]),
    );
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(sourceOf(await provider.token({ home }, `${SILENT} --store plaintext --cache-file ${path}`))).toEqual(
      FROM_CACHE,
    );
    const env = { LATCHKEY_CACHE_FILE: path };
    expect(sourceOf(await provider.token({ home, env }, SILENT))).toEqual(FROM_CACHE);
    expect(errorOf(await provider.token({ home, env }, `${SILENT} --store memory`))).toEqual(SIGN_IN);
    expect(existsSync(home.state)).toBe(false);
  });

  test("plaintext without a file is one in the folder of the others", async () => {
    using home = openHome();
    expect((await provider.login({ home }, "--store plaintext")).code).toBe(0);
    expect(existsSync(`${home.state}/msal_token_cache.json`)).toBe(true);
    expect(sourceOf(await provider.token({ home, env: { LATCHKEY_STORE: "plaintext" } }, SILENT))).toEqual(FROM_CACHE);
    expect(errorOf(await provider.token({ home }, SILENT))).toEqual(SIGN_IN);
  });

  test("memory keeps nothing, and says so", async () => {
    using home = openHome();
    expect(await provider.login({ home }, "--store memory")).toMatchObject({
      ...{ code: 0, stdout: JANE_LINE },
      stderr: expect.stringMatching(/^latchkey: Sign-ins last for this run only$/m),
    });
    expect(filesIn(home).size).toBe(0);
    expect(errorOf(await provider.token({ home }, SILENT))).toEqual(SIGN_IN);
  });

  test("auto and file are the same files", async () => {
    using home = openHome();
    expect((await provider.login({ home }, "--store file")).code).toBe(0);
    expect(sourceOf(await provider.token({ home }, `${SILENT} --store auto`))).toEqual(FROM_CACHE);
  });

  test("is what latchkey CONFIG.json keeps tokens in, too", async () => {
    using home = openHome();
    const path = join(home.path, "parameters.json"), { clientId: client_id, url: authority } = provider;
    writeFileSync(path, JSON.stringify({ client_id, authority, scope: ["api.read"] }));
    const run = (...more: string[]) => provider.latchkey([path, "--format", "json", ...more], { home });
    expect(sourceOf(await run("--interactive", "always"))).toEqual(FRESH);
    expect(sourceOf(await run("--interactive", "never"))).toEqual(FROM_CACHE);
    expect(errorOf(await run("--interactive", "never", "--cache-file", join(home.path, "other.json")))).toEqual(
      SIGN_IN,
    );
  });

  test.each([
    ["--store file --cache-file /tmp/a", "--cache-file goes with --store plaintext, not with --store file"],
    ["--store memory --cache-file /tmp/a", "not with --store memory"],
    ["--store cloud", "--store takes auto, file, plaintext, memory"],
    ["--cache-file", "--cache-file needs a value"],
  ])("with %s is wrong usage", async (more, says) => {
    using home = openHome();
    expect(await provider.accounts({ home }, more)).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining(says),
    });
  });
});

describe("latchkey --store auto where it cannot be used", () => {
  // Deno 2.6 does not start if it cannot find what it may run.
  const withPath = ["env", `PATH=${process.env.PATH}`];
  const deno = (...more: string[]) =>
    latchkeyBy([...withPath, ...denoRun(), ...joinFlags([...SIGN_IN_PERMISSIONS, ...more])]);
  const NAMES = "BROWSER,DISPLAY,WAYLAND_DISPLAY,SSH_CONNECTION,HOME,XDG_STATE_HOME";

  testOfSources("keeps nothing without Deno's permissions, and names them to who signs in", async () => {
    using home = openHome();
    const { code, stderr } = await provider.login({ home, program: deno() });
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^latchkey: Sign-ins last for this run only: Deno may not read .*Run deno with --allow-env=/m,
    );
    const named = await provider.login({ home, program: deno(`--allow-env=${NAMES}`) });
    expect(named.stderr).toContain(
      `Run deno with --allow-read=${home.state} --allow-write=${home.state} --allow-sys=uid\n`,
    );
    expect(filesIn(home).size).toBe(0);
    expect(await provider.token({ home, program: deno() }, SILENT)).toMatchObject({
      code: 3,
      stderr: expect.not.stringContaining("Deno"),
    });
    expect((await provider.token({ home, program: deno() }, `${SILENT} -v`)).stderr).toMatch(
      /info Sign-ins last .*--allow-env=/,
    );
  });

  test("keeps tokens with the permissions that it names", async () => {
    using home = openHome();
    mkdirSync(home.state, { recursive: true, mode: 0o700 });
    const folder = [`--allow-read=${home.state}`, `--allow-write=${home.state}`, "--allow-sys=uid"];
    const program = deno(`--allow-env=${NAMES}`, ...folder);
    const { code, stderr } = await provider.login({ home, program });
    expect({ code, warns: stderr.includes("Sign-ins last") }).toEqual({ code: 0, warns: false });
    expect(sourceOf(await provider.token({ home, program }, SILENT))).toEqual(FROM_CACHE);
  });

  testOfSources("a place that was asked for is an error there, before anybody signs in", async () => {
    using home = openHome();
    expect(await provider.accounts({ home, program: deno() }, "--store file")).toMatchObject({
      ...{ code: 1, stdout: "", stderr: expect.stringContaining("hint: Run deno with --allow-env=") },
    });
    const { code, stderr } = await provider.accounts({ home, program: deno(`--allow-env=${NAMES}`) }, "--store file");
    expect({ code, names: stderr.includes(`--allow-read=${home.state}`) }).toEqual({ code: 1, names: true });
    for (const [path, folder] of [["/some/where/cache.json", "/some/where"], ["cache.json", "."], ["/a.json", "/"]]) {
      expect(await provider.login({ home, program: deno() }, `--cache-file ${path}`)).toMatchObject({
        ...{ code: 1, stdout: "", stderr: expect.stringContaining(`--allow-read=${folder} --allow-write=${folder} `) },
      });
    }
  });

  test("keeps nothing without a home folder", async () => {
    using home = openHome();
    const env = { HOME: "", XDG_STATE_HOME: "" };
    expect(await provider.login({ home, env })).toMatchObject({
      ...{ code: 0, stdout: JANE_LINE },
      stderr: expect.stringContaining("latchkey: Sign-ins last for this run only: HOME is not set"),
    });
    expect(await provider.logout({ home, env })).toMatchObject({ code: 3 });
    expect(await provider.accounts({ home, env }, "--store file")).toMatchObject({ code: 1, stdout: "" });
  });

  const SPOILT: readonly [string, (home: Home) => void, RegExp][] = [
    ["is one that others can write", ({ state }) => {
      mkdirSync(state);
      chmodSync(state, 0o777);
    }, /others can write to it/],
    ["is a link", ({ state, path }) => {
      mkdirSync(`${path}/elsewhere`, { mode: 0o700 });
      symlinkSync(`${path}/elsewhere`, state);
    }, /it is a symbolic link/],
    ["is a file", ({ state }) => writeFileSync(state, ""), /it is no(t a)? folder|a component of its path is a file/],
  ];
  test.each(SPOILT)("prints the token all the same, and warns once, where the folder %s", async (_, spoil, why) => {
    using home = openHome();
    mkdirSync(join(home.state, ".."), { recursive: true });
    spoil(home);
    const { stderr, ...run } = await provider.token({ home }, BY_BROWSER);
    expect(sourceOf({ ...run, stderr })).toEqual(FRESH);
    expect(stderr.match(/^latchkey: The token cache .*$/gm)).toEqual([expect.stringMatching(why)]);
    for (const place of ["", "--store file"]) {
      const silent = await provider.token({ home }, `${SILENT} ${place}`.trimEnd());
      expect(errorOf(silent)).toEqual(UNREADABLE);
      expect(silent.stderr).toMatch(/^error: configuration\n/); // it is said once
      expect(silent.stderr).toMatch(why);
      const listed = await provider.accounts({ home }, place);
      expect({ code: listed.code, stdout: listed.stdout }).toEqual({ code: 1, stdout: "" });
      expect(listed.stderr).toMatch(/^error: configuration\n/);
      expect(listed.stderr).toMatch(why);
    }
    expect(await provider.logout({ home })).toMatchObject({ code: 1, stderr: expect.stringMatching(why) });
  });
});

describe("a disk that cannot be written", () => {
  test.each([["full", FULL_DISK], ["read-only", READ_ONLY_DISK]])(
    "and is %s leaves the token to who asked for it, with a warning",
    async (_, disk) => {
      using home = openHome();
      mkdirSync(home.state, { recursive: true, mode: 0o700 });
      const program = disk.command(home.state, LATCHKEY_ON_BUN);
      const places = ["", `--cache-file ${home.state}/cache.json`];
      for (const place of places) {
        const run = await provider.token({ home, program }, `${BY_BROWSER} ${place}`.trim());
        expect(sourceOf(run)).toEqual(FRESH);
        expect(run.stderr.match(/^latchkey: The token cache cannot be written.*$/gm)).toEqual([
          expect.stringContaining(disk.reason),
        ]);
      }
    },
  );

  test("is in the way of a sign-out, which says so", async () => {
    using home = openHome();
    const path = `${home.state}/cache.json`;
    expect((await provider.login({ home }, `--cache-file ${path}`)).code).toBe(0);
    const program = READ_ONLY_DISK.command(home.state, LATCHKEY_ON_BUN);
    expect(await provider.logout({ home, program }, `--cache-file ${path}`)).toMatchObject({
      ...{ code: 1, stdout: "", stderr: expect.stringContaining(READ_ONLY_DISK.reason) },
    });
    expect(sourceOf(await provider.token({ home }, `${SILENT} --cache-file ${path}`))).toEqual(FROM_CACHE);
  });
});

describe("latchkey --cache-file", () => {
  test("refuses a link: the error says why, and who signs in has the token", async () => {
    using home = openHome();
    const path = join(home.path, "link.json"), target = join(home.path, "target.json");
    writeFileSync(target, "{}", { mode: 0o600 });
    symlinkSync(target, path);
    const silent = await provider.token({ home }, `${SILENT} --cache-file ${path}`);
    expect(errorOf(silent)).toEqual({ code: 1, error: "configuration" });
    expect(silent.stderr).toContain("it is a symbolic link");
    const run = await provider.token({ home }, `${BY_BROWSER} --cache-file ${path}`);
    expect(sourceOf(run)).toEqual(FRESH);
    expect(run.stderr).toMatch(/^latchkey: The token cache cannot be read: .*it is a symbolic link/m);
    expect(run.stderr).toMatch(/^latchkey: The token cache cannot be written, and nothing is kept for the next run$/m);
    expect(readFileSync(target, "utf8")).toBe("{}");
  });
});

test("latchkey login keeps the key of its files in the keyring where there is one", async () => {
  await using stage = await openStage({ keyring: "unlocked" });
  const { home } = stage, env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
  expect((await provider.login({ home, env })).code).toBe(0);
  const key = JSON.parse(readFileSync(`${home.state}/key.json`, "utf8"));
  expect(key).toMatchObject({ place: "secret-service" });
  expect(key).not.toHaveProperty("key");
  expect(sourceOf(await provider.token({ home, env }, SILENT))).toEqual(FROM_CACHE);
  const elsewhere = await provider.token({ home }, SILENT);
  expect(errorOf(elsewhere)).toEqual(UNREADABLE);
  expect(elsewhere.stderr).toMatch(/^error_description: Cannot read the token cache in .* this session has no bus$/m);
});

// What the doctor says of where tokens are kept, to real folders and keyrings.
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { fileStore } from "../../../../mod.ts";
import { addPrivateKeyring, killKeyring, lockKeyring } from "../../../fakes/private_keyring.ts";
import { quoteCommand } from "../../../../lib/runtime/host.ts";
import { denoRun } from "../../../tools/deno_command.ts";
import { READ_ONLY_DISK, type WornDisk } from "../../../tools/worn_disk.ts";
import { type Home, openHome, useStage } from "../../../fixture.ts";
import { runLatchkey, runProgram } from "../../run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS, testOfSources } from "../../tested_latchkey.ts";

/** No test asks Microsoft's servers for anything. */
const OFFLINE = { HTTPS_PROXY: "http://127.0.0.1:1" };
const DOCUMENT = JSON.stringify({
  Account: {
    "jane-login.microsoftonline.com-contoso": { home_account_id: "jane", username: "jane@contoso.com" },
    "jane-login.microsoftonline.com-fabrikam": { home_account_id: "jane", username: "jane@contoso.com" },
  },
});

interface Options {
  readonly home: Home;
  readonly env?: Readonly<Record<string, string>>;
  readonly program?: readonly string[];
}

async function check({ home, env = {}, program }: Options, more = "") {
  const words = ["doctor", "--broker", "never", "--format", "json", ...more.split(" ").filter(Boolean)];
  const all = { ...OFFLINE, ...home.env, ...env };
  const { stdout } = await (program ? runProgram([...program, ...words], all) : runLatchkey(words, { env: all }));
  return JSON.parse(stdout).checks.find(({ id }: { id: string }) => id === "token_cache");
}
const keep = ({ state }: Home, ...ids: string[]) => {
  const store = fileStore({ folder: state, keyLocation: "file" });
  return Promise.all(ids.map((id) =>
    store.update(id, (json) => {
      const { Account } = JSON.parse(json?.startsWith("{") ? json : "{}");
      return JSON.stringify({ Account: { ...Account, ...JSON.parse(DOCUMENT.replaceAll("jane", id)).Account } });
    })
  ));
};

describe("the doctor's token_cache", () => {
  test("says where tokens are, or would be, and their key, and makes nothing", async () => {
    using home = openHome();
    const options = { home };
    expect(await check(options)).toEqual({
      ...{ id: "token_cache", ok: true },
      detail: expect.stringContaining(
        `nothing is stored yet; tokens will be in ${home.state}, encrypted, and its key in ${home.state}/key.json (`,
      ),
    });
    expect(readdirSync(home.path).filter((name) => name.includes("latchkey"))).toEqual([]);
    expect(existsSync(home.state)).toBe(false);
    await keep(home, "jane", "joe");
    expect(await check(options)).toEqual({
      ...{ id: "token_cache", ok: true },
      detail:
        `2 accounts in ${home.state}, encrypted; the key is in ${home.state}/key.json (when the key was made: a file was asked for)`,
    });
  });
});

describe("the doctor's token_cache", () => {
  testOfSources(
    "names the permissions of Deno that are missing: there is no cache without, and --store file fails",
    async () => {
      using home = openHome();
      const fix = `Run deno with --allow-read=${home.state} --allow-write=${home.state} --allow-sys=uid`;
      const program = latchkeyBy([...denoRun(), "--allow-env"]);
      expect(await check({ home, program })).toMatchObject({
        ...{
          ok: true,
          fix,
          detail: expect.stringMatching(/^not checked: sign-ins without a broker last for one run each/),
        },
      });
      expect(await check({ home, program }, "--store file")).toMatchObject({ ok: false, fix });
    },
  );

  test("is content with memory that was asked for", async () => {
    using home = openHome();
    expect(await check({ home }, "--store memory")).toMatchObject({
      ok: true,
      detail: expect.stringContaining("one run"),
    });
    expect(await check({ home, env: { HOME: "", XDG_STATE_HOME: "" } })).toMatchObject({
      ...{ ok: true, detail: expect.stringContaining("HOME is not set"), fix: expect.stringContaining("Set HOME") },
    });
  });

  // It said ok of a home folder that is missing, or on a read-only file system, as in many containers.
  test.each(TESTED_PATHS)("fails on $name if nothing can be stored", async ({ program: programOf }) => {
    using home = openHome();
    const words = latchkeyBy(programOf().map((word) => word.startsWith("--allow-write") ? "--allow-write" : word));
    const checkOn = async (disk: WornDisk, folder: string, more?: string) => {
      const finding = await check({ home, program: disk.command(folder, words) }, more);
      chmodSync(folder, 0o700); // where no disk can be mounted, its permissions stand for one
      return finding;
    };
    const refused = (found: string, folder: string) => ({
      ...{ id: "token_cache", ok: false },
      detail: expect.stringMatching(
        new RegExp(
          `^${found}.*; nothing can be stored there: Cannot create a folder in ${folder}: ${READ_ONLY_DISK.reason}$`,
        ),
      ),
      fix: expect.stringMatching(/\. To keep tokens elsewhere: --cache-file, or XDG_STATE_HOME$/),
    });
    expect(await checkOn(READ_ONLY_DISK, home.path)).toEqual(refused("nothing is stored yet", home.path));
    expect(await checkOn(READ_ONLY_DISK, home.path, `--cache-file ${home.path}/cache.json`))
      .toEqual(refused("nothing is stored yet", home.path));
    await keep(home, "jane");
    expect(await checkOn(READ_ONLY_DISK, home.state)).toEqual(refused("1 account in", home.state));
  });

  // It said that the link does not exist, which ls shows.
  test("names a link to nothing above the folder", async () => {
    using home = openHome();
    const above = `${home.path}/moved`;
    symlinkSync("gone", above);
    expect(await check({ home, env: { XDG_STATE_HOME: `${above}/state` } })).toEqual({
      ...{ id: "token_cache", ok: false },
      detail: expect.stringMatching(
        new RegExp(
          `; nothing can be stored there: Cannot create a folder in ${above}: it is a symbolic link to nothing$`,
        ),
      ),
      fix: expect.stringContaining(`Create the folder that it links to (${home.path}/gone), or remove the link. `),
    });
  });

  testOfSources("does not ask Deno for permissions to see whether a folder can be written to", async () => {
    using home = openHome();
    const above = dirname(home.state), read = `--allow-read=${home.state}`;
    for (const written of [home.state, above, home.path]) {
      const flags = [read, `--allow-write=${written}`, "--allow-sys=uid", "--allow-env"];
      const program = latchkeyBy(denoRun().filter((word) => word !== "--no-prompt").concat(flags));
      const doctor = `${quoteCommand([...program, "doctor", "--broker", "never"])} 2>&1`;
      const atTerminal = ["script", "--quiet", "--command", doctor, "/dev/null"];
      const { stdout } = await runProgram(atTerminal, { ...OFFLINE, ...home.env });
      expect(stdout).toMatch(
        /^ok +token_cache +nothing is stored yet.*; Deno does not permit testing whether it can be written to\r$/m,
      );
      expect(stdout).not.toContain("requests");
    }
    expect(existsSync(above)).toBe(false);
  });

  test("says that a plaintext cache is not encrypted, and who else can read it", async () => {
    using home = openHome();
    const path = `${home.path}/its cache.json`, env = { LATCHKEY_CACHE_FILE: path };
    expect((await check({ home, env })).detail).toBe(`nothing is stored yet; tokens will be in ${path}, unencrypted`);
    writeFileSync(path, DOCUMENT, { mode: 0o600 });
    expect((await check({ home, env })).detail).toBe(`1 account in ${path}, unencrypted`);
    chmodSync(path, 0o640);
    expect(await check({ home, env })).toMatchObject({
      ...{ ok: false, detail: `other users can read ${path}`, fix: `chmod go-rwx '${path}'` },
    });
  });

  test("says which files other users can read, and how to fix that", async () => {
    using home = openHome();
    await keep(home, "jane");
    const fix = `chmod -R go-rwx ${home.state}`;
    chmodSync(home.state, 0o755);
    expect(await check({ home })).toMatchObject({ ok: false, detail: `other users can read ${home.state}`, fix });
    chmodSync(`${home.state}/key.json`, 0o644);
    expect(await check({ home })).toMatchObject({
      ...{ ok: false, detail: `other users can read ${home.state} and 1 more`, fix },
    });
    Bun.spawnSync(fix.split(" "));
    expect(await check({ home })).toMatchObject({ ok: true });
    chmodSync(home.state, 0o770);
    expect(await check({ home })).toMatchObject({ ok: false, fix: `Run chmod go-w ${home.state}` });
    rmSync(home.state, { recursive: true });
    symlinkSync(home.path, home.state);
    expect(await check({ home })).toMatchObject({
      ok: false,
      detail: expect.stringContaining("it is a symbolic link"),
    });
  });

  test("counts nobody when all have signed out, and what cannot be read", async () => {
    using home = openHome();
    await fileStore({ folder: home.state, keyLocation: "file" }).update("jane", () => "{}");
    expect((await check({ home })).detail).toStartWith(`0 accounts in ${home.state}`);
  });

  test.each(["{", "[]", "shopping: bread"])(
    "fails for a --cache-file with %s in it, and leaves it there",
    async (text) => {
      using home = openHome();
      const path = `${home.path}/notes.txt`;
      writeFileSync(path, text, { mode: 0o600 });
      expect(await check({ home }, `--cache-file ${path}`)).toMatchObject({
        ok: false,
        detail: expect.stringContaining(`${path} is not a token cache`),
        fix: expect.stringContaining("Name another file with --cache-file"),
      });
      expect(readdirSync(home.path)).toEqual(["notes.txt"]);
    },
  );

  test("says that MSAL's file of our own is damaged, and not that a key is lost", async () => {
    using home = openHome();
    mkdirSync(home.state, { recursive: true, mode: 0o700 });
    const path = `${home.state}/msal_token_cache.json`;
    writeFileSync(path, "{", { mode: 0o600 });
    expect(await check({ home }, "--store plaintext")).toEqual({
      ...{ id: "token_cache", ok: false, detail: `${path} is damaged` },
      fix: "Sign in again: latchkey login sets it aside and creates a new one",
    });
  });

  test("fails when the key is missing, damaged, or another one than was encrypted with", async () => {
    using home = openHome();
    await keep(home, "jane", "joe");
    const path = `${home.state}/key.json`, key = readFileSync(path);
    rmSync(path);
    expect(await check({ home })).toMatchObject({
      ok: false,
      detail:
        `the key of the token cache in ${home.state} is lost: key.json is missing, and ${home.state}/tokens.encrypted is encrypted with it`,
      fix: expect.stringMatching(
        /^Restore key\.json, or continue without it\. Sign in again: latchkey login\. .*: mv /,
      ),
    });
    writeFileSync(path, "{}", { mode: 0o600 });
    expect(await check({ home })).toMatchObject({
      ...{ ok: false, detail: expect.stringContaining("is lost"), fix: expect.stringContaining("latchkey login") },
    });
    writeFileSync(path, JSON.stringify({ ...JSON.parse(String(key)), id: crypto.randomUUID() }), { mode: 0o600 });
    expect(await check({ home })).toMatchObject({
      ok: false,
      detail: expect.stringContaining(`${home.state}/tokens.encrypted is damaged, or encrypted with a lost key`),
      fix: expect.stringContaining(`mv ${home.state} ${home.state}.old`),
    });
    rmSync(path);
    await keep(home, "jim"); // with a new key
    expect((await check({ home })).detail).toMatch(/^1 account in /);
    writeFileSync(path, key, { mode: 0o600 });
    expect((await check({ home })).ok).toBe(false);
  });

  // A damaged cache that was set aside stayed for ever, with tokens in it, and nothing told of it.
  test("names what was set aside as damaged, and how to remove it", async () => {
    using home = openHome();
    await keep(home, "jane");
    const aside = [
      `${home.state}/key.json.damaged-20261125T120000Z`,
      `${home.state}/tokens.encrypted.damaged-20261125T120000Z-2`,
    ];
    for (const path of aside) writeFileSync(path, "", { mode: 0o600 });
    writeFileSync(`${home.state}/notes.damaged`, "", { mode: 0o600 });
    expect(await check({ home })).toMatchObject({
      ok: true,
      detail: expect.stringMatching(/^1 account in .*; tokens may be in what was set aside as damaged: /),
      fix: `rm ${aside.join(" ")}`,
    });
    const path = `${home.path}/cache.json`;
    writeFileSync(path, DOCUMENT, { mode: 0o600 });
    writeFileSync(`${path}.damaged-20261125T120000Z`, "", { mode: 0o600 });
    writeFileSync(`${home.path}/other.json.damaged-20261125T120000Z`, "", { mode: 0o600 });
    expect((await check({ home }, `--cache-file ${path}`)).fix).toBe(`rm ${path}.damaged-20261125T120000Z`);
  });

  describe("where the key is in the keyring", () => {
    const stage = useStage({ keyring: "unlocked" });

    test("says so, what is in the way of it, and what becomes of the key then", async () => {
      using home = openHome();
      const { bus } = stage, env = { DBUS_SESSION_BUS_ADDRESS: bus.address };
      expect((await check({ home, env })).detail).toContain("its key in the keyring (Secret Service)");
      await lockKeyring(bus.address);
      const locked = await check({ home, env });
      expect(locked.detail).toContain(`otherwise the key goes into ${home.state}/key.json`);
      expect(`${locked.detail} ${locked.fix}`).not.toMatch(/keyLocation|Cannot keep/);
      await addPrivateKeyring(bus, "unlocked");
      await killKeyring(bus.address);
      await fileStore({ folder: home.state, keyLocation: "keyring" }).update("jane", () => DOCUMENT);
      expect((await check({ home, env })).detail).toMatch(
        /^1 account in .*the key is in the keyring \(Secret Service\)/,
      );
      const without = await check({ home });
      expect(without).toMatchObject({ ok: false, detail: expect.stringContaining("the key is in the keyring") });
      expect(without.fix).toMatch(/DBUS_SESSION_BUS_ADDRESS|--store/);
    });
  });
});

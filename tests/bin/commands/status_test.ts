// latchkey status: who is signed in, without a token and without a network.
import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { HOSTILE_TEXT, UNSAFE } from "../../fakes/hostile_texts.ts";
import { LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { READ_ONLY_DISK } from "../../tools/worn_disk.ts";
import { cachedWords, writeCachedAccounts } from "../cached_accounts.ts";
import { CLIENT_ID, JANE, JOE, openHome, useStage } from "../../fixture.ts";
import { type Run, runLatchkey, runProgram } from "../run_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

const stage = useStage({ broker: {} }), { behave } = stage;
let cache: string, expiresOn: Date;
beforeAll(async () => {
  cache = join(stage.folder, "cache.json");
  expiresOn = await writeCachedAccounts(cache, [JANE.username, JOE.username]);
});

const environment = () => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address });
const status = (words: readonly string[], env: Readonly<Record<string, string>> = environment()): Promise<Run> =>
  runLatchkey(["status", ...words], { env });
const jsonOf = async (words: readonly string[], env?: Readonly<Record<string, string>>) => {
  const { code, stdout } = await status([...words, "--format", "json"], env);
  return { code, ...JSON.parse(stdout) };
};
const asSeconds = (time: Date) => Math.floor(time.getTime() / 1000);
const called = async () => (await stage.broker.calls()).map(({ member }) => member);

describe.each(TESTED_PATHS)("latchkey status on $name", ({ program }) => {
  test("shows the device's account, and asks the broker for no token", async () => {
    const words = [...latchkeyBy(program()), "whoami", "--client-id", CLIENT_ID];
    const { code, stdout, stderr } = await runProgram(words, environment());
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [name, ...rows] = stdout.split("\n");
    expect(name).toBe("jane@contoso.com (default)");
    expect(rows).toContain("  through: the device's broker");
    expect(rows).toContainEqual(expect.stringMatching(/^ {2}tenant: [\da-f-]{36} at login\.microsoftonline\.com$/));
    expect(rows).toContainEqual(expect.stringMatching(/^broker: linux broker, version \S+$/));
    expect(await called()).not.toContain("acquireTokenSilently");
  });
});

describe("latchkey status", () => {
  testOfSources("needs no more permissions than a silent token", async () => {
    const words = ["status", "--client-id", CLIENT_ID];
    const run = await runLatchkey(words, { env: environment(), permissions: LEAST_PERMISSIONS });
    expect({ ...run, stdout: "" }).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(run.stdout).toContain("\ncache: none, sign-ins last for one run\n");
  });

  test("prints the same as JSON, with the broker's several accounts", async () => {
    await behave({ accounts: [JANE, JOE] });
    const several = await jsonOf(["--client-id", CLIENT_ID]);
    const account = {
      home_account_id: expect.stringMatching(/^[\da-f-]{36}\.[\da-f-]{36}$/),
      local_account_id: expect.any(String),
      ...{ environment: "login.microsoftonline.com", realm: expect.stringMatching(/^[\da-f-]{36}$/), source: "broker" },
      ...{ is_default: false, token_expires_on: null, renewable: true },
    };
    expect(several).toMatchObject({
      ...{ code: 0, signed_in: true, client_id: CLIENT_ID, authority: "https://login.microsoftonline.com/common" },
      accounts: [{ ...account, ...JANE }, { ...account, ...JOE }],
      broker: { state: "active", kind: "linux", version: expect.any(String), reason: null },
      cache: { kind: "file", problem: null },
    });
    const one = await jsonOf(["--client-id", CLIENT_ID, "--account", "JOE@contoso.com"]);
    expect(one.accounts).toMatchObject([{ ...JOE, is_default: true }]);
    const none = await jsonOf(["--client-id", CLIENT_ID, "--account", "stranger@contoso.com"]);
    expect(none).toMatchObject({ code: 3, signed_in: false, accounts: [] });
  });

  test("shows the cache's accounts and the end of their tokens; nobody's name is unsafe for a terminal", async () => {
    const path = join(stage.folder, "one.json"), end = await writeCachedAccounts(path, [`jane ${HOSTILE_TEXT}`]);
    const { code, stdout } = await status(cachedWords(path));
    expect(code).toBe(0);
    expect(stdout.replaceAll("\n", "")).not.toMatch(UNSAFE);
    expect(stdout).toContain(
      `\n  until: ${end.toISOString().slice(0, -5)}Z, when its last token expires; then renewed`,
    );
    expect(stdout).toContain(`\ncache: ${path}, unencrypted\n`);

    const both = await jsonOf(cachedWords(cache));
    expect(both.accounts).toMatchObject([
      { ...JANE, source: "cache", is_default: false, token_expires_on: asSeconds(expiresOn), renewable: true },
      { ...JOE, source: "cache", is_default: false },
    ]);
    expect(both.broker).toMatchObject({ state: "off" });
    expect(JSON.stringify(both)).not.toMatch(/token-|refresh-/);
  });

  test("ends with 3 when nobody is signed in", async () => {
    await behave({ accounts: [] });
    const { code, stdout, stderr } = await status(["--client-id", CLIENT_ID]);
    const signIn = `latchkey login --client-id ${CLIENT_ID}`;
    expect({ code, stderr }).toEqual({ code: 3, stderr: `latchkey: no user is signed in. Sign in: ${signIn}\n` });
    expect(stdout).toMatch(/^broker: linux broker, version \S+\ncache: \S+, encrypted\n$/);
    const never = await status(["--client-id", CLIENT_ID, "--broker", "never", "--account", JOE.username]);
    expect(never).toMatchObject({ code: 3, stdout: expect.stringMatching(/^broker: off: --broker never\n/) });
    expect(never.stderr).toBe(
      `latchkey: ${JOE.username} is not signed in. Sign in: ${signIn} --account ${JOE.username} --broker never\n`,
    );
  });

  test("tells that the broker does not answer, and the cache all the same", async () => {
    await behave({ replies: { getAccounts: { kind: "text", text: "no JSON" } } });
    using home = openHome();
    const words = ["--client-id", CLIENT_ID], broken = await jsonOf(words, { ...environment(), ...home.env });
    expect(broken).toMatchObject({
      code: 3,
      broker: { state: "unavailable", kind: "linux", reason: expect.any(String) },
    });
    expect(broken.cache).toMatchObject({ kind: "file", path: home.state, problem: null });
    const missing = await jsonOf(words, { DBUS_SESSION_BUS_ADDRESS: `unix:path=${stage.folder}/none` });
    expect(missing).toMatchObject({
      code: 3,
      broker: { state: "unavailable", reason: expect.stringMatching(/connect/) },
    });
    const required = await status([...words, "--broker", "require"], { DBUS_SESSION_BUS_ADDRESS: "unix:path=/none" });
    expect(required).toMatchObject({ code: 3, stdout: expect.stringContaining("broker: unavailable") });
  });

  test("tells that the cache cannot be read, and the broker's account all the same", async () => {
    using home = openHome();
    const path = join(home.path, "cache.json");
    await writeCachedAccounts(path, [JOE.username]);
    chmodSync(path, 0o666); // others could have written it
    const words = ["--client-id", CLIENT_ID, "--cache-file", path], run = await status(words);
    expect(run.code).toBe(0);
    expect(run.stdout).toContain("jane@contoso.com (default)\n");
    expect(run.stdout).toMatch(/\n {2}cannot be read: .*chmod/);
    const { cache } = await jsonOf(words);
    expect(cache).toEqual({ kind: "plaintext", path, problem: expect.any(String) });
  });

  // It said nothing, and the next sign-in was lost with the process.
  test("tells that the cache cannot be written", async () => {
    using home = openHome();
    const run = async (folder: string, format: string) => {
      const place = join(folder, "cache.json");
      const words = ["status", "--client-id", CLIENT_ID, "--cache-file", place, "--format", format];
      const result = await runProgram(READ_ONLY_DISK.command(home.path, [...LATCHKEY_ON_BUN, ...words]), environment());
      chmodSync(home.path, 0o700); // where no disk can be mounted, its permissions stand for one
      return result.stdout;
    };
    const problem = `Cannot create a folder in ${home.path}: ${READ_ONLY_DISK.reason}`;
    for (const folder of [home.path, join(home.path, "missing")]) {
      expect(await run(folder, "text")).toContain(`\n  cannot be written: ${problem}. `);
      expect(JSON.parse(await run(folder, "json")).cache.problem).toStartWith(problem);
    }
    expect((await status(["--client-id", CLIENT_ID, "--cache-file", join(home.path, "cache.json")])).stdout)
      .toEndWith(", unencrypted\n");
    expect(readdirSync(home.path)).toEqual([]);
  });

  test("has the options that it needs, and no --tenant", async () => {
    expect(await status([])).toMatchObject({ code: 2, stderr: expect.stringContaining("--client-id is missing") });
    expect(await status(["--client-id", CLIENT_ID, "--tenant", "a"])).toMatchObject({ code: 2 });
    const { stdout } = await status(["--help"]);
    expect(stdout).toStartWith(
      "Show who is signed in, how, and until when, without requesting a token. Also called whoami.\n",
    );
  });
});

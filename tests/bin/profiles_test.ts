// Options by name: latchkey login --profile writes them, and every other command takes them.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
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
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { HOSTILE_TEXT } from "../fakes/hostile_texts.ts";
import { LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { type Home, openHome } from "../fixture.ts";
import { type Run, runLatchkey, runProgram } from "./run_latchkey.ts";
import { testOfSources } from "./tested_latchkey.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555", OTHER_ID = "22222222-2222-4333-8444-555555555555";
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
/** No test asks Microsoft's servers for the time. */
const OFFLINE = { HTTPS_PROXY: "http://127.0.0.1:1" };

let bus: PrivateBus, broker: FakeBroker;
beforeAll(async () => {
  bus = await startPrivateBus();
  broker = await startFakeBroker(bus, {
    accounts: [{ username: "jane@contoso.com" }, { username: "joe@contoso.com" }],
  });
});
beforeEach(() => broker.forgetCalls());
afterAll(async () => {
  await broker.stop();
  await bus.stop();
});

interface Options {
  readonly home: Home;
  readonly program?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}
function latchkey(line: string, { home, program, env }: Options): Promise<Run> {
  const words = line.split(" ").filter(Boolean);
  const all = { ...home.env, DBUS_SESSION_BUS_ADDRESS: bus.address, ...env };
  return program ? runProgram([...program, ...words], all) : runLatchkey(words, { env: all });
}
const pathIn = ({ config }: Home) => `${config}/config.json`;
const configOf = (home: Home) => JSON.parse(readFileSync(pathIn(home), "utf8"));
function configure(home: Home, config: unknown): void {
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(pathIn(home), typeof config === "string" ? config : JSON.stringify(config), { mode: 0o600 });
}
const asked = async (member = "acquireTokenSilently") => (await broker.calls(member)).at(-1)!.request.authParameters;

describe("latchkey --profile", () => {
  test("login writes it, and other commands take it", async () => {
    using home = openHome();
    const options = { home };
    const words = `--profile work --client-id ${CLIENT_ID} --account jane@contoso.com --tenant contoso.com`;
    expect(await latchkey(`login ${words}`, options)).toMatchObject({ code: 0, stderr: "" });
    expect(configOf(home)).toEqual({
      profiles: { work: { client_id: CLIENT_ID, tenant: "contoso.com", account: "jane@contoso.com" } },
    });
    expect(statSync(pathIn(home)).mode & 0o777).toBe(0o600);
    expect(readdirSync(home.config)).toEqual(["config.json"]);

    await broker.forgetCalls();
    expect(await latchkey("token --profile work --scope User.Read", options)).toEqual({
      ...{ code: 0, stdout: expect.stringMatching(JWT), stderr: "" },
    });
    expect(await asked()).toMatchObject({
      clientId: CLIENT_ID,
      username: "jane@contoso.com",
      authority: "https://login.microsoftonline.com/contoso.com",
      requestedScopes: ["User.Read"],
    });
    expect((await latchkey("accounts", { ...options, env: { LATCHKEY_PROFILE: "work" } })).stdout.split("\n"))
      .toHaveLength(3);
  });
});

describe("latchkey login --profile", () => {
  test("changes what it is given and who signed in; other profiles, and what it does not know, stay", async () => {
    using home = openHome();
    const home_ = { client_id: OTHER_ID, tenant: "fabrikam.com" };
    const work = { client_id: OTHER_ID, account: "joe@contoso.com", scope: ["Mail.Read"], note: { is: "mine" } };
    configure(home, { $schema: "x", profiles: { home: home_, work } });
    const words =
      `--profile work --client-id ${CLIENT_ID} --account jane@contoso.com --resource https://graph.microsoft.com`;
    expect((await latchkey(`login ${words}`, { home })).code).toBe(0);
    expect(configOf(home)).toEqual({
      $schema: "x",
      profiles: {
        home: home_,
        work: {
          client_id: CLIENT_ID,
          account: "jane@contoso.com",
          note: { is: "mine" },
          resource: "https://graph.microsoft.com",
        },
      },
    });
    expect((await latchkey("token --profile work", { home })).stdout).toMatch(JWT);
    expect((await asked()).requestedScopes).toEqual(["https://graph.microsoft.com/.default"]);
  });

  test("signs in with what the profile has already", async () => {
    using home = openHome();
    configure(home, { profiles: { work: { client_id: CLIENT_ID, account: "joe@contoso.com" } } });
    expect((await latchkey("login", { home, env: { LATCHKEY_PROFILE: "work" } })).stdout).toStartWith(
      "joe@contoso.com\t",
    );
    expect(await asked()).toMatchObject({ clientId: CLIENT_ID, username: "joe@contoso.com" });
  });

  test(
    "--prompt select_account lets somebody else sign in than the profile names, and nobody else than --account does",
    async () => {
      using home = openHome();
      const words = "login --profile work --prompt select_account";
      configure(home, { profiles: { work: { client_id: CLIENT_ID, account: "joe@contoso.com" } } });
      expect((await latchkey(`${words} --account joe@contoso.com`, { home })).code).toBe(3);
      expect(configOf(home).profiles.work.account).toBe("joe@contoso.com");
      expect((await latchkey(words, { home })).stdout).toStartWith("jane@contoso.com\t");
      expect(configOf(home).profiles.work.account).toBe("jane@contoso.com");
    },
  );

  test("takes a home account id for the account that it is of", async () => {
    using home = openHome();
    const { stdout } = await latchkey(`accounts --client-id ${CLIENT_ID} --account joe@contoso.com`, { home });
    const [, id] = stdout.split("\t"), words = `login --client-id ${CLIENT_ID} --account`;
    expect((await latchkey(`${words} ${id}`, { home })).stdout).toStartWith("joe@contoso.com\t");
    expect(await latchkey(`${words} ${id!.replaceAll(/[0-9]/g, "0")}`, { home })).toMatchObject({
      code: 3,
      stdout: "",
    });
  });

  test("writes an absolute path of a cache file", async () => {
    using home = openHome();
    const words = `--profile work --client-id ${CLIENT_ID} --account jane@contoso.com --cache-file ./some/cache.json`;
    expect((await latchkey(`login ${words}`, { home })).code).toBe(0);
    expect(configOf(home).profiles.work.cache_file).toBe(`${process.cwd()}/some/cache.json`);
  });

  test("by many processes at once loses none", async () => {
    using home = openHome();
    const names = ["a", "b", "c", "d", "e", "f"];
    const runs = await Promise.all(
      names.map((name) =>
        latchkey(`login --profile ${name} --client-id ${CLIENT_ID} --account jane@contoso.com`, { home })
      ),
    );
    expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(names.map(() => ({ code: 0, stderr: "" })));
    expect(Object.keys(configOf(home).profiles).toSorted()).toEqual(names);
  });

  test("writes nothing when nobody signed in", async () => {
    using home = openHome();
    const { code } = await latchkey(
      `login --profile work --client-id ${CLIENT_ID} --account nobody@contoso.com --prompt none`,
      {
        home,
      },
    );
    expect({ code, isThere: existsSync(pathIn(home)) }).toEqual({ code: 3, isThere: false });
  });

  testOfSources("names Deno's permissions before anybody signs in", async () => {
    using home = openHome();
    const login = (...more: string[]) =>
      runLatchkey(["login", "--profile", "work", "--client-id", CLIENT_ID], {
        env: { ...home.env, DBUS_SESSION_BUS_ADDRESS: bus.address },
        permissions: [LEAST_PERMISSIONS[0]!, ...more],
      });
    const environment = "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR", names = ",XDG_CONFIG_HOME,HOME";
    const reading = [`${environment}${names}`, `--allow-read=${home.config}`, "--allow-sys=uid"];
    for (
      const [flags, missing] of [
        [[environment], "--allow-env=XDG_CONFIG_HOME,HOME"],
        [[`${environment}${names}`], `--allow-read=${home.config}`],
        [reading, `--allow-write=${home.config}`],
      ] as const
    ) {
      expect(await login(...flags)).toMatchObject({ code: 1, stderr: expect.stringContaining(missing) });
    }
    expect(await broker.calls()).toEqual([]);
  });
});

describe("latchkey with a profile", () => {
  const PROFILES = {
    default: { client_id: CLIENT_ID, account: "jane@contoso.com", scope: "User.Read" },
    work: { client_id: OTHER_ID, account: "joe@contoso.com", tenant: "contoso.com", scope: "Mail.Read" },
  };

  test("takes the command line first, then the environment, then the profile", async () => {
    using home = openHome();
    configure(home, { profiles: PROFILES });
    const env = { LATCHKEY_TENANT: "fabrikam.com", LATCHKEY_ACCOUNT: "nobody@contoso.com" };
    const words = "token --profile work --account jane@contoso.com --resource https://graph.microsoft.com";
    expect((await latchkey(words, { home, env })).code).toBe(0);
    expect(await asked()).toMatchObject({
      clientId: OTHER_ID,
      username: "jane@contoso.com",
      authority: "https://login.microsoftonline.com/fabrikam.com",
      requestedScopes: ["https://graph.microsoft.com/.default"],
    });
  });

  test("is the one named default where neither profile nor client id is given", async () => {
    using home = openHome();
    configure(home, { profiles: PROFILES });
    expect((await latchkey("token", { home })).stdout).toMatch(JWT);
    expect(await asked()).toMatchObject({ clientId: CLIENT_ID, requestedScopes: ["User.Read"] });
    expect(await latchkey(`token --client-id ${OTHER_ID}`, { home })).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining("--scope or --resource is missing") },
    });
    expect((await latchkey("token", { home, env: { LATCHKEY_PROFILE: "work" } })).stdout).toMatch(JWT);
    expect(await asked()).toMatchObject({ clientId: OTHER_ID });
  });

  testOfSources("is none where there is none, or Deno may not look", async () => {
    using home = openHome();
    expect(await latchkey("token --scope a", { home })).toMatchObject({
      ...{ code: 2, stderr: expect.stringMatching(/^latchkey: --client-id is missing: .*or --profile/) },
    });
    configure(home, { profiles: PROFILES });
    const run = await runLatchkey(["token", "--scope", "a"], { env: home.env, permissions: LEAST_PERMISSIONS });
    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining("--client-id is missing") });
    const named = await runLatchkey(["token", "--profile", "work"], {
      env: home.env,
      permissions: LEAST_PERMISSIONS,
    });
    expect(named).toMatchObject({ code: 1, stderr: expect.stringContaining("--allow-env=XDG_CONFIG_HOME,HOME") });
  });

  test.each([
    ["--profile wrok", "There is no profile wrok in "],
    [
      "--profile wrok",
      "did you mean work? it has default, work. Write one: latchkey login --profile NAME --client-id ID",
    ],
    ["--profile ../work", 'A profile\'s name has only letters, digits, "-", "_" and ".", unlike "../work"'],
    ["--profile toString", "There is no profile toString"],
    ["--profile", "--profile needs a value"],
  ])("and %s is wrong usage", async (words, says) => {
    using home = openHome();
    configure(home, { profiles: PROFILES });
    for (const env of words === "--profile" ? [{}] : [{}, { LATCHKEY_PROFILE: words.split(" ")[1]! }]) {
      const line = "LATCHKEY_PROFILE" in env ? "token --scope a" : `token --scope a ${words}`;
      expect(await latchkey(line, { home, env })).toMatchObject({
        ...{ code: 2, stdout: "", stderr: expect.stringContaining(says) },
      });
    }
    expect(await broker.calls()).toEqual([]);
  });

  const HOSTILE: readonly [string, unknown, string][] = [
    ["no JSON", '{"profiles": {"work": {"client_id": "hunter2"', "it is not JSON"],
    ["bytes that are no text", Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), "it is not UTF-8"],
    ["another kind of value", "[1]", "it must be a JSON object"],
    ["profiles that are none", { profiles: ["work"] }, "profiles must be an object"],
    ["a profile that is none", { profiles: { work: "azure-cli" } }, "the profile work must be an object"],
    ["an id that is none", { profiles: { work: { client_id: [CLIENT_ID] } } }, "client_id of the profile work"],
    ["a path from nowhere", { profiles: { work: { cache_file: "../cache" } } }, "must be an absolute path"],
    ["an unknown word", { profiles: { work: { store: HOSTILE_TEXT } } }, "store of the profile work takes auto, file"],
    ["100,000 brackets", "[".repeat(100_000), "it is not JSON"],
  ];
  test.each(HOSTILE)("refuses a file with %s as wrong usage, and leaves it as it is", async (_, config, says) => {
    using home = openHome();
    configure(home, "");
    const bytes = Buffer.isBuffer(config)
      ? config
      : Buffer.from(typeof config === "string" ? config : JSON.stringify(config));
    writeFileSync(pathIn(home), bytes);
    for (const line of ["token --scope a --profile work", `login --profile work --client-id ${CLIENT_ID}`]) {
      const { code, stdout, stderr } = await latchkey(line, { home });
      expect({ code, stdout, says: stderr.includes(says) }).toEqual({ code: 2, stdout: "", says: true });
      expect(stderr).not.toMatch(/[^\n\x20-\x7e\ufffd]|hunter2/);
      expect(readFileSync(pathIn(home)).equals(bytes)).toBe(true);
    }
    expect(await broker.calls()).toEqual([]);
  });

  test("refuses a file that others could have written, and says what mends it", async () => {
    using home = openHome();
    configure(home, { profiles: PROFILES });
    chmodSync(pathIn(home), 0o666);
    expect(await latchkey("token --profile work", { home })).toMatchObject({
      ...{
        code: 2,
        stderr: expect.stringMatching(/config\.json is not safe: others can write to it\. Run chmod go-w /),
      },
    });
  });

  test("refuses a link in its place", async () => {
    using home = openHome();
    const target = `${home.path}/elsewhere.json`;
    writeFileSync(target, JSON.stringify({ profiles: PROFILES }), { mode: 0o600 });
    mkdirSync(home.config, { recursive: true, mode: 0o700 });
    symlinkSync(target, pathIn(home));
    expect(await latchkey("token --profile work", { home })).toMatchObject({
      ...{ code: 2, stderr: expect.stringContaining("it is a symbolic link") },
    });
  });

  test("that cannot be read is a failed check of the doctor, which looks at all else without", async () => {
    using home = openHome();
    const check = async (more = "") => {
      const { code, stdout } = await latchkey(`doctor --broker never --format json ${more}`, { home, env: OFFLINE });
      const { checks } = JSON.parse(stdout) as { checks: readonly { id: string }[] };
      return { code, count: checks.length, ...checks.find(({ id }) => id === "profile") };
    };
    configure(home, { profiles: PROFILES });
    const { count } = await check();
    expect(await check("--profile work")).toMatchObject({ ok: true, detail: "options are taken from work" });
    expect(await check("--profile wrok")).toMatchObject({
      ...{ code: 1, count, ok: false, detail: expect.stringContaining("There is no profile wrok in ") },
    });
    chmodSync(pathIn(home), 0o664);
    expect(await check()).toMatchObject({
      ...{ code: 1, count, ok: false, fix: `Run chmod go-w ${pathIn(home)}` },
      detail: `${pathIn(home)} is not safe: others can write to it; the other checks ran without a profile`,
    });
    chmodSync(pathIn(home), 0o600);
    configure(home, "{");
    expect(await check("--profile work")).toMatchObject({
      ...{ code: 1, count, ok: false, detail: expect.stringContaining("it is not JSON") },
      fix: expect.stringContaining("Fix that file"),
    });
    configure(home, { profiles: { work: { store: "cloud" } } });
    expect(await check("--profile work")).toMatchObject({
      ...{ code: 1, count, ok: false, detail: expect.stringContaining("store of the profile work takes auto") },
    });
  });
});

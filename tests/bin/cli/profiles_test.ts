// Options by name: profiles as documents, latchkey login --profile, which writes them, and the commands that take them.
import { describe, expect, test } from "bun:test";
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
import { readCommandLine, UsageError } from "../../../bin/cli/command_line.ts";
import {
  checkProfileName,
  noSuchProfile,
  readGitHosts,
  readProfile,
  valuesOf,
  withProfile,
} from "../../../bin/cli/profiles.ts";
import { command as ACCOUNTS } from "../../../bin/commands/accounts.ts";
import { command as LOGIN } from "../../../bin/commands/login.ts";
import { command as TOKEN } from "../../../bin/commands/token.ts";
import { HOSTILE_TEXT } from "../../fakes/hostile_texts.ts";
import { CLIENT_ID, type Home, JANE, JOE, openHome, useStage } from "../../fixture.ts";
import { LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { latchkeyOf, runLatchkey } from "../run_latchkey.ts";
import { testOfSources } from "../tested_latchkey.ts";

const ACCOUNT = {
  ...{ homeAccountId: "jane.contoso", localAccountId: "jane", environment: "login.microsoftonline.com" },
  ...{ tenantId: "contoso", realm: "contoso", username: "jane@contoso.com", source: "cache" as const },
};
const fileOf = (value: unknown) => ({
  path: "/home/jane/.config/latchkey/config.json",
  text: value === undefined || typeof value === "string" ? value : JSON.stringify(value),
});
const read = (value: unknown, name = "work") => readProfile(fileOf(value), name);

describe("readProfile()", () => {
  test("gives the values by the options' names, and passes over what it does not know", () => {
    const work = {
      ...{
        client_id: "azure-cli",
        authority: "https://id.contoso.com",
        tenant: "contoso.com",
        account: "jane@contoso.com",
        redirect_path: "/signed-in",
      },
      ...{ broker: "never", store: "plaintext", cache_file: "/home/jane/cache.json", scope: ["a", "b"], resource: "" },
      ...{ format: "json", "client-id": "other", future: { is: "unknown" } },
    };
    expect(read({ profiles: { work } })).toEqual({
      name: "work",
      values: {
        ...{ "client-id": "azure-cli", authority: "https://id.contoso.com", tenant: "contoso.com" },
        ...{ account: "jane@contoso.com", broker: "never", store: "plaintext", scope: "a b" },
        ...{ "cache-file": "/home/jane/cache.json", "redirect-path": "/signed-in" },
      },
    });
    expect(read({ profiles: { work: { scope: "a b" } } })!.values).toEqual({ scope: "a b" });
  });

  test("finds nothing where there is nothing of that name", () => {
    for (const file of [undefined, "", "  \n", {}, { profiles: {} }, { profiles: { home: {} } }]) {
      for (const name of ["work", "toString", "__proto__"]) expect(read(file, name)).toBeUndefined();
    }
    expect(read('{"profiles":{"__proto__":{"tenant":"a"}}}', "__proto__")).toEqual({
      ...{ name: "__proto__", values: { tenant: "a" } },
    });
  });

  test.each<[unknown, string]>([
    ["{", "it is not JSON, from line 1 on"],
    ['{"secret":"hunter2",}', "it is not JSON, from line 1 on"],
    ["[]", "it must be a JSON object"],
    ["null", "it must be a JSON object"],
    ["7", "it must be a JSON object"],
    [{ profiles: [] }, "profiles must be an object"],
    [{ profiles: "work" }, "profiles must be an object"],
    [{ profiles: null }, "profiles must be an object"],
    [{ profiles: { work: null } }, "the profile work must be an object"],
    [{ profiles: { work: ["azure-cli"] } }, "the profile work must be an object"],
    [{ profiles: { work: { client_id: 1 } } }, "client_id of the profile work must be a string"],
    [{ profiles: { work: { tenant: ["a"] } } }, "tenant of the profile work must be a string"],
    [{ profiles: { work: { scope: ["a", 1] } } }, "scope of the profile work must be a string"],
    [{ profiles: { work: { account: { name: "jane" } } } }, "account of the profile work must be a string"],
    [{ profiles: { work: { cache_file: "cache.json" } } }, "cache_file of the profile work must be an absolute path"],
  ])("refuses %j, with the file's path and nothing of what is in it", (file, why) => {
    expect(() => read(file)).toThrow(new UsageError(`Cannot use /home/jane/.config/latchkey/config.json: ${why}`));
  });
});

test("checkProfileName() takes letters, digits, - _ and . alone", () => {
  for (const name of ["work", "a", "Contoso-2", "a.b_c", "default", "__proto__"]) checkProfileName(name);
  for (const name of ["", "a b", "a/b", "../a", "ä", "a\n", "a\u202e", "x".repeat(65), '"']) {
    expect(() => checkProfileName(name)).toThrow(UsageError);
  }
});

describe("noSuchProfile()", () => {
  const message = (profiles: object, name = "wrok") => noSuchProfile(fileOf({ profiles }), name).message;

  test("names those that there are, and the nearest", () => {
    expect(message({ work: {}, home: {} })).toMatch(
      /^There is no profile wrok in \/home\/jane\S+config\.json; did you mean work\? it has work, home\. /,
    );
    expect(message({ home: {} })).toMatch(
      /config\.json; it has home\. Write one: latchkey login --profile NAME --client-id ID$/,
    );
    expect(message({})).toContain("it has none");
  });
});

describe("withProfile()", () => {
  const written = (file: unknown, values: Record<string, string>, name = "work") =>
    JSON.parse(withProfile(fileOf(file), { name, values }));

  test("makes a file where there is none", () => {
    expect(withProfile(fileOf(undefined), { name: "work", values: { "client-id": "azure-cli" } })).toBe(
      '{\n  "profiles": {\n    "work": {\n      "client_id": "azure-cli"\n    }\n  }\n}\n',
    );
  });

  test("changes what it is given, and leaves the rest, known or not", () => {
    const file = {
      future: [1],
      profiles: { home: { tenant: "fabrikam.com", x: 1 }, work: { tenant: "a", account: "joe", y: { z: 1 } } },
    };
    expect(written(file, { tenant: "contoso.com", "client-id": "azure-cli" })).toEqual({
      future: [1],
      profiles: {
        home: { tenant: "fabrikam.com", x: 1 },
        work: { tenant: "contoso.com", account: "joe", y: { z: 1 }, client_id: "azure-cli" },
      },
    });
  });

  test("takes away what a value takes the place of", () => {
    const work = { scope: "a", store: "file" };
    expect(written({ profiles: { work } }, { resource: "https://b", "cache-file": "/c" }).profiles.work).toEqual({
      ...{ resource: "https://b", cache_file: "/c" },
    });
    const both = { store: "plaintext", "cache-file": "/c" };
    expect(written({ profiles: { work } }, both).profiles.work).toEqual({
      ...{ scope: "a", store: "plaintext", cache_file: "/c" },
    });
  });

  test("writes a profile of any name", () => {
    const text = withProfile(fileOf({}), { name: "__proto__", values: { tenant: "a" } });
    expect(readProfile(fileOf(text), "__proto__")!.values).toEqual({ tenant: "a" });
  });

  test("refuses a file that it cannot make sense of", () => {
    for (const file of ["{", "[]", { profiles: 1 }]) expect(() => written(file, {})).toThrow(UsageError);
  });
});

describe("valuesOf()", () => {
  const values = (line: string, account = ACCOUNT) =>
    valuesOf(
      readCommandLine(LOGIN, line.split(" ").filter(Boolean), { name: "work", values: { tenant: "old" } }),
      account,
    );

  test("has what was given, and who signed in, but neither defaults nor what the profile has", () => {
    expect(values("--profile work --client-id azure-cli --scope a --scope b --prompt login -v")).toEqual({
      ...{ "client-id": "azure-cli", scope: "a b", account: "jane@contoso.com" },
    });
    expect(values("--account jane")).toEqual({ account: "jane@contoso.com" });
    expect(values("", { ...ACCOUNT, username: "" })).toEqual({ account: "jane.contoso" });
  });

  test("has the place of tokens that was given", () => {
    expect(values("--store plaintext --cache-file /c")).toMatchObject({ store: "plaintext", "cache-file": "/c" });
    expect(values("--cache-file /c")).toEqual({ "cache-file": "/c", account: "jane@contoso.com" });
  });
});

describe("readCommandLine() with a profile", () => {
  const line = (words: string, values: Record<string, string>) =>
    readCommandLine(TOKEN, words.split(" ").filter(Boolean), { name: "work", values });

  test("takes from the profile what stands neither on the command line nor in the environment", () => {
    process.env.LATCHKEY_TENANT = "fabrikam.com";
    try {
      const read = line("--client-id a", { "client-id": "b", tenant: "contoso.com", account: "jane", scope: "c d" });
      expect(
        ["client-id", "tenant", "account", "authority", "format"].map((name) => [read.text(name), read.origin(name)]),
      )
        .toEqual([
          ["a", "command line"],
          ["fabrikam.com", "environment"],
          ["jane", "profile"],
          [undefined, undefined],
          ["token", "default"],
        ]);
      expect([read.list("scope"), read.origin("scope")]).toEqual([["c", "d"], "profile"]);
    } finally {
      delete process.env.LATCHKEY_TENANT;
    }
  });

  test("says whose value it is that cannot be", () => {
    expect(() => line("", { broker: "perhaps" })).toThrow("broker of the profile work takes auto, require, never");
    expect(() => line("", { store: "cloud" })).toThrow("store of the profile work takes auto, file, plaintext, memory");
  });

  test("nearest() tells which of several options counts", () => {
    const read = line("--resource https://b --store memory", { scope: "a", "cache-file": "/c" });
    expect(read.nearest("scope", "resource")).toEqual(["resource"]);
    expect(read.nearest("store", "cache-file")).toEqual(["store"]);
    expect(line("", { "cache-file": "/c" }).nearest("store", "cache-file")).toEqual(["cache-file"]);
    expect(line("--store plaintext --cache-file /c", {}).nearest("store", "cache-file")).toHaveLength(2);
  });

  test("accounts lists more than the profile's", () => {
    const read = readCommandLine(ACCOUNTS, [], { name: "work", values: { account: "jane", tenant: "contoso.com" } });
    expect([read.text("account"), read.text("tenant")]).toEqual([undefined, undefined]);
  });
});

describe("readGitHosts()", () => {
  const hosts = (git: unknown) => readGitHosts(fileOf({ profiles: {}, git }), (name) => !name.includes("/"));

  test("gives the values of each server by the options' names", () => {
    const entry = {
      ...{ scope: ["a", "b"], client_id: "azure-cli", authority: "https://id.contoso.com", tenant: "contoso.com" },
      ...{ account: "jane@contoso.com", store: "memory", future: 1 },
    };
    expect(hosts({ "git.contoso.com": entry, "dev.azure.com": {} })).toEqual({
      "git.contoso.com": {
        ...{ "scope": "a b", "client-id": "azure-cli", "authority": "https://id.contoso.com", "tenant": "contoso.com" },
        account: "jane@contoso.com",
      },
      "dev.azure.com": {},
    });
    expect(hosts(undefined)).toEqual({});
  });

  test.each([
    [[], "git must be an object"],
    [{ "a/b": { scope: "a" } }, `git's server "a/b" must be a host`],
    [{ a: "scope" }, `git's server "a" must be an object`],
    [{ a: { scope: 1 } }, `scope of git's server "a" must be a string`],
    [{ a: { client_id: ["x"] } }, `client_id of git's server "a" must be a string`],
  ])("refuses %p", (git, why) => expect(() => hosts(git)).toThrow(why));
});

// Options by name: latchkey login --profile writes them, and every other command takes them.

const OTHER_ID = "22222222-2222-4333-8444-555555555555";
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
/** No test asks Microsoft's servers for the time. */
const OFFLINE = { HTTPS_PROXY: "http://127.0.0.1:1" };
const stage = useStage({ broker: { accounts: [JANE, JOE] } });

interface Options {
  readonly home: Home;
  readonly env?: Readonly<Record<string, string>>;
}
const run = latchkeyOf(stage);
const latchkey = (line: string, { home, env }: Options) => run(line, { env: { ...home.env, ...env } });
const pathIn = ({ config }: Home) => `${config}/config.json`;
const configOf = (home: Home) => JSON.parse(readFileSync(pathIn(home), "utf8"));
function configure(home: Home, config: unknown): void {
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(pathIn(home), typeof config === "string" ? config : JSON.stringify(config), { mode: 0o600 });
}
const asked = async (member = "acquireTokenSilently") => (await stage.requestOf(member)).authParameters;

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

    await stage.broker.forgetCalls();
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
      { home },
    );
    expect({ code, isThere: existsSync(pathIn(home)) }).toEqual({ code: 3, isThere: false });
  });

  testOfSources("names Deno's permissions before anybody signs in", async () => {
    using home = openHome();
    const login = (...more: string[]) =>
      runLatchkey(["login", "--profile", "work", "--client-id", CLIENT_ID], {
        env: { ...home.env, DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
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
    expect(await stage.broker.calls()).toEqual([]);
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
    const named = await runLatchkey(["token", "--profile", "work"], { env: home.env, permissions: LEAST_PERMISSIONS });
    expect(named).toMatchObject({ code: 1, stderr: expect.stringContaining("--allow-env=XDG_CONFIG_HOME,HOME") });
  });

  test.each([
    ["--profile wrok", "did you mean work? it has default, work. Write one: latchkey login --profile NAME"],
    ["--profile ../work", 'A profile\'s name has only letters, digits, "-", "_" and ".", unlike "../work"'],
    ["--profile toString", "There is no profile toString"],
  ])("and %s is wrong usage", async (words, says) => {
    using home = openHome();
    configure(home, { profiles: PROFILES });
    const refused = { code: 2, stdout: "", stderr: expect.stringContaining(says) };
    expect(await latchkey(`token --scope a ${words}`, { home })).toEqual(refused);
    const env = { LATCHKEY_PROFILE: words.split(" ")[1]! };
    expect(await latchkey("token --scope a", { home, env })).toEqual(refused);
    expect(await stage.broker.calls()).toEqual([]);
  });

  // All that readProfile() refuses is above.
  const HOSTILE: readonly [string, string | Uint8Array, string][] = [
    ["no JSON", '{"profiles": {"work": {"client_id": "hunter2"', "it is not JSON"],
    ["bytes that are no text", Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d), "it is not UTF-8"],
    ["100,000 brackets", "[".repeat(100_000), "it is not JSON"],
    ["an unknown word", JSON.stringify({ profiles: { work: { store: HOSTILE_TEXT } } }), "store of the profile work"],
  ];
  test.each(HOSTILE)("refuses a file with %s as wrong usage, and leaves it as it is", async (_, config, says) => {
    using home = openHome();
    configure(home, "");
    const bytes = Buffer.from(config as string);
    writeFileSync(pathIn(home), bytes);
    for (const line of ["token --scope a --profile work", `login --profile work --client-id ${CLIENT_ID}`]) {
      const { code, stdout, stderr } = await latchkey(line, { home });
      expect({ code, stdout, says: stderr.includes(says) }).toEqual({ code: 2, stdout: "", says: true });
      expect(stderr).not.toMatch(/[^\n\x20-\x7e\ufffd]|hunter2/);
      expect(readFileSync(pathIn(home)).equals(bytes)).toBe(true);
    }
    expect(await stage.broker.calls()).toEqual([]);
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

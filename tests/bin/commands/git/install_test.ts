// latchkey git --install and --uninstall, in the configuration of the real git; and a clone with what they wrote.
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { helperOf, withoutOwn } from "../../../../bin/commands/git/install.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../../tools/deno_command.ts";
import { OWN_GIT_ENVIRONMENT, startGitServer } from "../../../tools/git_server.ts";
import { openHome, useStage } from "../../../fixture.ts";
import { type Run, runProgram } from "../../run_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../../tested_latchkey.ts";

const AZURE_DEVOPS = "credential.https://dev.azure.com.helper";

const stage = useStage({ broker: {} });
let folder: string, config: string;
beforeAll(() => {
  folder = stage.folder;
  config = join(folder, "config");
});

const environment = () => ({ PATH: process.env.PATH!, GIT_CONFIG_GLOBAL: config, GIT_CONFIG_NOSYSTEM: "1" });
const run = (words: readonly string[], env: Readonly<Record<string, string>> = {}, command = LATCHKEY_ON_BUN) =>
  runProgram([...command, "git", ...words], { ...environment(), ...env });
const install = (...words: string[]): Promise<Run> => run(["--install", "--client-id", "azure-cli", ...words]);
const content = () => readFileSync(config, "utf8");

/** Values that git itself finds in its configuration. */
async function values(key = AZURE_DEVOPS): Promise<readonly string[]> {
  const { stdout } = await runProgram(["git", "config", "--global", "-z", "--get-all", key], environment());
  return stdout.split("\0").slice(0, -1);
}

const OTHERS = `# mine
[user]
\tname = Jane
[credential "https://dev.azure.com"]
\tuseHttpPath = true ; stays
\thelper = manager
`;

describe("latchkey git --install", () => {
  test("adds itself after an empty helper, says what it wrote and how to undo it, and does that once", async () => {
    writeFileSync(config, OTHERS, { mode: 0o640 });
    const account = 'jane\'s "own" $(touch x)@contoso.com';
    const first = await install("--account", account), [manager, empty, helper = "", ...more] = await values();
    expect([manager, empty, more]).toEqual(["manager", "", []]);
    expect(first).toMatchObject({ code: 0, stdout: `${AZURE_DEVOPS}=\n${AZURE_DEVOPS}=${helper}\n` });
    expect(first.stderr).toContain(`${config} now has these lines: git asks latchkey for https://dev.azure.com.`);
    expect(first.stderr).toContain("To undo: latchkey git --uninstall --host dev.azure.com\n");
    expect(first.stderr).toContain("git no longer asks manager");

    // What sh makes of it, as git runs it.
    const print = `for word in ${helper.slice(1)}; do printf '%s\\n' "$word"; done`;
    const { stdout: words } = await runProgram(["sh", "-c", print], {});
    expect(words.split("\n").slice(-4, -1)).toEqual(["git", `--account=${account}`, "--client-id=azure-cli"]);

    const before = content();
    expect(await install("--account", account)).toMatchObject({ code: 0, stdout: first.stdout });
    expect(content()).toBe(before);
    expect(before).toStartWith(OTHERS);
    expect(statSync(config).mode & 0o777).toBe(0o640);
  });

  test("replaces what it or a person wrote before, and lets nothing but that go", async () => {
    await install("--client-id", "vscode", "--tenant", "contoso.com");
    expect((await values()).filter((value) => value.startsWith("!"))).toHaveLength(1);
    expect((await values()).at(-1)).toEndWith("git --client-id=vscode --tenant=contoso.com");
    const { code, stdout } = await run(["--uninstall"]);
    expect({ code, lines: stdout.trim().split("\n").length }).toEqual({ code: 0, lines: 1 });
    expect(content()).toBe(OTHERS);

    writeFileSync(config, `${OTHERS}\thelper = !latchkey git --account=jane@contoso.com\n`);
    await install();
    expect(await values()).toEqual(["manager", "", expect.stringMatching(/^!.* git --client-id=azure-cli$/)]);
  });

  test("takes several servers and parts of one, each its own", async () => {
    writeFileSync(config, "");
    const hosts = ["DEV.azure.com/contoso", "contoso.visualstudio.com", "http://127.0.0.1:8080", "git.contoso.com"];
    const { code, stderr } = await install(...hosts.flatMap((host) => ["--host", host]));
    expect(code).toBe(0);
    const urls = [
      ...["https://dev.azure.com/contoso", "https://contoso.visualstudio.com", "http://127.0.0.1:8080"],
      "https://git.contoso.com",
    ];
    for (const url of urls) expect(await values(`credential.${url}.helper`)).toHaveLength(2);
    expect(stderr).toContain("git.contoso.com gets a token only once it has a scope");
    expect(stderr).not.toContain("dev.azure.com gets a token only");
    const gone = await run(["--uninstall", "--host", "git.contoso.com"]);
    expect(gone.stderr).toEndWith("no longer has these lines of credential.https://git.contoso.com.helper\n");
    expect(await values("credential.https://git.contoso.com.helper")).toEqual([]);
    expect(await values("credential.https://contoso.visualstudio.com.helper")).toHaveLength(2);
    await run(["--uninstall"]);
    expect(content()).toBe("");
  });

  test("says which helper would store the token, since it comes later", async () => {
    writeFileSync(config, `[credential "https://dev.azure.com"]\n\thelper =\n[credential]\n\thelper = store\n`);
    const later = await install();
    expect(later.stderr).toContain("git has store: git gives the token to that helper, too, to store");
    expect(later.stderr).not.toContain("no longer asks");
    writeFileSync(config, `[credential]\n\thelper = store\n`);
    const before = await install();
    expect(before.stderr).toContain("no longer asks store");
    expect(before.stderr).not.toContain("to store, too");
  });

  test("keeps a person's own empty helper when it takes its own away", async () => {
    writeFileSync(config, `[credential "https://dev.azure.com"]\n\thelper =\n\thelper = other.*[x]\n`);
    await install();
    expect(await values()).toEqual(["", "other.*[x]", "", expect.stringContaining(" git --client-id")]);
    await run(["--uninstall"]);
    expect(await values()).toEqual(["", "other.*[x]"]);
    const { code, stdout, stderr } = await run(["--uninstall"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain("nothing to remove");
  });

  // Git's lock made one of two installations fail between its lines, and an empty helper alone resets all others.
  test("waits for another git that changes the configuration", async () => {
    writeFileSync(config, "");
    const hosts = ["a", "b", "c", "d"].map((name) => `${name}.visualstudio.com`);
    const runs = await Promise.all(hosts.map((host) => install("--host", host)));
    expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      hosts.map((host) => ({ code: 0, stderr: expect.stringContaining(`git asks latchkey for https://${host}.`) })),
    );
    for (const host of hosts) expect(await values(`credential.https://${host}.helper`)).toHaveLength(2);
  });

  test("writes nothing when git would fail with it", async () => {
    writeFileSync(config, OTHERS);
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [["--install"], /--client-id is missing/],
      [["--install", "--client-id", "azure-cl"], /did you mean azure-cli/],
      [["--install", "--client-id", "azure-cli", "--host", "ftp://contoso.com"], /--host takes a server/],
      [["--install", "--client-id", "azure-cli", "--host", "dev.azure.com/a?b"], /--host takes a server/],
      [["--install", "--uninstall"], /exclude each other/],
      [["--install", "get"], /get is git's own word/],
      [["--host", "dev.azure.com", "get"], /--host goes with/],
    ];
    for (const [words, why] of wrong) {
      expect(await run(words)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(why) });
    }
    expect(content()).toBe(OTHERS);
  });

  // As root, git replaced /dev/null by a file.
  test("does not write to a device, and passes git's own failures on", async () => {
    const words = ["--install", "--client-id", "azure-cli"];
    const device = await run(words, { GIT_CONFIG_GLOBAL: "/dev/null" });
    expect(device).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("GIT_CONFIG_GLOBAL") });
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
    writeFileSync(config, "[broken\n");
    expect(await run(words)).toMatchObject({ code: 1, stderr: expect.stringContaining("bad config") });
    expect(content()).toBe("[broken\n");
    expect(await run(words, { PATH: folder })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("hint: Install git, or put it into PATH"),
    });
  });

  testOfSources("says which permissions Deno lacks", async () => {
    writeFileSync(config, "");
    const deno = latchkeyBy([...denoRun(), ...LEAST_PERMISSIONS]);
    const { code, stderr } = await run(["--install", "--client-id", "azure-cli"], {}, deno);
    expect({ code, content: content() }).toEqual({ code: 1, content: "" });
    expect(stderr).toContain("hint: Run deno with --allow-all");
  });
});

// Deno without FFI has not all permissions, and does not tell which ones a program has.
const ALLOWED = TESTED_PATHS.filter(({ name }) => name !== "Deno + dbus-next");

test.each(ALLOWED)("git clones by what --install wrote on $name, from any folder", async ({ name, program }) => {
  using home = openHome();
  await using server = startGitServer({
    accepts: (authorization) =>
      /^[\w-]+\.[\w-]+\.[\w-]+$/.test(atob(authorization?.slice(6) ?? "").split(":")[1] ?? ""),
    challenges: ['Basic realm="contoso"'],
  });
  writeFileSync(config, "[credential]\n\thelper = !false\n");
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  const hosts = { git: { [server.host]: { scope: "api://git.contoso.com/.default" } } };
  writeFileSync(join(home.config, "config.json"), JSON.stringify(hosts), { mode: 0o600 });
  const env = { ...home.env, DBUS_SESSION_BUS_ADDRESS: stage.bus.address };
  const words = ["--install", "--client-id", "azure-cli", "--host", `http://${server.host}`];
  expect(await run(words, env, latchkeyBy(program()))).toMatchObject({ code: 0 });
  const clone = ["git", "-C", folder, "clone", "--quiet", server.url, `clone ${name}`];
  const git = { ...OWN_GIT_ENVIRONMENT, ...environment(), ...env, GIT_TERMINAL_PROMPT: "0" };
  rmSync(join(folder, clone.at(-1)!), { recursive: true, force: true });
  expect(await runProgram(clone, git)).toEqual({ code: 0, stdout: "", stderr: "" });
  expect((await stage.requestOf("acquireTokenSilently")).authParameters).toMatchObject({
    requestedScopes: ["api://git.contoso.com/.default"],
  });
});

test("helperOf() writes a path of Windows for git's sh", () => {
  const path = "C:\\Program Files\\latchkey\\latchkey.exe";
  expect(helperOf([path, "git", "--cache-file=D:\\a b\\cache.json", "--account=CONTOSO\\jane"], "win32")).toBe(
    `!'C:/Program Files/latchkey/latchkey.exe' git '--cache-file=D:/a b/cache.json' '--account=CONTOSO'\\\\'jane'`,
  );
  expect(helperOf(["\\\\contoso\\tools\\latchkey.exe", "git"], "win32")).toBe("!//contoso/tools/latchkey.exe git");
  expect(helperOf(["/opt/a b\\c/latchkey", "git"], "linux")).toBe(`!'/opt/a b'\\\\'c/latchkey' git`);
});

test("withoutOwn() knows the helpers that run latchkey, and the empty one before each", () => {
  const program = "!/opt/lk/tool git", helper = `${program} --client-id=azure-cli`;
  const others = ["", "manager", "!gh auth git-credential", "!/opt/latchkey/other store", "latchkey git", "!x git y"];
  expect(withoutOwn(others, program)).toEqual(others);
  expect(withoutOwn(["a", "", "!latchkey git", "", helper, program], program)).toEqual(["a"]);
  const typed = [
    "!npx @latchkey/latchkey git --account='x y'",
    "!deno run -A jsr:@latchkey/latchkey@0.1/cli git",
    "!'C:/Program Files/latchkey/latchkey.exe' git",
    "!LATCHKEY_CLIENT_ID=azure-cli ~/bin/latchkey git",
    "!node /opt/latchkey/dist/bin/latchkey.js git --client-id=azure-cli",
  ];
  for (const each of typed) expect(withoutOwn(["", "a", each], program)).toEqual(["", "a"]);
});

// "latchkey" and "git" anywhere in a helper were enough: --uninstall removed helpers of the person's own.
test("withoutOwn() leaves a helper that runs git itself, in a folder named latchkey", () => {
  const others = [
    "!f() { git -C ~/src/latchkey show HEAD:x; }; f",
    "!GIT_DIR=~/src/latchkey git show x",
    "!cd /srv/latchkey; git show x",
    "!/opt/lk/tool gitlab",
  ];
  expect(withoutOwn(others, "!/opt/lk/tool git")).toEqual(others);
});

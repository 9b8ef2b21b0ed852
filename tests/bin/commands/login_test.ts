// What latchkey login sees to before somebody signs in with a browser, and that it is who it was to be.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { addPrivateKeyring, lockKeyring } from "../../fakes/private_keyring.ts";
import { startPrivateBus } from "../../fakes/private_bus.ts";
import { isRedirectOf, ScriptedBrowser } from "../../tools/scripted_browser.ts";
import { FULL_DISK, READ_ONLY_DISK } from "../../tools/worn_disk.ts";
import { openHome } from "../../fixture.ts";
import { JANE_LINE, type ProviderStage, type RunPlace, startProviderStage } from "../provider_stage.ts";
import type { Run } from "../run_latchkey.ts";
import { startLatchkey } from "../running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS } from "../tested_latchkey.ts";

/** Where the program asks the person to go. */
const ADDRESS = /^(http\S+\/auth\?\S+)\r?\n/m;

let provider: ProviderStage;
beforeAll(async () => {
  provider = await startProviderStage();
});
afterAll(() => provider[Symbol.asyncDispose]());

const silently = (place: RunPlace, more = "") => provider.token(place, `--interactive never ${more}`);
const scopesIn = (text: string) => new URL(ADDRESS.exec(text)![1]!).searchParams.get("scope")!.split(" ");
/** What is said before the address is. */
const saidBefore = ({ stderr }: Run) => stderr.slice(0, ADDRESS.exec(stderr)!.index);

describe.each(TESTED_PATHS)("latchkey login on $name", ({ program: programOf }) => {
  test("--account is who has to sign in: of another nothing is kept, and the profile stays", async () => {
    using home = openHome();
    const options = { home, program: latchkeyBy(programOf()) };
    const { code, stdout, stderr } = await provider.login(options, "--account joe@contoso.com --profile work");
    expect({ code, stdout }).toEqual({ code: 3, stdout: "" });
    expect(stderr).toMatch(/^error: interaction_required\nerror_description: .* signed in, and not joe@contoso\.com$/m);
    expect(existsSync(home.config) ? readdirSync(home.config) : []).toEqual([]);
    expect(existsSync(home.state) ? readdirSync(home.state) : []).toEqual([]);
  });

  // A last line without an end counted as no line: login waited for one that could not come.
  test.each([["\n"], [""]])("--no-browser takes the address that is written to a pipe, before %j", async (end) => {
    using home = openHome();
    const child = Bun.spawn([...latchkeyBy(programOf()), ...provider.wordsOf("login --no-browser")], {
      env: { NO_COLOR: "1", ...home.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stderr = "";
    for await (const chunk of child.stderr) {
      stderr += new TextDecoder().decode(chunk);
      if (!stderr.includes("write that address to standard input, as a line, within")) continue;
      const address = ADDRESS.exec(stderr)![1]!, typed = { login: "jane", password: "x" };
      const landing = await new ScriptedBrowser().open(address, isRedirectOf(address), typed);
      child.stdin.write(`${landing.url}?${landing.parameters}${end}`);
      await (end ? child.stdin.flush() : child.stdin.end());
      break;
    }
    expect(await child.exited).toBe(0);
    expect(await new Response(child.stdout).text()).toBe(JANE_LINE);
    child.stdin.end();
  });
});

// They waited for 300 seconds for an answer that could not come.
describe.each(TESTED_PATHS)("where no browser opens and no user can be asked, on $name", ({ program: programOf }) => {
  test.each([["login"], ["token --scope api.read --interactive always"]])("latchkey %s ends at once", async (words) => {
    using home = openHome();
    const place = { home, program: latchkeyBy(programOf()), env: { BROWSER: "" } };
    const { code, stdout, stderr } = await provider.latchkey(provider.appWordsOf(words), place);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^error: missing_dependency\nerror_description: No browser could be opened, and no user can be asked$/m,
    );
    expect(stderr).toMatch(
      words === "login"
        ? /^hint: .*`latchkey login --client-id \S+ --authority \S+ --device-code`.*latchkey serve --help$/m
        : /^hint: .*`latchkey login --client-id \S+ --authority \S+ --scope api\.read --device-code`.*latchkey serve --help$/m,
    );
  });
});

describe("latchkey login", () => {
  test("--profile default stores the client id for every command, as the message about a missing one says", async () => {
    using home = openHome();
    expect((await provider.login({ home }, "--profile default")).code).toBe(0);
    const { code, stdout } = await provider.latchkey(["token", "--format", "json", "--interactive", "never"], { home });
    expect({ code, source: JSON.parse(stdout).token_source }).toEqual({ code: 0, source: "cache" });
    expect((await provider.latchkey(["accounts"], { home })).stdout).toBe(JANE_LINE);
  });

  test("of the az that stands in for Azure CLI ends at once where no user can be asked", async () => {
    using home = openHome();
    const words = [...provider.appWordsOf("az"), "--", "login", "--scope", "api.read"];
    const { code, stderr } = await provider.latchkey(words, { home, env: { BROWSER: "" } });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("no user can be asked\n") });
    // It named latchkey login, without the scope: the user typed az login.
    expect(stderr).toMatch(
      /^hint: .*: `az login --scope api\.read`\. .*: `az login --scope api\.read --use-device-code`\./m,
    );
  });

  // The error was written behind the terminal's ^C, on the prompt's line.
  test("ends the line of its prompt for a pasted address at Ctrl-C", async () => {
    using home = openHome();
    const words = provider.wordsOf("login --no-browser");
    const latchkey = startLatchkey([...LATCHKEY_ON_BUN, ...words], { terminal: true, env: home.env });
    await latchkey.printed(/and press Enter\r?\n/);
    latchkey.type("\x03");
    const { code, stderr } = await latchkey.ended();
    expect(code).toBe(4);
    expect(stderr.replaceAll("\r", "")).toMatch(/and press Enter\n(\^C)?\nerror: user_canceled\n/);
  });

  test("asks for what every provider knows where the authority is not Microsoft's", async () => {
    using home = openHome();
    const { code, stdout, stderr } = await provider.latchkey(provider.appWordsOf("login"), { home });
    expect({ code, stdout, scopes: scopesIn(stderr).toSorted() }).toEqual({
      ...{ code: 0, stdout: JANE_LINE, scopes: ["email", "offline_access", "openid", "profile"] },
    });
  });

  test("asks for Microsoft Graph at Microsoft's", async () => {
    using home = openHome();
    const words = "login --client-id azure-cli --broker never --no-browser --authority";
    const latchkey = startLatchkey(
      [...LATCHKEY_ON_BUN, ...words.split(" "), "https://login.microsoftonline.com/contoso.com"],
      { env: home.env },
    );
    const [, address] = await latchkey.printed(/^(https:\S+\/authorize\?\S+)\n/m);
    expect(new URL(address!).searchParams.get("scope")!.split(" ")).toContain("https://graph.microsoft.com/.default");
    latchkey.interrupt();
    expect((await latchkey.ended()).code).toBe(4);
  });
});

describe("latchkey login says before the browser opens that the sign-in will not be kept", () => {
  test("where memory is all there is", async () => {
    using home = openHome();
    for (const env of [{ LATCHKEY_STORE: "memory" }, { HOME: "", XDG_STATE_HOME: "" }]) {
      const run = await provider.login({ home, env });
      expect(run.code).toBe(0);
      expect(saidBefore(run)).toMatch(/^latchkey: Sign-ins last for this run only/m);
      expect(run.stderr.match(/Sign-ins last for this run only/g)).toHaveLength(1);
    }
  });

  test("where the folder is a link", async () => {
    using home = openHome();
    mkdirSync(join(home.path, "elsewhere"), { mode: 0o700 });
    mkdirSync(join(home.state, ".."), { recursive: true });
    symlinkSync(join(home.path, "elsewhere"), home.state);
    const run = await provider.login({ home });
    expect(run.code).toBe(0);
    expect(saidBefore(run)).toMatch(/^latchkey: The token cache cannot be written, .*it is a symbolic link/m);
    expect(run.stderr.match(/The token cache/g)).toHaveLength(1);
  });

  test("where the key can be read by others", async () => {
    using home = openHome();
    expect((await provider.login({ home })).code).toBe(0);
    chmodSync(join(home.state, "key.json"), 0o644);
    const run = await provider.login({ home });
    expect(run.code).toBe(0);
    expect(saidBefore(run)).toMatch(/^latchkey: The token cache cannot be read: .*key\.json .*Run chmod 600 /m);
  });

  test.each([["full", FULL_DISK], ["read-only", READ_ONLY_DISK]])("where the disk is %s", async (_, disk) => {
    using home = openHome();
    mkdirSync(home.state, { recursive: true, mode: 0o700 });
    const program = disk.command(home.state, LATCHKEY_ON_BUN);
    for (const place of ["", `--cache-file ${home.state}/cache.json`]) {
      const run = await provider.login({ home, program }, place);
      expect(run.code).toBe(0);
      expect(saidBefore(run)).toContain(disk.reason);
      expect(run.stderr.match(/The token cache cannot be written/g)).toHaveLength(1);
    }
  });

  test("where the keyring stays locked, which asks then and not later", async () => {
    const bus = await startPrivateBus();
    try {
      await addPrivateKeyring(bus, "unlocked");
      using home = openHome();
      const options = { home, env: { DBUS_SESSION_BUS_ADDRESS: bus.address } };
      expect((await provider.login(options)).code).toBe(0);
      await lockKeyring(bus.address);
      const run = await provider.login(options);
      expect(run.code).toBe(0);
      expect(saidBefore(run)).toMatch(/^latchkey: The keyring asks to be unlocked/m);
      expect(saidBefore(run)).toMatch(/^latchkey: The token cache cannot be read: .*is locked/m);
      const silent = await silently(options);
      expect({ code: silent.code, error: JSON.parse(silent.stdout).error }).toEqual({
        code: 1,
        error: "configuration",
      });
      expect(silent.stderr).toMatch(/^error: configuration\n.*is locked\n(.*\n)+hint: Unlock it/);
    } finally {
      await bus.stop();
    }
  });

  test("and nothing where it will be", async () => {
    using home = openHome();
    const run = await provider.login({ home });
    expect(saidBefore(run)).toBe("latchkey: sign in with the browser that opened, or open this address in one:\n");
    expect(readdirSync(home.state).filter((name) => name.includes("sign_in"))).toEqual([]);
  });
});

describe("latchkey --cache-file", () => {
  test("begins at the home folder with ~/, in a variable and in a profile as well", async () => {
    using home = openHome();
    const path = join(home.path, "cache.json");
    expect((await provider.login({ home }, "--profile work --cache-file=~/cache.json")).code).toBe(0);
    expect(existsSync(path)).toBe(true);
    const { profiles } = JSON.parse(readFileSync(join(home.config, "config.json"), "utf8"));
    expect(profiles.work.cache_file).toBe(path);
    for (const env of [{ LATCHKEY_CACHE_FILE: "~/cache.json" }, { LATCHKEY_PROFILE: "work" }]) {
      expect(JSON.parse((await silently({ home, env })).stdout).token_source).toBe("cache");
    }
  });

  test.each(["~jane/cache.json", "~", "~/", "~cache.json"])("%s is wrong usage", async (path) => {
    using home = openHome();
    const run = await provider.latchkey(provider.appWordsOf("accounts"), { home, env: { LATCHKEY_CACHE_FILE: path } });
    expect(run).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(`"./${path}"`) });
    expect(readdirSync(home.path)).toEqual([]);
  });

  test("names the home folder's variable where it is not set, or Deno may not read it", async () => {
    using home = openHome();
    const env = { HOME: "", LATCHKEY_CACHE_FILE: "~/cache.json" };
    expect(await provider.latchkey(provider.appWordsOf("accounts"), { home, env })).toMatchObject({
      ...{ code: 1, stdout: "", stderr: expect.stringContaining("HOME is not set to the absolute path of a folder") },
    });
  });
});

test("latchkey accounts --tenant is wrong usage, which says what there is instead", async () => {
  using home = openHome();
  const run = await provider.latchkey(provider.appWordsOf("accounts --tenant contoso.com"), { home });
  expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 2, stdout: "" });
  expect(run.stderr).toStartWith("latchkey: latchkey accounts has no --tenant: ");
  expect(run.stderr).toContain("--account USER lists only one");
});

test("latchkey accounts says that nothing is kept, and how to sign in", async () => {
  using home = openHome();
  const accounts = (...more: string[]) => provider.latchkey([...provider.appWordsOf("accounts"), ...more], { home });
  expect(await accounts()).toEqual({
    ...{ code: 3, stdout: "" },
    stderr: expect.stringMatching(
      /^latchkey: there is no account: nothing is stored for this app\. Sign in: latchkey login --client-id \S+ --authority \S+.*\n$/,
    ),
  });
  expect((await accounts("--account", "joe")).stderr).toContain("there is no account joe: nothing is stored of it");
  const { code, stderr } = await accounts("--store", "memory");
  expect({ code, error: stderr.split("\n")[0] }).toEqual({ code: 3, error: "error: account_not_found" });
  expect(stderr).toContain("hint: Sign-ins last for this run only. Sign in: latchkey login --client-id ");
});

// What latchkey login sees to before somebody signs in with a browser, and that it is who it was to be.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lockKeyring } from "../../fakes/private_keyring.ts";
import { denoRun, LEAST_PERMISSIONS } from "../../tools/deno_command.ts";
import { isRedirectOf, ScriptedBrowser } from "../../tools/scripted_browser.ts";
import { FULL_DISK, READ_ONLY_DISK } from "../../tools/worn_disk.ts";
import { CLIENT_ID, JANE, openHome, openStage, useStage } from "../../fixture.ts";
import { errorOf, JANE_LINE, type ProviderStage, type RunPlace, startProviderStage } from "../provider_stage.ts";
import { latchkeyOf, type Run } from "../run_latchkey.ts";
import { startLatchkey } from "../running_latchkey.ts";
import { LATCHKEY_ON_BUN, latchkeyBy, TESTED_PATHS, testOfSources } from "../tested_latchkey.ts";

/** Where the program asks the person to go. */
const ADDRESS = /^(http\S+\/auth\?\S+)\r?\n/m;

const NEEDS_USER = { acquireTokenSilently: { kind: "broker_error", status: 2, context: "AADSTS50076: MFA" } } as const;

describe("latchkey login with a broker", () => {
  const stage = useStage({ broker: { accounts: [{ ...JANE, name: "Jane Doe" }] } }), { behave } = stage;
  const latchkey = latchkeyOf(stage, "--client-id", CLIENT_ID);
  const calls = (member: string) => stage.broker.calls(member);
  const windows = async () => (await calls("acquireTokenInteractively")).length;

  test("takes the account of the device without a window", async () => {
    const { code, stdout, stderr } = await latchkey("login");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^jane@contoso\.com\t[0-9a-f-]{36}\.[0-9a-f-]{36}\tJane Doe\t[0-9a-f-]{36}\n$/);
    const { authParameters } = await stage.requestOf("acquireTokenSilently");
    expect(authParameters.requestedScopes).toEqual(["https://graph.microsoft.com/.default"]);
    expect(await windows()).toBe(0);
  });

  test("opens the window where a user is needed, and says so", async () => {
    await behave({ replies: NEEDS_USER });
    const words = "login --account jane@contoso.com --scope User.Read --tenant contoso.com --format json";
    const { code, stdout, stderr } = await latchkey(words);
    expect(code).toBe(0);
    expect(stderr).toContain("sign in at the window");
    expect(JSON.parse(stdout)).toMatchObject({ username: "jane@contoso.com", source: "broker" });
    expect((await stage.requestOf("acquireTokenInteractively")).authParameters).toMatchObject({
      username: "jane@contoso.com",
      requestedScopes: ["User.Read"],
      authority: "https://login.microsoftonline.com/contoso.com",
    });
  });

  test("--prompt and --claims go to the window at once", async () => {
    const claims = '{"access_token":{"nbf":{"essential":true}}}';
    await latchkey("login --prompt select_account --account jane@contoso.com", { more: ["--claims", claims] });
    expect(await calls("acquireTokenSilently")).toEqual([]);
    const { authParameters } = await stage.requestOf("acquireTokenInteractively");
    expect(authParameters).toMatchObject({ username: "", account: null, decodedClaims: claims });
    expect((await latchkey("login --prompt never")).code).toBe(2);
  });

  test("--prompt none asks nobody", async () => {
    await behave({ replies: NEEDS_USER });
    const says = expect.stringContaining("AADSTS50076");
    expect(await latchkey("login --prompt none")).toEqual({ code: 3, stdout: "", stderr: says });
    expect(await windows()).toBe(0);
  });

  test("exits with 4 when the user cancels", async () => {
    const canceled = { kind: "broker_error", status: 7, context: "User cancelled" } as const;
    await behave({ replies: { ...NEEDS_USER, acquireTokenInteractively: canceled } });
    expect(await latchkey("login")).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^error: user_canceled$/m),
    });
  });

  const PROGRAMS = [
    { name: "Deno with the least permissions", program: () => [...denoRun(), ...LEAST_PERMISSIONS] },
    ...TESTED_PATHS,
  ].map(({ name, program }) => [name, program] as const);
  const SIGNALS = [["SIGINT", 4], ["SIGTERM", 143], ["SIGHUP", 129]] as const;

  // The first signal let the next one end the program, before the broker was told; a terminal that is closed can send several.
  test.each(
    PROGRAMS.flatMap(([name, program]) =>
      [["SIGINT"], ["SIGTERM"], ["SIGHUP", "SIGTERM"]].map((signals) => [name, signals.join(", "), program] as const)
    ),
  )("on %s ends the window at %s", async (_name, signals, program) => {
    await behave({ replies: { ...NEEDS_USER, acquireTokenInteractively: { kind: "hang" } } });
    const words = ["login", "--client-id", CLIENT_ID, "--format", "json"];
    const run = startLatchkey([...latchkeyBy(program()), ...words], {
      env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address },
    });
    const names = signals.split(", ") as NodeJS.Signals[];
    while ((await calls("acquireTokenInteractively")).length === 0) await Bun.sleep(2);
    for (const name of names) run.signal(name);
    const { code, stdout, stderr } = await run.ended();
    // Either of two can be seen first.
    expect(SIGNALS.filter(([name]) => names.includes(name)).map(([, exit]) => exit)).toContain(code as 4);
    const [asked] = await calls("acquireTokenInteractively"), correlation_id = asked!.correlationId!;
    expect(stderr).toContain(`correlation_id: ${correlation_id}\n`);
    expect(JSON.parse(stdout)).toMatchObject({ error: "user_canceled", correlation_id });
    while ((await calls("cancelInteractiveFlow")).length === 0) await Bun.sleep(2);
    expect((await calls("cancelInteractiveFlow"))[0]!.correlationId).toBe(correlation_id);
  });

  testOfSources("ends the window at --timeout", async () => {
    await behave({ replies: { ...NEEDS_USER, acquireTokenInteractively: { kind: "hang" } } });
    for (let seconds = 1;; seconds *= 2) {
      const { code, stdout, stderr } = await latchkey(`login --format json --timeout ${seconds}`);
      expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 4, error: "timed_out" });
      const [asked] = await calls("acquireTokenInteractively");
      if (!asked) continue; // a busy machine has not come to the window in that time
      expect(stderr).toContain(`correlation_id: ${asked.correlationId}\n`);
      while ((await calls("cancelInteractiveFlow")).length === 0) await Bun.sleep(2);
      return expect((await calls("cancelInteractiveFlow"))[0]!.correlationId).toBe(asked.correlationId!);
    }
  });

  // Until the code of the command was there, a signal did what it does to every program.
  testOfSources("has the same exit code for a signal that comes while its code is loaded", async () => {
    const hooks = `${stage.folder}/signal.mjs`;
    writeFileSync(
      hooks,
      `import { registerHooks } from "node:module";
      registerHooks({
        load(url, context, next) {
          if (url.endsWith("/bin/commands/login.ts")) process.kill(process.pid, "SIGTERM");
          return next(url, context);
        },
      });`,
    );
    const { program } = TESTED_PATHS.find(({ name }) => name === "Node")!;
    const words = [...program(), `--import=${hooks}`, "bin/latchkey.ts", "login", "--client-id", CLIENT_ID];
    const { code, stderr } = await startLatchkey(words, { env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address } })
      .ended();
    expect({ code, error: /^error: (.*)$/m.exec(stderr)?.[1] }).toEqual({ code: 143, error: "user_canceled" });
  });
});

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
      code: 0,
      stdout: JANE_LINE,
      scopes: ["email", "offline_access", "openid", "profile"],
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
    await using stage = await openStage({ keyring: "unlocked" });
    const { address } = stage.bus, options = { home: stage.home, env: { DBUS_SESSION_BUS_ADDRESS: address } };
    expect((await provider.login(options)).code).toBe(0);
    await lockKeyring(address);
    const run = await provider.login(options);
    expect(run.code).toBe(0);
    expect(saidBefore(run)).toMatch(/^latchkey: The keyring asks to be unlocked/m);
    expect(saidBefore(run)).toMatch(/^latchkey: The token cache cannot be read: .*is locked/m);
    const silent = await silently(options);
    expect(errorOf(silent)).toEqual({ code: 1, error: "configuration" });
    expect(silent.stderr).toMatch(/^error: configuration\n.*is locked\n(.*\n)+hint: Unlock it/);
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

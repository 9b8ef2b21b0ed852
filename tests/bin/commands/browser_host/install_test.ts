import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeHostileFolder } from "../../../fakes/hostile_folder.ts";
import { RUNTIME_PATHS } from "../../../runtimes/runtime_paths.ts";
import { denoRun, LIBDBUS } from "../../../tools/deno_command.ts";
import { CLIENT_ID, type Home, openHome } from "../../../fixture.ts";
import { type Run, runProgram } from "../../run_latchkey.ts";

const OWN_ID = "abcdefghijklmnopabcdefghijklmnop";
const SIGNED = {
  chromium: "chrome-extension://jlnfnnolkbjieggibinobhkjdfbpcohn/",
  firefox: "linux-entra-sso@example.com",
};

let home: Home;

beforeEach(() => {
  home = openHome();
});
afterEach(() => home[Symbol.dispose]());

const below = (path: string) => join(home.path, path);
const launcher = () => below(".local/share/latchkey/browser-host");
const firefoxManifest = () => below(".mozilla/native-messaging-hosts/linux_entra_sso.json");
const chromiumManifest = () => below("config/chromium/NativeMessagingHosts/linux_entra_sso.json");
const read = (path: string) => JSON.parse(readFileSync(path, "utf8"));
const modeOf = (path: string) => statSync(path).mode & 0o777;
const program = (permissions: readonly string[] = ["--allow-all"]) => [...denoRun(), ...permissions];

async function host(words: string, command: readonly string[] = program(), env = home.env): Promise<Run> {
  const options = words.split(" ").filter(Boolean);
  return await runProgram([...command, "bin/latchkey.ts", "browser-host", ...options], env);
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

describe("latchkey browser-host --install", () => {
  test("writes what Firefox reads, and Chromium, and a program for both", async () => {
    const { code, stdout, stderr } = await host(
      `--install --browser firefox --browser chromium --extension-id ${OWN_ID}`,
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${firefoxManifest()}\n${chromiumManifest()}\n` });
    expect(stderr).toContain("https://github.com/siemens/linux-entra-sso");
    const common = { name: "linux_entra_sso", description: expect.any(String), path: launcher(), type: "stdio" };
    expect(read(firefoxManifest())).toEqual({ ...common, allowed_extensions: [SIGNED.firefox, "@linux-entra-sso.tb"] });
    expect(read(chromiumManifest())).toEqual({
      ...common,
      allowed_origins: [SIGNED.chromium, `chrome-extension://${OWN_ID}/`],
    });
    expect([launcher(), firefoxManifest(), chromiumManifest()].map(modeOf)).toEqual([0o755, 0o644, 0o644]);
    expect(readFileSync(launcher(), "utf8")).not.toContain("--allow-all");
    expect(readFileSync(launcher(), "utf8")).toContain(`--allow-ffi=${LIBDBUS} `);
  });

  test.each([
    ["thunderbird", ".mozilla/native-messaging-hosts"],
    ["librewolf", ".librewolf/native-messaging-hosts"],
    ["chrome", "config/google-chrome/NativeMessagingHosts"],
    ["edge", "config/microsoft-edge/NativeMessagingHosts"],
    ["brave", "config/BraveSoftware/Brave-Browser/NativeMessagingHosts"],
    ["vivaldi", "config/vivaldi/NativeMessagingHosts"],
  ])("knows where %s looks", async (browser, folder) => {
    const { code, stdout } = await host(`--install --browser ${browser}`);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${below(folder)}/linux_entra_sso.json\n` });
  });

  test(
    "without names is for the browsers that were started, Firefox also where its profiles are elsewhere now",
    async () => {
      expect(await host("--install")).toMatchObject({ code: 2, stderr: expect.stringContaining("--browser firefox|") });
      mkdirSync(below("config/mozilla"), { recursive: true });
      mkdirSync(below("config/google-chrome"), { recursive: true });
      mkdirSync(below(".thunderbird"));
      expect((await host("--install")).stdout.split("\n")).toEqual([
        ...[firefoxManifest(), below("config/google-chrome/NativeMessagingHosts/linux_entra_sso.json"), ""],
      ]);
    },
  );

  test("is repeated without harm, also from another latchkey and for another app", async () => {
    await host("--install --browser firefox");
    expect((await host(`--install --browser firefox --client-id ${CLIENT_ID}`)).code).toBe(0);
    expect(readFileSync(launcher(), "utf8")).toEndWith(` browser-host --client-id=${CLIENT_ID} "$@"\n`);
    expect((await host("--install --browser firefox --client-id azure-cli")).code).toBe(0);
    expect(readFileSync(launcher(), "utf8")).toEndWith(' browser-host --client-id=azure-cli "$@"\n');
    // A browser may not have the environment of the shell.
    await host("--install --browser firefox", program(), { ...home.env, LATCHKEY_CLIENT_ID: CLIENT_ID });
    expect(readFileSync(launcher(), "utf8")).toEndWith(` browser-host --client-id=${CLIENT_ID} "$@"\n`);
  });

  test.each([
    ["another program's", '{"name":"linux_entra_sso","path":"/usr/libexec/linux-entra-sso/linux-entra-sso.py"}'],
    ["none that can be read", "{"],
    ["without a program", "null"],
  ])("replaces no manifest that is %s, unless it is told to, and writes nothing then", async (_, text) => {
    put(chromiumManifest(), text);
    const refused = await host("--install --browser firefox --browser chromium");
    expect({ ...refused, stderr: "" }).toEqual({ code: 2, stdout: "", stderr: "" });
    expect(refused.stderr).toContain(`${chromiumManifest()} names another program: --force`);
    expect(readFileSync(chromiumManifest(), "utf8")).toBe(text);
    expect([existsSync(firefoxManifest()), existsSync(launcher())]).toEqual([false, false]);
    expect((await host("--install --browser chromium --force")).code).toBe(0);
    expect(read(chromiumManifest()).path).toBe(launcher());
  });

  test("takes a link for another program's, and replaces the link alone", async () => {
    put(below("nix/store/manifest.json"), "{}");
    mkdirSync(dirname(firefoxManifest()), { recursive: true });
    symlinkSync(below("nix/store/manifest.json"), firefoxManifest());
    expect((await host("--install --browser firefox")).code).toBe(2);
    expect((await host("--install --browser firefox --force")).code).toBe(0);
    expect(read(firefoxManifest()).path).toBe(launcher());
    expect(read(below("nix/store/manifest.json"))).toEqual({});
  });

  test("says what it cannot write", async () => {
    put(below(".mozilla"), "a file");
    const { code, stderr } = await host("--install --browser firefox");
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(firefoxManifest()) });
  });

  test("says what Deno does not permit", async () => {
    const run = async (...permissions: string[]) =>
      (await host("--install --browser firefox", program(permissions))).stderr;
    expect(await run()).toMatch(/--allow-env=/);
    const environment = "--allow-env=HOME,XDG_CONFIG_HOME,XDG_DATA_HOME,XDG_STATE_HOME,LATCHKEY_LIBDBUS";
    expect(await run(environment)).toContain(`--allow-read=${firefoxManifest()}`);
    expect(await run(environment, "--allow-read")).toContain(`--allow-write=${dirname(launcher())}`);
  });

  test.each([
    ["--install --browser firefx", "did you mean firefox?"],
    ["--install firefox", "a browser is named by --browser"],
    ["--install --browser firefox --extension-id nonsense", "is not an extension of firefox"],
    [`--install --browser firefox --extension-id ${OWN_ID}`, "is not an extension of firefox"],
    ["--install --browser chromium --extension-id a@b", "is not an extension of chromium"],
    ["--install --browser firefox --client-id nobody", "--client-id takes a GUID"],
  ])("%p is wrong usage", async (words, says) => {
    const { code, stdout, stderr } = await host(words);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
    expect(existsSync(launcher())).toBe(false);
  });
});

// Bun ran what bunfig.toml of the current folder preloads, and took its .env and tsconfig.json.
describe.each(RUNTIME_PATHS)("The program that latchkey writes on $name", ({ program }) => {
  test.each(["/", "hostile"])(
    "runs the same latchkey, from any folder (%s), and nothing that is there",
    async (place) => {
      await host("--install --browser firefox", program());
      using hostile = makeHostileFolder();
      const child = Bun.spawn([launcher(), firefoxManifest(), "linux-entra-sso@example.com"], {
        cwd: place === "/" ? place : hostile.path,
        env: { PATH: "/usr/bin:/bin", ...home.env },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect(await child.exited).toBe(0);
      expect(stdout.slice(4)).toBe('{"command":"brokerStateChanged","message":"offline"}');
      expect(stderr).toContain("this session has no bus");
      expect(hostile.wasRun()).toBe(false);
    },
  );
});

describe("latchkey browser-host --uninstall", () => {
  test("takes back what was installed, and nothing else", async () => {
    const other = '{"path":"/usr/libexec/other"}';
    put(chromiumManifest(), other);
    expect((await host("--uninstall")).stdout).toBe("");
    await host("--install --browser firefox --browser edge");
    const edge = below("config/microsoft-edge/NativeMessagingHosts/linux_entra_sso.json");
    expect(await host("--uninstall --browser edge")).toEqual({ code: 0, stdout: `${edge}\n`, stderr: "" });
    expect([existsSync(edge), existsSync(launcher())]).toEqual([false, true]);
    expect(await host("--uninstall")).toEqual({
      code: 0,
      stdout: `${firefoxManifest()}\n${launcher()}\n`,
      stderr: `latchkey: ${chromiumManifest()} names another program and is kept\n`,
    });
    expect([existsSync(firefoxManifest()), existsSync(launcher())]).toEqual([false, false]);
    expect(readFileSync(chromiumManifest(), "utf8")).toBe(other);
  });
});

// The command line before its commands: help, version, wrong usage, and the D-Bus library that it opens.
import { describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { LEAST_PERMISSIONS, LIBDBUS } from "../tools/deno_command.ts";
import { runInProcess } from "./run_in_process.ts";
import { latchkeyOf } from "./run_latchkey.ts";
import { testOfLibdbus, testOfSources } from "./tested_latchkey.ts";

const stage = useStage({ broker: {} });
const latchkey = latchkeyOf(stage);

describe("latchkey", () => {
  test("--help and --version need no permission", async () => {
    const overview = await latchkey("--help", { permissions: [] });
    expect(overview).toMatchObject({ code: 0, stderr: "" });
    for (const command of ["token", "accounts", "CONFIG.json"]) expect(overview.stdout).toContain(`  ${command} `);
    for (const command of ["token", "accounts"]) {
      const help = await latchkey(`${command} --help`, { permissions: [] });
      expect(help).toMatchObject({ code: 0, stderr: "" });
      expect(help.stdout).toContain(`\n  latchkey ${command} `);
      expect((await latchkey(`help ${command}`, { permissions: [] })).stdout).toBe(help.stdout);
    }
    const { version } = await Bun.file(new URL("../../deno.json", import.meta.url)).json();
    expect(await latchkey("--version", { permissions: [] })).toEqual({
      code: 0,
      stdout: `latchkey ${version}\n`,
      stderr: "",
    });
  });

  testOfSources("--version --format json tells what runs it, and that it is not built", async () => {
    const { code, stdout, stderr } = await latchkey("--version --format json", { permissions: [] });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      runtime: { name: "Deno", version: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
      build: { kind: "source", target: null, commit: null },
      parser: "stand-in for @std/cli",
    });
  });

  test.each([
    ["--version extra", '"extra" is not an option of --version'],
    ["--version --format xml", "--format takes text, json"],
    ["--version --formt json", "did you mean --format?"],
    ["", "Missing command"],
    ["tokn", "did you mean token?"],
    ["acounts", "did you mean accounts?"],
    ["xx", 'There is no command "xx"\n'], // every letter of az would be wrong
    ["za", "did you mean az?"],
    ["ap", "did you mean app?"],
    ["--client-id x token", "before a command"],
    ["token --scop a", "did you mean --scope?"],
    ["token --client_id a", "did you mean --client-id?"],
    ["token --no-verbose", "There is no option"],
    ["token --client-id", "--client-id needs a value"],
    ["token --client-id azure-cli --resource=", "--resource needs a value"],
    ["token --scope a", "--client-id is missing"],
    ["token --client-id azure-cl --scope a", "did you mean azure-cli?"],
    ["token --client-id azure-cli", "--scope or --resource is missing"],
    ["token --client-id azure-cli --scope a --resource b", "not both"],
    ["token --client-id azure-cli --scope a extra", '"extra" is not an option of token'],
    ["token --client-id azure-cli --scope a --broker maybe", "--broker takes auto, require, never"],
    ["token --client-id azure-cli --scope a --format xml", "--format takes"],
    ["token --client-id azure-cli --scope a --timeout soon", "--timeout takes a number of seconds"],
    ["token --client-id azure-cli --scope a --min-ttl -5", "There is no option -5"],
    ["token --client-id azure-cli --scope a --claims x", "claims must be a JSON object"],
    ["token --client-id azure-cli --scope ä", "is not a scope"],
    ["token --client-id azure-cli --scope a --authority common", "it is not a URL"],
    ["token --client-id azure-cli --scope a --__proto__ x", "There is no option"],
    ["token --client-id azure-cli --scope a --tenant ../x", "neither an id nor a domain"],
    ["token --client-id azure-cli --scope a,b", "separated by spaces"],
    [`token --client-id azure-cli --resource ${"0".repeat(36)}/.defaults`, "--resource takes a URL"],
    ["token --client-id azure-cli --scope a --timeout 0", "--timeout takes a number of seconds"],
    ["token --client-id azure-cli --scope openid", "scopes must name more than openid"],
    ["token --client-id azure-cli --scope a --tenant b --authority login.microsoftonline.us", "it is not a URL"],
    ["token -x", "There is no option -x"],
    ["token --client-id azure-cli --scope a --interactive always --port 0", "--port takes a port, 1 to 65535"],
    ["login --client-id azure-cli --port 65536", "--port takes a port, 1 to 65535"],
    ["login --client-id azure-cli --device-code --broker require", "No broker has device codes"],
    ["login --client-id azure-cli --device-code --prompt login", "has no --prompt"],
    ["login --client-id azure-cli --device-code --port 8400", "has no --port"],
    ["login --client-id azure-cli --device-code --no-browser", "has no --no-browser"],
    [
      "token --client-id azure-cly --scope a --authority https://login.microsoftonline.com/contoso.com",
      "mean azure-cli?",
    ],
    ["token --client-id x --scope a --authority https://contoso.ciamlogin.com", "--client-id takes a GUID"],
    ["token --client-id x --scope a --authority https://contoso.b2clogin.com/contoso.com/b2c_1_in", "takes a GUID"],
    ["--verison", "did you mean --version?"],
    ["-V", "did you mean --version?"],
    ["version", "did you mean --version?"],
    ["signin", "did you mean login?"],
    ["sign-in", "did you mean login?"],
    ["signout", "did you mean logout?"],
    ["account", "did you mean accounts?"],
    ["list", "did you mean accounts?"],
    ["profiles", "the profiles are in /"],
    ["get_token", "did you mean token?"],
    ["--profiles", "the profiles are in /"],
    ["get-token", "did you mean token?"],
    ["-W", "There is no option -W before a command\n"],
    ["token --client-id azure-cli --resource htps://graph.microsoft.com", "did you mean https://graph.microsoft.com?"],
    ["token --client-id azure-cli --resource graph.microsoft.com", "did you mean https://graph.microsoft.com?"],
    ["token --client-id azure-cli --scope htps://graph.microsoft.com/.default", "did you mean https://graph.microsoft"],
    [
      "login --profile work",
      "--client-id is missing, and the profile work has none. To store one in it: latchkey login",
    ],
    [
      "token --client-id azure-cli --resource https://graph.microsoft.com/User.Read",
      "write --scope https://graph.microsoft.com/User.Read\n",
    ],
    ["token --client-id azure-cli --resource api://a/user_impersonation", "write --scope api://a/user_impersonation\n"],
    [
      "token --client-id azure-cli --scope https://graph.microsoft.com",
      "write --resource https://graph.microsoft.com, or",
    ],
    [
      "token --client-id azure-cli --scope https://graph.microsoft.com/",
      "or --scope https://graph.microsoft.com//.default\n",
    ],
    ["token --client-id azure-cli --scope User.Read;Mail.Read", "separated by spaces"],
    ["token --scope User.Read", "latchkey login --profile default --client-id azure-cli\n"],
    ["az --client-id azure-cli -- acount show", "(did you mean az account show?)"],
  ])("%p is wrong usage", async (line, says) => {
    const { code, stdout, stderr } = await latchkey(line);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/\nSee latchkey (\w+ )?--help\n$/);
    expect(await stage.broker.calls()).toEqual([]);
  });

  testOfSources("names the flag that lets Deno read the client id", async () => {
    const { stderr } = await latchkey("token --scope a", { permissions: LEAST_PERMISSIONS });
    expect(stderr).toContain(
      "(or set LATCHKEY_CLIENT_ID, which needs Deno's --allow-env=LATCHKEY_CLIENT_ID, or --profile)",
    );
  });

  // Signals ended a program by themselves where no window could open, and a copy of the failure lost what came: 4 was the code.
  for (
    const [line, member] of [
      ["status", "getLinuxBrokerVersion"],
      ["login", "acquireTokenSilently"],
      ["token --scope User.Read --interactive never", "acquireTokenSilently"],
      ["accounts", "getAccounts"],
    ] as const
  ) {
    for (const [name, code] of [["SIGINT", 4], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
      testOfSources(`has an exit code for ${name}, whatever it waits for: ${line}, ${member}`, async () => {
        await stage.behave({ replies: { [member]: { kind: "hang" } } });
        const words = [...line.split(" "), "--client-id", CLIENT_ID, "--format", "json"];
        const controller = new AbortController(), { signal } = controller;
        const running = runInProcess(words, { env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address }, signal });
        while ((await stage.broker.calls(member)).length === 0) await Bun.sleep(2);
        controller.abort(name);
        const ended = await running;
        expect(ended.code).toBe(code);
        expect(JSON.parse(ended.stdout)).toMatchObject({ error: "user_canceled", correlation_id: expect.any(String) });
        expect(await stage.broker.calls("acquireTokenInteractively")).toEqual([]);
      });
    }
  }
});

describe("LATCHKEY_LIBDBUS", () => {
  const VARIABLES = "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR,LATCHKEY_LIBDBUS";
  const run = (path: string, ...more: string[]) =>
    latchkey(`token --client-id ${CLIENT_ID} --scope User.Read`, {
      env: { LATCHKEY_LIBDBUS: path },
      permissions: [`--allow-ffi=${path}`, VARIABLES, ...more],
    });
  const CHECKING = ["--allow-read", "--allow-sys=uid"];

  test("is taken where only its owner and root can write", async () => {
    const mine = `${stage.folder}/mine`, path = `${mine}/libdbus-1.so.3`;
    mkdirSync(mine, { mode: 0o700 });
    copyFileSync(LIBDBUS, path);
    chmodSync(path, 0o644);
    expect(await run(path, ...CHECKING)).toMatchObject({ code: 0, stderr: "" });
  });

  testOfLibdbus("is refused where others can write, is relative, or is not there", async () => {
    const open = `${stage.folder}/open`, link = `${stage.folder}/link-to-open`;
    mkdirSync(open);
    chmodSync(open, 0o777);
    copyFileSync(LIBDBUS, `${open}/libdbus-1.so.3`);
    symlinkSync(LIBDBUS, `${open}/link`);
    symlinkSync(`${open}/link`, link);
    for (
      const [path, says] of [
        [`${open}/libdbus-1.so.3`, `others can change ${open}`],
        [link, `others can change ${open}`],
        ["libdbus-1.so.3", "not an absolute path"],
        [`${stage.folder}/nobody.so`, "is not a file"],
      ] as const
    ) {
      expect(await run(path, ...CHECKING)).toMatchObject({ code: 1, stderr: expect.stringContaining(says) });
    }
  });

  testOfSources("names the permissions that checking it needs", async () => {
    const says = expect.stringContaining(`--allow-ffi=${LIBDBUS} --allow-read --allow-sys=uid`);
    expect(await run(LIBDBUS)).toMatchObject({ code: 1, stderr: says });
  });
});

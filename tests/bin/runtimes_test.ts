// The command line on each path to the session bus.
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { LEAST_PERMISSIONS, LIBDBUS, socketFlags } from "../tools/deno_command.ts";
import { type Run, runDeno, runLatchkey, runProgram } from "./run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS, testOfSources } from "./tested_latchkey.ts";

const TOKEN = ["token", "--client-id", CLIENT_ID, "--scope", "User.Read"];
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+\n$/;
const stage = useStage({ broker: {} });

const environment = (more: Record<string, string> = {}) => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address, ...more });

describe.each(TESTED_PATHS)("latchkey on $name", ({ program }) => {
  const latchkey = (args: readonly string[], more: Record<string, string> = {}): Promise<Run> =>
    runProgram([...latchkeyBy(program()), ...args], environment(more));

  test("prints a token and ends", async () => {
    expect(await latchkey(TOKEN)).toEqual({ code: 0, stdout: expect.stringMatching(JWT), stderr: "" });
  });

  test("ends at once although there is a time limit", async () => {
    expect(await latchkey([...TOKEN, "--timeout", "3600"])).toMatchObject({ code: 0, stderr: "" });
  });

  // It was a raw "Error: ENOSPC", as if latchkey had a bug.
  test("says that a result cannot be written where no space is left", async () => {
    const words = [...latchkeyBy(program()), "--version"].map((word) => `'${word}'`).join(" ");
    expect(await runProgram(["sh", "-c", `${words} > /dev/full`], {})).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^error: unexpected\nerror_description: Cannot write to standard output: no space is left/,
      ),
    });
  });

  test("tells by its exit code what went wrong", async () => {
    const address = `unix:path=${stage.bus.directory}/nobody`;
    expect(await latchkey([...TOKEN, "--broker", "require"], { DBUS_SESSION_BUS_ADDRESS: address })).toEqual({
      code: 5,
      stdout: "",
      stderr: expect.stringContaining("Cannot start the broker"),
    });
    expect(await latchkey(["tokne"])).toMatchObject({ code: 2, stdout: "" });
  });

  // As after sudo: that "the connection to the session bus ended" did not say why.
  test("says that a bus refuses other users", async () => {
    const path = join(stage.folder, `bus-${crypto.randomUUID().slice(0, 8)}`);
    // Stands in for a bus of another user: it refuses EXTERNAL, and goes.
    const server = createServer((socket) => {
      socket.on("error", () => {}).on("data", () => socket.end("REJECTED EXTERNAL\r\n"));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const words = ["accounts", "--client-id", CLIENT_ID, "--broker", "require"];
    const { code, stderr } = await latchkey(words, { DBUS_SESSION_BUS_ADDRESS: `unix:path=${path}` });
    server.close();
    expect(code).toBe(5);
    expect(stderr).toMatch(/^error_description: .*: a bus refuses all users but its own$/m);
    expect(stderr).toMatch(/^hint: Run this program as the user of the session, without sudo, if the bus is another /m);
  });

  test.each([["--help"], ["accounts --client-id azure-cli"], [TOKEN.join(" ")]])(
    "ends quietly when nobody reads what %s writes",
    async (line) => {
      const command = 'trap "" PIPE; exec 3> >(true); wait $!; "$@" >&3; echo "exit $?" >&2';
      const words = [...latchkeyBy(program()), ...line.split(" ")];
      const { stderr } = await runProgram(["bash", "-c", command, "bash", ...words], environment());
      expect(stderr).toBe("exit 1\n");
    },
  );

  testOfSources("writes all of a long answer, also where standard output does not wait for its reader", async () => {
    const file = `${stage.bus.directory}/long_answer.ts`,
      url = new URL("../../lib/runtime/terminal.ts", import.meta.url);
    // A runtime that has looked at its stream has set it not to wait.
    const body = `import process from "node:process";
import { write } from ${JSON.stringify(url.href)};
if (process.stdout.writable) write("stdout", "x".repeat(1_000_000));`;
    writeFileSync(file, body);
    const { code, stdout, stderr } = await runProgram([...program(), file], environment());
    expect({ code, length: stdout.length, stderr }).toEqual({ code: 0, length: 1_000_000, stderr: "" });
  });
});

describe("latchkey on Deno without FFI", () => {
  const [, environmentFlag = ""] = LEAST_PERMISSIONS;
  const latchkey = (permissions: readonly string[], more: Record<string, string> = {}): Promise<Run> =>
    runLatchkey(TOKEN, { permissions: [environmentFlag, ...permissions], env: environment(more) });
  const busFlags = () => ["--allow-sys=uid", ...socketFlags(`${stage.bus.directory}/bus`)];

  testOfSources("takes what a socket needs, and no more", async () => {
    expect(await latchkey(busFlags())).toEqual({ code: 0, stdout: expect.stringMatching(JWT), stderr: "" });
  });

  testOfSources("names both ways when one permission is missing", async () => {
    const flags = busFlags();
    for (const left of flags) {
      const { code, stdout, stderr } = await latchkey(flags.filter((flag) => flag !== left));
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toContain(`--allow-ffi=${LIBDBUS}; or without libdbus, run deno with ${flags.join(" ")}\n`);
    }
  });

  testOfSources("does not take another way than the libdbus that is named", async () => {
    const permissions = [...busFlags(), "--allow-env=LATCHKEY_LIBDBUS"];
    expect(await latchkey(permissions, { LATCHKEY_LIBDBUS: "/nowhere/libdbus-1.so.3" })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("LATCHKEY_LIBDBUS"),
    });
  });
});

describe("A program that uses the library", () => {
  const program = (body: string) =>
    `data:application/typescript,${
      encodeURIComponent(`import { PublicClientApplication } from "${new URL("../../mod.ts", import.meta.url)}";
const app = new PublicClientApplication({ clientId: "${CLIENT_ID}", enableBrokerOnLinux: true });
${body}`)
    }`;
  const run = (body: string) =>
    runDeno([...LEAST_PERMISSIONS, program(body)], { DBUS_SESSION_BUS_ADDRESS: stage.bus.address });

  testOfSources("ends by itself when it is done, without close()", async () => {
    expect(await run('await app.getAccounts(); console.log("done");')).toEqual({
      code: 0,
      stdout: "done\n",
      stderr: "",
    });
  });

  testOfSources("shows no token when it prints a result", async () => {
    const body = `const result = await app.acquireToken({ scopes: ["a"], interactive: "never" });
console.log(result, [result].length, String(result.accessToken.length > 99));`;
    const { stdout } = await run(body);
    expect(stdout).toContain('accessToken: "[concealed]"');
    expect(stdout).toContain('username: "jane@contoso.com"');
    expect(stdout).toMatch(/ 1 true\n$/);
    expect(stdout).not.toContain("eyJ");
  });

  testOfSources("does not read process for a silent token", async () => {
    const body = `Object.defineProperty(globalThis, "process", { get() { throw new Error("process was read"); } });
console.log((await app.acquireToken({ scopes: ["a"], interactive: "never" })).source);`;
    expect(await run(body)).toEqual({ code: 0, stdout: "broker\n", stderr: "" });
  });
});

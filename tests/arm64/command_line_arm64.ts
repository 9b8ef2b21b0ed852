// The command line on arm64, by one runtime: variadic functions of C and sizes of structures are not as on x64.
import { expect, test } from "bun:test";
import process from "node:process";
import { type Run, runProgram } from "../bin/run_latchkey.ts";
import { latchkeyBy, TESTED_PATHS } from "../bin/tested_latchkey.ts";
import { CLIENT_ID, useStage } from "../fixture.ts";
import { RUNTIME_PATH } from "../runtimes/runtime_paths.ts";
import { ARM64_EMULATOR } from "../tools/find_tool.js";

/** A start under qemu takes ten seconds where one takes a tenth of one, and more if the machine is busy. */
const TIMEOUT_MS = 300_000;
const APP = ["--client-id", CLIENT_ID, "--broker", "require"];
const TOKEN = ["token", ...APP, "--scope", "User.Read"];
/** So many that the answer comes in pieces. */
const PEOPLE = Array.from({ length: 200 }, (_, number) => ({ username: `person-${number}@contoso.com` }));

/** In the header of a program, for arm64. */
const EM_AARCH64 = 183;

const { client, program } = TESTED_PATHS.find(({ name }) => name === process.env[RUNTIME_PATH])!;
const command = latchkeyBy(program());

const stage = useStage({ broker: { accounts: PEOPLE, defaultAccount: PEOPLE[0]!.username } });
const latchkey = (args: readonly string[], address = stage.bus.address): Promise<Run> =>
  runProgram([...command, ...args], { DBUS_SESSION_BUS_ADDRESS: address });

test("latchkey token prints a token", async () => {
  expect(await latchkey([...TOKEN, "--account", PEOPLE[7]!.username])).toEqual({
    ...{ code: 0, stdout: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+\n$/), stderr: "" },
  });
}, TIMEOUT_MS);

test("latchkey accounts lists them all", async () => {
  const { code, stdout, stderr } = await latchkey(["accounts", ...APP, "--format", "json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const names = (JSON.parse(stdout) as { username: string }[]).map(({ username }) => username);
  expect(names.sort()).toEqual(PEOPLE.map(({ username }) => username).sort());
}, TIMEOUT_MS);

/** What FFI reads beside answers. Without it, the code is the same on each processor. */
const testOfFfi = client === "libdbus" ? test : () => {};

testOfFfi("a refusal of the broker has its status", async () => {
  await stage.behave({ replies: { acquireTokenSilently: { kind: "broker_error", status: 2 } } });
  const { code, stdout } = await latchkey([...TOKEN, "--account", PEOPLE[7]!.username, "--format", "json"]);
  expect({ code, error: JSON.parse(stdout).error }).toEqual({ code: 3, error: "interaction_required" });
}, TIMEOUT_MS);

testOfFfi("an error of libdbus tells why", async () => {
  const path = `${stage.bus.directory}/nobody`, why = `Failed to connect to socket ${path}: No such file or directory`;
  expect(await latchkey(TOKEN, `unix:path=${path}`)).toMatchObject({
    ...{ code: 5, stdout: "", stderr: expect.stringContaining(why) },
  });
}, TIMEOUT_MS);

test("the program is one for arm64", async () => {
  const header = await Bun.file(command[ARM64_EMULATOR.length]!).slice(0, 20).arrayBuffer();
  expect(new DataView(header).getUint16(18, true)).toBe(EM_AARCH64);
});

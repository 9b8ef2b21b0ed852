import { expect, test } from "bun:test";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { batchText, shimText } from "../../../../bin/commands/az/shim.ts";
import { UsageError } from "../../../../bin/cli/command_line.ts";
import { powershellWord } from "../../../../lib/runtime/host.ts";
import { openStage } from "../../../fixture.ts";
import { runProgram } from "../../run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "../../tested_latchkey.ts";

test("shimText() quotes what a POSIX shell would read", () => {
  const text = shimText(["/opt/it's here/latchkey", "az", "--account=$(reboot)", "--"]);
  expect(text.split("\n").slice(-2)).toEqual([
    `exec '/opt/it'\\''s here/latchkey' az '--account=$(reboot)' -- "$@"`,
    "",
  ]);
});

/** Returns the last line of the batch file, for jane, whose folders have an umlaut. */
function batchLine(command: readonly string[]): string {
  const variables = new Map([["LOCALAPPDATA", "C:\\Users\\Jäne\\AppData\\Local"], [
    "USERPROFILE",
    "C:\\Users\\Jäne\\",
  ]]);
  const text = batchText(command, (name) => variables.get(name));
  expect(text).toMatch(/^[\r\n -~]*$/);
  expect(text).toStartWith(
    "@rem latchkey in place of az; written by latchkey az-shim\r\n@setlocal EnableExtensions DisableDelayedExpansion\r\n",
  );
  return text.split("\r\n").at(-2)!;
}

test("batchText() quotes what cmd would read", () => {
  const words = ["C:\\Program Files\\R&D ^!\\latchkey.exe", "az", "--account=%PATH%&reboot", "--cache-file=C:\\a b\\"];
  expect(batchLine([...words, "--"])).toBe(
    '@"C:\\Program Files\\R&D ^!\\latchkey.exe" az "--account=%%PATH%%&reboot" "--cache-file=C:\\a b\\\\" -- %*',
  );
  expect(() => batchLine(['a"b'])).toThrow(UsageError);
});

test("batchText() takes letters beyond ASCII from the variable of a folder", () => {
  expect(batchLine(["c:\\users\\jäne\\AppData/Local\\100% & more\\latchkey.exe", "az"])).toBe(
    '@"%LOCALAPPDATA%\\100%% & more\\latchkey.exe" az %*',
  );
  expect(batchLine(["C:\\l.exe", "--cache-file=C:\\Users\\Jäne\\tokens.json"])).toBe(
    '@C:\\l.exe "--cache-file=%USERPROFILE%\\tokens.json" %*',
  );
});

test.each([
  ["C:\\Users\\Jänet\\latchkey.exe", /Install latchkey in a folder whose path is ASCII/],
  ["D:\\Wörk\\latchkey.exe", /Install latchkey in a folder/],
  ["C:\\Users\\Jäne\\Büro\\latchkey.exe", /Install latchkey in a folder/],
  ["--account=jäne@contoso.com", /Set LATCHKEY_ACCOUNT instead of --account/],
])("batchText() refuses what it cannot write: %s", (word, message) => {
  expect(() => batchLine([word])).toThrow(message);
});

test("powershellWord() doubles every apostrophe that PowerShell takes for one", () => {
  expect(powershellWord("C:\\it's $home \u2019x\u2018")).toBe("'C:\\it''s $home \u2019\u2019x\u2018\u2018'");
});

// It wrote an az that the group of the folder, or its owner, could replace: the next program that needs a token runs that.
test("az-shim --install writes to no folder that others can change", async () => {
  await using stage = await openStage();
  const { folder } = stage;
  const install = (below: string) =>
    runProgram([...LATCHKEY_ON_BUN, "az-shim", "--install", join(folder, below), "--client-id", "azure-cli"], {});
  chmodSync(folder, 0o2775);
  for (const below of ["", "bin"]) {
    const { code, stdout, stderr } = await install(below);
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining(`${folder} is not safe: others can write to it`),
    });
    expect(readdirSync(folder)).toEqual([]);
  }
  chmodSync(folder, 0o700);
  expect((await install("bin")).code).toBe(0);
  expect(readdirSync(join(folder, "bin"))).toEqual(["az"]);
});

// Words of a command, given to a shell.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { shellWord } from "../../../lib/platform/shell_word.ts";

test("shellWord() gives what a shell takes for one word, as it is", () => {
  const words = [
    "",
    "/home/jane/.config",
    "jane's folder",
    "~",
    "~/a",
    "a\nb",
    "$HOME",
    "`id`",
    '"\\',
    "*",
    "a;b",
    "ü",
    "=sh",
    "a:=sh",
  ];
  const command = `printf '%s\\0' ${words.map(shellWord).join(" ")}`;
  for (const shell of ["sh", "zsh"]) { // zsh puts the path of a command in the place of =COMMAND
    expect(execFileSync(shell, ["-c", command], { encoding: "utf8" }).split("\0").slice(0, -1)).toEqual(words);
  }
});

test("shellWord() leaves alone what needs no quotation marks", () => {
  expect(["/home/jane/.local/state/latchkey", "key.json", "a-b_c@d"].map(shellWord)).toEqual([
    "/home/jane/.local/state/latchkey",
    "key.json",
    "a-b_c@d",
  ]);
});

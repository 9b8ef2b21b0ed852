// Commands that a person is to paste, given to the shells that they are pasted into.
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { currentRuntime, isAtLeast, quoteCommand, shellWord } from "../../../lib/runtime/host.ts";

/** What a server, or whoever named a folder, can write to have a command of theirs run. */
const HOSTILE: readonly string[] = [
  ...["", "~", "~/a", "*", "a;touch pwned", "$(touch pwned)", "`touch pwned`", "$HOME", "a\ntouch pwned\n", "&", "|"],
  ...[
    "it's",
    "'; touch pwned; '",
    "'\"$(touch pwned)\"'",
    "a && touch pwned #",
    "{a,b}",
    "!!",
    "%TEMP%",
    "=ls",
    "a:=sh",
    "ü",
  ],
  // fish reads a backslash between apostrophes as well: there the first two would end in a command.
  ...["\\' ; touch pwned #", "\\'; touch pwned; '\\", "a\\", '"\\', "\\\\'", "^a", "(touch pwned)", "<a", ">pwned"],
  '{"access_token":{"nbf":{"essential":true,"value":"1"}},"x":"\'$(touch pwned)"}',
];

describe.each([
  ["sh", ["sh", "-c"]],
  ["bash", ["bash", "-c"]],
  ["zsh", ["zsh", "-f", "-c"]],
  ["fish", ["fish", "--no-config", "-c"]],
])("quoteCommand() for %s", (_, [shell = "", ...options]) => {
  // What is chosen by a server stood in a line to paste, and only sh had been thought of.
  test("gives each word as it is, and runs nothing that is in one", () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-quote-"));
    try {
      const command = quoteCommand(["printf", "%s\\0", ...HOSTILE], "linux");
      const printed = execFileSync(shell, [...options, command], { cwd: folder, encoding: "utf8" });
      expect(printed.split("\0").slice(0, -1)).toEqual([...HOSTILE]);
      expect(existsSync(join(folder, "pwned"))).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test("shellWord() leaves alone what needs no quotation marks", () => {
  expect(["/home/jane/.local/state/latchkey", "key.json", "a-b_c@d"].map(shellWord)).toEqual([
    "/home/jane/.local/state/latchkey",
    "key.json",
    "a-b_c@d",
  ]);
});

describe("quoteCommand() for Windows, where the shell can be cmd.exe or PowerShell", () => {
  const login = (value: string) => quoteCommand(["latchkey", "login", ["--account", value]], "win32");

  test.each([
    ["jane@contoso.com", "jane@contoso.com"],
    ["C:\\Users\\jane\\latchkey.json", "C:\\Users\\jane\\latchkey.json"],
    ["C:\\Program Files (x86)\\a", '"C:\\Program Files (x86)\\a"'],
    ["https://graph.microsoft.com/.default", "https://graph.microsoft.com/.default"],
    ["", '""'],
    ["@splat", '"@splat"'],
    ["a,b", '"a,b"'],
    ["a;calc", '"a;calc"'],
    ["a&calc", '"a&calc"'],
    ["a|calc", '"a|calc"'],
    ["a>file", '"a>file"'],
    ["(calc)", '"(calc)"'],
    ["a^b", '"a^b"'],
    ["it's", '"it\'s"'],
    ["jané@contoso.com", '"jané@contoso.com"'],
  ])("quotes %j", (value, quoted) => {
    expect(login(value)).toBe(`latchkey login --account ${quoted}`);
  });

  test.each([
    ['a quotation mark: a"&calc&"', 'a"&calc&"'],
    ["a quotation mark of PowerShell's: a\u201d;calc;\u201d", "a\u201d;calc;\u201d"],
    ["another of them", "a\u201e;calc"],
    ["what a code page turns into one", "a\uff02&calc"],
    ["a variable of cmd's", "%COMSPEC%"],
    ["one with delayed expansion", "!COMSPEC!"],
    ["a variable of PowerShell's", "$(calc)"],
    ["an escape of PowerShell's", "a`ncalc"],
    ["a line of its own", "a\r\ncalc"],
    ["a backslash that would escape the mark at the end", "a b\\"],
    ["claims", '{"access_token":{}}'],
  ])("leaves the whole part out that has %s", (_, value) => {
    expect(login(value)).toBe("latchkey login");
    expect(quoteCommand(["latchkey", "login", ["--claims", value], ["--scope", "a"]], "win32")).toBe(
      "latchkey login --scope a",
    );
  });
});

test("quoteCommand() joins a value that looks like an option to its own", () => {
  const command = (system: string) => quoteCommand(["latchkey", "login", ["--account", "--store=memory@x"]], system);
  expect(command("linux")).toBe("latchkey login --account=--store=memory@x");
  expect(command("win32")).toBe('latchkey login "--account=--store=memory@x"');
});

test("currentRuntime() is Bun here", () => {
  expect(currentRuntime()).toEqual({ name: "Bun", version: Bun.version, oldest: "1.3" });
});

test.each([
  ["2.6", "2.6", true],
  ["2.6.10", "2.6", true],
  ["2.10.0", "2.6", true],
  ["3.0.0", "2.6", true],
  ["22.18.0", "22.18", true],
  ["1.3.0-canary.1", "1.3", true],
  ["2.5.9", "2.6", false],
  ["1.46.0", "2.6", false],
  ["22.9.0", "22.18", false],
])("isAtLeast() of %s and %s is %p", (version, oldest, is) => {
  expect(isAtLeast(version, oldest)).toBe(is);
});

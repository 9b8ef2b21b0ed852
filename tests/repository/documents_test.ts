// What documents show is so: links lead somewhere, commands and options exist, scripts exist, pictures are what was drawn.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { readCommandLine } from "../../bin/cli/command_line.ts";
import { loadGroups } from "../../bin/cli/commands.ts";
import { FIRST_EXAMPLES } from "../../bin/cli/help.ts";
import { readFigures } from "../bench/figures.ts";
import { barPicture } from "../pictures/bar_picture.ts";
import { withFiguresTable } from "../pictures/figures_table.ts";
import { PALETTES } from "../pictures/palette.ts";
import { shellCommands } from "../tools/shell_commands.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const documents = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
}).split("\0").filter((file) => file && existsSync(join(root, file)));
const commands = (await loadGroups()).flatMap((group) => group.commands);
/** What the command line is called as. */
const PROGRAMS = /^(latchkey|(.*\/)?bin\/latchkey(\.ts)?|\.?\/?dist\/latchkey|jsr:@latchkey\/latchkey\/cli)$/;

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** Blocks of code that are in one of some languages. */
function blocks(file: string, languages: readonly string[]): readonly { language: string; code: string }[] {
  return [...read(file).matchAll(/^ *```(\w+)[^\n]*\n([^]*?)^ *```$/gm)]
    .map(([, language, code]) => ({ language: language!, code: code! }))
    .filter(({ language }) => languages.includes(language));
}

/** The text without its blocks of code. */
function prose(file: string): string {
  return read(file).replaceAll(/^ *```[^]*?^ *```$/gm, "");
}

/** What is wrong with the calls of the command line among some commands. */
function complaints(script: string): readonly string[] {
  return shellCommands(script).map(withoutNpm).flatMap((words) => {
    const at = words.findIndex((word) => PROGRAMS.test(word));
    // A command may stand behind variables, or behind what runs it; elsewhere the word is an argument like any other.
    if (at < 0 || at > 0 && words[at] === "latchkey" && !words.slice(0, at).every((word) => word.includes("="))) {
      return [];
    }
    const complaint = complaintOf(words.slice(at + 1));
    return complaint === undefined ? [] : [`${words.join(" ")}: ${complaint}`];
  });
}

/** Returns `npm run latchkey -- token` as `latchkey token`, and of any other script its name. */
function withoutNpm(words: readonly string[]): readonly string[] {
  if (words[0] !== "npm" || words[1] !== "run") return words;
  const end = words.indexOf("--");
  return words[end - 1] === "latchkey" ? ["latchkey", ...words.slice(end + 1)] : words.slice(0, 2);
}

function complaintOf([name = "", ...rest]: readonly string[]): string | undefined {
  if (["--help", "--version", "help"].includes(name)) return undefined;
  const isFile = name.endsWith(".json"),
    command = commands.find((each) => each.name === (isFile ? "CONFIG.json" : name));
  if (!command) return `there is no command ${name}`;
  try {
    readCommandLine(command, isFile ? [name, ...rest] : rest);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test.each(documents)("every relative link of %s leads to a file", (file) => {
  const text = prose(file).replaceAll(/`[^`]*`/g, "");
  const targets = [
    ...[...text.matchAll(/\]\(([^)\s]+)\)/g), ...text.matchAll(/(?:src|srcset|href)="([^"\s]+)"/g)].map(([, to]) =>
      to!
    ),
  ].filter((target) => !/^([a-z]+:|#)/.test(target)).map((target) => target.split("#")[0]!);
  const paths = targets.map((target) => normalize(join(dirname(file), target)));
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test.each(documents)("every heading that a link of %s names is there", (file) => {
  const links = [...prose(file).matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)];
  const missing = links.filter(([, to, heading]) => {
    const target = to ? normalize(join(dirname(file), to)) : file;
    const headings = [...prose(target).matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
      text!.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")
    );
    return !headings.includes(heading!);
  });
  expect(missing.map(([link]) => link)).toEqual([]);
});

test.each(documents)("every command that %s shows is one that the command line takes", (file) => {
  const scripts = blocks(file, ["sh", "bash", "console", "shell", "yaml"]).map(({ language, code }) =>
    language === "console"
      ? code.split("\n").filter((line) => line.startsWith("$ ")).map((line) => line.slice(2)).join("\n")
      : code
  );
  expect(scripts.flatMap(complaints)).toEqual([]);
});

test.each(documents)("every command and option that %s speaks of exists", (file) => {
  const named = [...prose(file).matchAll(/`latchkey ([a-z][^`]*)`/g)].map(([, words]) => words!.split(/\s+/));
  const wrong = named.filter(([name, ...words]) => {
    const command = commands.find((each) => each.name === name || each.alias === name);
    const options = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined)
      .flatMap((word) => /^\[?--([\w-]+)/.exec(word)?.[1] ?? []);
    return !command || options.some((option) => ![...command.options.map(({ name }) => name), "help"].includes(option));
  });
  expect(wrong.map((words) => words.join(" "))).toEqual([]);
});

test.each(documents)("every script that %s names is there", (file) => {
  const { scripts } = JSON.parse(read("package.json"));
  const named = [...read(file).matchAll(/\b(?:npm run|deno task)(?: --silent| --prefix \S+)* ([\w:-]+)/g)]
    .map(([, name]) => name!);
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
});

test("the examples of the help are what the command line takes", () => {
  const firstOf = (command: string) => commands.find(({ name }) => name === command)?.examples[0];
  expect(FIRST_EXAMPLES).toEqual([firstOf("token")!, firstOf("login")!]);
  const lines = commands.flatMap(({ examples }) => examples.map(([line]) => line));
  expect(lines.flatMap(complaints)).toEqual([]);
});

test("docs/command_line.md has a row for every command", () => {
  const rows = read("docs/command_line.md").match(/^\| `latchkey .*$/gm) ?? [];
  const missing = commands.filter(({ name }) => !rows.some((row) => row.includes(`latchkey ${name}`)));
  expect(missing.map(({ name }) => name)).toEqual([]);
});

test("the picture and the tables of what a token costs have the figures that were kept", () => {
  const figures = readFigures();
  for (const [name, palette] of Object.entries(PALETTES)) {
    expect(read(`docs/images/silent_token_${name}.svg`)).toBe(barPicture(figures, palette));
  }
  expect(withFiguresTable(read("docs/bench.md"), figures)).toBe(read("docs/bench.md"));
  const rows = {
    "latchkey token": "latchkey",
    "MSAL for Python, its broker": "MSAL for Python",
    "MSAL for Node, its broker": "MSAL for Node",
  };
  for (const [name, row] of Object.entries(rows)) {
    const { cpuMs, peakMiB } = figures.silentToken.find((figure) => figure.name === name)!;
    expect(read("docs/comparison.md")).toMatch(
      new RegExp(`^\\| ${row}\\b.*\\| ${cpuMs} ms, ${peakMiB} MiB +\\|$`, "m"),
    );
  }
});

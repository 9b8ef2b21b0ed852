// The help as a terminal shows it, and the manual page as the programs read it that show it.
import { beforeAll, expect, test } from "bun:test";
import { GROUPS, loadGroups } from "../../../bin/cli/commands.ts";
import { helpOf, manualPage, overview } from "../../../bin/cli/help.ts";
import { choiceOption, type CommandSyntax, textOption, VERBOSE } from "../../../bin/cli/options.ts";
import { runLatchkey } from "../run_latchkey.ts";

let page: string;

beforeAll(async () => {
  const { code, stdout, stderr } = await runLatchkey(["man"], { permissions: [] });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  page = stdout;
});

const MAX_COLUMNS = 100;
/** Lines of the help of `latchkey token`: what a screen shows at once. */
const MAX_LINES = 40;

test("helpOf describes what is common, and names the options of each group if a screen is too small", async () => {
  const token = (await allCommands()).find(({ name }) => name === "token")!;
  const help = helpOf(token);
  expect(linesOf(help).length).toBeLessThanOrEqual(MAX_LINES);
  expect(help).toContain("  --client-id ID   App id: a GUID, ");
  expect(help).toContain("\n                     headers  A JSON object of HTTP headers\n");
  expect(help).toContain("\nSign-in options:\n  --authority URL, --broker auto|require|never, ");
  expect(help).toContain("-hv describes all options");
  const detailed = helpOf(token, { isDetailed: true });
  expect(detailed).toContain(
    "  --broker WHEN         When to use the device's broker:\n                          auto     ",
  );
  expect(detailed).not.toContain("-hv");
  for (const words of [["token", "-hv"], ["token", "--help", "--verbose"], ["help", "token", "-v"]]) {
    const { code, stdout } = await runLatchkey(words, { permissions: [] });
    expect({ words, code, stdout }).toEqual({ words, code: 0, stdout: detailed });
  }
});

test("helpOf names every option and every choice of every command, in lines that fit", async () => {
  for (const command of await allCommands()) {
    for (const isDetailed of [false, true]) {
      const help = helpOf(command, { isDetailed });
      // A command line is copied, and stays whole.
      const lines = linesOf(help).filter((line) => !command.examples.some(([example]) => line === `  ${example}`));
      expect(lines.filter((line) => line.length > MAX_COLUMNS)).toEqual([]);
      const named = [
        ...command.options.map(({ name }) => `--${name}`),
        ...command.options.flatMap(({ choices }) => choices ?? []),
      ];
      expect(named.filter((word) => !help.includes(word))).toEqual([]);
    }
    const detailed = helpOf(command, { isDetailed: true }).replaceAll(/\s+/g, " ");
    expect(command.options.filter(({ summary }) => !detailed.includes(summary))).toEqual([]);
  }
  expect(linesOf(overview(GROUPS)).filter((line) => line.length > MAX_COLUMNS)).toEqual([]);
});

test("every choice of an option with meanings has one", async () => {
  const options = (await allCommands()).flatMap((command) => command.options);
  const unexplained = options.filter(({ choices = [], meanings }) =>
    meanings && choices.some((choice) => !meanings[choice])
  );
  expect(unexplained.map(({ name }) => name)).toEqual([]);
});

test("helpOf breaks lines at spaces, never inside an option and its value", () => {
  const words = (count: number) => Array.from({ length: count }, () => "words").join(" ");
  const command: CommandSyntax = {
    ...{
      name: "odd",
      summary: "Odd",
      usage: `odd ${"x".repeat(75)} --port PORT, or odd --none`,
      operands: 0,
      examples: [],
    },
    options: [
      choiceOption("mode", { fast: "Quick", slow: "Careful" }, "Mode"),
      textOption("a-name-that-is-longer-than-its-column", "VALUE", words(20)),
      ...Array.from(
        { length: MAX_LINES },
        (_, index) => ({ ...textOption(`o${index}`, "V", "Rare"), group: "Cache options" as const }),
      ),
      VERBOSE,
    ],
  };
  const help = helpOf(command);
  expect(help).toStartWith(`Odd.

Usage: latchkey odd ${"x".repeat(75)}
         --port PORT
       latchkey odd --none

Options:
  --mode         Mode:
                   fast  Quick (default)
                   slow  Careful
  --a-name-that-is-longer-than-its-column VALUE
                 ${words(14)}
                 ${words(6)}
  -v, --verbose  ${VERBOSE.summary}
  -h, --help     Show this help; -hv describes all options

Cache options:
  --o0 V, --o1 V, `);
  expect(linesOf(help).filter((line) => / --o\d+$/.test(line))).toEqual([]);
  // Without -v, a command has no other help.
  const others = { ...command, options: command.options.filter((option) => option !== VERBOSE) };
  expect(helpOf(others)).toBe(helpOf(others, { isDetailed: true }));
});

async function allCommands(): Promise<readonly CommandSyntax[]> {
  return (await loadGroups()).flatMap((group) => group.commands);
}

function linesOf(help: string): readonly string[] {
  return help.replace(/\n$/, "").split("\n");
}

test.each([
  ["groff", ["groff", "-man", "-ww", "-Tutf8", "-z"]],
  ["mandoc", ["mandoc", "-Tlint", "-Wall"]],
  ["mandoc for the web", ["mandoc", "-Thtml", "-Ofragment"]],
])("%s finds nothing wrong in it", async (_name, command) => {
  const { code, stderr, stdout } = await read(command, page);
  expect({ code, stderr, lint: command.includes("-Tlint") ? stdout : "" }).toEqual({ code: 0, stderr: "", lint: "" });
});

test("man shows every command and every option", async () => {
  const { code, stdout } = await read(["man", "-l", "-"], page), words = stdout.replaceAll(/\s+/g, " ");
  expect(code).toBe(0);
  for (const command of await allCommands()) {
    expect(words).toContain(` latchkey ${command.usage.replaceAll(/\s+/g, " ")} `);
    for (const { name } of command.options) expect(words).toContain(` --${name} `);
    for (const meaning of command.options.flatMap(({ meanings = {} }) => Object.values(meanings))) {
      expect(words).toContain(` ${meaning}. `);
    }
    for (const [line] of command.examples) expect(words).toContain(line);
  }
  expect(words).toContain("LATCHKEY_CLIENT_ID As --client-id.");
});

test("manualPage keeps what roff would take for its own", async () => {
  const odd = ".TH 'x' \\fI ~ ^ ` \"y\" --z";
  const command = {
    ...{ name: "odd", summary: odd, usage: odd, operands: 0, examples: [[odd, odd]] as const },
    options: [{ name: "o", kind: "text" as const, value: odd, summary: odd, default: odd }],
  };
  const text = manualPage([{ title: "Odd", commands: [command] }], { version: "0.1.0", date: "2026-01-31" });
  expect(await read(["mandoc", "-Tlint", "-Wall"], text)).toMatchObject({ code: 0, stdout: "" });
  const { stdout } = await read(["man", "-l", "-"], text);
  expect(stdout.replaceAll(/\s+/g, " ").split(odd).length - 1).toBe(8);
});

async function read(
  command: readonly string[],
  text: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([...command], {
    env: {
      PATH: process.env.PATH,
      LC_ALL: "C.UTF-8",
      MANPAGER: "cat",
      MANWIDTH: "200",
      MAN_KEEP_FORMATTING: undefined,
    },
    stdio: [new TextEncoder().encode(text), "pipe", "pipe"],
  });
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, stdout, stderr };
}

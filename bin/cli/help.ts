/**
 * The help, the manual page and the version; `latchkey man`.
 *
 * @module
 */
import * as parseArgsModule from "@std/cli/parse-args";
import { capitalized, systemWord } from "../../lib/remedies.ts";
import { currentRuntime, operatingSystem } from "../../lib/runtime/host.ts";
import { type Command, type CommandGroup, readCommandLine, variableOf } from "./command_line.ts";
import { TEXT_FORMAT } from "./formats.ts";
import { type CommandSyntax, type Option, VERBOSE } from "./options.ts";
import { print } from "./output.ts";

export const command: Command = {
  name: "man",
  summary: "Print the manual page",
  usage: "man",
  operands: 0,
  options: [],
  examples: [
    ["latchkey man | man -l -", "Read the manual page", ""],
    ["latchkey man > ~/.local/share/man/man1/latchkey.1", "Install it for man latchkey", ""],
  ],
  async run(_line, _signal, loadGroups) {
    const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
    print(manualPage(await loadGroups(), { version, date: new Date().toISOString().slice(0, 10) }));
  },
};

const OPTIONS = [
  ["-h, --help", "Show this help, or that of a command"],
  ["--version", "Show the version; --format json adds the runtime and the build"],
] as const;

const EXIT_CODES = [
  ["0", "done"],
  ["1", "refused or failed"],
  ["2", "wrong usage"],
  ["3", "sign-in required"],
  ["4", "canceled or timed out"],
  ["5", "broker or network unavailable"],
] as const;

type Example = CommandSyntax["examples"][number];

/** First examples of `token` and `login`, repeated here so that --help loads neither. */
export const FIRST_EXAMPLES: readonly Example[] = [
  [
    "latchkey token --client-id azure-cli --resource https://management.azure.com",
    "Print only the token, for a script",
  ],
  ["latchkey login --client-id azure-cli", "Sign in silently if the broker can, otherwise in a prompt or the browser"],
];

/** Columns of a line of the help. A terminal of 80 columns breaks a few lines, and one of 100 none. */
const MAX_COLUMNS = 100;
/** Lines of a help that a screen shows at once. A longer one only names its groups' options. */
const MAX_LINES = 40;
/** Columns of the names of options and commands; a longer name stands on a line of its own. */
const MAX_NAME_COLUMNS = 24;

/** Returns the help of the whole command line: its commands by group. */
export function overview(
  groups: readonly { readonly title: string; readonly commands: readonly Pick<Command, "name" | "summary">[] }[],
  system: string = operatingSystem(),
): string {
  const width = widthOf(groups.flatMap(({ commands }) => commands.map(({ name }) => name)));
  const lists = groups.map(({ title, commands }) =>
    `${title}:\n${columns(commands.map(({ name, summary }) => [name, summary]), width)}`
  );
  return `latchkey gets Microsoft Entra ID tokens from the device's authentication broker or the browser.

Usage: latchkey COMMAND [options]

${lists.join("\n")}
Options:
${columns(OPTIONS)}
Examples:
${examples(FIRST_EXAMPLES, system)}
Environment variables can set most options: LATCHKEY_CLIENT_ID sets --client-id. A profile can set
some of them: that of --profile NAME or, without --profile and --client-id, the one named default.
Profiles are in latchkey/config.json in your configuration folder (${systemWord("configFolder", system)}).
${wrap(`Exit codes: ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join(", ")}`, { indent: 2 })}
`;
}

/**
 * Returns the help of a command. If it is longer than a screen, it describes what is common and names the options of each group;
 * a detailed help describes all of them.
 */
export function helpOf(
  command: CommandSyntax,
  { system = operatingSystem(), isDetailed = false }: { readonly system?: string; readonly isDetailed?: boolean } = {},
): string {
  const described = describe(command, system, describedGroup);
  const hasDetail = command.options.some(({ name }) => name === VERBOSE.name);
  if (isDetailed || !hasDetail || described.split("\n").length <= MAX_LINES + 1) return described;
  return describe(command, system, namedGroup);
}

function describe(command: CommandSyntax, system: string, groupLines: typeof describedGroup): string {
  const { common, groups } = groupsOf(command);
  const shown = groupLines === describedGroup ? command.options : common;
  const width = widthOf(shown.map(flagsOf));
  const help = columns([[
    "-h, --help",
    groupLines === namedGroup ? "Show this help; -hv describes all options" : "Show this help",
  ]], width);
  return [
    `${command.summary}.${also(command)}\n`,
    usageOf(command),
    `Options:\n${common.map((option) => rowOf(option, width)).join("")}${help}`,
    ...groups.map(([title, options]) => `${title}:\n${groupLines(options, width)}`),
    examples(command.examples, system).replace(/^./, "Examples:\n$&"),
  ].join("\n");
}

/** Returns the usage, each form of it on a line of its own. */
function usageOf({ usage }: CommandSyntax): string {
  return usage.split(", or ").map((form, index) => {
    const words = form.replaceAll(/(--[\w-]+) (?=[A-Z"])/g, `$1${NO_BREAK}`);
    return `${wrap(`${index === 0 ? "Usage:" : "      "} latchkey ${words}`, { indent: 9 })}\n`;
  }).join("");
}

function describedGroup(options: readonly Option[], width: number): string {
  return options.map((option) => rowOf(option, width)).join("");
}

function namedGroup(options: readonly Option[]): string {
  return `${wrap(`  ${options.map((option) => spaced(namedOption(option))).join(", ")}`, { indent: 2 })}\n`;
}

/** Keeps an option and its value on one line. */
const NO_BREAK = "\u00a0";

function spaced(words: string): string {
  return words.replaceAll(" ", NO_BREAK);
}

/** Returns the options without a group, and the others by group, in the order of the command. */
function groupsOf({ options }: CommandSyntax): {
  readonly common: readonly Option[];
  readonly groups: readonly (readonly [title: string, options: readonly Option[]])[];
} {
  const grouped = Map.groupBy(options, ({ group }) => group);
  const groups = [...grouped].flatMap(([title, options]) => title === undefined ? [] : [[title, options] as const]);
  return { common: grouped.get(undefined) ?? [], groups };
}

function also({ alias }: CommandSyntax): string {
  return alias ? ` Also called ${alias}.` : "";
}

/** Returns an option's flags and the name of its value, or its choices if nothing else describes them. */
function flagsOf(option: Option): string {
  const value = option.meanings ? option.value : option.choices?.join("|") ?? option.value;
  return `${option.alias ? `-${option.alias}, ` : ""}--${option.name}${value ? ` ${value}` : ""}`;
}

/** Returns an option's flags and its choices. */
function namedOption({ name, choices, value }: Option): string {
  const words = choices?.join("|") ?? value;
  return `--${name}${words ? ` ${words}` : ""}`;
}

/** Returns an option's lines: its flags, its summary, and each choice with its meaning. */
function rowOf(option: Option, width: number): string {
  const { choices = [], meanings, summary, default: standard } = option;
  if (!meanings) {
    const suffix = standard ? ` (default: ${standard})` : "";
    return columns([[flagsOf(option), `${summary}${suffix}`]], width);
  }
  const margin = " ".repeat(width + 6);
  const choiceWidth = widthOf(choices);
  const lines = choices.map((choice) => {
    const suffix = choice === standard ? " (default)" : "";
    return `${margin}${choice.padEnd(choiceWidth)}  ${meanings[choice]}${suffix}\n`;
  });
  return `${columns([[flagsOf(option), `${summary}:`]], width)}${lines.join("")}`;
}

function widthOf(names: readonly string[]): number {
  return Math.max(...names.map((name) => name.length).filter((length) => length <= MAX_NAME_COLUMNS), 0);
}

function columns(
  rows: readonly (readonly [string, string])[],
  width: number = widthOf(rows.map(([name]) => name)),
): string {
  const indent = width + 4;
  return rows.map(([name, summary]) => {
    const isLong = name.length > width;
    const described = wrap(`${" ".repeat(indent)}${summary}`, { indent });
    return isLong ? `  ${name}\n${described}\n` : `  ${name.padEnd(width)}  ${described.slice(indent)}\n`;
  }).join("");
}

/** Breaks a line at spaces. The lines after the first are indented. */
function wrap(line: string, { indent }: { readonly indent: number }): string {
  const margin = " ".repeat(indent);
  const lines: string[] = [];
  let rest = line;
  while (rest.length > MAX_COLUMNS) {
    const end = rest.lastIndexOf(" ", MAX_COLUMNS);
    if (end <= indent) break; // a word that is too long
    lines.push(rest.slice(0, end));
    rest = `${margin}${rest.slice(end + 1)}`;
  }
  return [...lines, rest].join("\n").replaceAll(NO_BREAK, " ");
}

function examples(lines: readonly Example[], system: string): string {
  return lines.map(([line, why, onWindows = line]) => [system === "win32" ? onWindows : line, why] as const)
    .filter(([line]) => line !== "").map(([line, why]) => `  # ${why}\n  ${line}\n`).join("");
}

/** Returns the manual page, in the macros that groff and mandoc both know; `date` as in 2026-01-31. */
export function manualPage(
  groups: readonly CommandGroup[],
  { version, date }: { readonly version: string; readonly date: string },
): string {
  const commands = groups.flatMap((group) => group.commands);
  return [
    `.TH LATCHKEY 1 "${date}" ${quoted(`latchkey ${version}`)} "User Commands"`,
    ".SH NAME",
    "latchkey \\- Microsoft Entra ID tokens from the broker or the browser",
    ".SH SYNOPSIS",
    ...commands.flatMap(({ usage }, index) => [...index > 0 ? [".br"] : [], `.B latchkey\n${text(usage)}`]),
    ".SH DESCRIPTION",
    text(
      "latchkey gets Microsoft Entra ID access tokens for programs and scripts. It asks the authentication broker of the " +
        "device, without a prompt if possible. Without a broker, it signs in through the browser.",
    ),
    ".PP",
    text("Results go to standard output. Messages go to standard error and never contain a token."),
    ...groups.flatMap(({ title, commands }) => [
      `.SH ${quoted(title.toUpperCase())}`,
      ...commands.flatMap(commandLines),
    ]),
    ".SH ENVIRONMENT",
    text(
      "Each variable sets an option that is not on the command line. It overrides the profile. A switch takes yes or no.",
    ),
    ...variables(commands).flatMap(([variable, flag]) => [".TP", `.B ${text(variable)}`, `As ${bold(flag)}.`]),
    ".SH FILES",
    ".TP",
    ".I ~/.config/latchkey/config.json",
    text("Profiles: named sets of options, none of them secret."),
    ".TP",
    ".I ~/.local/state/latchkey",
    text("Sign-ins without a broker, encrypted."),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", `.B ${code}`, text(`${capitalized(meaning)}.`)]),
    ".SH SEE ALSO",
    ".BR az (1),",
    ".BR git\\-credential (1),",
    ".BR kubectl (1)",
    "",
  ].join("\n");
}

function commandLines(command: CommandSyntax): readonly string[] {
  const { name, summary, usage, examples } = command;
  const { common, groups } = groupsOf(command);
  return [
    `.SS ${quoted(`latchkey ${name}`)}`,
    text(`${summary}.${also(command)}`),
    ".PP",
    `.B latchkey\n${text(usage)}`,
    ...common.flatMap(optionLines),
    ...groups.flatMap(([title, options]) => [".PP", `.I ${quoted(title)}`, ...options.flatMap(optionLines)]),
    ...examples.flatMap(exampleLines),
  ];
}

function optionLines(option: Option): readonly string[] {
  const { choices = [], meanings, summary, default: standard } = option;
  const suffix = standard === undefined ? "" : ` Default: ${standard}.`;
  return [
    ".TP",
    flags(option),
    text(`${summary}.${suffix}`),
    ...meanings
      ? [".RS", ...choices.flatMap((choice) => [".TP", `.B ${inline(choice)}`, text(`${meanings[choice]}.`)]), ".RE"]
      : [],
  ];
}

function exampleLines([line, why]: Example): readonly string[] {
  return [".PP", text(`${why}:`), ".PP", ".nf", ".RS 4", verbatim(line), ".RE", ".fi"];
}

function flags(option: Option): string {
  const { name, alias } = option;
  return `${alias ? `${bold(`-${alias}`)}, ` : ""}${bold(`--${name}`)}${valueOf(option)}`;
}

/** Returns what follows an option's name: its choices, or the name of its value. */
function valueOf({ choices, value }: Option): string {
  if (choices) return ` ${choices.map(bold).join("|")}`;
  return value ? ` \\fI${inline(value)}\\fR` : "";
}

/** Returns the variables of the environment, and the options that they stand for. */
function variables(commands: readonly CommandSyntax[]): readonly (readonly [string, string])[] {
  const options = commands.flatMap((command) => command.options).filter(({ environment }) => environment !== false);
  return [...new Map(options.map((option) => [variableOf(option), `--${option.name}`]))];
}

function bold(words: string): string {
  return `\\fB${inline(words)}\\fR`;
}

function quoted(words: string): string {
  return `"${inline(words).replaceAll('"', '""')}"`;
}

/** Breaks text into lines. One that begins with a dot or an apostrophe would be a macro. */
function text(words: string): string {
  return inline(words).replaceAll(/(.{1,78})( +|$)/g, "$1\n").trimEnd().replaceAll(/^[.']/gm, "\\&$&");
}

/** Returns a line of a command, which must not be broken. */
function verbatim(line: string): string {
  return inline(line).replace(/^[.']/, "\\&$&");
}

function inline(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("~", "\\(ti").replaceAll("^", "\\(ha")
    .replaceAll("`", "\\(ga").replaceAll("'", "\\(aq");
}

export interface BuildFacts {
  /** The sources, a bundle of them for any machine with a runtime, or an executable with a runtime inside. */
  readonly kind: "source" | "bundle" | "executable";
  /** Target of an executable, as its compiler calls it; `null` for anything else. */
  readonly target: string | null;
  /** Commit that it was built from, with `-dirty` behind it if files had changed; `null` if unknown. */
  readonly commit: string | null;
}

/** Replaced by the bundler; undeclared in the sources. */
declare const LATCHKEY_BUILD: BuildFacts | undefined;

/** Not among the commands: its name is an option's, and `--format` is not read from the environment. */
const VERSION: CommandSyntax = {
  name: "--version",
  summary: "Show the version",
  usage: "--version [--format json]",
  operands: 0,
  options: [{ ...TEXT_FORMAT, environment: false }],
  examples: [["latchkey --version --format json", "Show the version, runtime and build for a bug report"]],
};

/** Prints the version; with `--format json` also the runtime and the build. */
export async function printVersion(words: readonly string[]): Promise<void> {
  const line = readCommandLine(VERSION, words);
  if (line.help) return print(helpOf(VERSION));
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  if (line.get(TEXT_FORMAT) === "text") return print(`latchkey ${version}\n`);
  const runtime = currentRuntime();
  const build: BuildFacts = typeof LATCHKEY_BUILD === "undefined" // only typeof can name what is undeclared
    ? { kind: "source", target: null, commit: null }
    : LATCHKEY_BUILD;
  const parser = "STAND_IN" in parseArgsModule ? "stand-in for @std/cli" : "@std/cli";
  const facts = { version, runtime: { name: runtime.name, version: runtime.version }, build, parser };
  print(`${JSON.stringify(facts, null, 2)}\n`);
}

/**
 * The help, the manual page and the version; `latchkey man`.
 *
 * @module
 */
import * as parseArgsModule from "@std/cli/parse-args";
import { systemWord } from "../../lib/hints.ts";
import { currentRuntime, operatingSystem } from "../../lib/runtime/host.ts";
import { type Command, type CommandGroup, readCommandLine, variableOf } from "./command_line.ts";
import { TEXT_FORMAT } from "./formats.ts";
import type { CommandSyntax, Option } from "./options.ts";
import { print } from "./output.ts";

export const command: Command = {
  name: "man",
  summary: "Print the manual page",
  usage: "man",
  operands: 0,
  options: [],
  examples: [
    ["latchkey man | man -l -", "to read it", ""],
    ["latchkey man > ~/.local/share/man/man1/latchkey.1", "to keep it, for man latchkey", ""],
  ],
  async run(_line, _signal, loadGroups) {
    const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
    print(manualPage(await loadGroups(), { version, date: new Date().toISOString().slice(0, 10) }));
  },
};

const OPTIONS = [
  ["-h, --help", "Show this help; after a command, show that command's help"],
  ["--version", "Show the version; with --format json also the runtime and the build"],
] as const;

const EXIT_CODES = [
  ["0", "done"],
  ["1", "refused or failed"],
  ["2", "wrong usage"],
  ["3", "sign-in required"],
  ["4", "cancelled or timed out"],
  ["5", "broker or network unavailable"],
] as const;

type Example = CommandSyntax["examples"][number];

/** First examples of `token` and `login`, repeated here so that --help loads neither. */
export const FIRST_EXAMPLES: readonly Example[] = [
  ["latchkey token --client-id azure-cli --resource https://management.azure.com", "only the token, for a script"],
  ["latchkey login --client-id azure-cli", "silently if a broker can, otherwise in a prompt or the browser"],
];

export function overview(
  groups: readonly { readonly title: string; readonly commands: readonly Pick<Command, "name" | "summary">[] }[],
  system: string = operatingSystem(),
): string {
  const width = widthOf(groups.flatMap(({ commands }) => commands.map(({ name }) => name)));
  const lists = groups.map(({ title, commands }) =>
    `${title}:\n${columns(commands.map(({ name, summary }) => [name, summary]), width)}`
  );
  return `latchkey gets Microsoft Entra ID tokens from the device's authentication broker, or through the browser if there is none.

Usage: latchkey COMMAND [options]

${lists.join("\n")}
Options:
${columns(OPTIONS)}
Examples:
${examples(FIRST_EXAMPLES, system)}
Options can also be set in the environment: LATCHKEY_CLIENT_ID for --client-id. Some can also come from a profile
(--profile NAME; if neither it nor --client-id is given, the profile named default). Profiles are in
latchkey/config.json, in your configuration folder (${systemWord("configFolder", system)}).
Exit codes: ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join(", ")}
`;
}

export function helpOf(command: CommandSyntax, system: string = operatingSystem()): string {
  return `${command.summary}.${also(command)}

Usage: latchkey ${command.usage}

Options:
${columns([...command.options.map(row), ["-h, --help", "Show this help"]])}
${examples(command.examples, system).replace(/^./, "Examples:\n$&")}`;
}

function also({ alias }: CommandSyntax): string {
  return alias ? ` Also called ${alias}.` : "";
}

function row(option: Option): [string, string] {
  const value = option.choices?.join("|") ?? option.value;
  const name = `${option.alias ? `-${option.alias}, ` : ""}--${option.name}${value ? ` ${value}` : ""}`;
  return [name, `${option.summary}${option.default ? ` (${option.default})` : ""}`];
}

function widthOf(names: readonly string[]): number {
  return Math.min(32, Math.max(...names.map((name) => name.length)));
}

function columns(
  rows: readonly (readonly [string, string])[],
  width: number = widthOf(rows.map(([name]) => name)),
): string {
  return rows.map(([name, summary]) =>
    name.length > width ? `  ${name}\n  ${" ".repeat(width)}  ${summary}\n` : `  ${name.padEnd(width)}  ${summary}\n`
  ).join("");
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
      "latchkey gets access tokens for programs and for people at a shell: from the authentication broker of the device, " +
        "if there is one, without a window if that is possible; else through a sign-in in the browser.",
    ),
    ".PP",
    text("Results go to standard output; messages go to standard error, and never have a token in them."),
    ...groups.flatMap(({ title, commands }) => [
      `.SH ${quoted(title.toUpperCase())}`,
      ...commands.flatMap(commandLines),
    ]),
    ".SH ENVIRONMENT",
    text(
      "Each variable sets an option that is not on the command line, and overrides the profile. A switch takes yes or no.",
    ),
    ...variables(commands).flatMap(([variable, flag]) => [".TP", `.B ${text(variable)}`, `As ${bold(flag)}.`]),
    ".SH FILES",
    ".TP",
    ".I ~/.config/latchkey/config.json",
    text("Profiles: options under a name. None is secret."),
    ".TP",
    ".I ~/.local/state/latchkey",
    text("Sign-ins without a broker, encrypted."),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", `.B ${code}`, text(`${capital(meaning)}.`)]),
    ".SH SEE ALSO",
    ".BR az (1),",
    ".BR git\\-credential (1),",
    ".BR kubectl (1)",
    "",
  ].join("\n");
}

function commandLines(command: CommandSyntax): readonly string[] {
  const { name, summary, usage, options, examples } = command;
  return [
    `.SS ${quoted(`latchkey ${name}`)}`,
    text(`${summary}.${also(command)}`),
    ".PP",
    `.B latchkey\n${text(usage)}`,
    ...options.flatMap((option) => {
      const standard = option.default === undefined ? "" : ` Default: ${option.default}.`;
      return [".TP", flags(option), text(`${option.summary}.${standard}`)];
    }),
    ...examples.flatMap(exampleLines),
  ];
}

function exampleLines([line, why]: Example): readonly string[] {
  return [".PP", text(`${capital(why)}:`), ".PP", ".nf", ".RS 4", verbatim(line), ".RE", ".fi"];
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

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
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
  examples: [["latchkey --version --format json", "runtime and build as well, for a bug report"]],
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

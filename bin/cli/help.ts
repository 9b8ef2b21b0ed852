/**
 * The help, from the table of commands.
 *
 * @module
 */
import { currentRuntime } from "../../lib/runtime/host.ts";
import { write } from "../../lib/runtime/program.ts";
import { readCommandLine, variableOf } from "./command_line.ts";
import { COMMAND_GROUPS, type CommandGroup } from "./commands.ts";
import { type Command, type Option, TEXT_FORMAT } from "./options.ts";

/** So many commands have an example in the overview: the first ones, which are what most people come for. */
const OVERVIEW_EXAMPLES = 2;

/** Options that stand where a command does. */
const OPTIONS = [
  ["-h, --help", "Show this help; after a command, the command's"],
  ["--version", "Show the version; with --format json also what runs it, and its build"],
] as const;

/** What `latchkey --help` prints. */
export function overview(): string {
  const commands = COMMAND_GROUPS.flatMap((group) => group.commands);
  const width = widthOf(commands.map(({ name }) => name));
  const groups = COMMAND_GROUPS.map(({ title, commands }) =>
    `${title}:\n${columns(commands.map(({ name, summary }) => [name, summary]), width)}`
  );
  return `latchkey gets Microsoft Entra ID tokens from the device's authentication broker, or by the browser where there is none.

Usage: latchkey COMMAND [options]

${groups.join("\n")}
Options:
${columns(OPTIONS)}
Examples:
${examples(commands.slice(0, OVERVIEW_EXAMPLES).flatMap((command) => command.examples.slice(0, 1)))}
Options have names in the environment as well: LATCHKEY_CLIENT_ID for --client-id. What neither says is taken from the
profile (--profile NAME, else the one named default where there is no --client-id), a few options under a name in
latchkey/config.json, in the folder of the person's settings (~/.config).
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 a person is needed, 4 cancelled or timed out,
5 broker or network unavailable.
`;
}

/** What `latchkey COMMAND --help` prints. */
export function helpOf(command: Command): string {
  return `${command.summary}.

Usage: latchkey ${command.usage}

Options:
${columns([...command.options.map(row), ["-h, --help", "Show this help"]])}
Examples:
${examples(command.examples)}`;
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

function examples(lines: readonly (readonly [string, string])[]): string {
  return lines.map(([line, why]) => `  # ${why}\n  ${line}\n`).join("");
}

/** Prints it. */
export async function printManual(): Promise<void> {
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  write("stdout", manualPage(COMMAND_GROUPS, { version, date: new Date().toISOString().slice(0, 10) }));
}

/**
 * The manual page for `man`, in the macros that groff and mandoc both know.
 *
 * @param groups The commands.
 * @param options `version`: that of latchkey; `date`: when the page was made, as in 2026-01-31.
 */
export function manualPage(
  groups: readonly CommandGroup[],
  { version, date }: { readonly version: string; readonly date: string },
): string {
  const commands = groups.flatMap((group) => group.commands);
  return [
    `.TH LATCHKEY 1 "${date}" ${quoted(`latchkey ${version}`)} "User Commands"`,
    ".SH NAME",
    "latchkey \\- Microsoft Entra ID tokens from the broker, or by the browser",
    ".SH SYNOPSIS",
    ...commands.flatMap(({ usage }, index) => [...index > 0 ? [".br"] : [], `.B latchkey\n${text(usage)}`]),
    ".SH DESCRIPTION",
    text(
      "latchkey gets access tokens for programs and for people at a shell: from the authentication broker of the device, " +
        "where there is one, without a window if that is possible; else by a sign-in in the browser.",
    ),
    ".PP",
    text(
      "Standard output has the answer alone; all that is for people goes to standard error, and never has a token in it.",
    ),
    ...groups.flatMap(({ title, commands }) => [
      `.SH ${quoted(title.toUpperCase())}`,
      ...commands.flatMap(commandLines),
    ]),
    ".SH ENVIRONMENT",
    text("Where the command line does not say, these do; the profile comes after them. A switch takes yes or no."),
    ...variables(commands).flatMap(([variable, flag]) => [".TP", `.B ${text(variable)}`, `As ${bold(flag)}.`]),
    ".SH FILES",
    ".TP",
    ".I ~/.config/latchkey/config.json",
    text("Profiles: options under a name. None is secret."),
    ".TP",
    ".I ~/.local/state/latchkey",
    text("Sign-ins that came without a broker, encrypted."),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", `.B ${code}`, text(meaning)]),
    ".SH SEE ALSO",
    ".BR az (1),",
    ".BR git\\-credential (1),",
    ".BR kubectl (1)",
    "",
  ].join("\n");
}

const EXIT_CODES: readonly (readonly [string, string])[] = [
  ["0", "Done."],
  ["1", "Refused, or failed."],
  ["2", "Wrong usage."],
  ["3", "A person is needed."],
  ["4", "Cancelled, or timed out."],
  ["5", "The broker or the network is unavailable."],
];

function commandLines({ name, summary, usage, options, examples }: Command): readonly string[] {
  return [
    `.SS ${quoted(`latchkey ${name}`)}`,
    text(`${summary}.`),
    ".PP",
    `.B latchkey\n${text(usage)}`,
    ...options.flatMap((option) => [".TP", flags(option), text(`${option.summary}.${defaultOf(option)}`)]),
    ...examples.flatMap((
      [line, why],
    ) => [".PP", text(`${capital(why)}:`), ".PP", ".nf", ".RS 4", verbatim(line), ".RE", ".fi"]),
  ];
}

function flags({ name, alias, choices, value }: Option): string {
  const meta = choices ? ` ${choices.map(bold).join("|")}` : value ? ` \\fI${inline(value)}\\fR` : "";
  return `${alias ? `${bold(`-${alias}`)}, ` : ""}${bold(`--${name}`)}${meta}`;
}

function defaultOf({ default: value }: Option): string {
  return value === undefined ? "" : ` Default: ${value}.`;
}

/** The variables of the environment, and the options that they stand for. */
function variables(commands: readonly Command[]): readonly (readonly [string, string])[] {
  const options = commands.flatMap((command) => command.options).filter(({ environment }) => environment !== false);
  return [...new Map(options.map((option) => [variableOf(option), `--${option.name}`]))];
}

function bold(words: string): string {
  return `\\fB${inline(words)}\\fR`;
}

/** An argument of a macro. */
function quoted(words: string): string {
  return `"${inline(words).replaceAll('"', '""')}"`;
}

/** Text in lines that are not too long: one that begins with a dot or an apostrophe would be a macro. */
function text(words: string): string {
  return inline(words).replaceAll(/(.{1,78})( +|$)/g, "$1\n").trimEnd().replaceAll(/^[.']/gm, "\\&$&");
}

/** A line of a command, which may not be broken. */
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

/** What a build says of itself. */
export interface BuildFacts {
  /** The sources, a bundle of them for any machine that has a runtime, or an executable with a runtime inside. */
  readonly kind: "source" | "bundle" | "executable";
  /** Which machines an executable is for, as its compiler calls them; `null` for what is no executable. */
  readonly target: string | null;
  /** Commit that it was made from, with `-dirty` behind it where files had been changed; `null` where that is not known. */
  readonly commit: string | null;
}

/** A bundler puts the facts in place of this name; the sources have none. */
declare const LATCHKEY_BUILD: BuildFacts | undefined;

/** What the running program was built as. */
function buildFacts(): BuildFacts {
  // A name that nothing stands for may be asked for its type alone.
  return typeof LATCHKEY_BUILD === "undefined" ? { kind: "source", target: null, commit: null } : LATCHKEY_BUILD;
}

/** Not among the commands: it is called like an option, and its only option is of no use in the environment. */
const VERSION: Command = {
  name: "--version",
  summary: "Show the version",
  usage: "--version [--format json]",
  operands: 0,
  options: [{ ...TEXT_FORMAT, environment: false }],
  examples: [["latchkey --version --format json", "what runs it, and what it was built from, for a report"]],
};

/** Prints the version; with `--format json` also what runs the program, and what it was built from. */
export async function printVersion(words: readonly string[]): Promise<void> {
  const line = readCommandLine(VERSION, words);
  if (line.help) return write("stdout", helpOf(VERSION));
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  if (line.text("format") === "text") return write("stdout", `latchkey ${version}\n`);
  const { name, version: runtimeVersion } = currentRuntime();
  const facts = { version, runtime: { name, version: runtimeVersion }, build: buildFacts() };
  write("stdout", `${JSON.stringify(facts, null, 2)}\n`);
}

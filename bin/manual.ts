/**
 * `latchkey man`: the manual page, from the table of commands.
 *
 * @module
 */
import { write } from "../lib/platform/program.ts";
import type { Command } from "./command.ts";
import { variableOf } from "./command_line.ts";
import type { Option } from "./command_options.ts";
import { COMMAND_GROUPS, type CommandGroup } from "./command_table.ts";

/** Prints it. */
export async function printManual(): Promise<void> {
  const { default: { version } } = await import("../deno.json", { with: { type: "json" } });
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

/**
 * The help, from the table of commands.
 *
 * @module
 */
import type { Option } from "./command_options.ts";
import type { Command } from "./command.ts";
import { COMMAND_GROUPS } from "./command_table.ts";

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

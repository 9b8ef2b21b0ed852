/**
 * The help, from the table of commands.
 *
 * @module
 */
import type { Option } from "./command_options.ts";
import type { Command } from "./command.ts";
import { COMMANDS, CONFIG_FILE_COMMAND } from "./command_table.ts";

/** What `latchkey --help` prints. */
export function overview(): string {
  const commands = [...COMMANDS, CONFIG_FILE_COMMAND];
  return `latchkey gets Microsoft Entra ID tokens from the device's authentication broker, or by the browser where there is none.

Usage: latchkey COMMAND [options]

Commands:
${columns(commands.map(({ name, summary }) => [name, summary]))}
Options:
${columns([["-h, --help", "Show this help; after a command, the command's"], ["--version", "Show the version"]])}
Examples:
${examples([...commands.flatMap((command) => command.examples.slice(0, 1))])}
Options have their names in the environment as well, LATCHKEY_CLIENT_ID for --client-id, but for --url and what is to be
said each time: --yes-print-secret, and the options of browser-host --install. What neither says is taken from the profile
(--profile NAME, else the one named default where there is no --client-id), a few options under a name in
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

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(32, Math.max(...rows.map(([name]) => name.length)));
  return rows.map(([name, summary]) =>
    name.length > width ? `  ${name}\n  ${" ".repeat(width)}  ${summary}\n` : `  ${name.padEnd(width)}  ${summary}\n`
  ).join("");
}

function examples(lines: readonly (readonly [string, string])[]): string {
  return lines.map(([line, why]) => `  # ${why}\n  ${line}\n`).join("");
}

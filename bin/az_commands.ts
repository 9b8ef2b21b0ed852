/**
 * What latchkey answers of Azure CLI's commands, as Azure CLI has them.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { type CommandLine, readCommandLine, UsageError } from "./command_line.ts";
import type { Option } from "./command_options.ts";
import { visible, visibleJson } from "./visible.ts";

/** A call of `az`, read. */
export interface AzCall {
  readonly name: "account get-access-token" | "account show" | "login" | "version" | "--version";
  readonly line: CommandLine;
}

/** What Azure CLI has for all commands. What it is told to say besides, it is not told here. */
const EVERYWHERE: readonly Option[] = ["only-show-errors", "verbose", "debug"].map((name) => ({
  name,
  kind: "switch",
  environment: false,
  summary: "Taken, and without effect",
}));
const OUTPUT: readonly Option[] = [
  text("output", "How to print it", { alias: "o", choices: ["json", "jsonc", "tsv", "none"], default: "json" }),
  text("query", "Print one value alone", { value: "KEY" }),
  ...EVERYWHERE,
];
const SUBSCRIPTION = text("subscription", "Subscription that is meant", { alias: "s", value: "ID" });
const TENANT = text("tenant", "Tenant to ask", { alias: "t", value: "TENANT" });
const SCOPE: Option = {
  name: "scope",
  kind: "list",
  value: "SCOPE",
  environment: false,
  summary: "What the token is for",
};

const COMMANDS: readonly (Command & Pick<AzCall, "name">)[] = [
  command("account get-access-token", "Print a token", [
    text("resource", "What the token is for", { value: "URL" }),
    SCOPE,
    TENANT,
    SUBSCRIPTION,
    ...OUTPUT,
  ]),
  command("account show", "Print whose tokens there are", [SUBSCRIPTION, ...OUTPUT]),
  command("login", "Sign a person in, as latchkey login does", [
    TENANT,
    SCOPE,
    text("claims-challenge", "Answer a claims challenge", { value: "BASE64" }),
    { name: "use-device-code", kind: "switch", environment: false, summary: "Sign in on another device" },
    { name: "allow-no-subscriptions", kind: "switch", environment: false, summary: "Taken, and without effect" },
    ...EVERYWHERE,
  ]),
  command("version", "Print the version of Azure CLI that this answers as", OUTPUT),
  command("--version", "The same, for people", []),
];

function command(name: AzCall["name"], summary: string, options: readonly Option[]): Command & Pick<AzCall, "name"> {
  return { name, summary, options, usage: `az -- ${name} [options]`, operands: 0, examples: [] };
}

function text(name: string, summary: string, more: Partial<Option>): Option {
  return { name, summary, kind: "text", environment: false, fromProfile: false, ...more };
}

/**
 * Reads a call of `az`.
 *
 * @param words What follows `az`.
 * @returns The call; the help of its command where that is asked for.
 * @throws {UsageError} for what Azure CLI itself is needed for.
 */
export function readAzCall(words: readonly string[]): AzCall | Command {
  const end = words.findIndex((word) => word.startsWith("-")), [first] = words;
  const name = first === "-v" || first === "--version"
    ? "--version"
    : words.slice(0, end === -1 ? undefined : end).join(" ");
  const command = COMMANDS.find((each) => each.name === name);
  if (!command) {
    const known = COMMANDS.map(({ name }) => `az ${name}`).join(", ");
    throw new UsageError(
      `latchkey answers ${known}; for ${JSON.stringify(`az ${name}`.trim())} Azure CLI itself is needed`,
    );
  }
  const count = name === "--version" ? 1 : name.split(" ").length;
  const line = readCommandLine(command, words.slice(count));
  return line.help ? command : { name: command.name, line };
}

/**
 * An answer as `--output` and `--query` want it.
 *
 * @throws {UsageError} for a query that is more than a key, and several values where one is to be printed.
 */
export function azOutput(answer: unknown, line: CommandLine): string {
  const query = line.text("query"), output = line.text("output");
  if (query !== undefined && !/^\w+(\.\w+)*$/.test(query)) {
    throw new UsageError(`--query takes a key such as accessToken or user.name, not ${JSON.stringify(query)}`);
  }
  const value = (query?.split(".") ?? []).reduce<unknown>(valueAt, answer);
  if (output === "none" || value === undefined) return "";
  if (output !== "tsv") return `${visibleJson(value)}\n`;
  if (typeof value === "object") throw new UsageError("--output tsv prints one value: add --query KEY");
  return `${visible(String(value))}\n`;
}

function valueAt(value: unknown, key: string): unknown {
  const isThere = typeof value === "object" && value !== null && Object.hasOwn(value, key);
  return isThere ? (value as Record<string, unknown>)[key] : undefined;
}

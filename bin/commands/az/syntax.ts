/**
 * The commands of Azure CLI that latchkey answers, and their words as Azure CLI reads them (Python's argparse): options may be
 * shortened (`--out`), and values follow a letter directly (`-ojson`).
 *
 * @module
 */
import { type CommandLine, optionWords, readCommandLine, UsageError } from "../../cli/command_line.ts";
import { nearestName } from "../../../lib/encoding.ts";
import type { CommandSyntax, Option } from "../../cli/options.ts";
import { RESOURCE_TYPES } from "./clouds.ts";

/** An option of Azure CLI. */
interface AzOption extends Option {
  /** Other names of it: long ones, and letters. */
  readonly also?: readonly string[];
}

const OUTPUT_FORMATS = ["json", "jsonc", "yaml", "yamlc", "table", "tsv", "none"] as const;

const text = (name: string, summary: string, more: Partial<AzOption> = {}): AzOption => ({
  ...{ kind: "text", name, summary, environment: false, value: name.toUpperCase() },
  ...more,
});
const list = (name: string, summary: string, more: Partial<AzOption> = {}): AzOption =>
  text(name, summary, { ...more, kind: "list" });
const flag = (name: string, summary: string, more: Partial<AzOption> = {}): AzOption => ({
  kind: "switch",
  name,
  summary,
  environment: false,
  ...more,
});
const ignored = (name: string) => flag(name, "No effect");
const ignoredText = (name: string, more: Partial<AzOption> = {}) => text(name, "No effect", more);

/** Options that Azure CLI has for all commands. */
const GLOBAL: readonly AzOption[] = [
  text("output", "Output format", { alias: "o", choices: OUTPUT_FORMATS, default: "json" }),
  text("query", "Print only what this JMESPath query selects", { value: "JMESPATH" }),
  ...["only-show-errors", "verbose", "debug"].map((name) => ignored(name)),
];

const SUBSCRIPTION = text("subscription", "Name or id of a subscription", {
  alias: "s",
  also: ["name", "n"],
  value: "NAME_OR_ID",
});
const TENANT = text("tenant", "Tenant to ask", { alias: "t" });
const SCOPE = list("scope", "Scope of the token");
const NAME = text("name", "Name", { alias: "n" });
/** Commands that need no subscription accept one. */
const ANY_SUBSCRIPTION = ignoredText("subscription", { value: "NAME_OR_ID" });
/** Options of `az login` for sign-ins that are not a person's. latchkey refuses them. */
export const OTHER_SIGN_INS: readonly AzOption[] = [
  text("username", "Sign in with a password", { alias: "u" }),
  text("password", "Password or secret of a service principal", { alias: "p" }),
  flag("service-principal", "Sign in as a service principal"),
  text("certificate", "Certificate of a service principal"),
  flag("use-cert-sn-issuer", "Certificates by subject name and issuer"),
  text("federated-token", "Assertion of a service principal"),
  flag("identity", "Sign in as a managed identity", { alias: "i" }),
  text("client-id", "Client id of a managed identity"),
  text("object-id", "Object id of a managed identity"),
  text("resource-id", "Resource id of a managed identity"),
].map((option) => ({ ...option, summary: `${option.summary} (requires Azure CLI itself)` }));

/** Names of the commands. */
type AzName =
  | "account clear"
  | "account get-access-token"
  | "account list"
  | "account set"
  | "account show"
  | "ad signed-in-user show"
  | "cloud list"
  | "cloud set"
  | "cloud show"
  | "config get"
  | "config set"
  | "config unset"
  | "configure"
  | "extension list"
  | "login"
  | "logout"
  | "version"
  | "--version";

const COMMANDS: readonly AzCommand[] = [
  az("account clear", "Sign all accounts out of the app", []),
  az("account get-access-token", "Print a token", [
    text("resource", "Resource of the token", { value: "URL" }),
    text("resource-type", "Kind of the resource", { choices: RESOURCE_TYPES }),
    SCOPE,
    TENANT,
    SUBSCRIPTION,
  ]),
  az("account list", "Print the subscriptions", [
    flag("all", "Also print disabled subscriptions"),
    flag("refresh", "Ask Azure Resource Manager again"),
  ]),
  az("account set", "Choose the subscription that account show prints", [SUBSCRIPTION], { required: "subscription" }),
  az("account show", "Print the account and its subscription", [SUBSCRIPTION]),
  az("ad signed-in-user show", "Print the user from Microsoft Graph", [ANY_SUBSCRIPTION]),
  az("cloud list", "Print the clouds", [ignored("all"), ANY_SUBSCRIPTION]),
  az("cloud set", "Accept the cloud of the authority", [NAME, ignoredText("profile"), ANY_SUBSCRIPTION], {
    required: "name",
  }),
  az("cloud show", "Print a cloud", [NAME, ANY_SUBSCRIPTION]),
  az("config get", "Print the configuration: it is empty", [ignored("local"), ANY_SUBSCRIPTION], { operands: 1 }),
  az("config set", "Accept settings that change nothing here", [ignored("local"), ANY_SUBSCRIPTION], {
    operands: Infinity,
    least: 1,
  }),
  az("config unset", "Accept settings that change nothing here", [ignored("local"), ANY_SUBSCRIPTION], {
    operands: Infinity,
    least: 1,
  }),
  az("configure", "Accept defaults, which change nothing here", [
    list("defaults", "No effect", { alias: "d" }),
    flag("list-defaults", "Print the defaults: there are none", { alias: "l" }),
    ignoredText("scope"),
    ANY_SUBSCRIPTION,
  ]),
  az("extension list", "Print the extensions: there are none", [ANY_SUBSCRIPTION]),
  az("login", "Sign in, as latchkey login does", [
    TENANT,
    SCOPE,
    text("claims-challenge", "Claims challenge", { value: "BASE64" }),
    flag("use-device-code", "Sign in on another device"),
    { ...SUBSCRIPTION, also: [], summary: "Name or id of the subscription to choose" },
    ignored("allow-no-subscriptions"),
    flag("skip-subscription-discovery", "Do not ask Azure Resource Manager for subscriptions", { also: ["skip-sub"] }),
    ...OTHER_SIGN_INS,
  ]),
  az("logout", "Sign an account out of the app", [text("username", "User name of the account")]),
  az("version", "Print the version of Azure CLI that latchkey stands in for", [ANY_SUBSCRIPTION]),
  az("--version", "Print the version as text", []),
];

/** A command of Azure CLI. */
interface AzCommand extends CommandSyntax {
  readonly name: AzName;
  readonly options: readonly AzOption[];
  /** Name of the option that it needs. */
  readonly required?: string;
  /** The least number of arguments beside options. @default 0 */
  readonly least?: number;
}

/** A call of `az`. */
export interface AzCall {
  readonly name: AzName;
  readonly line: CommandLine;
}

function az(
  name: AzName,
  summary: string,
  options: readonly AzOption[],
  more: { readonly operands?: number; readonly least?: number; readonly required?: string } = {},
): AzCommand {
  const operand = more.operands ? " [KEY...]" : "";
  const usage = `az -- ${name}${operand} [options]`;
  return { name, summary, options: [...options, ...GLOBAL], usage, operands: 0, examples: [], ...more };
}

/**
 * Reads the words after `az`: a call, or the command whose help is requested.
 *
 * @throws {UsageError} if Azure CLI would not take them, or if it is needed itself.
 */
export function readAzCall(words: readonly string[]): AzCall | CommandSyntax | string {
  const [first = ""] = words;
  const end = words.findIndex((word) => word.startsWith("-"));
  const given = words.slice(0, end === -1 ? undefined : end);
  // Arguments beside options follow the name of a command: the longest name counts.
  const names = given.map((_, index) => given.slice(0, index + 1).join(" ")).reverse();
  const name = ["-v", "--version"].includes(first)
    ? "--version"
    : names.find((name) => COMMANDS.some((each) => each.name === name));
  const called = COMMANDS.find((each) => each.name === name);
  if (!called) return groupHelp(given.join(" "), words) ?? notAnswered(given.join(" "));
  const line = readCommandLine(called, readWords(called, words.slice(called.name.split(" ").length)));
  if (line.help) return called;
  const { required, least = 0 } = called;
  if (required !== undefined && line.text(required) === undefined) {
    throw new UsageError(`the following arguments are required: --${required}`);
  }
  if (line.operands.length < least) throw new UsageError(`the following arguments are required: KEY`);
  return { name: called.name, line };
}

/** Returns the help of a group of commands, which `az` shows without any words, too. */
function groupHelp(group: string, words: readonly string[]): string | undefined {
  const commands = COMMANDS.filter(({ name }) => group === "" || name.startsWith(`${group} `));
  const isAsked = words.length === 0 || words.some((word) => ["-h", "--help"].includes(word));
  if (commands.length === 0 || !isAsked) return undefined;
  const width = Math.max(...commands.map(({ name }) => name.length));
  const rows = commands.map(({ name, summary }) => `  az ${name.padEnd(width)}  ${summary}\n`);
  return `Commands of Azure CLI that latchkey supports:\n${rows.join("")}`;
}

function notAnswered(name: string): never {
  const names = COMMANDS.map(({ name }) => name);
  const known = names.map((each) => `az ${each}`).join(", ");
  const nearest = nearestName(name, names);
  const meant = nearest === undefined ? "" : ` (did you mean az ${nearest}?)`;
  throw new UsageError(
    `${JSON.stringify(`az ${name}`.trim())} needs Azure CLI itself${meant}; latchkey answers ${known}`,
  );
}

const HELP: AzOption = flag("help", "Show the help", { alias: "h" });

/** Returns the words as latchkey's own reader takes them: `--name=value`, and `--` before arguments that are no options. */
function readWords(command: AzCommand, words: readonly string[]): readonly string[] {
  const options = [...command.options, HELP];
  const before = optionWords(words);
  const read: string[] = [];
  const operands: string[] = [];
  const unknown: string[] = [];
  for (let at = 0; at < before.length; at++) {
    const word = before[at]!;
    const found = optionOf(word, options);
    if (found) {
      const values = valuesAfter(found, before.slice(at + 1));
      read.push(...readOption(found, values));
      at += values.length;
    } else if (isOption(word) || operands.length >= command.operands) {
      unknown.push(word);
    } else {
      operands.push(word);
    }
  }
  operands.push(...words.slice(before.length + 1));
  if (unknown.length > 0) throw new UsageError(`unrecognized arguments: ${unknown.join(" ")}`);
  return [...read, ...operands];
}

function isOption(word: string): boolean {
  return /^-[^\s]+$/.test(word);
}

/** Returns those of the following words that are values of an option. */
function valuesAfter({ option, attached }: NamedOption, words: readonly string[]): readonly string[] {
  if (option.kind === "switch" || attached !== undefined) return [];
  const end = words.findIndex(isOption);
  const values = end === -1 ? words : words.slice(0, end);
  return option.kind === "list" ? values : values.slice(0, 1);
}

/** Returns an option and its values as latchkey's own reader takes them. */
function readOption({ word, option, attached }: NamedOption, following: readonly string[]): readonly string[] {
  const name = `--${option.name}`;
  if (option.kind === "switch") {
    if (attached !== undefined) throw new UsageError(`argument ${word}: it takes no value`);
    return [name];
  }
  const values = attached === undefined ? following : [attached];
  if (values.length === 0 && option.kind !== "list") throw new UsageError(`argument ${name}: expected one argument`);
  // Scripts pass variables that may be empty. An empty query is a mistake.
  const isGiven = (value: string) => value !== "" || option.name === "query";
  // Azure CLI compares such values without case.
  const written = option.choices ? values.map((value) => value.toLowerCase()) : values;
  return written.filter(isGiven).map((value) => `${name}=${value}`);
}

/** An option as a word names it. */
interface NamedOption {
  readonly word: string;
  readonly option: AzOption;
  /** Its value, if it is part of the word. */
  readonly attached: string | undefined;
}

/** Finds the option that a word names, by a beginning that only it has, and the value that is part of the word. */
function optionOf(word: string, options: readonly AzOption[]): NamedOption | undefined {
  const letter = /^-([^-])(=?)(.*)$/s.exec(word);
  const long = /^--([^=]+)(?:=(.*))?$/s.exec(word);
  const namesOf = ({ name, alias, also = [] }: AzOption) => [name, ...(alias ? [alias] : []), ...also];
  if (letter) {
    const option = options.find((each) => namesOf(each).includes(letter[1]!));
    return option && { word, option, attached: letter[2] || letter[3] ? letter[3] : undefined };
  }
  if (!long) return undefined;
  const [, given = "", attached] = long;
  const longNames = (each: AzOption) => namesOf(each).filter(({ length }) => length > 1);
  const exact = options.find((each) => longNames(each).includes(given));
  const alike = options.filter((each) => longNames(each).some((name) => name.startsWith(given)));
  if (!exact && alike.length > 1) {
    const could = alike.map(({ name }) => `--${name}`).join(", ");
    throw new UsageError(`ambiguous option: ${word} could match ${could}`);
  }
  const option = exact ?? alike[0];
  return option && { word, option, attached };
}

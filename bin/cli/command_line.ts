/**
 * Command lines read against the table of commands.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { readEnvironment } from "../../lib/runtime/host.ts";
import { COMMANDS, CONFIG_FILE_COMMAND } from "./commands.ts";
import type { Command, Option } from "./options.ts";

/** A command line that cannot be meant. Its message is for people. */
export class UsageError extends Error {
  /** Always `UsageError`. */
  override readonly name = "UsageError";
}

/** Where a value can be said, the nearest first: what is nearer counts. */
const ORIGINS = ["command line", "environment", "profile", "default"] as const;

/** Where a value was said. */
type Origin = (typeof ORIGINS)[number];

/** Values that a profile gives to options. */
export interface ProfileValues {
  /** The profile's name. */
  readonly name: string;
  /** Values by the options' names. */
  readonly values: Readonly<Record<string, string>>;
}

/** A command line that was read. */
export interface CommandLine {
  /** UUID of what the command asks for, in the logs of the broker and the server. */
  readonly correlationId: string;
  /** Whether the help was asked for. */
  readonly help: boolean;
  /** Name of the profile that it was read with. */
  readonly profile: string | undefined;
  /** Why no profile could be read, to the command that goes on without. */
  readonly profileProblem?: Error | undefined;
  /** Arguments beside options. */
  readonly operands: readonly string[];
  /** Value of a `text` option. */
  text(name: string): string | undefined;
  /** Values of a `list` option. */
  list(name: string): readonly string[];
  /** Whether a `switch` is on. */
  isOn(name: string): boolean;
  /** How often a `count` was given. */
  count(name: string): number;
  /** Value of a `seconds` option. */
  seconds(name: string): number | undefined;
  /** Where an option's value was said; `undefined` when it was nowhere. */
  origin(name: string): Origin | undefined;
  /** Of options that take the place of one another, those whose values were said nearest. */
  nearest(...names: readonly string[]): readonly string[];
}

const HELP: Option = { name: "help", alias: "h", kind: "switch", environment: false, summary: "Show this help" };

/**
 * Reads a command line. What it does not have is taken from the environment, then from a profile, then from the table's
 * defaults.
 *
 * @param command The command.
 * @param words What follows the command's name.
 * @param profile The profile. @default none
 * @throws {UsageError} for an option that the command does not have, a value that it does not take, a missing value.
 */
export function readCommandLine(command: Command, words: readonly string[], profile?: ProfileValues): CommandLine {
  const options = [...command.options, HELP], settled = settleSwitches(words, options);
  const ofKind = (...kinds: Option["kind"][]) =>
    options.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  // A lone `--` ends the options; what follows it is operands.
  const parsed: Record<string, unknown> & { _: readonly unknown[]; "--"?: readonly string[] } = parseArgs(
    [...settled],
    {
      "--": command.wraps ?? false,
      string: ["_", ...ofKind("text", "list", "seconds")],
      boolean: ofKind("switch", "count"),
      collect: ofKind("list", "count"),
      alias: Object.fromEntries(options.flatMap(({ name, alias }) => alias ? [[name, alias]] : [])),
    },
  );
  const names = new Set(options.flatMap(({ name, alias = name }) => [name, alias]));
  for (const key of Object.keys(parsed)) {
    const why = Object.hasOwn(command.unlike ?? {}, key) ? command.unlike![key] : undefined;
    if (why !== undefined) throw new UsageError(`latchkey ${command.name} has no --${key}: ${why}`);
    if (key !== "_" && key !== "--" && !names.has(key)) {
      throw unknown(
        `option ${key.length === 1 ? "-" : "--"}${key}`,
        key,
        ofKind("text", "list", "switch", "count", "seconds"),
        "--",
      );
    }
  }
  // A switch that is not there is off, to the parser.
  const givenOf = ({ kind, name }: Option) =>
    kind === "switch" && !isSaid(settled, name) ? parsed[name] || undefined : parsed[name];
  const read = new Map(options.map((option) => [option.name, readOption(option, givenOf(option), profile)]));
  if (command.wraps && parsed._.length > 0) {
    throw new UsageError(`What ${command.name} is to run comes after "--", unlike ${JSON.stringify(parsed._[0])}`);
  }
  const operands = [...parsed._.map(String), ...parsed["--"] ?? []];
  if (operands.length > command.operands) {
    throw new UsageError(`${JSON.stringify(operands[command.operands])} is not an option of ${command.name}`);
  }
  const value = <T>(name: string) => read.get(name)?.value as T, origin = (name: string) => read.get(name)?.origin;
  return {
    correlationId: crypto.randomUUID(),
    help: value<boolean>("help"),
    profile: profile?.name,
    operands,
    text: value,
    list: value,
    isOn: value,
    count: value,
    seconds: value,
    origin,
    nearest: (...names) => {
      const nearest = ORIGINS.find((each) => names.some((name) => origin(name) === each));
      return nearest === undefined ? [] : names.filter((name) => origin(name) === nearest);
    },
  };
}

/**
 * The words with each `--switch=value` as the parser knows it, to which all is yes but `false`. No option takes a word that
 * begins with dashes for its value, so that such a word is never another option's.
 *
 * @throws {UsageError} for a value that is neither yes nor no, or no number of times.
 */
function settleSwitches(words: readonly string[], options: readonly Option[]): readonly string[] {
  return [
    ...optionWords(words).flatMap((word) => {
      const [, name, value] = /^--([^=]+)=(.*)$/s.exec(word) ?? [];
      const option = options.find((option) => option.name === name);
      if (option?.kind === "switch") return [`--${name}=${isYes(`--${name}`, value)}`];
      if (option?.kind !== "count") return [word];
      const times = readTimes(`--${name}`, value!);
      return times === 0 ? [`--${name}=false`] : Array<string>(times).fill(`--${name}`);
    }),
    ...words.slice(optionWords(words).length),
  ];
}

/** Whether a command line has an option by its name. */
function isSaid(words: readonly string[], name: string): boolean {
  return optionWords(words).some((word) => word === `--${name}` || word.startsWith(`--${name}=`));
}

/** What comes before a lone `--`. */
export function optionWords(words: readonly string[]): readonly string[] {
  const end = words.indexOf("--");
  return end === -1 ? words : words.slice(0, end);
}

/** A value, and where it was said. */
interface Said {
  readonly value: unknown;
  readonly origin: Origin | undefined;
}

function readOption(option: Option, given: unknown, profile: ProfileValues | undefined): Said {
  const name = `--${option.name}`;
  const variable = variableOf(option);
  const set = option.environment === false ? undefined : readEnvironment(variable);
  switch (option.kind) {
    case "switch":
      if (given !== undefined && typeof given !== "boolean") throw new UsageError(`${name} takes no value`);
      if (given !== undefined) return { value: given, origin: "command line" };
      return { value: isYes(variable, set), origin: originOf(set) };
    case "count": {
      const times = Array.isArray(given) ? given : [];
      if (times.some((one) => typeof one !== "boolean")) throw new UsageError(`${name} takes no value`);
      if (times.length > 0) return { value: times.filter(Boolean).length, origin: "command line" };
      return { value: set === undefined ? 0 : readTimes(variable, set), origin: originOf(set) };
    }
    case "list": {
      const values = Array.isArray(given) ? given : [], scopes = (value: string) => value.split(/\s+/).filter(Boolean);
      if (values.some((value) => typeof value !== "string" || value === "")) {
        throw new UsageError(`${name} needs a value`);
      }
      const told = option.fromProfile === false ? undefined : profile?.values[option.name];
      if (values.length > 0) return { value: values.flatMap(scopes), origin: "command line" };
      return { value: scopes(set ?? told ?? ""), origin: originOf(set, told) };
    }
    case "text":
    case "seconds": {
      if (given !== undefined && (given === "" || typeof given !== "string")) {
        throw new UsageError(`${name} needs a value`);
      }
      const read = (name: string, value: string, origin: Origin): Said => ({
        value: option.kind === "seconds" ? readSeconds(name, value) : checkChoice(name, value, option.choices),
        origin,
      });
      if (typeof given === "string") return read(name, given, "command line");
      if (set !== undefined && !isForOthers(option, set)) return read(variable, set, "environment");
      const told = option.fromProfile === false ? undefined : profile?.values[option.name];
      if (told !== undefined) return read(`${option.name} of the profile ${profile?.name}`, told, "profile");
      if (option.default !== undefined) return read(name, option.default, "default");
      return { value: undefined, origin: undefined };
    }
  }
}

/** The name of an option in the environment. */
export function variableOf({ name }: Option): string {
  return `LATCHKEY_${name.replaceAll("-", "_").toUpperCase()}`;
}

function originOf(set: string | undefined, told?: string): Origin | undefined {
  if (set !== undefined) return "environment";
  return told === undefined ? undefined : "profile";
}

/** What is set for all commands can be what another one knows: `az` is a format of tokens, and accounts have it not. */
function isForOthers({ name, choices }: Option, value: string): boolean {
  if (!choices || choices.includes(value)) return false;
  const commands = [...COMMANDS, CONFIG_FILE_COMMAND];
  return commands.some(({ options }) => options.some((other) => other.name === name && other.choices?.includes(value)));
}

function isYes(name: string, value: string | undefined, wanted = "yes or no"): boolean {
  const word = value?.toLowerCase() ?? "no";
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (["0", "false", "no", "off"].includes(word)) return false;
  throw new UsageError(`${name} takes ${wanted}, not ${JSON.stringify(value)}`);
}

/** How often something is meant. */
function readTimes(name: string, value: string): number {
  return /^\d$/.test(value) ? Number(value) : Number(isYes(name, value, "0 to 9, yes or no"));
}

function checkChoice(name: string, value: string, choices: readonly string[] | undefined): string {
  if (choices && !choices.includes(value)) {
    throw new UsageError(`${name} takes ${choices.join(", ")}, not ${JSON.stringify(value)}`);
  }
  return value;
}

function readSeconds(name: string, value: string): number {
  const seconds = Number(value);
  if (/^\d+(\.\d+)?$/.test(value) && seconds <= 1_000_000) return seconds;
  throw new UsageError(`${name} takes a number of seconds, not ${JSON.stringify(value)}`);
}

/** The error for a name that is not one, with the nearest that is. */
export function unknown(what: string, name: string, names: readonly string[], prefix = ""): UsageError {
  const [nearest] = names.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= Math.max(2, candidate.length / 3))
    .toSorted((one, other) => one.distance - other.distance);
  return new UsageError(`There is no ${what}` + (nearest ? `; did you mean ${prefix}${nearest.candidate}?` : ""));
}

/** How many letters are to be put in, taken out or changed. */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === other[j] ? 0 : 1)));
    }
    row = next;
  }
  return row[other.length]!;
}

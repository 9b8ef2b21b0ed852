/**
 * Reads command lines against the syntax of a command.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { isMicrosoftHost } from "../../lib/authority.ts";
import { nearestName } from "../../lib/encoding.ts";
import { environmentReader } from "../../lib/runtime/host.ts";
import type { CommandSyntax, Option, OptionValue } from "./options.ts";

/** The part of a command's syntax that a command line is read against. */
type ReadSyntax = Pick<CommandSyntax, "name" | "operands" | "options" | "wraps" | "unlike">;

export interface Command extends CommandSyntax {
  /** `true`: it runs until it is ended, and handles signals itself. @default false */
  readonly isService?: boolean;
  /** `true`: it runs even if the profile cannot be read, and reports {@linkcode CommandLine.profileProblem}. @default false */
  readonly reportsProfile?: boolean;
  /** Runs the command. Returns the exit code if it is not 0 although the command did its work. */
  run(
    line: CommandLine,
    signal: AbortSignal | undefined,
    loadGroups: () => Promise<readonly CommandGroup[]>,
  ): Promise<number | void> | void;
}

export interface CommandGroup {
  readonly title: string;
  readonly commands: readonly CommandSyntax[];
}

/** A wrong use of the command line. Its message is for people. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Places where a value can be given. The first one that has it counts. */
const ORIGINS = ["command line", "environment", "profile", "default"] as const;
type Origin = (typeof ORIGINS)[number];

/** A profile, with values by the options' names. */
export interface ProfileValues {
  readonly name: string;
  readonly values: Readonly<Record<string, string>>;
}

export interface CommandLine {
  /** Name of the command. */
  readonly command: string;
  /** UUID of the request, in the logs of the broker and the server. */
  readonly correlationId: string;
  readonly help: boolean;
  /** Name of the profile that it was read with. */
  readonly profile: string | undefined;
  /** Why the profile could not be read, for a command that reports it. */
  readonly profileProblem: Error | undefined;
  /** Arguments beside options. */
  readonly operands: readonly string[];
  /** Returns the value of an option that the command declares, by the type of its declaration. */
  get<O extends Option>(option: O): OptionValue<O>;
  /** Returns the value of an option of the kind `text`; the other kinds have methods of their own. */
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  /** Returns true if a `switch` is on. */
  isOn(name: string): boolean;
  count(name: string): number;
  seconds(name: string): number | undefined;
  /** Returns where an option's value comes from; `undefined` if it has none. */
  origin(name: string): Origin | undefined;
  /** Returns true if a value was given for this run: on the command line or in the environment. */
  isGiven(name: string): boolean;
  /** Returns, of options that exclude one another, those whose values come from the nearest place. */
  nearest(...names: readonly string[]): readonly string[];
  /** Returns the same command line with other values of `text` options, as from a profile; `undefined` takes one away. */
  with(values: Readonly<Record<string, string | undefined>>): CommandLine;
}

const HELP: Option = { name: "help", alias: "h", kind: "switch", environment: false, summary: "Show this help" };

/**
 * Reads a command line: the words after the command's name. The environment, then a profile, then the options' defaults fill in
 * what it does not have. An error in place of the profile is why that cannot be read.
 *
 * @throws {UsageError} for an unknown option, an invalid value, or a missing one.
 */
export function readCommandLine(
  command: ReadSyntax,
  words: readonly string[],
  profile?: ProfileValues | Error,
): CommandLine {
  const options = [...command.options, HELP];
  const normalized = normalizeSwitches(words, options);
  const parsed = parse(command, normalized, options);
  // The parser reports a switch that is missing as off.
  const givenOf = ({ kind, name }: Option) =>
    kind === "switch" && !hasOption(normalized, name) ? parsed[name] || undefined : parsed[name];
  const [values, profileProblem] = profile instanceof Error ? [undefined, profile] : [profile, undefined];
  const environment = environmentReader();
  const read = new Map(
    options.map((option) => {
      const isSet = option.environment !== false;
      const set = isSet ? environment(variableOf(option)) : undefined;
      return [option.name, readOption(option, { given: givenOf(option), set, profile: values })];
    }),
  );
  if (command.wraps && parsed._.length > 0) {
    throw new UsageError(
      `${JSON.stringify(parsed._[0])} is not an option of ${command.name}: put its command after "--"`,
    );
  }
  const operands = [...parsed._.map(String), ...parsed["--"] ?? []];
  if (operands.length > command.operands) {
    throw new UsageError(`${JSON.stringify(operands[command.operands])} is not an option of ${command.name}`);
  }
  const facts = {
    command: command.name,
    correlationId: crypto.randomUUID(),
    profile: values?.name,
    profileProblem,
    operands,
  };
  return makeCommandLine(facts, read);
}

function makeCommandLine(
  facts: Pick<CommandLine, "command" | "correlationId" | "profile" | "profileProblem" | "operands">,
  read: ReadonlyMap<string, ReadValue>,
): CommandLine {
  const value = <T>(name: string) => read.get(name)?.value as T;
  const origin = (name: string) => read.get(name)?.origin;
  return {
    ...facts,
    help: value<boolean>("help"),
    get: ({ name }) => {
      if (!read.has(name)) throw new Error(`The command declares no --${name}`);
      return value(name);
    },
    text: value,
    list: value,
    isOn: value,
    count: value,
    seconds: value,
    origin,
    isGiven: (name) => ["command line", "environment"].includes(origin(name) ?? ""),
    nearest: (...names) => {
      const nearest = ORIGINS.find((each) => names.some((name) => origin(name) === each));
      return nearest === undefined ? [] : names.filter((name) => origin(name) === nearest);
    },
    with: (values) => {
      const others = Object.entries(values).map(([name, value]): [string, ReadValue] => [
        name,
        { value, origin: value === undefined ? undefined : "profile" },
      ]);
      return makeCommandLine(facts, new Map([...read, ...others]));
    },
  };
}

/** Returns true if Microsoft issues the tokens, as it does by default. */
export function isAtMicrosoft(line: CommandLine): boolean {
  const authority = line.text("authority");
  return authority === undefined || URL.canParse(authority) && isMicrosoftHost(new URL(authority).hostname);
}

type Parsed = Record<string, unknown> & { readonly _: readonly unknown[]; readonly "--"?: readonly string[] };

function parse(command: ReadSyntax, words: readonly string[], options: readonly Option[]): Parsed {
  const ofKind = (...kinds: Option["kind"][]) =>
    options.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  const parsed: Parsed = parseArgs([...words], {
    "--": command.wraps ?? false, // a lone `--` ends the options; operands follow
    string: ["_", ...ofKind("text", "list", "seconds")],
    boolean: ofKind("switch", "count"),
    collect: ofKind("list", "count"),
    alias: Object.fromEntries(options.flatMap(({ name, alias }) => alias ? [[name, alias]] : [])),
  });
  const known = new Set(["_", "--", ...options.flatMap(({ name, alias = name }) => [name, alias])]);
  for (const key of Object.keys(parsed)) {
    const why = Object.hasOwn(command.unlike ?? {}, key) ? command.unlike![key] : undefined;
    if (why !== undefined) throw new UsageError(`latchkey ${command.name} has no --${key}: ${why}`);
    if (known.has(key)) continue;
    throw unknown(`option ${key.length === 1 ? "-" : "--"}${key}`, key, options.map(({ name }) => name), "--");
  }
  return parsed;
}

/**
 * Rewrites each `--switch=value` for the parser, which takes every value but `false` as yes. No option's value can begin with
 * dashes, so such a word never belongs to another option.
 *
 * @throws {UsageError} if a value is neither yes nor no, or not a number of times.
 */
function normalizeSwitches(words: readonly string[], options: readonly Option[]): readonly string[] {
  return [
    ...optionWords(words).flatMap((word) => {
      const [, name, value] = /^--([^=]+)=(.*)$/s.exec(word) ?? [];
      const option = options.find((option) => option.name === name);
      if (option?.kind === "switch") return [`--${name}=${isYes(`--${name}`, value)}`];
      if (value === "" && option) throw new UsageError(`--${name} needs a value`);
      if (option?.kind !== "count") return [word];
      const times = readTimes(`--${name}`, value!);
      return times === 0 ? [`--${name}=false`] : Array<string>(times).fill(`--${name}`);
    }),
    ...words.slice(optionWords(words).length),
  ];
}

function hasOption(words: readonly string[], name: string): boolean {
  return optionWords(words).some((word) => word === `--${name}` || word.startsWith(`--${name}=`));
}

export function optionWords(words: readonly string[]): readonly string[] {
  const end = words.indexOf("--");
  return end === -1 ? words : words.slice(0, end);
}

interface ReadValue {
  readonly value: unknown;
  readonly origin: Origin | undefined;
}

/** The values of an option: `given` on the command line, and `set` in the environment. */
interface GivenValues {
  readonly given: unknown;
  readonly set: string | undefined;
  readonly profile: ProfileValues | undefined;
}

function readOption(option: Option, values: GivenValues): ReadValue {
  switch (option.kind) {
    case "switch":
      return readSwitch(option, values);
    case "count":
      return readCount(option, values);
    case "list":
      return readList(option, values);
    case "text":
    case "seconds":
      return readSingle(option, values);
  }
}

function readSwitch(option: Option, { given, set }: GivenValues): ReadValue {
  if (given === undefined) return { value: isYes(variableOf(option), set), origin: originOf(set) };
  if (typeof given !== "boolean") throw new UsageError(`--${option.name} takes no value`);
  return { value: given, origin: "command line" };
}

function readCount(option: Option, { given, set }: GivenValues): ReadValue {
  const times = Array.isArray(given) ? given : [];
  if (times.some((one) => typeof one !== "boolean")) throw new UsageError(`--${option.name} takes no value`);
  if (times.length > 0) return { value: times.filter(Boolean).length, origin: "command line" };
  return { value: set === undefined ? 0 : readTimes(variableOf(option), set), origin: originOf(set) };
}

function readList(option: Option, { given, set, profile }: GivenValues): ReadValue {
  const values = Array.isArray(given) ? given : [];
  const split = (value: string) => option.hasSpaces ? [value] : value.split(/\s+/).filter(Boolean);
  if (values.some((value) => typeof value !== "string" || value === "")) {
    throw new UsageError(`--${option.name} needs a value`);
  }
  if (values.length > 0) return { value: values.flatMap(split), origin: "command line" };
  const profileValue = valueInProfile(option, profile);
  const value = set ?? profileValue;
  return { value: value ? split(value) : [], origin: originOf(set, profileValue) };
}

function readSingle(option: Option, { given, set, profile }: GivenValues): ReadValue {
  const name = `--${option.name}`;
  if (given !== undefined && (given === "" || typeof given !== "string")) {
    throw new UsageError(`${name} needs a value`);
  }
  const check = option.kind === "seconds" ? readSeconds : checkChoice;
  const read = (name: string, value: string, origin: Origin) => ({ value: check(name, value, option), origin });
  if (given !== undefined) return read(name, given, "command line");
  // The environment is set for all commands: `az` is a format of tokens that lists of accounts do not have.
  const isForeign = option.foreignChoices?.includes(set ?? "") && !option.choices?.includes(set ?? "");
  if (set !== undefined && !isForeign) return read(variableOf(option), set, "environment");
  const profileValue = valueInProfile(option, profile);
  if (profileValue !== undefined) {
    return read(`${option.name} of the profile ${profile?.name}`, profileValue, "profile");
  }
  if (option.default !== undefined) return read(name, option.default, "default");
  return { value: undefined, origin: undefined };
}

function valueInProfile({ name, fromProfile }: Option, profile: ProfileValues | undefined): string | undefined {
  return fromProfile === false ? undefined : profile?.values[name];
}

export function variableOf({ name }: Pick<Option, "name">): string {
  return `LATCHKEY_${name.replaceAll("-", "_").toUpperCase()}`;
}

function originOf(set: string | undefined, told?: string): Origin | undefined {
  if (set !== undefined) return "environment";
  return told === undefined ? undefined : "profile";
}

function isYes(name: string, value: string | undefined, wanted = "yes or no"): boolean {
  const word = value?.toLowerCase() ?? "no";
  if (["1", "true", "yes", "on"].includes(word)) return true;
  if (["0", "false", "no", "off"].includes(word)) return false;
  throw new UsageError(`${name} takes ${wanted}, not ${JSON.stringify(value)}`);
}

function readTimes(name: string, value: string): number {
  return /^\d$/.test(value) ? Number(value) : Number(isYes(name, value, "0 to 9, yes or no"));
}

function checkChoice(name: string, value: string, { choices }: Option): string {
  if (!choices || choices.includes(value)) return value;
  throw new UsageError(`${name} takes ${choices.join(", ")}, not ${JSON.stringify(value)}`);
}

const MAX_PORT = 65_535;

/**
 * Returns the port that `--port` names; `undefined` without the option. Port 0 lets the system choose.
 *
 * @throws {UsageError} if it is not a port, or below the lowest one.
 */
export function portOf(line: CommandLine, { lowest }: { readonly lowest: 0 | 1 }): number | undefined {
  const text = line.text("port");
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (port >= lowest && port <= MAX_PORT) return port;
  throw new UsageError(`--port takes a port, ${lowest} to ${MAX_PORT}, not ${JSON.stringify(text)}`);
}

function readSeconds(name: string, value: string): number {
  const seconds = Number(value);
  if (/^\d+(\.\d+)?$/.test(value) && seconds <= 1_000_000) return seconds;
  throw new UsageError(`${name} takes a number of seconds, not ${JSON.stringify(value)}`);
}

/** Returns the error for a name that does not exist, with the nearest one that does. */
export function unknown(what: string, name: string, names: readonly string[], prefix = ""): UsageError {
  const nearest = nearestName(name, names);
  return new UsageError(`There is no ${what}` + (nearest === undefined ? "" : `; did you mean ${prefix}${nearest}?`));
}

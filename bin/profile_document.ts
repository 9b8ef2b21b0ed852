/**
 * Profiles as the configuration file has them: options under a name. Pure.
 *
 * @module
 */
import type { AccountInfo } from "../mod.ts";
import { type CommandLine, type ProfileValues, unknown, UsageError } from "./command_line.ts";
import { isObject } from "./is_object.ts";

/** The configuration file. */
export interface ProfileFile {
  /** Where it is, for messages. */
  readonly path: string;
  /** What is in it; `undefined` when it is not there. */
  readonly text: string | undefined;
}

/** Options that a profile can have. None is secret, nor may one ever be: the file is copied and shown around. */
const OPTIONS = [
  ...[
    "client-id",
    "authority",
    "tenant",
    "account",
    "scope",
    "resource",
    "redirect-path",
    "broker",
    "store",
    "cache-file",
  ],
];
/** Options that take the place of one another: when one is written, the other goes. */
const ALTERNATIVES: readonly (readonly [string, string])[] = [["scope", "resource"], ["store", "cache-file"]];
const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const ABSOLUTE = /^([A-Za-z]:)?[\\/]/;

/**
 * Makes sure that a name can be a profile's.
 *
 * @throws {UsageError} when it has other characters than letters, digits, `-`, `_` and `.`.
 */
export function checkProfileName(name: string): void {
  if (NAME.test(name)) return;
  throw new UsageError(`A profile's name has letters, digits, "-", "_" and "." alone, unlike ${JSON.stringify(name)}`);
}

/**
 * The values of a profile.
 *
 * @param file The file.
 * @param name The profile's name.
 * @returns The values; `undefined` when there is no such profile.
 * @throws {UsageError} when the file cannot be made sense of.
 */
export function readProfile(file: ProfileFile, name: string): ProfileValues | undefined {
  const profiles = profilesIn(file), profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (profile === undefined) return undefined;
  return { name, values: valuesIn(file, profile, { options: OPTIONS, of: `the profile ${name}` }) };
}

/** Which options are read from an object, and what it is called in messages. */
interface ValuesOptions {
  readonly options: readonly string[];
  readonly of: string;
}

function valuesIn(file: ProfileFile, from: unknown, { options, of }: ValuesOptions): ProfileValues["values"] {
  if (!isObject(from)) throw wrong(file, `${of} has to be an object`);
  const values = options.flatMap((option): [string, string][] => {
    const value = from[keyOf(option)];
    if (value === undefined || value === "") return [];
    const text = option === "scope" && Array.isArray(value) && value.every((each) => typeof each === "string")
      ? value.join(" ")
      : value;
    if (typeof text !== "string") throw wrong(file, `${keyOf(option)} of ${of} has to be a string`);
    if (option === "cache-file" && !ABSOLUTE.test(text)) {
      throw wrong(file, `cache_file of ${of} has to be an absolute path`);
    }
    return [[option, text]];
  });
  return Object.fromEntries(values);
}

/** Options that a server of git's can have. */
const GIT_OPTIONS = ["scope", "client-id", "authority", "redirect-path", "tenant", "account"];

/**
 * The values that `git` has for servers of git's.
 *
 * @param file The file.
 * @param isHost Whether a name can be a server's.
 * @returns The values, by server.
 * @throws {UsageError} when the file cannot be made sense of.
 */
export function readGitHosts(
  file: ProfileFile,
  isHost: (name: string) => boolean,
): Readonly<Record<string, ProfileValues["values"]>> {
  const { git = {} } = rootOf(file);
  if (!isObject(git)) throw wrong(file, "git has to be an object");
  return Object.fromEntries(
    Object.entries(git).map(([name, entry]) => {
      const of = `git's server ${JSON.stringify(name)}`;
      if (!isHost(name)) throw wrong(file, `${of} has to be a host, such as git.contoso.com or git.contoso.com:8443`);
      return [name, valuesIn(file, entry, { options: GIT_OPTIONS, of })];
    }),
  );
}

/**
 * The names of the profiles, of those that can be named.
 *
 * @throws {UsageError} when the file cannot be made sense of.
 */
export function namesIn(file: ProfileFile): readonly string[] {
  return Object.keys(profilesIn(file)).filter((name) => NAME.test(name));
}

/** The error for a name that no profile has. */
export function noSuchProfile(file: ProfileFile, name: string): UsageError {
  const names = Object.keys(profilesIn(file));
  const { message } = unknown(`profile ${name} in ${file.path}`, name, names);
  const there = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`;
  return new UsageError(`${message}${message.endsWith("?") ? "" : ";"} ${there}. Write one: latchkey login --profile`);
}

/**
 * The file's text with a profile changed or added; what is not known of stays as it is.
 *
 * @param file The file.
 * @param profile The profile's name, and the values that are to be written. What a value takes the place of goes.
 * @throws {UsageError} when the file cannot be made sense of.
 */
export function withProfile(file: ProfileFile, { name, values }: ProfileValues): string {
  const root = rootOf(file), profiles = profilesIn(file);
  const old = Object.hasOwn(profiles, name) && isObject(profiles[name]) ? profiles[name] : {};
  const gone = ALTERNATIVES.flatMap(([one, other]) => one in values ? [other] : other in values ? [one] : []).map(
    keyOf,
  );
  const profile = {
    ...Object.fromEntries(Object.entries(old).filter(([key]) => !gone.includes(key))),
    ...Object.fromEntries(Object.entries(values).map(([option, value]) => [keyOf(option), value])),
  };
  return `${JSON.stringify({ ...root, profiles: { ...profiles, [name]: profile } }, undefined, 2)}\n`;
}

/**
 * What a sign-in leaves in a profile: the options that it was given, and who signed in.
 *
 * @param line The command line.
 * @param account Who signed in.
 */
export function valuesOf(line: CommandLine, account: AccountInfo): ProfileValues["values"] {
  const given = OPTIONS.filter((option) => ["command line", "environment"].includes(line.origin(option) ?? ""))
    .filter((option) => ALTERNATIVES.every((pair) => !pair.includes(option) || line.nearest(...pair).includes(option)))
    .map((option): [string, string] => [option, option === "scope" ? line.list(option).join(" ") : line.text(option)!]);
  return { ...Object.fromEntries(given), account: account.username || account.homeAccountId };
}

function profilesIn(file: ProfileFile): Readonly<Record<string, unknown>> {
  const { profiles = {} } = rootOf(file);
  if (!isObject(profiles)) throw wrong(file, "profiles has to be an object");
  return profiles;
}

function rootOf(file: ProfileFile): Readonly<Record<string, unknown>> {
  let root: unknown;
  try {
    root = JSON.parse(file.text?.trim() || "{}");
  } catch {
    throw wrong(file, "it is not JSON"); // no more: a parser's message quotes what it read
  }
  if (isObject(root)) return root;
  throw wrong(file, "it has to be a JSON object");
}

function wrong({ path }: ProfileFile, why: string): UsageError {
  return new UsageError(`Cannot use ${path}: ${why}`);
}

function keyOf(option: string): string {
  return option.replaceAll("-", "_");
}

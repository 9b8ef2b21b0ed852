/**
 * Profiles as the configuration file has them: options under a name. Pure.
 *
 * @module
 */
import { readPrivateFile, replacePrivateFile } from "../../lib/files/private_files.ts";
import { configFolder, homeFolder } from "../../lib/files/user_folders.ts";
import { operatingSystem, requirePermission } from "../../lib/runtime/host.ts";
import { absolutePath } from "../../lib/runtime/program.ts";
import type { AccountInfo } from "../../lib/account.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { type CommandLine, type ProfileValues, unknown, UsageError } from "./command_line.ts";
import { isObject } from "./output.ts";

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

/** The profile of those who name none. */
const DEFAULT = "default";

/**
 * The profile that a command line names; else the default one, as far as there is one.
 *
 * @param line A command line with that option.
 * @param options `mayBeNew`: the command may make it.
 * @returns The profile; `undefined` when there is none.
 * @throws {UsageError} when it is not there, or the file cannot be used.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when it is not known where a file would be, or Deno may not
 * look, and a profile was named.
 */
export async function profileOf(
  line: CommandLine,
  { mayBeNew }: { readonly mayBeNew: boolean },
): Promise<ProfileValues | undefined> {
  const name = line.text("profile");
  if (name !== undefined) checkProfileName(name);
  const file = name === undefined ? await optionalFile() : await readFile();
  const profile = file && readProfile(file, name ?? DEFAULT);
  if (file && !profile && name !== undefined && !mayBeNew) throw noSuchProfile(file, name);
  return profile;
}

/**
 * The names of the profiles.
 *
 * @throws {UsageError} when the file cannot be used.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when it is not known where a file would be, or Deno may not
 * look.
 */
export async function profileNames(): Promise<readonly string[]> {
  return namesIn(await readFile());
}

/**
 * The values that the configuration file has for servers of git's; none where Deno may not look.
 *
 * @param isHost Whether a name can be a server's.
 * @throws {UsageError} when the file cannot be used.
 */
export async function gitHostEntries(isHost: (name: string) => boolean): Promise<ReturnType<typeof readGitHosts>> {
  const file = await optionalFile();
  return file ? readGitHosts(file, isHost) : {};
}

/** The file, where Deno may look at it, and a system has a place for it. */
async function optionalFile(): Promise<ProfileFile | undefined> {
  try {
    return await readFile();
  } catch (error) {
    if (error instanceof LatchkeyError) return undefined; // nobody asked for one
    throw error;
  }
}

/**
 * Makes sure, before a person signs in, that a profile can be written: as far as that shows in its lock.
 *
 * @param line A command line that names a profile.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when the file cannot be made sense of.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` when it cannot be written.
 */
export async function requireWritableProfiles(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const name = line.text("profile")!;
  requirePermission({ name: "write", path: configFolder() });
  await alone(async () => void withProfile(await readFile(), { name, values: {} }), signal);
}

/**
 * Writes what a sign-in was given, and who signed in, to the profile that the command line names.
 *
 * @param line The command line.
 * @param account Who signed in.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when the file cannot be made sense of: it stays as it is.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` when it cannot be written.
 */
export async function writeProfile(
  line: CommandLine,
  account: AccountInfo,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { "cache-file": given, ...others } = valuesOf(line, account), name = line.text("profile")!;
  // It is used wherever the next command is called.
  const path = given === undefined ? undefined : cacheFilePath(line);
  const values = path === undefined ? others : { ...others, "cache-file": absolutePath(path) };
  await alone(async () => {
    const file = await readFile(), text = withProfile(file, { name, values });
    if (text !== file.text) await replacePrivateFile(file.path, new TextEncoder().encode(text), { signal });
  }, signal);
}

/** Works while nobody else changes the file. */
async function alone(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts"); // who reads needs none
  await withLock(`${filePath()}.lockfile`, work, { signal });
}

async function readFile(): Promise<ProfileFile> {
  const path = filePath();
  try {
    const bytes = await readPrivateFile(path);
    return { path, text: bytes && new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`Cannot use ${path}: it is not UTF-8`);
    if (!(error instanceof LatchkeyError) || error.code !== "configuration") throw error;
    // It is looked at as tokens are, and has none.
    const message = error.message.replace(" is not safe for tokens:", " is not safe:"), { hint } = error;
    throw new UsageError(`${message}. ${hint}`, { cause: new LatchkeyError(error.code, message, { hint }) });
  }
}

function filePath(): string {
  return `${configFolder()}/config.json`;
}

/**
 * That path. A shell leaves the `~` of `--cache-file=~/cache.json`, or of a variable that was set in quotes, as it is: here it
 * is the person's home folder.
 *
 * @param line A command line with that option.
 * @returns The path; `undefined` where none is named.
 * @throws {UsageError} for the home folder of somebody else, and for that folder itself.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when the home folder is not known.
 */
export function cacheFilePath(line: CommandLine): string | undefined {
  const path = line.text("cache-file");
  if (!path?.startsWith("~")) return path;
  const [, below] = (operatingSystem() === "win32" ? /^~[\\/]+(.+)$/s : /^~\/+(.+)$/s).exec(path) ?? [];
  if (below !== undefined) return `${homeFolder()}/${below}`;
  throw new UsageError(
    `--cache-file takes a file's path, ~/ being your home folder, and not ${JSON.stringify(path)}` +
      `; a file of that name here is ${JSON.stringify(`./${path}`)}`,
  );
}

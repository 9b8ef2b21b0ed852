/**
 * Profiles: options under a name, in the configuration file.
 *
 * @module
 */
import { isObject } from "../../lib/encoding.ts";
import { lineOfMistake } from "../../lib/line_of_mistake.ts";
import { readPrivateFile, replacePrivateFile } from "../../lib/files/private_files.ts";
import { configFolder } from "../../lib/files/user_folders.ts";
import { requirePermission } from "../../lib/runtime/host.ts";
import { absolutePath, pathIn } from "../../lib/runtime/path.ts";
import { type AccountInfo, nameOf } from "../../lib/account.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { type CommandLine, type ProfileValues, unknown, UsageError } from "./command_line.ts";
import { cacheFilePath } from "./token_cache.ts";

interface ProfileFile {
  /** Its path, for messages. */
  readonly path: string;
  readonly text: string | undefined;
}

/** Options that a profile can have. None may ever be secret: the file is copied and shown around. */
const OPTIONS = "client-id authority tenant account scope resource redirect-path broker store cache-file".split(" ");
const GIT_OPTIONS = ["scope", "client-id", "authority", "redirect-path", "tenant", "account"];
/** Options that exclude one another: if one is written, the other is removed. */
const ALTERNATIVES: readonly (readonly [string, string])[] = [["scope", "resource"], ["store", "cache-file"]];
/** Values of options by git server. */
type GitHosts = Readonly<Record<string, ProfileValues["values"]>>;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const ABSOLUTE = /^([A-Za-z]:)?[\\/]/;

/** Throws a {@linkcode UsageError} if a profile cannot have this name. */
export function checkProfileName(name: string): void {
  if (NAME.test(name)) return;
  throw new UsageError(`A profile's name has only letters, digits, "-", "_" and ".", unlike ${JSON.stringify(name)}`);
}

/** Reads a profile; `undefined` if the file does not have it. @throws {UsageError} if the file is invalid. */
export function readProfile(file: ProfileFile, name: string): ProfileValues | undefined {
  const profiles = profilesIn(file);
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (profile === undefined) return undefined;
  return { name, values: valuesIn(file, profile, { options: OPTIONS, of: `the profile ${name}` }) };
}

/** Reads the options of an object; `of` is its name, for messages. */
function valuesIn(
  file: ProfileFile,
  from: unknown,
  { options, of }: { readonly options: readonly string[]; readonly of: string },
): ProfileValues["values"] {
  if (!isObject(from)) throw wrong(file, `${of} must be an object`);
  const values = options.flatMap((option): [string, string][] => {
    const value = from[keyOf(option)];
    if (value === undefined || value === "") return [];
    const text = option === "scope" && Array.isArray(value) && value.every((each) => typeof each === "string")
      ? value.join(" ")
      : value;
    if (typeof text !== "string") throw wrong(file, `${keyOf(option)} of ${of} must be a string`);
    if (option === "cache-file" && !ABSOLUTE.test(text)) {
      throw wrong(file, `cache_file of ${of} must be an absolute path`);
    }
    return [[option, text]];
  });
  return Object.fromEntries(values);
}

/**
 * Reads the options of git servers, by server. `isHost` returns true if a name can be a server's.
 *
 * @throws {UsageError} if the file is invalid.
 */
export function readGitHosts(file: ProfileFile, isHost: (name: string) => boolean): GitHosts {
  const { git = {} } = rootOf(file);
  if (!isObject(git)) throw wrong(file, "git must be an object");
  return Object.fromEntries(
    Object.entries(git).map(([name, entry]) => {
      const of = `git's server ${JSON.stringify(name)}`;
      if (!isHost(name)) throw wrong(file, `${of} must be a host, such as git.contoso.com or git.contoso.com:8443`);
      return [name, valuesIn(file, entry, { options: GIT_OPTIONS, of })];
    }),
  );
}

export function noSuchProfile(file: ProfileFile, name: string): UsageError {
  const names = Object.keys(profilesIn(file));
  const { message } = unknown(`profile ${name} in ${file.path}`, name, names);
  const there = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`;
  return new UsageError(
    `${message}${message.endsWith("?") ? "" : ";"} ${there}. Write one: latchkey login --profile NAME --client-id ID`,
  );
}

/**
 * Returns the file's text with a profile changed or added. Options that the new values exclude are removed, unknown keys stay.
 *
 * @throws {UsageError} if the file is invalid.
 */
export function withProfile(file: ProfileFile, { name, values }: ProfileValues): string {
  const root = rootOf(file);
  const profiles = profilesIn(file);
  const old = Object.hasOwn(profiles, name) && isObject(profiles[name]) ? profiles[name] : {};
  const excluded = ALTERNATIVES.flatMap(([one, other]) => {
    if (one in values) return [keyOf(other)];
    return other in values ? [keyOf(one)] : [];
  });
  const profile = Object.fromEntries([
    ...Object.entries(old).filter(([key]) => !excluded.includes(key)),
    ...Object.entries(values).map(([option, value]) => [keyOf(option), value] as const),
  ]);
  return `${JSON.stringify({ ...root, profiles: { ...profiles, [name]: profile } }, undefined, 2)}\n`;
}

/** Returns what a sign-in writes to a profile: the options that were given, and the account. */
export function valuesOf(line: CommandLine, account: AccountInfo): ProfileValues["values"] {
  const given = OPTIONS.filter(line.isGiven)
    .filter((option) => ALTERNATIVES.every((pair) => !pair.includes(option) || line.nearest(...pair).includes(option)))
    .map((option): [string, string] => [option, option === "scope" ? line.list(option).join(" ") : line.text(option)!]);
  return { ...Object.fromEntries(given), account: nameOf(account) };
}

function profilesIn(file: ProfileFile): Readonly<Record<string, unknown>> {
  const { profiles = {} } = rootOf(file);
  if (!isObject(profiles)) throw wrong(file, "profiles must be an object");
  return profiles;
}

function rootOf(file: ProfileFile): Readonly<Record<string, unknown>> {
  let root: unknown;
  try {
    root = JSON.parse(file.text?.trim() || "{}");
  } catch {
    throw wrong(file, `it is not JSON, from line ${lineOfMistake(file.text!)} on`); // the parser's message quotes the file
  }
  if (isObject(root)) return root;
  throw wrong(file, "it must be a JSON object");
}

function wrong({ path }: Pick<ProfileFile, "path">, why: string): UsageError {
  return new UsageError(`Cannot use ${path}: ${why}`);
}

function keyOf(option: string): string {
  return option.replaceAll("-", "_");
}

/**
 * Reads the profile that a command line names, or else the one named `default`; `undefined` if it does not exist.
 *
 * @throws {UsageError} if the named profile does not exist, unless the command may create it, or the file cannot be used.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a profile is named, and the file's place is not known or Deno
 * may not read it.
 */
export async function profileOf(
  line: CommandLine,
  { mayBeNew }: { readonly mayBeNew: boolean },
): Promise<ProfileValues | undefined> {
  const name = line.text("profile");
  if (name !== undefined) checkProfileName(name);
  const file = name === undefined ? await optionalFile() : await readFile();
  const profile = file && readProfile(file, name ?? "default");
  if (file && !profile && name !== undefined && !mayBeNew) throw noSuchProfile(file, name);
  return profile;
}

export async function profileNames(): Promise<readonly string[]> {
  return Object.keys(profilesIn(await readFile())).filter((name) => NAME.test(name));
}

/** Reads the options of git servers from the configuration file, as {@linkcode readGitHosts}; none if Deno may not read it. */
export async function gitHostEntries(isHost: (name: string) => boolean): Promise<GitHosts> {
  const file = await optionalFile();
  return file ? readGitHosts(file, isHost) : {};
}

/** Reads the file, if Deno may read it and the system has a place for it. */
async function optionalFile(): Promise<ProfileFile | undefined> {
  try {
    return await readFile();
  } catch (error) {
    if (error instanceof LatchkeyError) return undefined; // no profile was named
    throw error;
  }
}

/**
 * Checks, before a person signs in, that a profile can be written, as far as creating its lock shows that.
 *
 * @throws {UsageError} if the file is invalid.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` if it cannot be written.
 */
export async function requireWritableProfiles(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const name = line.text("profile")!;
  requirePermission({ name: "write", path: configFolder() });
  await withFileLock(async () => void withProfile(await readFile(), { name, values: {} }), signal);
}

/**
 * Writes the options of a sign-in, and the account, to the profile that the command line names.
 *
 * @throws {UsageError} if the file is invalid: it stays as it is.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` if it cannot be written.
 */
export async function writeProfile(line: CommandLine, account: AccountInfo, signal?: AbortSignal): Promise<void> {
  const { "cache-file": given, ...others } = valuesOf(line, account);
  const name = line.text("profile")!;
  // The next command may run in another folder.
  const values = given === undefined ? others : { ...others, "cache-file": absolutePath(cacheFilePath(line)!) };
  await withFileLock(async () => {
    const file = await readFile();
    const text = withProfile(file, { name, values });
    if (text !== file.text) await replacePrivateFile(file.path, new TextEncoder().encode(text), { signal });
  }, signal);
}

async function withFileLock(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts"); // reading needs none
  await withLock(`${profilesPath()}.lockfile`, work, { signal });
}

async function readFile(): Promise<ProfileFile> {
  const path = profilesPath();
  try {
    const bytes = await readPrivateFile(path);
    return { path, text: bytes && new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError) throw wrong({ path }, "it is not UTF-8");
    if (!(error instanceof LatchkeyError) || error.code !== "configuration") throw error;
    throw new UsageError((await import("./failures.ts")).messageOf(error), { cause: error });
  }
}

/** Returns the path of the file that the profiles are in. */
export function profilesPath(): string {
  return pathIn(configFolder(), "config.json");
}

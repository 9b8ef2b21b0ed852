/**
 * The configuration file of the profiles: read for every command that one is named for, written by `latchkey login`.
 *
 * @module
 */
import { type AccountInfo, LatchkeyError } from "../mod.ts";
import { requirePermission } from "../lib/platform/permission.ts";
import { readPrivateFile, replacePrivateFile } from "../lib/platform/private_file.ts";
import { absolutePath } from "../lib/platform/program.ts";
import { configFolder } from "../lib/platform/user_folders.ts";
import { cacheFilePath } from "./cache_file_path.ts";
import { type CommandLine, type ProfileValues, UsageError } from "./command_line.ts";
import {
  checkProfileName,
  namesIn,
  noSuchProfile,
  type ProfileFile,
  readGitHosts,
  readProfile,
  valuesOf,
  withProfile,
} from "./profile_document.ts";

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
  const { withLock } = await import("../lib/platform/lock.ts"); // who reads needs none
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

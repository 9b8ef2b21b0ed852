/**
 * The command that other programs are to run, such as git, kubectl and Azure's SDKs: this latchkey with options of this run.
 *
 * @module
 */
import { LatchkeyError } from "../../lib/errors.ts";
import { isPermitted } from "../../lib/runtime/host.ts";
import { ownCommand } from "../../lib/runtime/installation.ts";
import { absolutePath } from "../../lib/runtime/path.ts";
import type { CommandLine } from "./command_line.ts";
import type { Option } from "./options.ts";
import { say } from "./output.ts";
import { cacheFilePath } from "./token_cache.ts";

interface StoredCommandOptions {
  /** Returns the permissions that the command needs on Deno. @default all of them, which this run must have */
  readonly denoPermissions?: () => readonly string[];
  /** `true`: values from the environment are stored as well, since the other program may not have it. @default false */
  readonly includesEnvironment?: boolean;
}

/**
 * Returns the command that other programs are to run: this latchkey, a command of it, and those of its options that are on the
 * command line. The path of a file is absolute, since programs run it from a folder of their own.
 */
export function storedCommand(
  line: CommandLine,
  name: string,
  options: readonly Option[],
  { denoPermissions = () => allPermissions(name), includesEnvironment = false }: StoredCommandOptions = {},
): readonly string[] {
  const own = ownCommand(denoPermissions);
  const isStored = includesEnvironment ? line.isGiven : (name: string) => line.origin(name) === "command line";
  const words = optionWords(
    line,
    options.filter(({ name, environment }) => name !== "cache-file" && environment !== false && isStored(name)),
  );
  const cacheFile = isStored("cache-file") ? [`--cache-file=${absolutePath(cacheFilePath(line)!)}`] : [];
  return [...own, name, ...words, ...cacheFile];
}

/** Pattern of the last part of latchkey's path or package in a command: a program, a script, or the entry `…/latchkey/cli`. */
export const PROGRAM: string = String.raw`latchkey[^\\/\s'"=;&|]*([\\/]cli(\.\w+)?)?`;

/** Says that a command may be gone soon, if it is a copy that `npx` or `bunx` made. */
export function warnIfCopied(command: readonly string[]): void {
  const copy = command.find(isPackageCopy);
  if (copy !== undefined) {
    say(`${copy} is a copy that npm or Bun may remove: install latchkey, and run this command with that one`);
  }
}

/** Returns true for a path in the cache of `npx`, or in the temporary folder of `bunx`. */
export function isPackageCopy(path: string): boolean {
  return /[\\/](_npx|bunx-[^\\/]+)[\\/]/.test(path);
}

/** Returns those of the options that are on the command line itself, as words for another one. */
export function givenWords(line: CommandLine, options: readonly Option[]): readonly string[] {
  return optionWords(line, options.filter(({ name }) => line.origin(name) === "command line"));
}

function optionWords(line: CommandLine, options: readonly Option[]): readonly string[] {
  return options.flatMap((option) => [line.get(option)].flat().map((value) => `--${option.name}=${value}`));
}

/** Deno does not list the permissions of a program: without all of them, the ones that a command needs are not known. */
function allPermissions(name: string): readonly string[] {
  const all = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;
  if (all.every((name) => isPermitted({ name }))) return ["--allow-all"];
  throw new LatchkeyError("missing_dependency", `Deno does not tell which permissions latchkey ${name} needs`, {
    remedy: `Run deno with --allow-all, as latchkey ${name} then runs; or install the executable or the npm package`,
  });
}

/**
 * The command that other programs are to run, such as git, kubectl and Azure's SDKs: this latchkey with options of this run.
 *
 * @module
 */
import { LatchkeyError } from "../../lib/errors.ts";
import { isPermitted } from "../../lib/runtime/host.ts";
import { ownCommand } from "../../lib/runtime/installation.ts";
import { absolutePath } from "../../lib/runtime/paths.ts";
import type { CommandLine } from "./command_line.ts";
import type { Option } from "./options.ts";
import { say } from "./output.ts";
import { cacheFilePath } from "./token_cache.ts";

/**
 * Returns the command that other programs are to run: this latchkey, a command of it, and those of its options that are on the
 * command line. The path of a file is absolute, since programs run it from a folder of their own.
 */
export function storedCommand(line: CommandLine, name: string, options: readonly Option[]): readonly string[] {
  const own = ownCommand(() => denoPermissions(name));
  const isGiven = line.origin("cache-file") === "command line";
  const words = givenWords(
    line,
    options.filter(({ name, environment }) => name !== "cache-file" && environment !== false),
  );
  return [...own, name, ...words, ...(isGiven ? [`--cache-file=${absolutePath(cacheFilePath(line)!)}`] : [])];
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
  const given = options.filter(({ name }) => line.origin(name) === "command line");
  return given.flatMap((option) => [line.get(option)].flat().map((value) => `--${option.name}=${value}`));
}

/** Deno does not list the permissions of a program: without all of them, the ones that a command needs are not known. */
function denoPermissions(name: string): readonly string[] {
  const all = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;
  if (all.every((name) => isPermitted({ name }))) return ["--allow-all"];
  throw new LatchkeyError("missing_dependency", `Deno does not tell which permissions latchkey ${name} needs`, {
    remedy: `Run deno with --allow-all, as latchkey ${name} then runs; or install the executable or the npm package`,
  });
}

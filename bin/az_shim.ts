/**
 * `latchkey az-shim`: a program named `az` that runs `latchkey az`.
 *
 * @module
 */
import { placeFile } from "../lib/files/placed_file.ts";
import { isPermitted, operatingSystem, quoteCommand, requirePermission, shellWord } from "../lib/runtime/host.ts";
import { ownCommand } from "../lib/runtime/installation.ts";
import { absolutePath, isThere } from "../lib/runtime/program.ts";
import { LatchkeyError } from "../lib/errors.ts";
import { command as az, ENDPOINTS, givenWords, SUBSCRIPTION } from "./az.ts";
import { clientIdOf } from "./cli/application.ts";
import { type Command, type CommandLine, UsageError } from "./cli/command_line.ts";
import { ACCOUNT, APP, type Option, TENANT } from "./cli/options.ts";
import { print, say } from "./cli/output.ts";
import { cacheFilePath } from "./cli/profiles.ts";

/** The command. */
export const command: Command = {
  name: "az-shim",
  summary: "Install an az program that answers Azure's SDKs and Terraform through latchkey",
  usage: "az-shim --install DIR --client-id ID [options]",
  operands: 0,
  options: [
    { name: "install", kind: "text", value: "DIR", environment: false, summary: "Folder to write it to" },
    { name: "force", kind: "switch", environment: false, summary: "Replace an az that is there" },
    ACCOUNT,
    ...APP,
    TENANT,
    SUBSCRIPTION,
    ...ENDPOINTS,
  ],
  examples: [
    [
      'eval "$(latchkey az-shim --install ~/.local/share/latchkey/bin --client-id azure-cli)"',
      "AzureCliCredential and Terraform in this shell get the broker's tokens",
    ],
  ],
  run: installShim,
};

const PROGRAM_MODE = 0o755;

/** Writes the program, and prints the line with which a shell finds it. */
async function installShim(line: CommandLine): Promise<void> {
  const folder = line.text("install");
  if (folder === undefined) throw new UsageError("--install is missing: the folder to write az to");
  clientIdOf(line); // an error now is better than one in the first program that runs it
  const isWindows = operatingSystem() === "win32", place = absolutePath(folder).replace(/(?<=.)[\\/]+$/, "");
  const path = isWindows ? `${place}\\az.cmd` : `${place}/az`;
  requirePermission({ name: "read", path: place });
  if (isThere(path) && !line.isOn("force")) {
    throw new UsageError(`${path} is there already: --force puts latchkey in its place`);
  }
  const stored = storedCommand(line, az.name, az.options);
  await placeFile(path, shimText([...stored, "--"], isWindows), PROGRAM_MODE);
  warnIfCopied(stored);
  say(`wrote ${path}; programs find it if its folder is first in PATH`);
  print(`${pathLine(place, isWindows)}\n`);
}

/**
 * Returns the command that other programs are to run: this latchkey, a command of it, and those of its options that are on the
 * command line. The path of a file is absolute, since programs run it from a folder of their own.
 */
export function storedCommand(line: CommandLine, name: string, options: readonly Option[]): readonly string[] {
  const own = ownCommand(() => denoPermissions(name)), isGiven = line.origin("cache-file") === "command line";
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

/** Returns the program: a script that runs the command with its own arguments after the command's. */
export function shimText(command: readonly string[], isWindows: boolean): string {
  if (isWindows) return `@${command.map(cmdWord).join(" ")} %*\r\n`;
  return `#!/bin/sh
# latchkey in place of az; written by latchkey az-shim
exec ${command.map(shellWord).join(" ")} "$@"
`;
}

function cmdWord(word: string): string {
  if (/["\r\n]/.test(word)) throw new UsageError(`A quotation mark has no place in ${JSON.stringify(word)}`);
  const plain = word.replaceAll("%", "%%");
  return /^[\w.\\/:@+=,-]+$/.test(word) ? plain : `"${plain}"`;
}

/** Returns the line that puts the folder into PATH. */
function pathLine(folder: string, isWindows: boolean): string {
  if (!isWindows) return `export PATH=${shellWord(folder)}:"$PATH"`;
  const word = quoteCommand([folder], "win32").replaceAll('"', "");
  return word === "" ? "rem its folder's name has a character that cmd.exe reads" : `set "PATH=${word};%PATH%"`;
}

/** Deno does not list the permissions of a program: without all of them, the ones that a command needs are not known. */
function denoPermissions(name: string): readonly string[] {
  const all = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;
  if (all.every((name) => isPermitted({ name }))) return ["--allow-all"];
  throw new LatchkeyError("missing_dependency", `Deno does not tell which permissions latchkey ${name} needs`, {
    hint: `Run deno with --allow-all, as latchkey ${name} then runs; or install the executable or the npm package`,
  });
}

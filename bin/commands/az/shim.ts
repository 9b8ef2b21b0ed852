/**
 * `latchkey az-shim`: a program named `az` that runs `latchkey az`.
 *
 * @module
 */
import { placeFile, requireClosedPlace } from "../../../lib/files/placed_file.ts";
import {
  operatingSystem,
  powershellWord,
  quoteCommand,
  readEnvironment,
  requirePermission,
  shellWord,
} from "../../../lib/runtime/host.ts";
import { absolutePath, isThere, readTextFile } from "../../../lib/runtime/path.ts";
import { clientIdOf } from "../../cli/application.ts";
import { type Command, type CommandLine, UsageError, variableOf } from "../../cli/command_line.ts";
import { ACCOUNT, APP, TENANT } from "../../cli/options.ts";
import { print, say } from "../../cli/output.ts";
import { storedCommand, warnIfCopied } from "../../cli/stored_command.ts";
import { command as az, ENDPOINTS, SUBSCRIPTION } from "./az.ts";

/** The command. */
export const command: Command = {
  name: "az-shim",
  summary: "Install a stand-in az for Azure SDKs and Terraform",
  usage: "az-shim --install DIR --client-id ID [options]",
  operands: 0,
  options: [
    { name: "install", kind: "text", value: "DIR", environment: false, summary: "Folder for the stand-in" },
    { name: "force", kind: "switch", environment: false, summary: "Replace an az that latchkey did not write" },
    ACCOUNT,
    ...APP,
    TENANT,
    SUBSCRIPTION,
    ...ENDPOINTS,
  ],
  examples: [
    [
      'eval "$(latchkey az-shim --install ~/.local/share/latchkey/bin --client-id azure-cli)"',
      "Give AzureCliCredential and Terraform in this shell the broker's tokens",
      'latchkey az-shim --install "$env:LOCALAPPDATA\\latchkey\\bin" --client-id azure-cli | Select-Object -Last 1 | Invoke-Expression',
    ],
  ],
  run: installShim,
};

const PROGRAM_MODE = 0o755;
const WRITTEN_BY = "latchkey in place of az; written by latchkey az-shim";

/** Writes the program, and prints the lines with which shells find it. */
async function installShim(line: CommandLine): Promise<void> {
  const folder = line.text("install");
  if (folder === undefined) throw new UsageError("--install is missing: the folder to write az to");
  // An error now is better than one in the first program that runs it.
  clientIdOf(line);
  // On Deno, the permissions that the program is to run with cover those that writing it takes.
  const stored = storedCommand(line, az.name, az.options);
  const isWindows = operatingSystem() === "win32";
  const place = absolutePath(folder).replace(/(?<=.)[\\/]+$/, "");
  const path = isWindows ? `${place}\\az.cmd` : `${place}/az`;
  requirePermission({ name: "read", path: place });
  if (isThere(path) && !line.isOn("force") && !(await isOwnProgram(path))) {
    throw new UsageError(`${path} is another program's: --force puts latchkey in its place`);
  }
  await requireClosedPlace(path);
  const words = [...stored, "--"];
  const text = isWindows ? batchText(words, readEnvironment) : shimText(words);
  await placeFile(path, text, PROGRAM_MODE);
  warnIfCopied(stored);
  const shells = isWindows ? ": for cmd.exe by the first line, for PowerShell by the second" : "";
  say(`wrote ${path}; programs find it if its folder is first in PATH${shells}`);
  print(pathLines(place, { isWindows }).map((each) => `${each}\n`).join(""));
}

/** Returns true for a program that latchkey wrote. One that cannot be read is another's. */
async function isOwnProgram(path: string): Promise<boolean> {
  return (await readTextFile(path).catch(() => "")).includes(WRITTEN_BY);
}

/** Returns the script that runs the command with its own arguments after the command's. */
export function shimText(command: readonly string[]): string {
  return `#!/bin/sh
# ${WRITTEN_BY}
exec ${command.map(shellWord).join(" ")} "$@"
`;
}

/** Variables of folders that a user's programs can be in, the deeper ones first. */
const FOLDER_VARIABLES = ["LOCALAPPDATA", "APPDATA", "USERPROFILE", "ProgramData", "PUBLIC"];

/**
 * Returns the batch file that runs the command with its own arguments after the command's. It is ASCII, since cmd.exe reads it
 * in a code page that depends on the computer: other letters of a path come from a variable.
 *
 * @throws {UsageError} if a word cannot be written so.
 */
export function batchText(command: readonly string[], readVariable: typeof readEnvironment): string {
  const words = command.map((word) => batchWord(word, readVariable));
  return [
    `@rem ${WRITTEN_BY}`,
    "@setlocal EnableExtensions DisableDelayedExpansion",
    `@${words.join(" ")} %*`,
    "",
  ].join("\r\n");
}

function batchWord(word: string, readVariable: typeof readEnvironment): string {
  if (/["\r\n]/.test(word)) throw new UsageError(`A quotation mark has no place in ${JSON.stringify(word)}`);
  const written = isAscii(word) ? word.replaceAll("%", "%%") : byVariable(word, readVariable);
  // Programs read a backslash before a quotation mark as an escape.
  return /^[\w.\\/:@+=,-]+$/.test(written) ? written : `"${written.replace(/\\+$/, "$&$&")}"`;
}

function isAscii(text: string): boolean {
  return /^[ -~]*$/.test(text);
}

/** Writes a word whose path begins with the value of a variable. */
function byVariable(word: string, readVariable: typeof readEnvironment): string {
  const [, option = "", path = ""] = /^(--[\w-]+=)?(.*)$/.exec(word)!;
  for (const variable of FOLDER_VARIABLES) {
    const folder = readVariable(variable)?.replace(/[\\/]+$/, "");
    if (!folder || !startsWithFolder(path, folder)) continue;
    const rest = path.slice(folder.length);
    if (isAscii(rest)) return `${option}%${variable}%${rest.replaceAll("%", "%%")}`;
  }
  const name = /^--([\w-]+)=$/.exec(option)?.[1];
  throw new UsageError(
    `az.cmd cannot contain ${JSON.stringify(word)}: cmd.exe reads only ASCII the same way on every computer. ` +
      (name === undefined
        ? "Install latchkey in a folder whose path is ASCII"
        : `Set ${variableOf({ name })} instead of --${name}`),
  );
}

function startsWithFolder(path: string, folder: string): boolean {
  const same = (text: string) => text.replaceAll("/", "\\").toLowerCase();
  return same(path.slice(0, folder.length + 1)).replace(/\\$/, "") === same(folder);
}

/** Returns the lines that put the folder into PATH, one for each shell that the system's users have. */
function pathLines(folder: string, { isWindows }: { readonly isWindows: boolean }): readonly string[] {
  if (!isWindows) return [`export PATH=${shellWord(folder)}:"$PATH"`];
  const word = quoteCommand([folder], "win32").replaceAll('"', "");
  return [
    word === "" ? "rem its folder's name has a character that cmd.exe reads" : `set "PATH=${word};%PATH%"`,
    `$env:PATH = ${powershellWord(`${folder};`)} + $env:PATH`,
  ];
}

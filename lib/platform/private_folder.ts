/**
 * What makes a file, and the folder that it is in, safe from other people of the machine.
 *
 * @module
 */
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { operatingSystem, quoteCommand } from "./host.ts";
import type { FileFacts, LocalFiles, OpenFile } from "./local_files.ts";

/** Permission bits by which group and others may write, and read. */
const OTHERS_WRITE = 0o022, OTHERS_READ = 0o044;
/** Permission bits of a folder that people share on purpose, as /tmp and /var/local are: sticky, and for a group. */
const SHARED = 0o3000;
/** No command mends a folder that others need as it is. */
const ELSEWHERE = "choose a file in a folder of your own";

/** How often others may be making the same folders. */
const MAX_ATTEMPTS = 5;

/**
 * The folder of a file.
 *
 * @param path Path of the file.
 * @throws {TypeError} when that is no path of a file.
 */
export function folderOf(path: string): string {
  const [, folder, name] = separators().exec(path) ?? [];
  if (!name || path.includes("\0")) throw new ArgumentError(`A path of a file is wanted, not ${JSON.stringify(path)}`);
  return folder === undefined ? "." : withoutSlashes(folder);
}

/** A folder's path without the slashes at its end, by which a link would be followed. */
export function withoutSlashes(folder: string): string {
  const pattern = operatingSystem() === "win32" ? /(?<=[^:\\/])[\\/]+$/ : /(?<=[^/])\/+$/;
  return folder.replace(pattern, "");
}

/** Everything before the name, with the last separator, and the name, which is not `.` or `..`. */
function separators(): RegExp {
  return operatingSystem() === "win32"
    ? /^(.*[\\/]|[A-Za-z]:)?(?!\.{1,2}$)([^\\/:]+)$/s
    : /^(.*\/)?(?!\.{1,2}$)([^/]+)$/s;
}

/**
 * Whether a folder is there, and nobody else may change what is in it.
 *
 * @throws {LatchkeyError} `configuration` when it is not safe.
 */
export function isPrivateFolder(files: LocalFiles, folder: string): boolean {
  const facts = files.look(folder);
  if (!facts) return false;
  if (facts.kind === "link") refuse(folder, "it is a symbolic link", "Give the path of the folder that it links to");
  if (facts.kind !== "folder") refuse(folder, "it is no folder", "Name a folder, or move away what is there");
  requireOwner(files, folder, facts);
  requireUnshared(folder, facts);
  return true;
}

/**
 * Makes a folder when it is missing, for its owner alone, and sees to it that it is safe.
 *
 * @throws {LatchkeyError} `configuration` when it is not.
 */
export function makePrivateFolder(files: LocalFiles, folder: string): void {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
    if (isPrivateFolder(files, folder)) return;
    try {
      files.makeFolder(folder);
    } catch {
      // Others can be making it, or one above it, at this moment: Deno takes what they made for a file then.
    }
  }
  files.makeFolder(folder);
  isPrivateFolder(files, folder);
}

/**
 * Makes sure that a file is a file of ours that nobody else may write.
 *
 * @throws {LatchkeyError} `configuration` when it is not.
 */
export function requirePrivateFile(files: LocalFiles, path: string, facts: FileFacts): void {
  requireFile(path, facts);
  requireOwner(files, path, facts);
  requireUnshared(path, facts);
}

/**
 * Makes sure that nobody else may read a file.
 *
 * @throws {LatchkeyError} `configuration` when others may.
 */
export function requireSecretFile(path: string, { mode = 0 }: FileFacts): void {
  if ((mode & OTHERS_READ) !== 0) refuse(path, "others may read it", `Run ${quoteCommand(["chmod", "600", path])}`);
}

/**
 * Opens a file for reading.
 *
 * @returns `undefined` when nothing is there.
 * @throws {LatchkeyError} `configuration` when it is no file.
 */
export function openRegularFile(files: LocalFiles, path: string): OpenFile | undefined {
  let file;
  try {
    file = files.open(path);
  } catch (error) {
    const facts = files.look(path); // a link or a socket, as a rule
    if (facts) requireFile(path, facts);
    throw error;
  }
  try {
    if (file) requireFile(path, file.facts());
    return file;
  } catch (error) {
    file?.close();
    throw error;
  }
}

function requireFile(path: string, { kind }: FileFacts): void {
  if (kind === "link") refuse(path, "it is a symbolic link", "Give the path of the file that it links to");
  if (kind !== "file") refuse(path, "it is no regular file", "Name another file, or move away what is there");
}

function requireOwner(files: LocalFiles, path: string, { owner, kind }: FileFacts): void {
  const own = files.ownUser();
  if (owner === own) return;
  // A file is looked at when its folder was found to be this user's: there it can be renamed, whoever's it is.
  const hint = kind === "folder" ? ELSEWHERE : "move it away, or choose another file";
  refuse(
    path,
    `it belongs to user ${owner}, and this is user ${own}`,
    own === 0 ? `Run this as that user, or ${hint}` : capitalized(hint),
  );
}

function requireUnshared(path: string, { mode = 0, kind }: FileFacts): void {
  if ((mode & OTHERS_WRITE) === 0) return;
  refuse(path, "others may write it", hintForShared(path, kind === "folder" && (mode & SHARED) !== 0));
}

/** What helps where this user's own file or folder can be written by others. */
function hintForShared(path: string, onPurpose: boolean): string {
  // A Windows drive in WSL keeps no modes, unless it is mounted with "metadata".
  if (/^\/mnt\/[a-z](\/|$)/.test(path)) return "Choose a folder of Linux: a Windows drive keeps no permissions";
  return onPurpose ? capitalized(ELSEWHERE) : `Run ${quoteCommand(["chmod", "go-w", path])}`;
}

function capitalized(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}

function refuse(path: string, reason: string, hint: string): never {
  throw new LatchkeyError("configuration", `${path} is not safe for tokens: ${reason}`, { hint });
}

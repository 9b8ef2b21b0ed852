/**
 * Owners and permissions: which files and folders other users of the machine can change.
 *
 * The functions throw a `LatchkeyError`: `configuration` if a file or folder is not safe, since it is another user's, others can
 * write to it, or it is a link; `missing_dependency` if Deno does not permit to look.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { capitalized } from "../remedies.ts";
import { denoNamespace, missingFlags, quoteCommand, requireFlags } from "../runtime/host.ts";
import { type FileFacts, type LocalFiles, type OpenFile, OTHERS_WRITE } from "./files.ts";

/** Opens the file system for the files of one folder. */
export async function openLocalFiles(folder: string, access: "read" | "write"): Promise<LocalFiles> {
  if (!denoNamespace()) return (await import("./node.ts")).nodeFiles();
  requireFlags(missingFlags(folder, access), `${access} private files in ${folder}`);
  return (await import("./deno.ts")).denoFiles();
}

/** Limit of attempts while other processes create the same folders. */
const MAX_ATTEMPTS = 5;

/** Permission bits by which group and others can read. */
const OTHERS_READ = 0o044;
/** Permission bits of a folder that is shared on purpose, as /tmp and /var/local are: sticky and setgid. */
const SHARED = 0o3000;
/** Places below which a folder of root's is root's own. The programs of the machine rely on root's other folders. */
const ROOTS_OWN = /^\/(root|var\/root|tmp|var\/tmp|run\/user\/0)\/[^/]/;
/** A Windows drive in WSL, which keeps no modes unless it is mounted with "metadata". */
const WINDOWS_DRIVE = /^\/mnt\/[a-z](\/|$)/;
/** Hint for a folder whose permissions others need as they are. */
const ELSEWHERE = "choose a file in a folder of your own";

/**
 * Returns the command that changes the permissions of a file or folder; `undefined` if no command may be advised: the owner is
 * another user, or other users or programs may need the permissions as they are.
 *
 * @param change The change in chmod's words, such as `go-w`.
 * @param user User id of this process.
 */
export function chmodCommand(
  change: string,
  path: string,
  { kind, mode = 0, owner, user }: Pick<FileFacts, "kind" | "mode" | "owner"> & { readonly user: number | undefined },
): string | undefined {
  const isShared = kind === "folder" && (mode & SHARED) !== 0;
  const isSystems = user === 0 && !ROOTS_OWN.test(path);
  if (owner !== user || isShared || isSystems || WINDOWS_DRIVE.test(path)) return undefined;
  return quoteCommand(["chmod", change, path]);
}

/** Creates a folder that only its owner can enter, if it is missing, and checks that it is safe. */
export function makePrivateFolder(files: LocalFiles, folder: string): void {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
    if (isPrivateFolder(files, folder)) return;
    try {
      files.makeFolder(folder);
    } catch {
      // Another process may be creating it, or a parent: then Deno reports that a file is in the way.
    }
  }
  files.makeFolder(folder);
  isPrivateFolder(files, folder);
}

/** Returns true if a folder exists, after a check that others cannot change what is in it. */
export function isPrivateFolder(files: LocalFiles, folder: string): boolean {
  const facts = files.lstat(folder);
  if (!facts) return false;
  if (facts.kind === "link") refuse(folder, "it is a symbolic link", "Give the path of the folder that it links to");
  if (facts.kind !== "folder") refuse(folder, "it is not a folder", "Choose a folder, or move away what is there");
  requireOwnedAndUnshared(files, folder, facts);
  return true;
}

/** Checks that a file belongs to this user, and that no other user can write to it. */
export function requirePrivateFile(files: LocalFiles, path: string, facts: FileFacts): void {
  requireFile(path, facts);
  requireOwnedAndUnshared(files, path, facts);
}

/** Checks that only its owner can read a file. */
export function requireUnreadable(path: string, { mode = 0 }: FileFacts): void {
  if ((mode & OTHERS_READ) === 0) return;
  refuse(path, "others can read it", `Run ${quoteCommand(["chmod", "600", path])}`);
}

/** Opens a regular file for reading; `undefined` if it does not exist. */
export function openRegularFile(files: LocalFiles, path: string): OpenFile | undefined {
  let file;
  try {
    file = files.open(path);
  } catch (error) {
    const facts = files.lstat(path); // usually a link or a socket
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

/** A folder, link or file that other users can change. */
export interface OpenPlace {
  readonly path: string;
  /** Reason for a message, such as `others can write to it`. */
  readonly reason: string;
  /** Command that closes it to others; `undefined` if there is none to advise. */
  readonly command: string | undefined;
}

/** The most links that a path may lead through, as in Linux. */
const MAX_LINKS = 40;

/**
 * Returns the first folder, link or file on the path to a file that someone other than root and us can change. Code of such a
 * file must not be run. POSIX only.
 *
 * @param file Absolute path of the file.
 * @returns `undefined` if only root and we can change the file.
 * @throws {LatchkeyError} `missing_dependency` if Deno does not permit to look.
 * @throws {Error} if a part of the path is missing or unreadable.
 */
export async function placeOpenToOthers(file: string): Promise<OpenPlace | undefined> {
  const files = await openLocalFiles("/", "read");
  const ahead = file.split("/");
  let at = "";
  let links = 0;
  while (ahead.length > 0) {
    const name = ahead.shift()!;
    if (name === "." || (name === "" && at !== "")) continue;
    if (name === "..") {
      at = at.slice(0, at.lastIndexOf("/"));
      continue;
    }
    const path = name === "" ? "/" : `${at}/${name}`;
    const facts = requireThere(files, path);
    const reason = links > MAX_LINKS ? "too many links lead there" : reasonOpen(facts, files.ownUser());
    if (reason) {
      return { path, reason, command: chmodCommand("go-w", path, { ...facts, user: files.ownUser() }) };
    }
    if (facts.kind === "link") {
      const target = files.readLink(path);
      ahead.unshift(...target.split("/"));
      links++;
      if (target.startsWith("/")) at = "";
    } else if (name !== "") at = path;
  }
  return undefined;
}

/** Returns facts about a part of a path. Fails as the system does if it is missing. */
function requireThere(files: LocalFiles, path: string): FileFacts {
  const facts = files.lstat(path);
  if (!facts) throw Object.assign(new Error(`${path} does not exist`), { code: "ENOENT" });
  return facts;
}

/** Returns the reason why users other than root and the given one can change a part of a path, if they can. */
function reasonOpen({ kind, mode = 0, owner }: FileFacts, user: number | undefined): string | undefined {
  if (owner !== 0 && owner !== user) return `it belongs to user ${owner}`;
  const isSticky = kind === "folder" && (mode & 0o1000) !== 0;
  const isOpen = kind !== "link" && (mode & OTHERS_WRITE) !== 0 && !isSticky;
  return isOpen ? "others can write to it" : undefined;
}

function requireFile(path: string, { kind }: FileFacts): void {
  if (kind === "link") refuse(path, "it is a symbolic link", "Give the path of the file that it links to");
  if (kind !== "file") refuse(path, "it is not a regular file", "Choose another file, or move away what is there");
}

function requireOwnedAndUnshared(files: LocalFiles, path: string, { owner, mode = 0, kind }: FileFacts): void {
  const own = files.ownUser();
  if (owner !== own) {
    // The folder of a file was found to be this user's, so the user can rename the file, even if it is another user's.
    const hint = kind === "folder" ? ELSEWHERE : "move it away, or choose another file";
    const advice = own === 0 ? `Run this as that user, or ${hint}` : capitalized(hint);
    refuse(path, `it belongs to user ${owner}, and this is user ${own}`, advice);
  }
  if ((mode & OTHERS_WRITE) === 0) return;
  const command = chmodCommand("go-w", path, { kind, mode, owner, user: own });
  refuse(path, "others can write to it", command ? `Run ${command}` : hintElsewhere(path));
}

function hintElsewhere(path: string): string {
  if (WINDOWS_DRIVE.test(path)) return "Choose a Linux folder: a Windows drive keeps no permissions";
  return capitalized(ELSEWHERE);
}

function refuse(path: string, reason: string, remedy: string): never {
  throw new LatchkeyError("configuration", `${path} is not safe: ${reason}`, { remedy });
}

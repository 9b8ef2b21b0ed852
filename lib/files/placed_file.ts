/**
 * Small files that other programs look for at a known path, replaced atomically.
 *
 * The functions throw a `LatchkeyError`: `configuration` if the system refuses; `missing_dependency` if Deno does not permit it.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { LatchkeyError } from "../errors.ts";
import { isPermitted, operatingSystem, requirePermission } from "../runtime/host.ts";
import { errorCodeOf, fileFailure, PRIVATE_FOLDER } from "./files.ts";
import { type OpenPlace, placeOpenToOthers } from "./permissions.ts";

const MAX_BYTES = 1_000_000;

/**
 * Returns the text of a file; `undefined` if nothing has this path; an empty text for anything that we would not write: a link,
 * a folder, a file that is too large.
 */
export async function readPlacedFile(path: string): Promise<string | undefined> {
  requirePermission({ name: "read", path });
  try {
    const facts = await lstat(path);
    return facts.isFile() && facts.size <= MAX_BYTES ? await readFile(path, "utf8") : "";
  } catch (error) {
    if (errorCodeOf(error) === "ENOENT") return undefined;
    throw fileFailure(error, { doing: "read", path });
  }
}

/**
 * Checks, before a file is written, that only root and this user can change it: one that programs run, or that tells them what to
 * run. Creates its folder if it is missing. Windows, which has no modes, is not checked.
 *
 * @throws {LatchkeyError} `configuration` if others can.
 */
export async function requireClosedPlace(path: string): Promise<void> {
  if (operatingSystem() === "win32") return;
  const folder = dirname(path);
  requirePermission({ name: "read", path: folder });
  requirePermission({ name: "write", path: folder });
  let place: OpenPlace | undefined;
  try {
    let existing = folder;
    while (!await isThere(existing)) existing = dirname(existing);
    place = await placeOpenToOthers(existing);
    if (!place && existing !== folder) {
      await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
      // Another user may have created a missing folder first, below one with the sticky bit.
      place = await placeOpenToOthers(folder);
    }
  } catch (error) {
    throw fileFailure(error, { doing: "write", path });
  }
  if (!place) return;
  const close = place.command === undefined ? "Choose" : `Run ${place.command}, or choose`;
  throw new LatchkeyError("configuration", `Cannot install ${path}: ${place.path} is not safe: ${place.reason}`, {
    remedy: `${close} a folder that only you and root can change`,
  });
}

/** Writes a file with permission bits in place of any link or file that has its path. Creates its folder if it is missing. */
export async function placeFile(path: string, text: string, mode: number): Promise<void> {
  const folder = dirname(path);
  const temporary = `${folder}/.latchkey-${randomUUID()}.tmp`;
  requirePermission({ name: "read", path: folder });
  requirePermission({ name: "write", path: folder });
  try {
    await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
    // Other users could replace the file, and this user's programs would run what it names.
    if (operatingSystem() !== "win32" && ((await stat(folder)).mode & 0o002) !== 0) {
      throw new LatchkeyError("configuration", `Cannot write to ${folder}: every user can change what is in it`, {
        remedy: "Move the file to a folder of your own",
      });
    }
    try {
      await writeFile(temporary, text, { flag: "wx", mode });
      await chmod(temporary, mode); // whatever the umask removes
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    throw fileFailure(error, { doing: "write", path });
  }
}

/** A file of another program's, as it was found. */
interface SharedFile {
  readonly text: string;
  /** Its path; of a link, the path that it leads to. */
  readonly target: string;
}

/**
 * Changes a file of another program's, which writes it as client-go does its kubeconfig: with a lock file next to it. A link stays
 * one, and what it leads to is replaced; the permission bits stay.
 *
 * @param change Returns the new text; `undefined` to leave the file as it is.
 * @param afterwards Called after the change, while the lock is held.
 */
export async function changeSharedFile(
  path: string,
  change: (file: SharedFile) => Promise<string | undefined>,
  afterwards?: (target: string) => Promise<void>,
): Promise<void> {
  const lock = `${path}.lock`;
  requirePermission({ name: "read", path });
  requirePermission({ name: "write", path: dirname(path) });
  try {
    await writeFile(lock, "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (errorCodeOf(error) !== "EEXIST") throw fileFailure(error, { doing: "write", path });
    throw new LatchkeyError("configuration", `Another program is changing ${path}: there is ${lock}`, {
      remedy: `Try again; if no program is running that changes it, remove ${lock}`,
    });
  }
  try {
    const target = await realpath(path);
    const { mode, size } = await stat(target);
    if (size > MAX_BYTES) throw new LatchkeyError("configuration", `${path} has more than ${MAX_BYTES} bytes`);
    const text = await change({ text: await readFile(target, "utf8"), target });
    if (text === undefined) return;
    await placeFile(target, text, mode & 0o777);
    await afterwards?.(target);
  } catch (error) {
    throw fileFailure(error, { doing: "write", path });
  } finally {
    await rm(lock, { force: true });
  }
}

/**
 * Checks that something can be created in a folder, which need not exist: its file system can be read-only. Nothing is left there.
 *
 * @returns False if Deno does not permit the test; the user is not asked for more.
 * @throws {LatchkeyError} `configuration` if nothing can be created.
 */
export async function testFolder(folder: string): Promise<boolean> {
  let path = folder;
  const may = (name: "read" | "write") => isPermitted({ name, path });
  try {
    while (may("read") && !await isThere(path) && dirname(path) !== path) path = dirname(path);
    if (!may("read") || !may("write")) return false;
    await rmdir(await mkdtemp(join(path, ".latchkey-")));
    return true;
  } catch (error) {
    const target = errorCodeOf(error) === "ENOENT" ? await readlink(path).catch(() => undefined) : undefined;
    if (target === undefined) throw fileFailure(error, { doing: "create a folder in", path });
    const whole = resolve(dirname(path), target);
    throw new LatchkeyError("configuration", `Cannot create a folder in ${path}: it is a symbolic link to nothing`, {
      remedy: `Create the folder that it links to (${whole}), or remove the link`,
    });
  }
}

/** Returns true if something has a path, be it a link that leads nowhere. */
async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCodeOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** Removes a file, if it exists. */
export async function removePlacedFile(path: string): Promise<void> {
  requirePermission({ name: "write", path });
  try {
    await rm(path, { force: true });
  } catch (error) {
    throw fileFailure(error, { doing: "remove", path });
  }
}

/** Returns true if a path is a folder, or a link to one. */
export async function isFolder(path: string): Promise<boolean> {
  requirePermission({ name: "read", path });
  try {
    return (await lstat(`${path}/`)).isDirectory();
  } catch {
    return false;
  }
}

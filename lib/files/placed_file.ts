/**
 * Small files that other programs look for at a known place, replaced as a whole or not at all.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { chmod, lstat, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { LatchkeyError } from "../errors.ts";
import { operatingSystem, quoteCommand, requirePermission } from "../runtime/host.ts";
import { fileFailure, isNotFound } from "./files.ts";

/** What is larger is none of these files. */
const MAX_BYTES = 1_000_000;

/**
 * The text of a file.
 *
 * @returns `undefined` when nothing is there; an empty text for what is no such file: a link, a folder, or larger than they are.
 * @throws {LatchkeyError} `configuration` when it cannot be read; `missing_dependency` when Deno does not permit it.
 */
export async function readPlacedFile(path: string): Promise<string | undefined> {
  requirePermission({ name: "read", path });
  try {
    const facts = await lstat(path);
    return facts.isFile() && facts.size <= MAX_BYTES ? await readFile(path, "utf8") : "";
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw fileFailure(error, { doing: "read", path });
  }
}

/**
 * Puts a file in its place, in that of a link or another file as well, and makes its folder when that is missing.
 *
 * @param path Its path.
 * @param text What is to be in it.
 * @param mode Its permission bits.
 * @throws {LatchkeyError} `configuration` when it cannot be written; `missing_dependency` when Deno does not permit it.
 */
export async function placeFile(path: string, text: string, mode: number): Promise<void> {
  const folder = dirname(path), unfinished = `${folder}/.latchkey-${randomUUID()}.tmp`;
  requirePermission({ name: "read", path: folder });
  requirePermission({ name: "write", path: folder });
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await refuseOpenFolder(folder);
    try {
      await writeFile(unfinished, text, { flag: "wx", mode });
      await chmod(unfinished, mode); // whatever the person's umask takes away
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  } catch (error) {
    throw error instanceof LatchkeyError ? error : fileFailure(error, { doing: "write", path });
  }
}

/** What others put in the place of a program would be run as the person. */
async function refuseOpenFolder(folder: string): Promise<void> {
  if (operatingSystem() === "win32" || ((await stat(folder)).mode & 0o002) === 0) return;
  throw new LatchkeyError("configuration", `Cannot write to ${folder}: everybody may change what is in it`, {
    hint: `Run ${quoteCommand(["chmod", "o-w", folder])}, or name another folder`,
  });
}

/**
 * Removes a file, if it is still there.
 *
 * @throws {LatchkeyError} `configuration` when it cannot be removed; `missing_dependency` when Deno does not permit it.
 */
export async function removePlacedFile(path: string): Promise<void> {
  requirePermission({ name: "write", path });
  try {
    await rm(path, { force: true });
  } catch (error) {
    throw fileFailure(error, { doing: "remove", path });
  }
}

/**
 * Whether a folder is there; a link to one counts.
 *
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to look.
 */
export async function isFolder(path: string): Promise<boolean> {
  requirePermission({ name: "read", path });
  try {
    return (await lstat(`${path}/`)).isDirectory();
  } catch {
    return false;
  }
}

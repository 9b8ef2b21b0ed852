/**
 * A private file that is read again only when it can have changed: MSAL's one can have 25 MB.
 *
 * @module
 */
import type { FileFacts, LocalFiles } from "./local_files.ts";
import { openLocalFiles } from "./open_local_files.ts";
import { type PrivateFileCall, readPrivateFile } from "./private_file.ts";
import { folderOf, isPrivateFolder } from "./private_folder.ts";

/** What a file was when it was read. */
export interface KnownFile {
  /** What was in it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * How the file looked, when nobody had written it for some seconds: whoever writes it later makes it look different.
   * `undefined` when it was too young for that.
   */
  readonly settled: FileFacts | undefined;
}

/** How old the last change has to be, in milliseconds, so that the next one has another time in any file system. */
const SETTLED_MS = 5000;

/**
 * Reads a file, unless it is as it was.
 *
 * @param path Its path.
 * @param known What this gave the last time.
 * @param options Ends the call early.
 * @returns The same object when it is as it was; `undefined` when it, or its folder, is not there.
 * @throws {LatchkeyError} as {@linkcode readPrivateFile}
 */
export async function readKnownFile(
  path: string,
  known: KnownFile | undefined,
  { signal }: PrivateFileCall = {},
): Promise<KnownFile | undefined> {
  const folder = folderOf(path), nowMs = Date.now();
  signal?.throwIfAborted();
  const files = await openLocalFiles(folder, "read"), before = lookSafely(files, { path, folder });
  if (known?.settled && before && isSame(known.settled, before)) return known;

  const bytes = await readPrivateFile(path, { signal });
  if (!bytes) return undefined;
  const after = lookSafely(files, { path, folder });
  const isSettled = before && after && isSame(before, after) && nowMs - after.changedMs > SETTLED_MS;
  return { bytes, settled: isSettled ? after : undefined };
}

/** What is there; `undefined` when reading will say what is wrong. */
function lookSafely(
  files: LocalFiles,
  { path, folder }: { readonly path: string; readonly folder: string },
): FileFacts | undefined {
  try {
    return isPrivateFolder(files, folder) ? files.look(path) : undefined;
  } catch {
    return undefined;
  }
}

function isSame(one: FileFacts, other: FileFacts): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

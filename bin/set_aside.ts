/**
 * Damaged token caches that were set aside. Nobody can use them, but tokens can be in them.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { listSetAside, removePrivateFile } from "../lib/platform/private_file.ts";
import { folderOf } from "../lib/platform/private_folder.ts";
import type { TokenPlace } from "./token_store.ts";

/**
 * Lists what was set aside in a place.
 *
 * @throws {LatchkeyError} if the place cannot be read.
 */
export async function findSetAside(place: TokenPlace): Promise<readonly string[]> {
  switch (place.kind) {
    case "memory":
      return [];
    case "file":
      return await listSetAside(place.folder);
    case "plaintext":
      return await listSetAside(folderOf(place.path), place.path.replace(/^.*[\\/]/s, ""));
  }
}

/**
 * Removes what was set aside, once nobody is signed in any more. Until then, or if it cannot be removed, says where it is.
 *
 * @param place Where tokens are kept.
 * @param options `isAnybodyLeft`: whether somebody is signed in.
 * @returns What to say to somebody who has signed out; `undefined` if nothing was set aside.
 */
export async function clearSetAside(
  place: TokenPlace,
  { isAnybodyLeft }: { readonly isAnybodyLeft: boolean },
): Promise<string | undefined> {
  let paths: readonly string[] = [];
  try {
    paths = await findSetAside(place);
    if (paths.length === 0) return undefined;
    if (!isAnybodyLeft) {
      for (const path of paths) await removePrivateFile(path);
      return `removed what was set aside as damaged: ${paths.join(", ")}`;
    }
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return `what was set aside as damaged may hold tokens, and was not removed: ${error.message}`;
  }
  return `tokens may be in what was set aside as damaged; remove it: ${paths.join(", ")}`;
}

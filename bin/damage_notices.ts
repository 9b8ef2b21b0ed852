/**
 * Damaged token caches: words to the person about them, and what was set aside of them.
 *
 * @module
 */
import { type CacheStore, LatchkeyError } from "../mod.ts";
import { listSetAside, removePrivateFile } from "../lib/platform/private_file.ts";
import { folderOf } from "../lib/platform/private_folder.ts";
import type { TokenPlace } from "./token_store.ts";

const passedOver = (why: string): string => `The token cache cannot be read: ${why}. Sign in again: latchkey login`;

/** How it is told. */
export interface DamageNotices {
  /** Prints it; called once for each of the two. */
  readonly notice: (what: string) => void;
  /** Whether a document is damaged. */
  readonly isDamaged: (document: string) => boolean;
  /** Whether the key that it was encrypted with can be lost instead. @default false */
  readonly mayBeKey?: boolean | undefined;
}

/**
 * Tells of documents that cannot be read, and of those that are set aside.
 *
 * @param store Whose documents.
 * @param notices How it is told.
 */
export function withDamageNotices(
  store: CacheStore,
  { notice, isDamaged, mayBeKey = false }: DamageNotices,
): CacheStore {
  const why = mayBeKey ? "it is damaged, or its key is lost" : "it is damaged";
  const told = new Set<string>();
  const tellOnce = (kind: string, what: string): void => {
    if (!told.has(kind)) notice(what);
    told.add(kind);
  };
  return {
    ...store,
    async readAccounts(call) {
      const documents = await store.readAccounts(call);
      if (documents.some(isDamaged)) tellOnce("passed over", passedOver(why));
      return documents;
    },
    ...(store.setAside && {
      async setAside(homeAccountId, isDamagedNow, call) {
        const place = await store.setAside?.(homeAccountId, isDamagedNow, call);
        if (place !== undefined) {
          tellOnce("set aside", `The token cache was damaged. It was set aside as ${place}, and a new one is begun`);
        }
        return place;
      },
    }),
  };
}

/**
 * Lists what was set aside in a place. Nobody can use it, but tokens can be in it.
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

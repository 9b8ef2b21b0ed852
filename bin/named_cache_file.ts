/**
 * The file that `--cache-file` names: it can be anything of the person's, until it is seen to be a token cache.
 *
 * @module
 */
import { type CacheCall, type CacheStore, LatchkeyError } from "../mod.ts";
import { UsageError } from "./command_line.ts";

/** What helps where a file is no token cache. */
export const OTHER_FILE = "Name another file with --cache-file, or move this one away";

/** For people: that a file is no token cache. */
export function noCache(path: string): string {
  return `${path} is no token cache: it has something else in it, or is damaged`;
}

/** Whether a text can be a token cache's: a JSON object, or nothing yet. */
export function isCacheText(text: string): boolean {
  try {
    const trimmed = text.trim(), root: unknown = trimmed === "" ? {} : JSON.parse(trimmed);
    return typeof root === "object" && root !== null && !Array.isArray(root);
  } catch {
    return false;
  }
}

/**
 * A store in a file that the person named: it is never set aside.
 *
 * @param store The store.
 */
export function inNamedFile({ setAside: _, ...store }: CacheStore): CacheStore {
  return store;
}

/**
 * Makes sure that a file that the person named is a token cache, or nothing yet.
 *
 * @param store The store in that file. A failure to read it is left to who uses it.
 * @param options The file's path; `signal` gives up.
 * @throws {UsageError} when it is something else.
 */
export async function requireCacheFile(
  store: CacheStore,
  { path, signal }: CacheCall & { readonly path: string },
): Promise<void> {
  let documents: readonly string[];
  try {
    documents = await store.readAccounts({ signal });
  } catch (error) {
    if (error instanceof LatchkeyError && !signal?.aborted) return;
    throw error;
  }
  if (!documents.every(isCacheText)) throw new UsageError(`Cannot use --cache-file: ${noCache(path)}. ${OTHER_FILE}`);
}

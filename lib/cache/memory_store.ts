/**
 * A token cache that ends with the program.
 *
 * @module
 */
import type { CacheStore } from "./cache_store.ts";

/**
 * A store in memory, a document for each account. Apps that share one share what they sign in.
 *
 * @returns An empty store.
 */
export function memoryStore(): CacheStore {
  const documents = new Map<string, string>();
  // Nothing is awaited between reading and writing: that makes a change one step.
  // deno-lint-ignore require-await
  const readAccounts: CacheStore["readAccounts"] = async () => [...documents.values()];
  // deno-lint-ignore require-await
  const read: CacheStore["read"] = async (homeAccountId) => documents.get(homeAccountId);
  // deno-lint-ignore require-await
  const update: CacheStore["update"] = async (homeAccountId, change) => {
    const changed = change(documents.get(homeAccountId));
    if (changed !== undefined) documents.set(homeAccountId, changed);
  };
  return { readAccounts, read, update };
}

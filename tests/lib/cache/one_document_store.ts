// A store with one document for all accounts, as MSAL's own file is.
import type { CacheStore } from "../../../lib/cache/store.ts";

/** The store, what is in it, and how often it was written. */
export interface OneDocumentStore extends CacheStore {
  document: string | undefined;
  writes: number;
  /** What was set aside. */
  readonly aside: string[];
}

/** @param document What is in it at first. */
export function oneDocumentStore(document?: string): OneDocumentStore {
  const store: OneDocumentStore = {
    document,
    writes: 0,
    aside: [],
    readAccounts: () => Promise.resolve(store.document === undefined ? [] : [store.document]),
    read: () => Promise.resolve(store.document),
    update: (_, change) => {
      const changed = change(store.document);
      if (changed !== undefined && changed !== store.document) store.writes += 1;
      store.document = changed;
      return Promise.resolve();
    },
    setAside: (_, isDamaged) => {
      if (store.document === undefined || !isDamaged(store.document)) return Promise.resolve(undefined);
      store.aside.push(store.document);
      store.document = undefined;
      return Promise.resolve("cache.json.damaged");
    },
  };
  return store;
}

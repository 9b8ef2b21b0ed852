/**
 * Stores of token caches.
 *
 * @module
 */

/** Options of a call. */
export interface CacheCall {
  /** Ends the call at once with the signal's reason. A write is done or not, never in part. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps the documents of a token cache: JSON in MSAL's unified schema. A store sees only their text, so that it can
 * encrypt them, lock them, or put them anywhere.
 *
 * The store chooses the number of documents. Each is complete: an account's tokens, its record, and what is known of
 * its apps (AppMetadata, a few bytes, is repeated if each account has a document of its own). MSAL's own file is one
 * document for all accounts. With one for each, a token costs the same however many accounts there are, and two
 * accounts can be written at the same time. No call needs two documents at once, so no store needs transactions.
 *
 * There is no plain `write`: any number of processes may change a document at the same time, and only the store knows
 * how to apply a change to the latest version, by a lock or by compare and retry.
 */
export interface CacheStore {
  /**
   * Reads the records of all accounts: every document, or excerpts. An excerpt needs only the sections Account and
   * LatchkeySignedOut, so that a store of many documents can keep a small one for this call.
   *
   * @returns The documents; none if nothing has been stored.
   * @throws {LatchkeyError} `configuration` if the store cannot be read.
   */
  readAccounts(call?: CacheCall): Promise<readonly string[]>;

  /**
   * Reads the document of an account. It may have other accounts in it.
   *
   * @param homeAccountId The account. The same account always has the same text.
   * @returns The document; `undefined` if it is missing.
   * @throws {LatchkeyError} `configuration` if the store cannot be read.
   */
  read(homeAccountId: string, call?: CacheCall): Promise<string | undefined>;

  /**
   * Changes the document of an account as one step: no other change of it, by whatever process, comes in between.
   *
   * @param homeAccountId The account.
   * @param change Returns the new document for the stored one. It is synchronous, and can be called again if another
   * process was faster. If it returns its argument, or `undefined`, nothing is written.
   * @throws {LatchkeyError} `configuration` if the store cannot be read or written.
   */
  update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call?: CacheCall,
  ): Promise<void>;

  /**
   * Sets a damaged document aside, so that people can look at it and a new one can begin. Without this method, a
   * damaged document is an error.
   *
   * @param homeAccountId The account.
   * @param isDamaged Returns true if the document that is stored at that moment is damaged: another process may have
   * replaced it.
   * @returns Its new name; `undefined` if it was not damaged.
   * @throws {LatchkeyError} `configuration` if that cannot be done.
   */
  setAside?(
    homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call?: CacheCall,
  ): Promise<string | undefined>;

  /**
   * Does long work for an account, such as a renewal, while no other process does, so that a hundred programs that need
   * a token send one request. A caller that waited reads the store again before it works. Without this method nobody
   * waits.
   *
   * @param homeAccountId The account.
   * @param work Called when no other process is at work, or if that cannot be ensured.
   * @returns The result of `work`.
   */
  withLock?<T>(homeAccountId: string, work: () => Promise<T>, call?: CacheCall): Promise<T>;
}

/** Returns a store that calls `load` on first use, once. */
export function lazyStore(load: () => Promise<Required<CacheStore>>): Required<CacheStore> {
  let loaded: Promise<Required<CacheStore>> | undefined;
  const store = () => {
    loaded ??= load();
    return loaded;
  };
  return {
    readAccounts: async (call) => await (await store()).readAccounts(call),
    read: async (homeAccountId, call) => await (await store()).read(homeAccountId, call),
    update: async (homeAccountId, change, call) => await (await store()).update(homeAccountId, change, call),
    setAside: async (homeAccountId, isDamaged, call) => await (await store()).setAside(homeAccountId, isDamaged, call),
    withLock: async (homeAccountId, work, call) => await (await store()).withLock(homeAccountId, work, call),
  };
}

/**
 * Returns a store in memory, with a document for each account. Apps that use the same one share their sign-ins.
 *
 * @returns An empty store.
 */
export function memoryStore(): CacheStore {
  const documents = new Map<string, string>();
  return {
    readAccounts: () => Promise.resolve([...documents.values()]),
    read: (homeAccountId) => Promise.resolve(documents.get(homeAccountId)),
    // Nothing is awaited between reading and writing, which makes a change one step.
    // deno-lint-ignore require-await
    async update(homeAccountId, change) {
      const changed = change(documents.get(homeAccountId));
      if (changed !== undefined) documents.set(homeAccountId, changed);
    },
  };
}

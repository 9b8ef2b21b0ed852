/**
 * Where a token cache is kept.
 *
 * @module
 */

/** Ends a call early. */
export interface CacheCall {
  /** Ends the call at once with the signal's reason. What is being written is written or not, never in part. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps the documents of a token cache: JSON in MSAL's unified schema. Their text is all that a store sees, so that it can
 * encrypt them, lock them, or put them anywhere.
 *
 * How many documents there are is the store's choice, for a document is whole by itself: an account's tokens, its record,
 * and what is known of the apps that it uses (AppMetadata, a few bytes, is repeated where each account has a document of
 * its own). One document for all accounts is what MSAL's own file is; one for each account lets a token cost the same
 * however many accounts there are, and two accounts be written at the same time. No call needs two documents at once,
 * hence none needs a transaction over several.
 *
 * There is no plain `write`: whatever a hundred processes do at the same time, a change is made to what the one before it
 * left, and the store alone knows how to see to that (a lock, or a comparison and another attempt).
 */
export interface CacheStore {
  /**
   * Documents that have the records of all accounts: every document there is, or excerpts. An excerpt needs the sections
   * Account and LatchkeySignedOut and no more, so that a store of many documents can keep a small one to be read here.
   *
   * @returns The documents; none when nothing has been stored.
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  readAccounts(call?: CacheCall): Promise<readonly string[]>;

  /**
   * The document that an account is in. It may have other accounts in it.
   *
   * @param homeAccountId Whose. The same account's is always the same text.
   * @returns The document; `undefined` when there is none.
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  read(homeAccountId: string, call?: CacheCall): Promise<string | undefined>;

  /**
   * Changes the document that an account is in, as one step: no other change of it, by whatever process, comes in between.
   *
   * @param homeAccountId Whose.
   * @param change Gives what is to be stored in place of what is stored. It waits for nothing, and can be called again when
   * another process was quicker. When it gives what it was given, or `undefined`, nothing is written.
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written.
   */
  update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call?: CacheCall,
  ): Promise<void>;

  /**
   * Sets a damaged document aside, so that it can be looked at and a new one be begun. Without this method, a damaged
   * document is an error.
   *
   * @param homeAccountId Whose.
   * @param isDamaged Tells whether what is stored at that moment is damaged: another process may have mended it.
   * @returns The name under which it can be found; `undefined` when it was not damaged.
   * @throws {LatchkeyError} `configuration` when that cannot be done.
   */
  setAside?(
    homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call?: CacheCall,
  ): Promise<string | undefined>;

  /**
   * Does what one at a time is to do for an account, in whatever process, and however long it takes: a renewal, so that a
   * hundred programs that need a token send one request. Whoever waits looks again at what is stored before it works.
   * Without this method nobody waits.
   *
   * @param homeAccountId Whose.
   * @param work Is called once nobody else is at work. It is called even when that cannot be seen to.
   * @returns What `work` gives.
   */
  withLock?<T>(homeAccountId: string, work: () => Promise<T>, call?: CacheCall): Promise<T>;
}

/**
 * Makes it.
 *
 * @param load Loads and makes the store; called once.
 * @returns A store that hands all on to it.
 */
export function lazyStore(load: () => Promise<Required<CacheStore>>): Required<CacheStore> {
  let loaded: Promise<Required<CacheStore>> | undefined;
  const store = () => loaded ??= load();
  return {
    readAccounts: async (call) => await (await store()).readAccounts(call),
    read: async (homeAccountId, call) => await (await store()).read(homeAccountId, call),
    update: async (homeAccountId, change, call) => await (await store()).update(homeAccountId, change, call),
    setAside: async (homeAccountId, isDamaged, call) => await (await store()).setAside(homeAccountId, isDamaged, call),
    withLock: async (homeAccountId, work, call) => await (await store()).withLock(homeAccountId, work, call),
  };
}

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

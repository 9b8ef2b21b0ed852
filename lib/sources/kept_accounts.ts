/**
 * What is kept of accounts that a broker may serve as well. Where a broker serves, as a rule nothing is kept: then no code
 * of the cache is loaded.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { type Authority, environmentOf } from "../authority.ts";
import type { CachedAccount } from "../cache/cached_accounts.ts";
import type { CacheStore } from "../cache/cache_store.ts";
import type { TokenCache } from "../cache/token_cache.ts";
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";

/** Whose accounts, and where they are kept. */
export interface KeptAccountsOptions {
  /** The app. */
  readonly clientId: string;
  /** The app's authority. */
  readonly authority: Authority;
  /** Where tokens that came without a broker are kept. @default in memory */
  readonly store?: CacheStore | undefined;
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** Takes log lines. */
  readonly log: Logger;
}

/** The accounts of a cache, and the cache. */
export class KeptAccounts {
  readonly #options: KeptAccountsOptions;
  #cache: Promise<TokenCache> | undefined;

  /** @param options Whose, and where. Nothing is read before the first call. */
  constructor(options: KeptAccountsOptions) {
    this.#options = options;
  }

  /** The cache; its code is loaded when it is first needed. */
  async cache(): Promise<TokenCache> {
    return await (this.#cache ??= this.#makeCache());
  }

  /** Who is signed in beside the broker's accounts. A cache that cannot be read does not stand in a broker's way. */
  async accounts(username: string | undefined, signal: AbortSignal | undefined): Promise<CachedAccount[]> {
    return await this.#orElse([], async (store) => {
      if (!this.#cache && (await store?.readAccounts({ signal }))?.length === 0) return [];
      return await (await this.cache()).findAccounts({ username, signal });
    });
  }

  /** What is kept of one account. */
  async account(account: AccountInfo, signal: AbortSignal | undefined): Promise<CachedAccount | undefined> {
    return await this.#orElse(undefined, async (store) => {
      if (!await this.#has(store, account, signal)) return undefined;
      return await (await this.cache()).findAccount(account, { signal });
    });
  }

  /** Whether an account signed out of the app, in this run or an earlier one. */
  async isSignedOut(account: AccountInfo, signal: AbortSignal | undefined): Promise<boolean> {
    return await this.#orElse(false, async (store) => {
      return await this.#has(store, account, signal) &&
        await (await this.cache()).isSignedOut(account, { signal });
    });
  }

  /** Whether anything is kept of an account, be it that it signed out. */
  async has(account: AccountInfo, signal?: AbortSignal): Promise<boolean> {
    return await this.#orElse(false, (store) => this.#has(store, account, signal));
  }

  async #has(
    store: CacheStore | undefined,
    { homeAccountId }: AccountInfo,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!store) return this.#cache !== undefined;
    return await store.read(idKey(homeAccountId), { signal }) !== undefined;
  }

  /** Until something is kept in memory, there is nothing to look at without a store. */
  async #orElse<T>(otherwise: T, look: (store: CacheStore | undefined) => Promise<T>): Promise<T> {
    const { store, log } = this.#options;
    if (!store && !this.#cache) return otherwise;
    try {
      return await look(store);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      log("warn", `The token cache was passed over: ${error.message}`);
      return otherwise;
    }
  }

  async #makeCache(): Promise<TokenCache> {
    const { TokenCache } = await import("../cache/token_cache.ts");
    const { clientId, authority, now, log } = this.#options;
    const store = this.#options.store ?? (await import("../cache/memory_store.ts")).memoryStore();
    return new TokenCache(store, { clientId, environment: environmentOf(authority), now, log });
  }
}

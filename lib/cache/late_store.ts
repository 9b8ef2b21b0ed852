/**
 * A store whose code is loaded when it is first used: programs that are done without it do not pay for it.
 *
 * @module
 */
import type { CacheStore } from "./cache_store.ts";

/**
 * Makes it.
 *
 * @param load Loads and makes the store; called once.
 * @returns A store that hands all on to it.
 */
export function lateStore(load: () => Promise<Required<CacheStore>>): Required<CacheStore> {
  let loaded: Promise<Required<CacheStore>> | undefined;
  const store = () => loaded ??= load();
  return {
    readAccounts: async (call) => await (await store()).readAccounts(call),
    read: async (homeAccountId, call) => await (await store()).read(homeAccountId, call),
    update: async (homeAccountId, change, call) => await (await store()).update(homeAccountId, change, call),
    setAside: async (homeAccountId, isDamaged, call) => await (await store()).setAside(homeAccountId, isDamaged, call),
    alone: async (homeAccountId, work, call) => await (await store()).alone(homeAccountId, work, call),
  };
}

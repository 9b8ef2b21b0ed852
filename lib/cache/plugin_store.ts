/**
 * Token caches that a plugin of MSAL for Node keeps.
 *
 * @module
 */
import { untilAborted } from "../async.ts";
import { isObject, readJson } from "../encoding.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import type { CacheStore } from "./store.ts";

/** MSAL for Node's `ICachePlugin`: loads a token cache before an access, and saves it after one that changed it. */
export interface CachePlugin {
  /** Loads what is stored, and may lock it. */
  beforeCacheAccess(context: CachePluginContext): Promise<void>;
  /** Saves what has changed, and unlocks it. */
  afterCacheAccess(context: CachePluginContext): Promise<void>;
}

/** MSAL for Node's `TokenCacheContext`: one access to the token cache. */
export interface CachePluginContext {
  /** True if the access changes the cache: before it, if it may; after it, if it did. */
  readonly cacheHasChanged: boolean;
  /** The token cache as a text. */
  readonly tokenCache: {
    /** Returns the cache as JSON. */
    serialize(): string;
    /** Replaces the cache. */
    deserialize(cache: string): void;
  };
}

/** Members that MSAL's own plugins use as well. */
interface FullContext extends CachePluginContext {
  hasChanged: boolean;
  readonly cache: CachePluginContext["tokenCache"];
}

/**
 * Returns a store that an MSAL for Node cache plugin keeps, so that an app with MSAL for Node and one with latchkey
 * share their sign-ins.
 *
 * All accounts are in one document. A plugin without a lock loses changes if two programs make them at the same time.
 *
 * @param plugin The plugin, as MSAL for Node takes it in `cache.cachePlugin`. It is not called before the first call.
 * @returns The store.
 * @throws {TypeError} if the plugin lacks one of its two methods.
 *
 * @example A cache shared with MSAL for Node
 * ```ts
 * import { type CachePlugin, cachePluginStore, PublicClientApplication } from "@latchkey/latchkey";
 *
 * // The plugin that MSAL for Node gets as { cache: { cachePlugin } }
 * function appOver(cachePlugin: CachePlugin): PublicClientApplication {
 *   const cache = cachePluginStore(cachePlugin);
 *   return new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", cache });
 * }
 * ```
 */
export function cachePluginStore(plugin: CachePlugin): CacheStore {
  if (typeof plugin?.beforeCacheAccess !== "function" || typeof plugin.afterCacheAccess !== "function") {
    throw new ArgumentError("Cannot use the cache plugin: beforeCacheAccess or afterCacheAccess is missing");
  }
  /** Stays from one access to the next: a plugin that knows that nothing has changed does not load it again. */
  let document: string | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const tokenCache = {
    serialize: () => document ?? "{}",
    deserialize: (cache: string) => {
      document = cache || undefined;
    },
    getKVStore: () => accountEntities(document), // MSAL's DistributedCachePlugin names its partition by the account
  };

  async function access(change?: (document: string | undefined) => string | undefined): Promise<string | undefined> {
    let loaded: string | undefined;
    const context: FullContext = {
      hasChanged: change !== undefined,
      get cacheHasChanged() {
        return this.hasChanged;
      },
      cache: tokenCache,
      tokenCache,
    };
    const call = async (method: keyof CachePlugin): Promise<void> => {
      try {
        await plugin[method](context);
      } catch (error) {
        throw pluginFailure(error, method);
      }
    };
    try {
      await call("beforeCacheAccess");
      loaded = document;
      const changed = change?.(loaded);
      context.hasChanged = changed !== undefined && changed !== loaded;
      if (context.hasChanged) document = changed;
    } catch (error) {
      context.hasChanged = false;
      await call("afterCacheAccess").catch(() => {}); // as MSAL does, so that a lock is released
      throw error;
    }
    try {
      await call("afterCacheAccess");
    } catch (error) {
      document = loaded;
      throw error;
    }
    return document;
  }

  /** One access at a time: they share the document. */
  function serialize(change: Parameters<typeof access>[0], signal?: AbortSignal): Promise<string | undefined> {
    const result = last.then(() => {
      signal?.throwIfAborted();
      return access(change);
    });
    last = result.catch(() => {});
    return untilAborted(result, signal);
  }

  return {
    async readAccounts({ signal } = {}) {
      const document = await serialize(undefined, signal);
      return document === undefined ? [] : [document];
    },
    read: async (_homeAccountId, { signal } = {}) => await serialize(undefined, signal),
    update: async (_homeAccountId, change, { signal } = {}) => void await serialize(change, signal),
  };
}

/** Returns the account records of a document with the field names of MSAL's memory. */
function accountEntities(document: string | undefined): Readonly<Record<string, unknown>> {
  const accounts = readJson(document ?? "{}")?.Account;
  return Object.fromEntries(
    Object.entries(isObject(accounts) ? accounts : {}).map(([key, entry]) => [
      key,
      Object.fromEntries(Object.entries(isObject(entry) ? entry : {}).map(([name, value]) => [camelCase(name), value])),
    ]),
  );
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Messages and causes can quote what is stored: the name has to do. */
function pluginFailure(error: unknown, method: string): LatchkeyError {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  const kind = [code, name].find((text) => typeof text === "string" && /^\w{2,60}$/.test(text)) ?? "no error";
  return new LatchkeyError("configuration", `Cannot use the token cache: the plugin's ${method} failed (${kind})`, {
    remedy: "Check that the place where the cache plugin stores the cache can be read and written",
  });
}

/**
 * Words to the person about what a token cache has lost.
 *
 * @module
 */
import type { CacheStore } from "../mod.ts";

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

/**
 * A store whose failures do not stand in a token's way, and are told.
 *
 * @module
 */
import { type CacheCall, type CacheStore, LatchkeyError } from "../mod.ts";

/** What becomes of failures. */
export interface ForgivingOptions {
  /** Told of the first failure to write, and of the one to read. */
  readonly tell: (what: string, error: LatchkeyError) => void;
  /** Makes what is used from the first failure to read on. @default none: a failure to read is the caller's */
  readonly instead?: (() => CacheStore) | undefined;
}

/**
 * Makes it.
 *
 * @param store What may fail.
 * @param options What becomes of failures.
 */
export function forgivingStore(store: CacheStore, { tell, instead }: ForgivingOptions): CacheStore {
  let used = store, isTold = false;

  function tellOnce(what: string, error: LatchkeyError): void {
    if (!isTold) tell(what, error);
    isTold = true;
  }

  /** Reads, once more from what is used instead when it fails. */
  async function reading<T>({ signal }: CacheCall, read: (store: CacheStore) => Promise<T>): Promise<T> {
    try {
      return await read(used);
    } catch (error) {
      if (!instead || used !== store || !isFailure(error, signal)) throw error;
      tellOnce("The token cache cannot be used, and nothing is kept for the next run", error);
      used = instead();
      return await read(used);
    }
  }

  return {
    readAccounts: (call = {}) => reading(call, (store) => store.readAccounts(call)),
    read: (homeAccountId, call = {}) => reading(call, (store) => store.read(homeAccountId, call)),
    async update(homeAccountId, change, call = {}) {
      try {
        await used.update(homeAccountId, change, call);
      } catch (error) {
        if (isFailure(error, call.signal)) {
          tellOnce("The token cache cannot be written, and nothing is kept for the next run", error);
        }
        throw error;
      }
    },
    setAside: async (homeAccountId, isDamaged, call) => await used.setAside?.(homeAccountId, isDamaged, call),
    alone: async (homeAccountId, work, call) => await (used.alone?.(homeAccountId, work, call) ?? work()),
  };
}

/** Whether it is a failure of the store; a caller that gives up is none. */
function isFailure(error: unknown, signal: AbortSignal | undefined): error is LatchkeyError {
  return error instanceof LatchkeyError && signal?.aborted !== true;
}

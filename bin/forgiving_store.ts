/**
 * A store whose failures do not stand in a token's way, and are told.
 *
 * @module
 */
import { type CacheCall, type CacheStore, LatchkeyError } from "../mod.ts";

/** Says what failed, and why where that was not said before. */
export type Tell = (what: string, error: LatchkeyError | undefined) => void;

/** What becomes of failures. */
export interface ForgivingOptions {
  /** Told of the first failure to read, and of the first one to write. */
  readonly tell: Tell;
  /** Makes what is used once reading has failed. @default none: a failure to read is the caller's */
  readonly instead?: (() => CacheStore) | undefined;
  /** Finds out whether anything can be written. @default that is not known beforehand */
  readonly tryToWrite?: ((call: CacheCall) => Promise<void>) | undefined;
}

/** A store that can be tried out. */
export interface ForgivingStore extends CacheStore {
  /** Tells what stands in the way of keeping anything, as far as that is known beforehand. Nothing is kept. */
  tryOut(call?: CacheCall): Promise<void>;
}

const READING = "The token cache cannot be read";
const WRITING = "The token cache cannot be written, and nothing is kept for the next run";

/**
 * Makes it.
 *
 * @param store What may fail.
 * @param options What becomes of failures.
 */
export function forgivingStore(
  store: CacheStore,
  { tell, instead, tryToWrite }: ForgivingOptions,
): ForgivingStore {
  /** Accounts whose damaged documents could not be set aside, and why: they have none. */
  const given = new Map<string, LatchkeyError>();
  const told = new Set<string>();
  let used = store, spare: CacheStore | undefined;

  function tellOnce(what: string, error: LatchkeyError): void {
    if (told.has(what)) return;
    tell(what, told.has(error.message) ? undefined : error);
    told.add(what).add(error.message);
  }

  /** Reads, once more from what is used instead when it fails. */
  async function reading<T>({ signal }: CacheCall, read: (store: CacheStore) => Promise<T>): Promise<T> {
    try {
      return await read(used);
    } catch (error) {
      if (used !== store || !isFailure(error, signal)) throw error;
      tellOnce(READING, error);
      if (!instead) throw error;
      used = spare ??= instead();
      return await read(used);
    }
  }

  return {
    readAccounts: (call = {}) => reading(call, (store) => store.readAccounts(call)),
    read: (homeAccountId, call = {}) =>
      reading(call, async (used) => {
        return used === store && given.has(homeAccountId) ? undefined : await used.read(homeAccountId, call);
      }),
    async update(homeAccountId, change, call = {}) {
      const unusable = given.get(homeAccountId);
      try {
        if (unusable) throw unusable;
        await store.update(homeAccountId, change, call); // what cannot be read can often be begun anew
        used = store; // what was just written is there
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        tellOnce(WRITING, error);
        if (used === store) throw error;
        await used.update(homeAccountId, change, call);
      }
    },
    async setAside(homeAccountId, isDamaged, call = {}) {
      try {
        return await store.setAside?.(homeAccountId, isDamaged, call);
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        given.set(homeAccountId, error);
        tellOnce(WRITING, error);
        return undefined;
      }
    },
    alone: async (homeAccountId, work, call) => await (used.alone?.(homeAccountId, work, call) ?? work()),
    async tryOut(call = {}) {
      let isWriting = true;
      try {
        await tryToWrite?.(call);
        isWriting = false;
        await store.readAccounts(call); // a keyring asks now, and not once the person has signed in
      } catch (error) {
        if (!isFailure(error, call.signal)) throw error;
        tellOnce(isWriting ? WRITING : READING, error);
      }
    },
  };
}

/** Whether it is a failure of the store; a caller that gives up is none. */
function isFailure(error: unknown, signal: AbortSignal | undefined): error is LatchkeyError {
  return error instanceof LatchkeyError && signal?.aborted !== true;
}

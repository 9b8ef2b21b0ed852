/**
 * The lock of a file store under which an account's tokens are renewed, so that one process at a time does that.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { withLock } from "../platform/lock.ts";
import type { CacheCall } from "./cache_store.ts";

/** How long a renewal by another process is waited for, in milliseconds: requests are repeated, and may find the endpoints first. */
const WAIT_MS = 150_000;

/**
 * Renews alone; where no lock can be had, renewing is better than not doing so, and what was renewed counts even where the
 * lock cannot be removed.
 *
 * @param path What is renewed: a path that no other account has.
 * @param work Renews.
 * @param options `log` takes log lines.
 * @returns What `work` gives.
 */
export async function renewAlone<T>(
  path: string,
  work: () => Promise<T>,
  { signal, log }: CacheCall & { readonly log?: Logger | undefined } = {},
): Promise<T> {
  let working: Promise<T> | undefined;
  try {
    return await withLock(`${path}.renewal.lockfile`, () => working = work(), { signal, waitMs: WAIT_MS });
  } catch (error) {
    if (!working) signal?.throwIfAborted();
    if (!(error instanceof LatchkeyError)) throw error;
    const result = await (working ?? work()); // throws what the work threw
    log?.("warn", `A token was renewed, and its lock is not as it should be: ${error.message}`);
    return result;
  }
}

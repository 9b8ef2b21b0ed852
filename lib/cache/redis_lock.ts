/**
 * A lock in a Redis server, for work that one machine at a time is to do.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { untilAborted } from "../until_aborted.ts";
import type { CacheCall } from "./cache_store.ts";
import { type RunScript, strangeReply } from "./redis_client.ts";
import { waitAbout } from "./wait_about.ts";

/** How a lock is held and waited for. */
export interface RedisLockOptions extends CacheCall {
  /** After how many milliseconds the lock of a machine that has died is free. @default 15_000 */
  readonly leaseMs?: number | undefined;
  /** For how many milliseconds a lock is waited for at most. @default 120_000 */
  readonly waitMs?: number | undefined;
}

/** The lock of one who works. */
interface Lock {
  readonly key: string;
  /** What no other machine can know, so that a lock is given up by its holder alone. */
  readonly token: string;
  readonly leaseMs: number;
}

const LEASE_MS = 15_000;
/** A renewal can take a server's half minute, its wish to be left alone, and another half minute. */
const WAIT_MS = 120_000;
const FIRST_DELAY_MS = 10;
const MAX_DELAY_MS = 200;
/** For a lock that cannot be given up, nobody waits: it ends by itself. */
const RELEASE_MS = 1_000;

/** A client that lost its connection may send this twice: its own lock is no other's. */
const ACQUIRE = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 'held' end
return redis.call('GET', KEYS[1]) == ARGV[1] and 'held' or 'busy'`;
const EXTEND = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

/**
 * Works while nobody else who asks for the same lock does. Where there is no lock to be had, the work is done without: it
 * is worth more than that nobody else does it.
 *
 * @param run Has scripts run.
 * @param locked `key`: the lock's. `work`: what to do; after an abort it is not waited for, and has the lock until it ends.
 * @returns What `work` gives.
 */
export async function withRedisLock<T>(
  run: RunScript,
  locked: RedisLockOptions & { readonly key: string; readonly work: () => Promise<T> },
): Promise<T> {
  const { key, work, signal, leaseMs = LEASE_MS, waitMs = WAIT_MS } = locked;
  signal?.throwIfAborted();
  const lock = { key, token: crypto.randomUUID(), leaseMs };
  if (!await acquire(run, lock, { signal, waitMs })) return await work();
  return await untilAborted(workWith(run, lock, work), signal);
}

/** Whether the lock was had. */
async function acquire(run: RunScript, lock: Lock, { signal, waitMs = WAIT_MS }: RedisLockOptions): Promise<boolean> {
  const { key, token, leaseMs } = lock, end = performance.now() + waitMs;
  try {
    for (let delayMs = FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 2, MAX_DELAY_MS)) {
      const reply = await run({ lua: ACQUIRE, key, words: [token, String(leaseMs)] }, { signal });
      if (reply === "held") return true;
      if (reply !== "busy") throw strangeReply();
      if (performance.now() >= end) return false;
      await waitAbout(delayMs, signal);
    }
  } catch (error) {
    void release(run, lock); // the server may carry out yet what was not waited for
    signal?.throwIfAborted();
    if (error instanceof LatchkeyError) return false;
    throw error;
  }
}

async function workWith<T>(run: RunScript, lock: Lock, work: () => Promise<T>): Promise<T> {
  const { key, token, leaseMs } = lock, words = [token, String(leaseMs)];
  // One that fails is made up for by the next.
  const extend = () => void run({ lua: EXTEND, key, words }, { timeoutMs: leaseMs }).catch(() => {});
  const timer = setInterval(extend, leaseMs / 3);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await release(run, lock);
  }
}

/** Gives a lock up, if it is held. */
async function release(run: RunScript, { key, token }: Lock): Promise<void> {
  try {
    await run({ lua: RELEASE, key, words: [token] }, { timeoutMs: RELEASE_MS });
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error; // the lease ends by itself
  }
}

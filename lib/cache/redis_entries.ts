/**
 * The entries of a store in a Redis server: one for each account, and an index of them.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { accountsExcerpt } from "./accounts_excerpt.ts";
import type { CacheCall, CacheStore } from "./cache_store.ts";
import { type RedisClient, scriptRunner, strangeReply } from "./redis_client.ts";
import { withRedisLock } from "./redis_lock.ts";
import { waitAbout } from "./wait_about.ts";

/** How entries are kept. */
export interface RedisEntriesOptions {
  /** What the keys begin with. */
  readonly prefix: string;
  /** For how many seconds an entry is kept that nothing is written to. */
  readonly timeToLiveSeconds: number;
  /** For how many milliseconds the server's answer to a command is waited for. */
  readonly timeoutMs: number;
}

/** What is stored for an account: its document, and what tells it from all others that were stored for it. */
interface Entry {
  readonly version: string | null;
  readonly document: string | null;
}

/** About two seconds. */
const MAX_ATTEMPTS = 60;
const FIRST_DELAY_MS = 2;
const MAX_DELAY_MS = 50;
/** How long a damaged document is kept that was set aside, in seconds: it has tokens in it. */
const DAMAGED_S = 24 * 60 * 60;
/** How many accounts are read at a time. */
const BATCH = 100;

const READ = "return redis.call('HMGET', KEYS[1], 'version', 'document')";
const READ_ACCOUNTS = "return redis.call('HGET', KEYS[1], 'accounts')";
/**
 * A version is not used twice, not even after the entry has ended. A client that lost its connection may send this twice:
 * what the first one wrote is not another's.
 */
const REPLACE = `
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version == ARGV[2] then return 'done' end
if version ~= ARGV[1] then return 'changed' end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'document', ARGV[3], 'accounts', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 'done'`;
const REMOVE = `
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 'changed' end
redis.call('DEL', KEYS[1])
return 'done'`;
const KEEP_COPY = `
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2])
return 'done'`;
const DROP_COPY = `
redis.call('DEL', KEYS[1])
return 'done'`;
/** Ids by the time at which they end. By the server's clock: those of machines differ. */
const NOTE = `
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 'done'`;
const LIST = "return redis.call('ZRANGE', KEYS[1], 0, -1)";

/**
 * Makes the store, its options being checked.
 *
 * @param client Asks the server.
 * @param options How entries are kept.
 * @returns The store.
 */
export function redisEntries(
  client: RedisClient,
  { prefix, timeToLiveSeconds, timeoutMs }: RedisEntriesOptions,
): Required<CacheStore> {
  const run = scriptRunner(client, timeoutMs), lifetime = String(timeToLiveSeconds);
  const index = `${prefix}accounts`;
  const keyOf = (homeAccountId: string): string => `${prefix}account:${homeAccountId}`;

  async function readEntry(homeAccountId: string, call: CacheCall): Promise<Entry> {
    return entryIn(await run({ lua: READ, key: keyOf(homeAccountId) }, call));
  }

  async function readAccounts(call: CacheCall = {}): Promise<readonly string[]> {
    const ids = await run({ lua: LIST, key: index }, call), documents: string[] = [];
    if (!Array.isArray(ids) || !ids.every((id) => typeof id === "string")) throw strangeReply();
    for (let start = 0; start < ids.length; start += BATCH) {
      const batch = ids.slice(start, start + BATCH);
      const replies = await Promise.all(batch.map((id) => run({ lua: READ_ACCOUNTS, key: keyOf(id) }, call)));
      for (const reply of replies) {
        if (typeof reply === "string") documents.push(reply);
        else if (reply !== null) throw strangeReply();
      }
    }
    return documents;
  }

  async function read(homeAccountId: string, call: CacheCall = {}): Promise<string | undefined> {
    return (await readEntry(homeAccountId, call)).document ?? undefined;
  }

  async function update(
    homeAccountId: string,
    change: (document: string | undefined) => string | undefined,
    call: CacheCall = {},
  ): Promise<void> {
    const next = crypto.randomUUID(), key = keyOf(homeAccountId);
    for (let attempt = 1, delayMs = FIRST_DELAY_MS; attempt <= MAX_ATTEMPTS; attempt++) {
      const { version, document } = await readEntry(homeAccountId, call), old = document ?? undefined;
      const changed = change(old);
      if (changed === undefined || changed === old) return;
      // First of all: an account that is listed and not there does no harm.
      if (attempt === 1) isDone(await run({ lua: NOTE, key: index, words: [homeAccountId, lifetime] }, call));
      const words = [version ?? "", next, changed, accountsExcerpt(changed), lifetime];
      if (isDone(await run({ lua: REPLACE, key, words }, call))) return;
      await waitAbout(delayMs, call.signal);
      delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
    }
    const message = "Cannot write to the token cache: other machines are quicker each time";
    throw new LatchkeyError("temporarily_unavailable", message, { hint: "Try again in a moment" });
  }

  async function setAside(
    homeAccountId: string,
    isDamaged: (document: string) => boolean,
    call: CacheCall = {},
  ): Promise<string | undefined> {
    const { version, document } = await readEntry(homeAccountId, call);
    if (document === null || !isDamaged(document)) return undefined;
    // Not a renaming: in a cluster the two keys can be on two servers.
    const place = `${prefix}damaged:${homeAccountId}:${crypto.randomUUID()}`;
    const copyLifetime = String(Math.min(timeToLiveSeconds, DAMAGED_S));
    isDone(await run({ lua: KEEP_COPY, key: place, words: [document, copyLifetime] }, call));
    if (isDone(await run({ lua: REMOVE, key: keyOf(homeAccountId), words: [version ?? ""] }, call))) return place;
    isDone(await run({ lua: DROP_COPY, key: place }, call)); // somebody else has mended it, or set it aside
    return undefined;
  }

  async function alone<T>(homeAccountId: string, work: () => Promise<T>, { signal }: CacheCall = {}): Promise<T> {
    return await withRedisLock(run, { key: `${prefix}lock:${homeAccountId}`, work, signal });
  }

  return { readAccounts, read, update, setAside, alone };
}

function entryIn(reply: unknown): Entry {
  const [version, document] = Array.isArray(reply) && reply.length === 2 ? reply : [];
  if (!isTextOrNull(version) || !isTextOrNull(document)) throw strangeReply();
  return { version, document };
}

/** Whether a script has done what it is for; if not, another machine was quicker. */
function isDone(reply: unknown): boolean {
  if (reply !== "done" && reply !== "changed") throw strangeReply();
  return reply === "done";
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

/**
 * What went wrong where a Redis server refused, or could not be asked. Pure.
 *
 * @module
 */
import { afterRunning, delayWithJitter, untilAborted } from "../async.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import { accountsExcerpt } from "./changes.ts";
import type { CacheCall, CacheStore } from "./store.ts";

interface Meaning {
  readonly code: LatchkeyErrorCode;
  /** What Redis did. */
  readonly what: string;
  readonly hint: string;
}

const CREDENTIALS_HINT =
  "Give the client a user and a password that may run EVAL, and what the store's scripts call, on keys with its prefix";
const PASSWORD: Meaning = {
  code: "configuration",
  what: "the client's password for Redis is wrong or missing",
  hint: CREDENTIALS_HINT,
};
const PERMISSION: Meaning = {
  code: "configuration",
  what: "the client's user may not do this in Redis",
  hint: CREDENTIALS_HINT,
};
const NOT_READY: Meaning = {
  code: "temporarily_unavailable",
  what: "Redis is not ready",
  hint: "Try again later; the server's log says more",
};
const CLUSTER: Meaning = {
  code: "configuration",
  what: "Redis is a cluster, and the client does not know",
  hint: "Use the library's client for clusters",
};

/** By the first word of a reply that is an error. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ["NOAUTH", PASSWORD],
  ["WRONGPASS", PASSWORD],
  ["NOPERM", PERMISSION],
  ["DENIED", PERMISSION],
  ["MOVED", CLUSTER],
  ["ASK", CLUSTER],
  ["CROSSSLOT", CLUSTER],
  ["BUSY", NOT_READY],
  ["CLUSTERDOWN", NOT_READY],
  ["LOADING", NOT_READY],
  ["MASTERDOWN", NOT_READY],
  ["MISCONF", NOT_READY],
  ["NOREPLICAS", NOT_READY],
  ["TRYAGAIN", NOT_READY],
  ["UNBLOCKED", NOT_READY],
  ["OOM", {
    code: "temporarily_unavailable",
    what: "the memory of Redis is full",
    hint: "Give Redis more memory: maxmemory",
  }],
  ["READONLY", {
    code: "temporarily_unavailable",
    what: "Redis is a replica, which can only be read",
    hint: "Connect the client to the primary, and once more after another server has become that",
  }],
  ["WRONGTYPE", {
    code: "configuration",
    what: "something else is stored under a key of the store",
    hint: "Give the store a prefix that nothing else uses",
  }],
]);

/** A reply that is an error begins with a word in capitals (RESP, "Simple errors"). */
const REPLY = /^-?[A-Z][A-Z\d]+ /;
/** How Redis 7 says that a script was not permitted a command. */
const NOT_PERMITTED = "The user executing the script";
/** node-redis's TimeoutError, ioredis's "Command timed out". */
const TIMEOUT = /timed? ?out/i;
const QUOTE = /['"`]/;
const MAX_LENGTH = 200;

/**
 * The error of a command that failed. Nothing is a `cause` of it: ioredis hangs the command at its errors, tokens and all.
 *
 * @param reason What the client rejected with.
 * @returns The error to throw.
 */
export function redisFailure(reason: unknown): LatchkeyError {
  const text = reason instanceof Error ? reason.message : "";
  if (!REPLY.test(text)) {
    if (TIMEOUT.test(nameOf(reason) + text)) return noAnswer();
    return new LatchkeyError("no_network", `Cannot use the token cache: Redis cannot be reached${nameOf(reason)}`, {
      hint: "Check that Redis runs, and that the client is connected to it, with the right password",
    });
  }
  // Redis 6 says what a script met with behind words of its own.
  const words = text.match(/\b[A-Z][A-Z\d]+\b/g)!, word = words.find((word) => MEANINGS.has(word)) ?? words[0];
  const meaning = text.includes(NOT_PERMITTED) ? PERMISSION : MEANINGS.get(word);
  if (meaning) {
    return new LatchkeyError(meaning.code, `Cannot use the token cache: ${meaning.what} (${word})`, {
      hint: meaning.hint,
    });
  }
  return new LatchkeyError("unexpected", `Cannot use the token cache: Redis refuses a command (${word})`, {
    // Words of the command stand in quotes, if anywhere.
    errorDescription: escapeControlCharacters(text.split(QUOTE, 1)[0]!.slice(0, MAX_LENGTH)),
    hint: "The server has to be Redis 5 or newer, or one that runs the same scripts",
  });
}

/**
 * The server took too long.
 *
 * @param timeoutMs How long it had, in milliseconds, if that was a limit of ours.
 * @returns The error to throw.
 */
function noAnswer(timeoutMs?: number): LatchkeyError {
  const limit = timeoutMs === undefined ? "" : ` within ${timeoutMs / 1000} seconds`;
  return new LatchkeyError("timed_out", `Cannot use the token cache: Redis did not answer${limit}`, {
    hint:
      "Check that Redis runs, and that the client is connected to it, with the right password. The store's timeoutMs " +
      "says how long it has",
  });
}

/** Such as ` (ECONNREFUSED)` or ` (SocketClosedUnexpectedlyError)`. */
function nameOf(reason: unknown): string {
  const { code, constructor } = (reason ?? {}) as { code?: unknown; constructor?: { name?: unknown } };
  const name = [code, constructor?.name].find((name) => typeof name === "string" && /^[A-Za-z]\w{2,60}$/.test(name));
  return name ? ` (${name})` : "";
}

/**
 * What is needed of a client library: that it sends a command and gives the reply, texts as texts. node-redis (npm's
 * `redis`) has it by this name, as its pool has; for the others an arrow function does.
 *
 * All commands are `EVAL` with one key, the fourth of the words, so that a cluster has no two keys to bring together.
 *
 * @example node-redis's client is one
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/web";
 * import { createClient } from "npm:redis@^6.3.1"; // Node and Bun: "redis"
 *
 * const client = createClient({ url: "rediss://cache.contoso.com:6380" });
 * client.on("error", (error) => console.error(error.message));
 * client.connect().catch(() => {}); // not awaited: it takes for ever if the password is wrong, and the store says so
 * const cache = redisStore(client);
 * ```
 *
 * @example ioredis, and its cluster
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/web";
 * import { Redis } from "npm:ioredis@^6.0.0"; // Node and Bun: "ioredis"
 *
 * const client = new Redis("rediss://cache.contoso.com:6380");
 * const cache = redisStore({ sendCommand: ([name, ...words]) => client.call(name, ...words) });
 * ```
 *
 * @example Bun's own client
 * ```ts ignore
 * import { redisStore } from "@latchkey/latchkey/web";
 * import { redis } from "bun";
 *
 * const cache = redisStore({ sendCommand: ([name, ...words]) => redis.send(name, words) });
 * ```
 *
 * @example node-redis's cluster, which wants the key beside the command
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/web";
 * import { createCluster } from "npm:redis@^6.3.1";
 *
 * const cluster = createCluster({ rootNodes: [{ url: "rediss://cache.contoso.com:6380" }] });
 * cluster.connect().catch(() => {}); // not awaited: it takes for ever if the password is wrong, and the store says so
 * const cache = redisStore({ sendCommand: (command) => cluster.sendCommand(command[3], false, command) });
 * ```
 */
export interface RedisClient {
  /**
   * Sends one command.
   *
   * @param command Its name and its words.
   * @returns The server's reply. Rejects with the server's error, whose message begins with its code, such as `READONLY`.
   */
  sendCommand(command: [name: string, ...words: string[]]): Promise<unknown>;
}

/** A script that the server runs as one step. */
interface RedisScript {
  /** Its text, in Lua. The key is `KEYS[1]`. */
  readonly lua: string;
  /** The one key that it touches. */
  readonly key: string;
  /** `ARGV`. */
  readonly words?: readonly string[];
}

/** What goes with a script. */
interface ScriptCall extends CacheCall {
  /** How long the server may take, in milliseconds. @default that of the runner */
  readonly timeoutMs?: number | undefined;
}

/**
 * Has a script run.
 *
 * @returns The reply.
 * @throws {LatchkeyError} `timed_out`, or what the reason was put down to.
 */
export type RunScript = (script: RedisScript, call?: ScriptCall) => Promise<unknown>;

/**
 * Makes what has scripts run.
 *
 * @param client The client of the program.
 * @param limitMs How long the server may take, in milliseconds: a client waits for ever for a server that it cannot reach.
 * @returns Runs a script.
 */
export function scriptRunner(client: RedisClient, limitMs: number): RunScript {
  // Not EVALSHA: a server that has restarted knows no script, and a kilobyte is cheaper than to ask twice.
  const send = async ({ lua, key, words = [] }: RedisScript) =>
    await client.sendCommand(["EVAL", lua, "1", key, ...words]);
  return async (script, { signal, timeoutMs = limitMs } = {}) => {
    signal?.throwIfAborted();
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal!.reason);
    const stopLimit = afterRunning(timeoutMs, () => reject(noAnswer(timeoutMs)));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([ended, send(script)]);
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof LatchkeyError ? error : redisFailure(error);
    } finally {
      stopLimit();
      signal?.removeEventListener("abort", abort);
    }
  };
}

/**
 * A reply that no such script has: what is under the key is not the store's, or the client makes something else of replies.
 *
 * @returns The error, `invalid_response`.
 */
function strangeReply(): LatchkeyError {
  return new LatchkeyError("invalid_response", "Cannot use the token cache: Redis answered what it must not", {
    hint: "Let the client give texts as strings, not as buffers, and pass replies on as they come",
  });
}

/** How a lock is held and waited for. */
interface RedisLockOptions extends CacheCall {
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
const LOCK_FIRST_DELAY_MS = 10;
const LOCK_MAX_DELAY_MS = 200;
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
    for (let delayMs = LOCK_FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 2, LOCK_MAX_DELAY_MS)) {
      const reply = await run({ lua: ACQUIRE, key, words: [token, String(leaseMs)] }, { signal });
      if (reply === "held") return true;
      if (reply !== "busy") throw strangeReply();
      if (performance.now() >= end) return false;
      await delayWithJitter(delayMs, signal);
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

/** How entries are kept. */
interface RedisEntriesOptions {
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
      await delayWithJitter(delayMs, call.signal);
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

  return { readAccounts, read, update, setAside, withLock: alone };
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

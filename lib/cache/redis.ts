/**
 * A token cache in a Redis server: an entry for each account, changed by scripts, with a lock for renewals.
 *
 * @module
 */
import { afterRunning, delayWithJitter, untilAborted } from "../async.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { checkOptions, type OptionNames } from "../request.ts";
import { accountsExcerpt } from "./changes.ts";
import type { CacheCall, CacheStore } from "./store.ts";

/**
 * The part of a client library that a store needs: a method that sends a command and gives the reply, with texts as
 * strings. node-redis (npm's `redis`) and its pool have it; for other libraries, pass an arrow function.
 *
 * All commands are `EVAL` with one key, the fourth word of the command, so that a cluster never has to combine two keys.
 *
 * @example node-redis
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/redis";
 * import { createClient } from "npm:redis@^6.3.1"; // Node and Bun: "redis"
 *
 * const client = createClient({ url: "rediss://cache.contoso.com:6380" });
 * client.on("error", (error) => console.error(error.message));
 * client.connect().catch(() => {}); // not awaited: it never ends if the password is wrong, and the store reports that
 * const cache = redisStore(client);
 * ```
 *
 * @example ioredis and its cluster
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/redis";
 * import { Redis } from "npm:ioredis@^6.0.0"; // Node and Bun: "ioredis"
 *
 * const client = new Redis("rediss://cache.contoso.com:6380");
 * const cache = redisStore({ sendCommand: ([name, ...words]) => client.call(name, ...words) });
 * ```
 *
 * @example Bun's own client
 * ```ts ignore
 * import { redisStore } from "@latchkey/latchkey/redis";
 * import { redis } from "bun";
 *
 * const cache = redisStore({ sendCommand: ([name, ...words]) => redis.send(name, words) });
 * ```
 *
 * @example node-redis's cluster, which takes the key beside the command
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/redis";
 * import { createCluster } from "npm:redis@^6.3.1";
 *
 * const cluster = createCluster({ rootNodes: [{ url: "rediss://cache.contoso.com:6380" }] });
 * cluster.connect().catch(() => {}); // not awaited: it never ends if the password is wrong, and the store reports that
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

/** Options of {@linkcode redisStore}. */
export interface RedisStoreOptions {
  /**
   * Prefix of the store's keys. Apps that use one server share their sign-ins if they use the same prefix. @default "latchkey:"
   */
  readonly prefix?: string | undefined;
  /**
   * Lifetime of an account's entry after the last write to it, in seconds, 1 to 2^31 - 1.
   *
   * @default 7_776_000, 90 days: the lifetime of Microsoft Entra's refresh tokens
   */
  readonly timeToLiveSeconds?: number | undefined;
  /** Timeout of a command in milliseconds, 1 to 2^31 - 1. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}

const REDIS_STORE: OptionNames<RedisStoreOptions> = { prefix: true, timeToLiveSeconds: true, timeoutMs: true };

const MAX_INT32 = 2 ** 31 - 1;

/** About two seconds. */
const MAX_ATTEMPTS = 60;
const FIRST_DELAY_MS = 2;
const MAX_DELAY_MS = 50;
/** Lifetime of a damaged document that was set aside, in seconds: it has tokens in it. */
const DAMAGED_S = 24 * 60 * 60;
/** Number of accounts that are read at a time. */
const BATCH = 100;

const READ = "return redis.call('HMGET', KEYS[1], 'version', 'document')";
const READ_ACCOUNTS = "return redis.call('HGET', KEYS[1], 'accounts')";
/**
 * A version is never used twice, not even after the entry has expired. A client that lost its connection may send this
 * twice: the second time finds its own version.
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
/** Ids by the time at which they expire, by the server's clock: those of machines differ. */
const NOTE = `
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 'done'`;
const LIST = "return redis.call('ZRANGE', KEYS[1], 0, -1)";

/**
 * Returns a store in a Redis server. It has an entry for each account, which expires if nothing is written to it for
 * long enough.
 *
 * Tokens are not encrypted there: whoever can read the server's memory, files or replicas has them. Connect by TLS, and let
 * only the app reach the server. A server that evicts keys signs users out. A user of the server's access control
 * needs `~latchkey:* +eval +del +expire +get +hget +hmget +hset +pexpire +set +time +ttl +zadd +zrange +zremrangebyscore`.
 *
 * With thousands of users, keep the account in the user's session: `WebApplication.getAccounts` reads all of them.
 *
 * @param client A library's client. The program connects and closes it.
 * @param options How the store is kept.
 * @returns The store. Nothing is sent before the first call.
 * @throws {TypeError} if the client or an option is invalid.
 * @throws {RangeError} if a number is out of range.
 *
 * @example A web app on many machines
 * ```ts
 * import { redisStore } from "@latchkey/latchkey/redis";
 * import { WebApplication } from "@latchkey/latchkey/web";
 * import { createClient } from "npm:redis@^6.3.1"; // Node and Bun: "redis"
 *
 * const client = createClient({ url: "rediss://cache.contoso.com:6380" });
 * client.on("error", (error) => console.error(error.message));
 * client.connect().catch(() => {}); // not awaited: it never ends if the password is wrong, and the store reports that
 * const app = new WebApplication({ clientId: "11111111-2222-4333-8444-555555555555", cache: redisStore(client) });
 * ```
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): CacheStore {
  checkOptions("redisStore", options, REDIS_STORE);
  const { prefix = "latchkey:", timeToLiveSeconds = 90 * 24 * 60 * 60, timeoutMs = 5_000 } = options;
  check(client, { prefix, timeToLiveSeconds, timeoutMs });
  const run = scriptRunner(client, timeoutMs);
  const lifetime = String(timeToLiveSeconds);
  const index = `${prefix}accounts`;
  const keyOf = (homeAccountId: string): string => `${prefix}account:${homeAccountId}`;

  /** Returns an account's document, and a version that no other document of it ever had. */
  async function readEntry(homeAccountId: string, call: CacheCall): Promise<{ version: string; document?: string }> {
    const reply = await run({ lua: READ, key: keyOf(homeAccountId) }, call);
    const [version, document] = Array.isArray(reply) && reply.length === 2 ? reply : [];
    if (!isTextOrNull(version) || !isTextOrNull(document)) throw unexpectedReply();
    return { version: version ?? "", ...(document !== null && { document }) };
  }

  return {
    async readAccounts(call = {}) {
      const ids = await run({ lua: LIST, key: index }, call);
      const documents: string[] = [];
      if (!Array.isArray(ids) || !ids.every((id) => typeof id === "string")) throw unexpectedReply();
      for (let start = 0; start < ids.length; start += BATCH) {
        const batch = ids.slice(start, start + BATCH);
        const replies = await Promise.all(batch.map((id) => run({ lua: READ_ACCOUNTS, key: keyOf(id) }, call)));
        for (const reply of replies) {
          if (!isTextOrNull(reply)) throw unexpectedReply();
          if (reply !== null) documents.push(reply);
        }
      }
      return documents;
    },

    read: async (homeAccountId, call = {}) => (await readEntry(homeAccountId, call)).document,

    async update(homeAccountId, change, call = {}) {
      const next = crypto.randomUUID();
      const key = keyOf(homeAccountId);
      for (let attempt = 1, delayMs = FIRST_DELAY_MS; attempt <= MAX_ATTEMPTS; attempt++) {
        const { version, document } = await readEntry(homeAccountId, call);
        const changed = change(document);
        if (changed === undefined || changed === document) return;
        // Before the entry: an account that is listed and missing does no harm.
        if (attempt === 1) isDone(await run({ lua: NOTE, key: index, words: [homeAccountId, lifetime] }, call));
        const words = [version, next, changed, accountsExcerpt(changed), lifetime];
        if (isDone(await run({ lua: REPLACE, key, words }, call))) return;
        await delayWithJitter(delayMs, call.signal);
        delayMs = Math.min(delayMs * 2, MAX_DELAY_MS);
      }
      const message = "Cannot write to the token cache: other machines change it too often";
      throw new LatchkeyError("temporarily_unavailable", message, { remedy: "Try again in a moment" });
    },

    async setAside(homeAccountId, isDamaged, call = {}) {
      const { version, document } = await readEntry(homeAccountId, call);
      if (document === undefined || !isDamaged(document)) return undefined;
      // Not RENAME: in a cluster the two keys can be on two servers.
      const copy = `${prefix}damaged:${homeAccountId}:${crypto.randomUUID()}`;
      const copyLifetime = String(Math.min(timeToLiveSeconds, DAMAGED_S));
      isDone(await run({ lua: KEEP_COPY, key: copy, words: [document, copyLifetime] }, call));
      if (isDone(await run({ lua: REMOVE, key: keyOf(homeAccountId), words: [version] }, call))) return copy;
      isDone(await run({ lua: DROP_COPY, key: copy }, call)); // another machine has replaced it, or set it aside
      return undefined;
    },

    withLock: (homeAccountId, work, { signal } = {}) =>
      withRedisLock(run, { key: `${prefix}lock:${homeAccountId}`, work, signal }),
  };
}

function check(client: RedisClient, { prefix, ...numbers }: Required<RedisStoreOptions>): void {
  const fail = "Cannot make a store in Redis: ";
  const code = alternativeTo(client);
  if (code) {
    throw new ArgumentError(`${fail}the client is invalid. Pass node-redis's client, or for another library ${code}`);
  }
  if (typeof prefix !== "string") throw new ArgumentError(`${fail}prefix is not a string`);
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value !== "number") throw new ArgumentError(`${fail}${name} is not a number`);
    if (!Number.isInteger(value) || value < 1 || value > MAX_INT32) {
      throw new RangeError(`${fail}${name} has to be an integer from 1 to ${MAX_INT32}`);
    }
  }
}

/** Returns the code to write instead of a client that has no such method, or one that takes other arguments. */
function alternativeTo(client: RedisClient): string | undefined {
  const has = (name: string) =>
    typeof (client as unknown as Record<string, unknown> | undefined)?.[name] === "function";
  // node-redis's cluster and its sentinel.
  if (has("nodeClient")) return "{ sendCommand: (command) => client.sendCommand(command[3], false, command) }";
  if (has("getMasterNode")) return "{ sendCommand: (command) => client.sendCommand(false, command) }";
  if (has("send")) return "{ sendCommand: ([name, ...words]) => client.send(name, words) }"; // Bun's
  if (has("call") || !has("sendCommand")) {
    return "{ sendCommand: ([name, ...words]) => client.call(name, ...words) }"; // ioredis's
  }
  return undefined;
}

/** Returns true if a script did its work, false if another machine was faster. */
function isDone(reply: unknown): boolean {
  if (reply !== "done" && reply !== "changed") throw unexpectedReply();
  return reply === "done";
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

/** A script in Lua that the server runs as one step, its `KEYS[1]`, and its `ARGV`. */
interface RedisScript {
  readonly lua: string;
  readonly key: string;
  readonly words?: readonly string[];
}

/** Rejects with `timed_out`, or the error of {@linkcode redisFailure}. */
type RunScript = (script: RedisScript, call?: CacheCall & { readonly timeoutMs?: number }) => Promise<unknown>;

/** Returns a function that runs scripts, within a limit: clients wait for ever for a server that they cannot reach. */
function scriptRunner(client: RedisClient, limitMs: number): RunScript {
  return async ({ lua, key, words = [] }, { signal, timeoutMs = limitMs } = {}) => {
    signal?.throwIfAborted();
    const { promise: timeout, reject } = Promise.withResolvers<never>();
    const stopLimit = afterRunning(timeoutMs, () => reject(noAnswer(timeoutMs)));
    try {
      // Not EVALSHA: a server that was restarted knows no script, and a kilobyte is cheaper than a second round trip.
      const reply = client.sendCommand(["EVAL", lua, "1", key, ...words]);
      return await untilAborted(Promise.race([timeout, reply]), signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof LatchkeyError ? error : redisFailure(error);
    } finally {
      stopLimit();
    }
  };
}

/** Lifetime of the lock of a machine that has died. */
const LEASE_MS = 15_000;
/** A renewal can take two timeouts of 30 seconds, and the wait between them that the server asks for. */
const WAIT_MS = 120_000;
const LOCK_FIRST_DELAY_MS = 10;
const LOCK_MAX_DELAY_MS = 200;
/** Short, since a lock that cannot be released expires by itself. */
const RELEASE_MS = 1_000;

/** A client that lost its connection may send this twice: it must not wait for its own lock. */
const ACQUIRE = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 'held' end
return redis.call('GET', KEYS[1]) == ARGV[1] and 'held' or 'busy'`;
const EXTEND = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

/**
 * Works under a lock. If the lock cannot be had, the work is done without it: a token is worth more than a renewal
 * saved. After an abort, the work goes on, and has the lock until it ends.
 */
async function withRedisLock<T>(
  run: RunScript,
  { key, work, signal }: CacheCall & { readonly key: string; readonly work: () => Promise<T> },
): Promise<T> {
  signal?.throwIfAborted();
  // A secret of the holder, so that nobody else releases the lock.
  const secret = crypto.randomUUID();
  const words = [secret, String(LEASE_MS)];
  const release = () => run({ lua: RELEASE, key, words }, { timeoutMs: RELEASE_MS }).catch(() => {}); // the lease expires by itself
  // If one fails, the next makes up for it.
  const extend = () => void run({ lua: EXTEND, key, words }, { timeoutMs: LEASE_MS }).catch(() => {});

  async function acquire(): Promise<boolean> {
    const end = performance.now() + WAIT_MS;
    try {
      for (let delayMs = LOCK_FIRST_DELAY_MS;; delayMs = Math.min(delayMs * 2, LOCK_MAX_DELAY_MS)) {
        const reply = await run({ lua: ACQUIRE, key, words }, { signal });
        if (reply === "held") return true;
        if (reply !== "busy") throw unexpectedReply();
        if (performance.now() >= end) return false;
        await delayWithJitter(delayMs, signal);
      }
    } catch (error) {
      void release(); // the server may still execute the command that timed out
      signal?.throwIfAborted();
      if (error instanceof LatchkeyError) return false;
      throw error;
    }
  }

  async function workUnderLock(): Promise<T> {
    const timer = setInterval(extend, LEASE_MS / 3);
    try {
      return await work();
    } finally {
      clearInterval(timer);
      await release();
    }
  }

  return await acquire() ? await untilAborted(workUnderLock(), signal) : await work();
}

/** Meaning of an error reply: the words that it can begin with, the cause, and advice. */
type Meaning = readonly [words: string, cause: string, remedy: string];

const GIVE_CREDENTIALS =
  "Give the client a user and a password that may run EVAL and the commands of the store's scripts on keys with its prefix";
const PERMISSION: Meaning = ["NOPERM DENIED", "the client's user may not do this in Redis", GIVE_CREDENTIALS];
/** The meanings of errors that are `configuration`. */
const MISCONFIGURED: readonly Meaning[] = [
  PERMISSION,
  ["NOAUTH WRONGPASS", "the client's password for Redis is wrong or missing", GIVE_CREDENTIALS],
  ["MOVED ASK CROSSSLOT", "Redis is a cluster, and the client does not know", "Use the library's client for clusters"],
  ["WRONGTYPE", "a key of the store holds another program's data", "Give the store a prefix that nothing else uses"],
];
/** The meanings of errors that are `temporarily_unavailable`. */
const UNAVAILABLE: readonly Meaning[] = [
  [
    "BUSY CLUSTERDOWN LOADING MASTERDOWN MISCONF NOREPLICAS TRYAGAIN UNBLOCKED",
    "Redis is not ready",
    "Try again later; the server's log says more",
  ],
  ["OOM", "the memory of Redis is full", "Give Redis more memory: maxmemory"],
  ["READONLY", "Redis is a read-only replica", "Connect the client to the primary, and again after a failover"],
];

/** An error reply begins with a word in capitals (RESP, "Simple errors"). */
const REPLY = /^-?[A-Z][A-Z\d]+ /;
/** Redis 7, when a script may not run a command. */
const NOT_PERMITTED = "The user executing the script";
/** node-redis's TimeoutError, ioredis's "Command timed out". */
const TIMEOUT = /timed? ?out/i;

/** Returns the error for a rejected command. It has no `cause`: ioredis attaches the command, tokens and all. */
export function redisFailure(reason: unknown): LatchkeyError {
  const text = reason instanceof Error ? reason.message : "";
  if (!REPLY.test(text)) {
    if (TIMEOUT.test(nameOf(reason) + text)) return noAnswer();
    return new LatchkeyError("no_network", `Cannot use the token cache: Redis cannot be reached${nameOf(reason)}`, {
      remedy: "Check that Redis runs, and that the client is connected to it, with the right password",
    });
  }
  // Redis 6 puts words of its own before the error that a script got.
  const words = text.match(/\b[A-Z][A-Z\d]+\b/g)!;
  const word = words.find(meaningOf) ?? words[0];
  const meaning = text.includes(NOT_PERMITTED) ? PERMISSION : meaningOf(word);
  if (meaning) {
    const [, cause, remedy] = meaning;
    const code = MISCONFIGURED.includes(meaning) ? "configuration" : "temporarily_unavailable";
    return new LatchkeyError(code, `Cannot use the token cache: ${cause} (${word})`, { remedy });
  }
  return new LatchkeyError("unexpected", `Cannot use the token cache: Redis refuses a command (${word})`, {
    // Words of the command are quoted, if there are any.
    errorDescription: escapeControlCharacters(text.split(/['"`]/, 1)[0]!.slice(0, 200)),
    remedy: "Use Redis 5 or newer, or a server that runs the same scripts",
  });
}

function meaningOf(word: string): Meaning | undefined {
  return [...MISCONFIGURED, ...UNAVAILABLE].find(([words]) => words.split(" ").includes(word));
}

/** Returns the error of a timeout: ours, or one of the client without a known limit. */
function noAnswer(timeoutMs?: number): LatchkeyError {
  const limit = timeoutMs === undefined ? "" : ` within ${timeoutMs / 1000} seconds`;
  return new LatchkeyError("timed_out", `Cannot use the token cache: Redis did not answer${limit}`, {
    remedy:
      "Check that Redis runs, and that the client is connected to it, with the right password. The store's timeoutMs " +
      "sets the limit",
  });
}

/** A key holds something else, or the client converts replies. */
function unexpectedReply(): LatchkeyError {
  return new LatchkeyError("invalid_response", "Cannot use the token cache: Redis sent an unexpected reply", {
    remedy: "Let the client give texts as strings, not as buffers, and pass replies on unchanged",
  });
}

/** Such as ` (ECONNREFUSED)` or ` (SocketClosedUnexpectedlyError)`. */
function nameOf(reason: unknown): string {
  const { code, constructor } = (reason ?? {}) as { code?: unknown; constructor?: { name?: unknown } };
  const name = [code, constructor?.name].find((name) => typeof name === "string" && /^[A-Za-z]\w{2,60}$/.test(name));
  return name ? ` (${name})` : "";
}

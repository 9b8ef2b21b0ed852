/**
 * A token cache in a Redis server, for web apps on many machines.
 *
 * @module
 */
import type { RedisClient } from "./cache/redis.ts";
import { type CacheStore, lazyStore } from "./cache/store.ts";
import { ArgumentError } from "./errors.ts";

/** How a store in Redis is kept. */
export interface RedisStoreOptions {
  /** What the keys of the store begin with. Apps that share a server share their sign-ins by the same. @default "latchkey:" */
  readonly prefix?: string | undefined;
  /**
   * For how many seconds an account is kept that nothing is written for, 1 to 2^31 - 1.
   *
   * @default 7_776_000, 90 days: for so long Microsoft Entra's refresh tokens are good
   */
  readonly timeToLiveSeconds?: number | undefined;
  /** For how many milliseconds the server's answer to a command is waited for, 1 to 2^31 - 1. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}

const DAYS_90_S = 90 * 24 * 60 * 60;
const TIMEOUT_MS = 5_000;
const MAX_INT32 = 2 ** 31 - 1;

/**
 * A store in a Redis server, an entry for each account, which ends when nothing has been written to it for long enough.
 *
 * Tokens lie there as they are, so whoever can read the server's memory, its files or its replicas has them: let it be
 * reached by TLS, and by the app alone. A server that evicts keys signs people out. A user of the server's own access control
 * needs `~latchkey:* +eval +del +expire +get +hget +hmget +hset +pexpire +set +time +ttl +zadd +zrange +zremrangebyscore`.
 *
 * To find who of thousands a request is for, keep the account in their session: {@linkcode WebApplication.getAccounts} asks
 * for all of them.
 *
 * @param client The client of a library. It is the program's: nothing connects or closes it.
 * @param options How the store is kept.
 * @returns The store. Nothing is sent before the first call.
 * @throws {TypeError} when the client or an option is none.
 * @throws {RangeError} when a number is out of its range.
 *
 * @example A web app on many machines
 * ```ts
 * import { redisStore, WebApplication } from "@latchkey/latchkey/web";
 * import { createClient } from "npm:redis@^6.3.1"; // Node and Bun: "redis"
 *
 * const client = createClient({ url: "rediss://cache.contoso.com:6380" });
 * client.on("error", (error) => console.error(error.message));
 * client.connect().catch(() => {}); // not awaited: it takes for ever if the password is wrong, and the store says so
 * const app = new WebApplication({ clientId: "11111111-2222-4333-8444-555555555555", cache: redisStore(client) });
 * ```
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): CacheStore {
  const { prefix = "latchkey:", timeToLiveSeconds = DAYS_90_S, timeoutMs = TIMEOUT_MS } = options;
  const checked = { prefix, timeToLiveSeconds, timeoutMs };
  check(client, checked);
  return lazyStore(async () => (await import("./cache/redis.ts")).redisEntries(client, checked));
}

function check(client: RedisClient, options: Required<RedisStoreOptions>): void {
  const { prefix, timeToLiveSeconds, timeoutMs } = options, fail = "Cannot make a store in Redis: ";
  const how = howToPass(client);
  if (how) throw new ArgumentError(`${fail}the client is none as it is. node-redis's is one; for another pass ${how}`);
  if (typeof prefix !== "string") throw new ArgumentError(`${fail}prefix is no text`);
  for (const [name, value] of Object.entries({ timeToLiveSeconds, timeoutMs })) {
    if (typeof value !== "number") throw new ArgumentError(`${fail}${name} is no number`);
    if (!Number.isInteger(value) || value < 1 || value > MAX_INT32) {
      throw new RangeError(`${fail}${name} has to be a whole number from 1 to ${MAX_INT32}`);
    }
  }
}

/** What is to be passed instead of a client that does not do, or whose method of that name takes something else. */
function howToPass(client: RedisClient): string | undefined {
  const has = (name: string) =>
    typeof (client as unknown as Record<string, unknown> | undefined)?.[name] === "function";
  // node-redis's cluster, whose client of each node is to be had, and its sentinel.
  if (has("nodeClient")) return "{ sendCommand: (command) => client.sendCommand(command[3], false, command) }";
  if (has("getMasterNode")) return "{ sendCommand: (command) => client.sendCommand(false, command) }";
  if (has("send")) return "{ sendCommand: ([name, ...words]) => client.send(name, words) }"; // Bun's
  if (has("call") || !has("sendCommand")) {
    return "{ sendCommand: ([name, ...words]) => client.call(name, ...words) }"; // ioredis's
  }
  return undefined;
}

/**
 * A token cache in a Redis server, for web apps on many machines.
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
 *
 * @module
 */
export { type RedisClient, redisStore, type RedisStoreOptions } from "./cache/redis.ts";
export type { CacheCall, CacheStore } from "./cache/store.ts";

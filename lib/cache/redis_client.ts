/**
 * How a Redis server is asked, by whatever client library the program has.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { CacheCall } from "./cache_store.ts";
import { afterRunning } from "../until_aborted.ts";
import { noAnswer, redisFailure } from "./redis_failure.ts";

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
export interface RedisScript {
  /** Its text, in Lua. The key is `KEYS[1]`. */
  readonly lua: string;
  /** The one key that it touches. */
  readonly key: string;
  /** `ARGV`. */
  readonly words?: readonly string[];
}

/** What goes with a script. */
export interface ScriptCall extends CacheCall {
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
export function strangeReply(): LatchkeyError {
  return new LatchkeyError("invalid_response", "Cannot use the token cache: Redis answered what it must not", {
    hint: "Let the client give texts as strings, not as buffers, and pass replies on as they come",
  });
}

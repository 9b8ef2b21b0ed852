/** The client libraries that programs have for Redis, each as its documentation says to make one. */
import { Redis } from "ioredis";
import { createClient } from "redis";
import type { RedisClient } from "../../lib/redis.ts";

/** A client that is connected. */
export interface ConnectedRedis extends AsyncDisposable {
  readonly client: RedisClient;
  /** Sends a command that a test needs. */
  send(...command: [name: string, ...words: string[]]): Promise<unknown>;
}

/** Connects a client to the socket at a path. */
export type ConnectRedis = (path: string) => Promise<ConnectedRedis>;

/** By the names of the libraries, those that this runtime has. */
export const REDIS_CLIENTS: Readonly<Record<string, ConnectRedis>> = {
  "node-redis": connectNodeRedis,
  ioredis: connectIoredis,
  ...("Bun" in globalThis && { "Bun.RedisClient": connectBun }),
};

/** node-redis, as it is. */
export async function connectNodeRedis(path: string): Promise<ConnectedRedis> {
  const client = createClient({ socket: { path, reconnectStrategy: () => 10 } });
  client.on("error", () => {}); // a server that is gone is what some tests are for
  await client.connect();
  return {
    client,
    send: (...command) => client.sendCommand(command),
    [Symbol.asyncDispose]: () => Promise.resolve(client.destroy()),
  };
}

// deno-lint-ignore require-await -- it connects when it is first used
async function connectIoredis(path: string): Promise<ConnectedRedis> {
  const redis = new Redis({ path, retryStrategy: () => 10 });
  redis.on("error", () => {});
  const client: RedisClient = { sendCommand: ([name, ...words]) => redis.call(name, ...words) };
  return {
    client,
    send: (...command) => client.sendCommand(command),
    [Symbol.asyncDispose]: () => Promise.resolve(redis.disconnect()),
  };
}

async function connectBun(path: string): Promise<ConnectedRedis> {
  const redis = new Bun.RedisClient(`redis+unix://${path}`);
  await redis.connect();
  const client: RedisClient = { sendCommand: ([name, ...words]) => redis.send(name, words) };
  return {
    client,
    send: (...command) => client.sendCommand(command),
    [Symbol.asyncDispose]: () => Promise.resolve(redis.close()),
  };
}

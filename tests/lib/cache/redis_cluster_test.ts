// redisStore at a real cluster of two Redis servers, by the libraries' clients for clusters: no command has keys of two slots.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { type RedisClient, redisStore } from "../../../lib/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { type ConnectedRedis, connectNodeRedis } from "../../tools/redis_clients.ts";

const SLOTS = 16_384;

interface ClusterClient extends AsyncDisposable {
  readonly client: RedisClient;
}

let one: PrivateRedis, other: PrivateRedis;
beforeAll(async () => {
  const settings = ["--cluster-enabled", "yes"], onPort = true;
  one = await startPrivateRedis(settings, { onPort });
  other = await startPrivateRedis(settings, { onPort });
  await using first = await connectNodeRedis(one.socket);
  await using second = await connectNodeRedis(other.socket);
  await first.send("CLUSTER", "ADDSLOTSRANGE", "0", String(SLOTS / 2 - 1));
  await second.send("CLUSTER", "ADDSLOTSRANGE", String(SLOTS / 2), String(SLOTS - 1));
  await first.send("CLUSTER", "MEET", "127.0.0.1", String(other.port), String(other.clusterPort));
  const isReady = async ({ send }: ConnectedRedis): Promise<boolean> => {
    const state = String(await send("CLUSTER", "INFO"));
    return state.includes("cluster_state:ok") && state.includes(`cluster_slots_ok:${SLOTS}`);
  };
  while (!await isReady(first) || !await isReady(second)); // the set-up's limit ends it
});
afterAll(async () => {
  await one[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

const CLUSTERS: Readonly<Record<string, () => Promise<ClusterClient>>> = {
  "node-redis": async () => {
    const cluster = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${one.port}` }] });
    cluster.on("error", () => {});
    await cluster.connect();
    return {
      client: { sendCommand: (command) => cluster.sendCommand(command[3], false, command) },
      [Symbol.asyncDispose]: () => Promise.resolve(cluster.destroy()),
    };
  },
  // deno-lint-ignore require-await -- it connects when it is first used
  ioredis: async () => {
    const cluster = new Cluster([{ host: "127.0.0.1", port: one.port! }]);
    return {
      client: { sendCommand: ([name, ...words]) => cluster.call(name, ...words) },
      [Symbol.asyncDispose]: () => Promise.resolve(cluster.disconnect()),
    };
  },
};

for (const [name, connect] of Object.entries(CLUSTERS)) {
  describe(`redisStore with ${name}'s cluster`, () => {
    let cluster: ClusterClient;
    beforeAll(async () => void (cluster = await connect()));
    afterAll(() => cluster[Symbol.asyncDispose]());

    test("does all that a store does", async () => {
      const store = redisStore(cluster.client, { prefix: `${name}:` }), ids = ["jane", "joe", "{j}ane", "ann"];
      for (const id of ids) await store.update(id, () => JSON.stringify({ Account: { [id]: {} } }));
      for (const id of ids) expect(JSON.parse(await store.read(id) ?? "")).toEqual({ Account: { [id]: {} } });
      const accounts = (await store.readAccounts()).flatMap((json) => Object.keys(JSON.parse(json).Account));
      expect(accounts.toSorted()).toEqual(ids.toSorted());
      const place = await store.setAside!("jane", () => true);
      expect(place).toContain("damaged");
      expect(await store.read("jane")).toBeUndefined();
      expect(await store.withLock!("jane", () => Promise.resolve("done"))).toBe("done");
    });
  });
}

test("redisStore at a cluster by a client that does not know says so", async () => {
  await using first = await connectNodeRedis(one.socket);
  await using second = await connectNodeRedis(other.socket);
  const stores = [first, second].map(({ client }) => redisStore(client));
  const outcomes = await Promise.all(stores.map((store) => store.read("joe").catch((error) => error)));
  const [error] = outcomes.filter((outcome) => outcome !== undefined);
  expect(error).toMatchObject({ code: "configuration", message: expect.stringContaining("MOVED") });
  expect(error.hint).toContain("clusters");
});

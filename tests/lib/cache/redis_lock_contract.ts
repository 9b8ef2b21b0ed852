// withRedisLock() at a real Redis server.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type RunScript, scriptRunner, withRedisLock } from "../../../lib/cache/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { failureOf } from "../../tools/failure_of.ts";
import { type ConnectedRedis, connectNodeRedis } from "../../tools/redis_clients.ts";

let redis: PrivateRedis, connected: ConnectedRedis, run: RunScript;
beforeAll(async () => {
  redis = await startPrivateRedis();
  connected = await connectNodeRedis(redis.socket);
  run = scriptRunner(connected.client, 5_000);
});
beforeEach(async () => void await connected.send("FLUSHALL"));
afterAll(async () => {
  await connected[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const leftMs = async (): Promise<number> => Number(await connected.send("PTTL", "lock"));

/** Work that another is to wait for. */
function gate() {
  const started = Promise.withResolvers<void>(), ended = Promise.withResolvers<void>();
  const work = async () => {
    started.resolve();
    await ended.promise;
  };
  return { work, started: started.promise, end: ended.resolve };
}

test("withRedisLock() works one after the other, and for another lock meanwhile", async () => {
  const steps: string[] = [], { work, started, end } = gate();
  const first = withRedisLock(run, {
    key: "lock",
    work: async () => {
      await work();
      steps.push("first");
    },
  });
  await started;
  const second = withRedisLock(run, { key: "lock", work: () => Promise.resolve(steps.push("second")) });
  expect(await withRedisLock(run, { key: "another", work: () => Promise.resolve("done") })).toBe("done");
  end();
  await Promise.all([first, second]);
  expect(steps).toEqual(["first", "second"]);
  expect(await connected.send("KEYS", "*")).toEqual([]);
});

test("withRedisLock() rethrows what the work throws, and gives the lock up", async () => {
  const work = () => Promise.reject(new SyntaxError("mine"));
  await expect(withRedisLock(run, { key: "lock", work })).rejects.toThrow("mine");
  expect(await connected.send("EXISTS", "lock")).toBe(0);
});

test("withRedisLock() takes a lease of 15 seconds", async () => {
  const left = await withRedisLock(run, { key: "lock", work: leftMs });
  expect(left).toBeGreaterThan(10_000);
  expect(left).toBeLessThanOrEqual(15_000);
});

test("withRedisLock() puts the end of its lease off while the work goes on", async () => {
  await withRedisLock(run, {
    key: "lock",
    leaseMs: 3_000,
    work: async () => {
      let before = await leftMs();
      for (let left = before; left <= before; left = await leftMs()) {
        expect(left).toBeGreaterThan(0);
        before = left;
      }
    },
  });
});

test("withRedisLock() leaves the lock of another who got it meanwhile", async () => {
  await withRedisLock(run, {
    key: "lock",
    work: async () => void await connected.send("SET", "lock", "another's", "PX", "60000"),
  });
  expect(await connected.send("GET", "lock")).toBe("another's");
});

test("withRedisLock() that has waited for too long works all the same, and leaves the lock", async () => {
  await connected.send("SET", "lock", "another's", "PX", "60000");
  expect(await withRedisLock(run, { key: "lock", waitMs: 1, work: () => Promise.resolve("done") })).toBe("done");
  expect(await connected.send("GET", "lock")).toBe("another's");
});

test("withRedisLock() ends its waiting with the signal", async () => {
  await connected.send("SET", "lock", "another's", "PX", "60000");
  const controller = new AbortController(), reason = new Error("no more");
  let works = 0;
  const { signal } = controller, work = () => Promise.resolve(++works);
  const failure = failureOf(withRedisLock(run, { key: "lock", signal, work }));
  await connected.send("PING"); // by now it has asked once
  controller.abort(reason);
  expect(await failure as Error).toBe(reason);
  expect([works, await connected.send("GET", "lock")]).toEqual([0, "another's"]);
});

test("withRedisLock() does not wait for the work after an abort, and holds the lock until it is done", async () => {
  const controller = new AbortController(), reason = new Error("no more"), { work, started, end } = gate();
  const failure = failureOf(withRedisLock(run, { key: "lock", signal: controller.signal, work }));
  await started;
  controller.abort(reason);
  expect(await failure as Error).toBe(reason);
  expect(await connected.send("EXISTS", "lock")).toBe(1);
  end();
  while (await connected.send("EXISTS", "lock") !== 0); // the test's own limit ends it
});

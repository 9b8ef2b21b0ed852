// The lock of redisStore at a real Redis server.
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type CacheCall, redisStore } from "../../../lib/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { rejection } from "../../fixture.ts";
import { type ConnectedRedis, connectNodeRedis } from "../../tools/redis_clients.ts";

const LOCK = "latchkey:lock:jane";

let redis: PrivateRedis, connected: ConnectedRedis;
beforeAll(async () => {
  redis = await startPrivateRedis();
  connected = await connectNodeRedis(redis.socket);
});
beforeEach(async () => void await connected.send("FLUSHALL"));
afterAll(async () => {
  await connected[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const withLock = <T>(work: () => Promise<T>, call?: CacheCall): Promise<T> =>
  redisStore(connected.client).withLock!("jane", work, call);
const leftMs = async (): Promise<number> => Number(await connected.send("PTTL", LOCK));

/** Work that another is to wait for. */
function gate() {
  const started = Promise.withResolvers<void>(), ended = Promise.withResolvers<void>();
  const work = async () => {
    started.resolve();
    await ended.promise;
  };
  return { work, started: started.promise, end: ended.resolve };
}

test("withLock() works one after the other, and for another lock meanwhile", async () => {
  const steps: string[] = [], { work, started, end } = gate();
  const first = withLock(async () => {
    await work();
    steps.push("first");
  });
  await started;
  const second = withLock(() => Promise.resolve(steps.push("second")));
  expect(await redisStore(connected.client).withLock!("john", () => Promise.resolve("done"))).toBe("done");
  end();
  await Promise.all([first, second]);
  expect(steps).toEqual(["first", "second"]);
  expect(await connected.send("KEYS", "*")).toEqual([]);
});

test("withLock() rethrows what the work throws, and gives the lock up", async () => {
  const work = () => Promise.reject(new SyntaxError("mine"));
  await expect(withLock(work)).rejects.toThrow("mine");
  expect(await connected.send("EXISTS", LOCK)).toBe(0);
});

test("withLock() takes a lease of 15 seconds", async () => {
  const left = await withLock(leftMs);
  expect(left).toBeGreaterThan(10_000);
  expect(left).toBeLessThanOrEqual(15_000);
});

test("withLock() puts the end of its lease off while the work goes on", async () => {
  await withLock(async () => {
    let before = await leftMs();
    for (let left = before; left <= before; left = await leftMs()) {
      expect(left).toBeGreaterThan(0);
      before = left;
    }
  });
});

test("withLock() leaves the lock of another who got it meanwhile", async () => {
  await withLock(async () => void await connected.send("SET", LOCK, "another's", "PX", "60000"));
  expect(await connected.send("GET", LOCK)).toBe("another's");
});

test("withLock() that has waited for too long works all the same, and leaves the lock", async () => {
  await connected.send("SET", LOCK, "another's", "PX", "60000");
  const now = performance.now;
  let skippedMs = 0;
  performance.now = () => now.call(performance) + (skippedMs += 60_000); // a minute passes at each look
  try {
    expect(await withLock(() => Promise.resolve("done"))).toBe("done");
  } finally {
    performance.now = now;
  }
  expect(await connected.send("GET", LOCK)).toBe("another's");
});

test("withLock() ends its waiting with the signal", async () => {
  await connected.send("SET", LOCK, "another's", "PX", "60000");
  const controller = new AbortController(), reason = new Error("no more");
  let works = 0;
  const { signal } = controller, work = () => Promise.resolve(++works);
  const ended = rejection(withLock(work, { signal }));
  await connected.send("PING"); // by now it has asked once
  controller.abort(reason);
  expect(await ended).toBe(reason);
  expect([works, await connected.send("GET", LOCK)]).toEqual([0, "another's"]);
});

test("withLock() does not wait for the work after an abort, and holds the lock until it is done", async () => {
  const controller = new AbortController(), reason = new Error("no more"), { work, started, end } = gate();
  const ended = rejection(withLock(work, { signal: controller.signal }));
  await started;
  controller.abort(reason);
  expect(await ended).toBe(reason);
  expect(await connected.send("EXISTS", LOCK)).toBe(1);
  end();
  while (await connected.send("EXISTS", LOCK) !== 0); // the test's own limit ends it
});

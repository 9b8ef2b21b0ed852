// What redisStore and its parts do without a server.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "redis";
import { accountsExcerpt } from "../../../lib/cache/changes.ts";
import { redisFailure } from "../../../lib/cache/redis.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { type CacheCall, type RedisClient, redisStore, type RedisStoreOptions } from "../../../lib/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { expectNoSecret, failure, rejection } from "../../fixture.ts";
import { type ConnectedRedis, connectNodeRedis, REDIS_CLIENTS } from "../../tools/redis_clients.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

const client = { sendCommand: () => Promise.reject(new Error("It was asked")) };
const newSentinel = () => createSentinel({ name: "primary", sentinelRootNodes: [] });

describe("redisStore()", () => {
  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /client\.call/],
    ["an object", {}, /client\.call/],
    ["ioredis's client as it is", new Redis({ lazyConnect: true }), /client\.call\(name, \.\.\.words\)/],
    [
      "node-redis's cluster as it is",
      createCluster({ rootNodes: [] }),
      /client\.sendCommand\(command\[3\], false, command\)/,
    ],
    ["node-redis's sentinel as it is", newSentinel(), /client\.sendCommand\(false, command\)/],
    ["Bun's client as it is", new Bun.RedisClient("redis://127.0.0.1:1"), /client\.send\(name, words\)/],
  ])("refuses %s, and says what to pass", (_what, wrong, how) => {
    expect(() => redisStore(wrong as never)).toThrow(TypeError);
    expect(() => redisStore(wrong as never)).toThrow(how);
  });

  test("takes node-redis's client and its pool as they are, and its cluster and its sentinel by an arrow function", () => {
    const cluster = createCluster({ rootNodes: [] }), sentinel = newSentinel();
    const clients: readonly RedisClient[] = [
      createClient(),
      createClientPool(),
      { sendCommand: (command) => cluster.sendCommand(command[3], false, command) },
      { sendCommand: (command) => sentinel.sendCommand(false, command) },
    ];
    for (const each of clients) expect(redisStore(each)).toBeDefined();
  });

  test.each<[unknown, ErrorConstructor]>([
    [{ prefix: 1 }, TypeError],
    [{ timeToLiveSeconds: "90" }, TypeError],
    [{ timeToLiveSeconds: 0 }, RangeError],
    [{ timeToLiveSeconds: 1.5 }, RangeError],
    [{ timeToLiveSeconds: NaN }, RangeError],
    [{ timeToLiveSeconds: 2 ** 31 }, RangeError],
    [{ timeoutMs: null }, TypeError],
    [{ timeoutMs: -1 }, RangeError],
    [{ timeoutMs: Infinity }, RangeError],
  ])("refuses %j", (options, kind) => {
    expect(() => redisStore(client, options as RedisStoreOptions)).toThrow(kind);
  });

  test("asks nothing before the first call, and takes options that are undefined for absent", () => {
    const options = { prefix: undefined, timeToLiveSeconds: undefined, timeoutMs: undefined };
    expect(Object.keys(redisStore(client, options))).toEqual([
      "readAccounts",
      "read",
      "update",
      "setAside",
      "withLock",
    ]);
  });
});

describe("redisFailure()", () => {
  const script = "ERR Error running script (call to f_0123): @user_script:1: @user_script: 1: -";
  test.each<[string, LatchkeyErrorCode]>([
    ["NOAUTH Authentication required.", "configuration"],
    ["WRONGPASS invalid username-password pair or user is disabled.", "configuration"],
    ["NOPERM this user has no permissions to run the 'eval' command", "configuration"],
    ["DENIED Redis is running in protected mode", "configuration"],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "configuration"],
    ["MOVED 3999 127.0.0.1:6381", "configuration"],
    ["ASK 3999 127.0.0.1:6381", "configuration"],
    ["CROSSSLOT Keys in request don't hash to the same slot", "configuration"],
    ["READONLY You can't write against a read only replica.", "temporarily_unavailable"],
    ["OOM command not allowed when used memory > 'maxmemory'.", "temporarily_unavailable"],
    ["LOADING Redis is loading the dataset in memory", "temporarily_unavailable"],
    ["BUSY Redis is busy running a script.", "temporarily_unavailable"],
    ["MISCONF Redis is configured to save RDB snapshots", "temporarily_unavailable"],
    ["CLUSTERDOWN Hash slot not served", "temporarily_unavailable"],
    ["MASTERDOWN Link with MASTER is down", "temporarily_unavailable"],
    ["NOREPLICAS Not enough good replicas to write.", "temporarily_unavailable"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "temporarily_unavailable"],
    // As Redis 6 has it.
    [`${script}OOM command not allowed when used memory > 'maxmemory'.`, "temporarily_unavailable"],
    [`${script}READONLY You can't write against a read only replica.`, "temporarily_unavailable"],
    ["ERR max number of clients reached", "unexpected"],
    ["connect ECONNREFUSED 127.0.0.1:6379", "no_network"],
    ["The client is closed", "no_network"],
    ["", "no_network"],
    ["Command timed out", "timed_out"],
  ])("%s is %s", (message, code) => {
    const error = redisFailure(new Error(message));
    expect(error).toMatchObject({ code, hint: expect.any(String) });
    if (/^[A-Z]{2}/.test(message)) expect(error.message).toMatch(/ \([A-Z]+\)$/);
  });

  test("tells the name of a failure to connect", () => {
    class SocketClosedUnexpectedlyError extends Error {}
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    expect(redisFailure(refused).message).toEndWith("(ECONNREFUSED)");
    expect(redisFailure(new SocketClosedUnexpectedlyError()).message).toEndWith("(SocketClosedUnexpectedlyError)");
    for (const reason of ["text", undefined, null, 1, Object.create(null)]) {
      expect(redisFailure(reason).code).toBe("no_network");
    }
  });

  test("says no word of the command", () => {
    const secret = "0.AXkAsecret", command = { name: "EVAL", args: [secret] };
    const messages = [
      `ERR unknown command 'EVAL', with args beginning with: '${secret}'`,
      `Closed while sending ${secret}`,
    ];
    for (const message of messages) {
      expectNoSecret(redisFailure(Object.assign(new Error(message), { command })), secret);
    }
  });
});

test("accountsExcerpt() has the accounts and who signed out, and no token", () => {
  const document = { AccessToken: { a: 1 }, Account: { b: 2 }, RefreshToken: { c: 3 }, LatchkeySignedOut: { d: 4 } };
  expect(JSON.parse(accountsExcerpt(JSON.stringify(document)))).toEqual({
    Account: { b: 2 },
    LatchkeySignedOut: { d: 4 },
  });
  expect(accountsExcerpt("{}")).toBe("{}");
});

test.each(["{ damaged", "", "null"])("accountsExcerpt() leaves %j as it is", (damaged) => {
  expect(accountsExcerpt(damaged)).toBe(damaged);
});

// The lock of redisStore at a real Redis server.

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

// redisStore at a real Redis server, by each client library that this runtime has.

const DAYS_90_S = 7_776_000;
const DAY_S = 24 * 60 * 60;

/** Adds a field to a document. */
function adding(field: string, value: unknown = true): (document: string | undefined) => string {
  return (document = "{}") => JSON.stringify({ ...JSON.parse(document), [field]: value });
}

/** The same client, with something done before each command. */
function before(
  client: RedisClient,
  act: (command: readonly string[], number: number) => Promise<unknown>,
): RedisClient {
  let number = 0;
  return {
    sendCommand: async (command) => {
      await act(command, ++number);
      return await client.sendCommand(command);
    },
  };
}

for (const [name, connect] of Object.entries(REDIS_CLIENTS)) {
  describe(`redisStore with ${name}`, () => {
    let connected: ConnectedRedis, other: ConnectedRedis, client: RedisClient;
    beforeAll(async () => {
      connected = await connect(redis.socket);
      other = await connect(redis.socket);
      client = connected.client;
    });
    afterAll(async () => {
      await connected[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
    });

    test("has nothing at first", async () => {
      const store = redisStore(client);
      expect(await store.readAccounts()).toEqual([]);
      expect(await store.read("jane")).toBeUndefined();
      expect(await store.setAside!("jane", () => true)).toBeUndefined();
    });

    test("update() is read by another machine, whatever is in it", async () => {
      const text = JSON.stringify({ Account: { é: { username: "\u{1F511}\u0000\r\n\\" } } });
      await redisStore(client).update("jane", () => text);
      expect(await redisStore(other.client).read("jane")).toBe(text);
      expect(await redisStore(other.client).readAccounts()).toEqual([text]);
    });

    test("update() that gives nothing, or what was there, writes nothing", async () => {
      const store = redisStore(client);
      await store.update("jane", () => undefined);
      expect(await connected.send("KEYS", "*")).toEqual([]);
      await store.update("jane", () => "{}");
      await connected.send("EXPIRE", "latchkey:account:jane", "1000");
      await store.update("jane", (document) => document);
      await store.update("jane", () => undefined);
      expect(await store.read("jane")).toBe("{}");
      expect(await connected.send("TTL", "latchkey:account:jane")).toBeLessThanOrEqual(1000);
    });

    test("update() that throws writes nothing", async () => {
      const store = redisStore(client);
      const fail = () => {
        throw new SyntaxError("mine");
      };
      await expect(store.update("jane", fail)).rejects.toThrow("mine");
      expect(await connected.send("KEYS", "*")).toEqual([]);
    });

    test("update() loses nothing of fifty at once", async () => {
      const stores = [redisStore(client), redisStore(other.client)], numbers = Array.from({ length: 50 }, (_, n) => n);
      await Promise.all(numbers.map((number) => stores[number % 2]!.update("jane", adding(`field${number}`, number))));
      const document = JSON.parse(await stores[0]!.read("jane") ?? "");
      expect(document).toEqual(Object.fromEntries(numbers.map((number) => [`field${number}`, number])));
    });

    test("update() sees a change that came between, and one that has the same text as before", async () => {
      const store = redisStore(other.client), seen: (string | undefined)[] = [];
      await store.update("jane", () => "{}");
      // The third command is the one that writes.
      const hindered = before(client, async (_, number) => {
        if (number !== 3) return;
        await other.send("DEL", "latchkey:account:jane");
        await store.update("jane", () => '{"new":1}');
        await store.update("jane", () => "{}");
      });
      await redisStore(hindered).update("jane", (document) => {
        seen.push(document);
        return adding("mine")(document);
      });
      expect(seen).toEqual(["{}", "{}"]);
      expect(await store.read("jane")).toBe('{"mine":true}');
    });

    test("update() and withLock() do no harm when a client sends all commands twice", async () => {
      const store = redisStore(before(client, async (command) => await client.sendCommand([...command] as never)));
      let calls = 0;
      await store.update("jane", (document) => {
        calls += 1;
        return adding("field")(document);
      });
      expect([calls, await store.read("jane")]).toEqual([1, '{"field":true}']);
      expect(await store.withLock!("jane", () => Promise.resolve("done"))).toBe("done");
      expect(await connected.send("EXISTS", "latchkey:lock:jane")).toBe(0);
    });

    test("update() gives up when others are quicker each time", async () => {
      const store = redisStore(other.client);
      let round = 0;
      const hindered = before(client, async (command) => {
        if (command.includes("{}")) await store.update("jane", () => `{"round":${++round}}`);
      });
      const error = await failure(redisStore(hindered).update("jane", () => "{}"));
      expect(error).toMatchObject({ code: "temporarily_unavailable", hint: expect.any(String) });
      expect(await store.read("jane")).toBe(`{"round":${round}}`);
    });

    test("every key has an end, which each write puts off", async () => {
      const store = redisStore(client), end = async (key: string) => Number(await connected.send("TTL", key));
      await store.update("jane", adding("one"));
      const keys = await connected.send("KEYS", "*") as string[];
      expect(keys.toSorted()).toEqual(["latchkey:account:jane", "latchkey:accounts"]);
      for (const key of keys) {
        const left = await end(key);
        expect(left).toBeGreaterThan(DAYS_90_S - 60);
        expect(left).toBeLessThanOrEqual(DAYS_90_S);
        await connected.send("EXPIRE", key, "1000");
      }
      await store.update("jane", adding("two"));
      for (const key of keys) expect(await end(key)).toBeGreaterThan(DAYS_90_S - 60);
    });

    // A damaged document was kept for 90 days, tokens and all.
    test("what is set aside as damaged is kept for a day, or for as long as an account if that is less", async () => {
      for (const [timeToLiveSeconds, most] of [[undefined, DAY_S], [100, 100]] as const) {
        const store = redisStore(client, { timeToLiveSeconds });
        await store.update("jane", adding("one"));
        const place = await store.setAside!("jane", () => true), left = Number(await connected.send("TTL", place!));
        expect(left).toBeGreaterThan(most - 60);
        expect(left).toBeLessThanOrEqual(most);
      }
    });

    test("timeToLiveSeconds is how long an account is kept, and the list as long as the longest of them", async () => {
      await redisStore(client).update("jane", adding("field"));
      await redisStore(client, { timeToLiveSeconds: 100 }).update("joe", adding("field"));
      expect(await connected.send("TTL", "latchkey:account:joe")).toBeLessThanOrEqual(100);
      expect(await connected.send("TTL", "latchkey:accounts")).toBeGreaterThan(DAYS_90_S - 60);
    });

    test("readAccounts() passes over accounts that have ended, and update() takes them off the list", async () => {
      const store = redisStore(client);
      await store.update("jane", () => '{"Account":{"jane":{}}}');
      await connected.send("ZADD", "latchkey:accounts", "1000", "joe");
      expect(await store.readAccounts()).toEqual(['{"Account":{"jane":{}}}']);
      await store.update("jane", adding("field"));
      expect(await connected.send("ZRANGE", "latchkey:accounts", "0", "-1")).toEqual(["jane"]);
    });

    test("readAccounts() gives the accounts of many, and no token", async () => {
      const store = redisStore(client), ids = Array.from({ length: 250 }, (_, number) => `id${number}`);
      await Promise.all(ids.map((id) => {
        const document = { AccessToken: { x: "secret" }, Account: { [id]: {} }, LatchkeySignedOut: { y: {} } };
        return store.update(id, () => JSON.stringify(document));
      }));
      const documents = (await store.readAccounts()).map((json) => JSON.parse(json));
      expect(documents.flatMap(({ Account }) => Object.keys(Account)).toSorted()).toEqual(ids.toSorted());
      for (const document of documents) expect(Object.keys(document)).toEqual(["Account", "LatchkeySignedOut"]);
    });

    test("ids can be of any length and have anything in them", async () => {
      const store = redisStore(client),
        ids = ["../*?[a]", "{a}{", "x".repeat(5_000), "j\u0000ne", "\u{1F511} jane", ""];
      for (const id of ids) await store.update(id, adding("id", id));
      for (const id of ids) expect(await store.read(id)).toBe(JSON.stringify({ id }));
    });

    test("stores of different prefixes have nothing to do with each other", async () => {
      const [one, another] = [redisStore(client, { prefix: "one:" }), redisStore(client, { prefix: "another:" })];
      await one.update("jane", adding("field"));
      expect([await another.read("jane"), await another.readAccounts()]).toEqual([undefined, []]);
      expect(await connected.send("EXISTS", "one:account:jane")).toBe(1);
    });

    test("setAside() keeps a damaged document under a key of its own, each one", async () => {
      const store = redisStore(client), places: (string | undefined)[] = [];
      for (const damage of ["{ damaged", "damaged }"]) {
        await store.update("jane", () => damage);
        places.push(await store.setAside!("jane", (document) => document === damage));
        expect(await store.read("jane")).toBeUndefined();
      }
      expect(places[0]).toMatch(/^latchkey:damaged:jane:[\da-f-]{36}$/);
      expect(new Set(places).size).toBe(2);
      expect(await Promise.all(places.map((place) => connected.send("GET", place!)))).toEqual([
        "{ damaged",
        "damaged }",
      ]);
    });

    test("setAside() leaves what is not damaged, or was mended in between", async () => {
      const store = redisStore(other.client);
      await store.update("jane", () => "{ damaged");
      expect(await store.setAside!("jane", () => false)).toBeUndefined();
      const hindered = before(client, async (_, number) => {
        if (number === 3) await store.update("jane", () => "{}"); // the third command is the one that removes
      });
      expect(await redisStore(hindered).setAside!("jane", (document) => document === "{ damaged")).toBeUndefined();
      expect(await store.read("jane")).toBe("{}");
      expect(await connected.send("KEYS", "latchkey:damaged:*")).toEqual([]);
    });

    test("a call that is aborted rethrows the reason, and writes nothing", async () => {
      const store = redisStore(client), reason = new Error("no more"), signal = AbortSignal.abort(reason);
      await store.update("jane", () => "{}");
      await expect(store.read("jane", { signal })).rejects.toBe(reason);
      await expect(store.readAccounts({ signal })).rejects.toBe(reason);
      await expect(store.update("jane", adding("field"), { signal })).rejects.toBe(reason);
      await expect(store.setAside!("jane", () => true, { signal })).rejects.toBe(reason);
      await expect(store.withLock!("jane", () => Promise.resolve(), { signal })).rejects.toBe(reason);
      expect(await store.read("jane")).toBe("{}");
    });

    test("a token cache signs in, out and in again, on two machines", async () => {
      const options = { clientId: APP, environment: HOST, now: () => NOW };
      const [cache, later] = [client, other.client].map((each) => new TokenCache(redisStore(each), options)) as [
        TokenCache,
        TokenCache,
      ];
      const query = { account: jane, scopes: ["User.Read"], correlationId: "" };
      const names = async () => (await later.findAccounts()).map(({ account }) => account.username).toSorted();
      await cache.save(reply("hers", ["User.Read"], { refreshToken: "r" }));
      await cache.save(reply("his", ["User.Read"], { account: john }));
      expect((await later.findAccessToken(query))?.result.accessToken).toBe("hers");
      expect(await names()).toEqual(["jane@contoso.com", "john@contoso.com"]);
      await later.removeAccount(jane);
      expect([await cache.findAccessToken(query), await cache.isSignedOut(jane)]).toEqual([undefined, true]);
      expect(await names()).toEqual(["john@contoso.com"]);
      await cache.save(reply("hers again", ["User.Read"], { refreshToken: "s" }));
      expect(await later.isSignedOut(jane)).toBe(false);
      expect(await names()).toEqual(["jane@contoso.com", "john@contoso.com"]);
    });

    test("a token cache sets a damaged document aside, and begins a new one", async () => {
      const warnings: string[] = [], log = (_: string, message: string) => warnings.push(message);
      const cache = new TokenCache(redisStore(client), { clientId: APP, environment: HOST, now: () => NOW, log });
      await cache.save(reply("hers", ["User.Read"]));
      await connected.send("HSET", `latchkey:account:${jane.homeAccountId}`, "document", "{ damaged");
      await cache.save(reply("hers again", ["User.Read"]));
      expect(warnings).toEqual([expect.stringContaining(`latchkey:damaged:${jane.homeAccountId}:`)]);
      const found = await cache.findAccessToken({ account: jane, scopes: ["User.Read"], correlationId: "" });
      expect(found?.result.accessToken).toBe("hers again");
    });
  });
}

test("redisStore with a client that gives buffers says so", async () => {
  const client = createClient({ socket: { path: redis.socket, tls: false } }).withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
  });
  client.on("error", () => {});
  await client.connect();
  await client.sendCommand(["HSET", "latchkey:account:jane", "version", "1", "document", "{}", "accounts", "{}"]);
  await client.sendCommand(["ZADD", "latchkey:accounts", "9999999999", "jane"]);
  const store = redisStore(client),
    calls = [
      () => store.update("jane", () => "{}"),
      () => store.read("jane"),
      () => store.readAccounts(),
      () => store.setAside!("jane", () => true),
    ];
  for (const call of calls) {
    const error = await failure(call());
    expect(error).toMatchObject({ code: "invalid_response", hint: expect.stringContaining("buffers") });
  }
  expect(await store.withLock!("jane", () => Promise.resolve("worked all the same"))).toBe("worked all the same");
  client.destroy();
});

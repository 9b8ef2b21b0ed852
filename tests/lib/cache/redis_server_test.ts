// redisStore at a real Redis server, by each client library that this runtime has.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createClient, RESP_TYPES } from "redis";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { type RedisClient, redisStore } from "../../../lib/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { failure } from "../../fixture.ts";
import { type ConnectedRedis, REDIS_CLIENTS } from "../../tools/redis_clients.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

const DAYS_90_S = 7_776_000;
const DAY_S = 24 * 60 * 60;

let redis: PrivateRedis;
beforeAll(async () => void (redis = await startPrivateRedis()));
afterAll(() => redis[Symbol.asyncDispose]());

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
    beforeEach(async () => void await connected.send("FLUSHALL"));
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

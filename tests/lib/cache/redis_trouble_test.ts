// redisStore at a real Redis server that is not well, by each client library that this runtime has.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { PublicClientApplication } from "../../../lib/application.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { type RedisClient, redisStore } from "../../../lib/redis.ts";
import { type AccountInfo, WebApplication, type WebApplicationOptions } from "../../../lib/web.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { CLIENT_ID, expectNoSecret, failure, rejection, useEntra } from "../../fixture.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { browsingPerson } from "../../tools/browsing_person.ts";
import { type ConnectedRedis, connectNodeRedis, REDIS_CLIENTS } from "../../tools/redis_clients.ts";
import { startOidcProvider } from "../../tools/start_oidc_provider.ts";
import { APP, HOST, jane, NOW, reply } from "./sample_replies.ts";

const SECRET = "0.AXkAsecret-refresh-token", PASSWORD = "the server's password";
/** While the disk is busy, Redis writes its log up to 2 seconds after it has answered, unless it waits for the disk each time. */
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];
const DOCUMENT = JSON.stringify({ RefreshToken: { jane: { secret: SECRET } } });

for (const [name, connect] of Object.entries(REDIS_CLIENTS)) {
  describe(`redisStore with ${name}, in trouble`, () => {
    let redis: PrivateRedis, connected: ConnectedRedis;
    beforeAll(async () => {
      // What has been written is there after a restart.
      redis = await startPrivateRedis(DURABLE);
      connected = await connect(redis.socket);
    });
    beforeEach(async () => void await connected.send("FLUSHALL"));
    afterAll(async () => {
      await connected[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
    });

    test("full memory is told, what is there can be read, and withLock() works without a lock", async () => {
      const store = redisStore(connected.client);
      await store.update("jane", () => "{}");
      await connected.send("CONFIG", "SET", "maxmemory", "1mb");
      try {
        const error = await failure(store.update("jane", () => DOCUMENT));
        expect(error).toMatchObject({ code: "temporarily_unavailable", message: expect.stringContaining("OOM") });
        expect(error.hint).toContain("maxmemory");
        expectNoSecret(error, SECRET);
        expect(await store.read("jane")).toBe("{}");
        expect(await store.withLock!("jane", () => Promise.resolve("done"))).toBe("done");
      } finally {
        await connected.send("CONFIG", "SET", "maxmemory", "0");
      }
      await store.update("jane", () => DOCUMENT);
      expect(await store.read("jane")).toBe(DOCUMENT);
    });

    test("a replica can be read and is not written to", async () => {
      const store = redisStore(connected.client);
      await store.update("jane", () => "{}");
      await connected.send("REPLICAOF", "127.0.0.1", "1");
      try {
        const error = await failure(store.update("jane", () => DOCUMENT));
        expect(error).toMatchObject({ code: "temporarily_unavailable", message: expect.stringContaining("READONLY") });
        expect(error.hint).toContain("primary");
        expectNoSecret(error, SECRET);
        expect([await store.read("jane"), await store.readAccounts()]).toEqual(["{}", ["{}"]]);
        expect(await store.withLock!("jane", () => Promise.resolve("done"))).toBe("done");
      } finally {
        await connected.send("REPLICAOF", "NO", "ONE");
      }
    });

    test("another program's key is not the store's", async () => {
      const store = redisStore(connected.client);
      await connected.send("SET", "latchkey:account:jane", "not ours");
      for (const call of [store.read("jane"), store.update("jane", () => DOCUMENT)]) {
        const error = await failure(call);
        expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("prefix") });
        expectNoSecret(error, SECRET, "not ours");
      }
    });

    test("a user who may not run scripts, or not touch the keys, is told so", async () => {
      const store = redisStore(connected.client);
      for (const rule of ["-eval", "-hset", "resetkeys"]) {
        await connected.send("ACL", "SETUSER", "default", rule);
        try {
          const error = await failure(store.update("jane", () => DOCUMENT));
          expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("EVAL") });
          expectNoSecret(error, SECRET);
        } finally {
          await connected.send("ACL", "SETUSER", "default", "+@all", "allkeys");
        }
      }
    });

    test("a user with the permissions that the documentation names can do all", async () => {
      const source = await readFile(new URL("../../../lib/cache/redis.ts", import.meta.url), "utf8");
      const rules = /needs `(~[^`]*)`/.exec(source)![1]!.split(/[\s*]*\n[\s*]*|\s+/);
      await connected.send("ACL", "SETUSER", "app", "on", `>${PASSWORD}`, "resetkeys", "-@all", ...rules);
      await using own = await connect(redis.socket);
      await own.send("AUTH", "app", PASSWORD);
      const store = redisStore(own.client);
      await store.update("jane", () => DOCUMENT);
      expect([await store.read("jane"), await store.readAccounts()]).toEqual([DOCUMENT, ["{}"]]);
      const isLocked = () => connected.send("EXISTS", "latchkey:lock:jane");
      expect([await store.withLock!("jane", isLocked), await isLocked()]).toEqual([1, 0]);
      expect(await store.setAside!("jane", () => true)).toContain("damaged");
    });

    test("a server without scripts is told, and no word of the command", async () => {
      const client = { sendCommand: ([_, ...words]: string[]) => connected.client.sendCommand(["EVIL", ...words]) };
      const error = await failure(redisStore(client).update("jane", () => DOCUMENT));
      expect(error).toMatchObject({ code: "unexpected", errorDescription: "ERR unknown command" });
      expectNoSecret(error, SECRET, "jane", "redis.call");
    });

    test("a server that has stopped is waited for until the limit, and what it did late does no harm", async () => {
      const store = redisStore(connected.client, { timeoutMs: 50 }), patient = redisStore(connected.client);
      await patient.update("jane", () => "{}");
      redis.pause();
      try {
        for (const call of [store.read("jane"), store.readAccounts(), store.update("jane", () => DOCUMENT)]) {
          const error = await failure(call);
          expect(error).toMatchObject({ code: "timed_out", hint: expect.any(String) });
          expect(error.message).toContain("0.05 seconds");
        }
        expect(await store.withLock!("jane", () => Promise.resolve("done"))).toBe("done");
      } finally {
        redis.resume();
      }
      expect(await patient.read("jane")).toBe("{}");
      expect(await connected.send("EXISTS", "latchkey:lock:jane")).toBe(0);
    });

    test("every call to a server that has stopped ends with the signal", async () => {
      const store = redisStore(connected.client), reason = new Error("no more");
      let works = 0;
      redis.pause();
      try {
        const calls = [
          (signal: AbortSignal) => store.read("jane", { signal }),
          (signal: AbortSignal) => store.readAccounts({ signal }),
          (signal: AbortSignal) => store.update("jane", () => DOCUMENT, { signal }),
          (signal: AbortSignal) => store.setAside!("jane", () => true, { signal }),
          (signal: AbortSignal) => store.withLock!("jane", () => Promise.resolve(++works), { signal }),
        ];
        for (const call of calls) {
          const controller = new AbortController(), ended = rejection(call(controller.signal));
          controller.abort(reason);
          expect(await ended).toBe(reason);
        }
      } finally {
        redis.resume();
      }
      // All of the above has been answered before this is.
      expect(await connected.send("EXISTS", "latchkey:lock:jane", "latchkey:account:jane")).toBe(0);
      expect(works).toBe(0);
    });

    test("a restart in between loses nothing that the server keeps", async () => {
      const store = redisStore(connected.client);
      await store.update("jane", () => "{}");
      await redis.kill();
      const error = await failure(redisStore(connected.client, { timeoutMs: 500 }).read("jane"));
      expect(["no_network", "timed_out"]).toContain(error.code);
      await redis.start();
      await store.update("jane", (document) => JSON.stringify({ ...JSON.parse(document!), more: true }));
      expect(await store.read("jane")).toBe('{"more":true}');
    });

    test("a token cache at a server that forgot all begins anew", async () => {
      const cache = new TokenCache(redisStore(connected.client), { clientId: APP, environment: HOST, now: () => NOW });
      await cache.save(reply("hers", ["User.Read"], { refreshToken: SECRET }));
      await connected.send("FLUSHALL");
      expect(await cache.findAccounts()).toEqual([]);
      expect(await cache.findRefreshTokens(jane)).toEqual([]);
      await cache.save(reply("hers again", ["User.Read"], { refreshToken: SECRET }));
      expect(await cache.findAccounts()).toHaveLength(1);
    });
  });

  test(`redisStore with ${name} whose connection has no password says so`, async () => {
    await using redis = await startPrivateRedis();
    await using connected = await connect(redis.socket);
    await connected.send("CONFIG", "SET", "requirepass", PASSWORD);
    await connected.send("RESET"); // this connection is as new
    const error = await failure(redisStore(connected.client).update("jane", () => DOCUMENT));
    expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("password") });
    expectNoSecret(error, SECRET, PASSWORD);
  });

  test(`redisStore with ${name} whose connection was closed says so`, async () => {
    await using redis = await startPrivateRedis();
    const connected = await connect(redis.socket);
    await connected.send("PING");
    await connected[Symbol.asyncDispose]();
    const error = await failure(redisStore(connected.client).update("jane", () => DOCUMENT));
    expect(error).toMatchObject({ code: "no_network", hint: expect.any(String) });
    expectNoSecret(error, SECRET);
  });
}

// The new refresh token was forgotten when the server died before it was stored, and the old one was good no more.
test("a renewal during which the server dies is stored once the server is there again", async () => {
  await using redis = await startPrivateRedis(DURABLE);
  await using provider = await startOidcProvider();
  const [, connect] = Object.entries(REDIS_CLIENTS)[0]!;
  await using connected = await connect(redis.socket);
  const stored = Promise.withResolvers<void>(), { clientId, url: authority } = provider;
  const appOf = (logger?: (level: string, message: string) => void) =>
    new PublicClientApplication({
      ...{ clientId, authority, cache: redisStore(connected.client, { timeoutMs: 1000 }) },
      ...(logger && { logger }),
      openBrowser: browsingPerson().openBrowser,
    });
  await appOf().acquireToken({ scopes: ["api.read"] });

  const renewed = { scopes: ["api.read"], interactive: "never", forceRefresh: true } as const;
  const app = appOf((_, message) => void (/stored now/.test(message) && stored.resolve()));
  const held = provider.holdAnswer(), renewal = app.acquireToken(renewed);
  await held.ready;
  await redis.kill();
  held.release();
  expect(await renewal).toMatchObject({ source: "identity_provider" });
  await redis.start();
  await stored.promise;
  expect(await appOf().acquireToken(renewed)).toMatchObject({ source: "identity_provider" });
  expect(await app.acquireToken(renewed)).toMatchObject({ source: "identity_provider" });
});

/** Clients that were given a password, as the documentation says to make them. */
const WITH_PASSWORD: Readonly<Record<string, (path: string, password?: string) => RedisClient & Disposable>> = {
  "node-redis"(path, password) {
    const client = createClient({ ...(password !== undefined && { password }), socket: { path, tls: false } });
    client.on("error", () => {});
    client.connect().catch(() => {});
    return { sendCommand: (command) => client.sendCommand(command), [Symbol.dispose]: () => client.destroy() };
  },
  ioredis(path, password) {
    const redis = new Redis({ path, ...(password !== undefined && { password }) });
    redis.on("error", () => {});
    return {
      sendCommand: ([name, ...words]) => redis.call(name, ...words),
      [Symbol.dispose]: () => redis.disconnect(),
    };
  },
};

// node-redis connects for ever with a password that is wrong, so that a program that waits for that says nothing.
for (const [name, make] of Object.entries(WITH_PASSWORD)) {
  test.each([["wrong", "not the password"], ["missing", undefined]])(
    `redisStore with ${name} whose password is %s says so`,
    async (_, password) => {
      await using redis = await startPrivateRedis(["--requirepass", PASSWORD]);
      using client = make(redis.socket, password);
      const error = await failure(redisStore(client).update("jane", () => DOCUMENT));
      expect(error).toMatchObject({
        ...{ code: "configuration", hint: expect.stringContaining("password") },
        message: expect.stringContaining("password for Redis is wrong or missing"),
      });
      expectNoSecret(error, SECRET, PASSWORD, "not the password");
    },
  );
}

// redisStore in many processes at once, as on many machines, at a real Redis server.

const PROCESSES = 5, EACH = 10;
const NAMES = Array.from({ length: PROCESSES }, (_, number) => `machine${number}`);

let redis: PrivateRedis, connected: ConnectedRedis;
const machines: ChildProcess[] = [];

beforeAll(async () => {
  redis = await startPrivateRedis();
  connected = await connectNodeRedis(redis.socket);
});
beforeEach(async () => void await connected.send("FLUSHALL"));
afterEach(() => machines.splice(0).forEach((machine) => machine.kill("SIGKILL")));
afterAll(async () => {
  await connected[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

function startMachine(name: string, task: "write" | "renew" | "hold"): ChildProcess {
  const program = fileURLToPath(new URL("redis_program.ts", import.meta.url));
  const [command = "", ...words] = [...ownRuntimePath().program(), program, redis.socket, name, task, String(EACH)];
  const machine = spawn(command, words, {
    cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  machines.push(machine);
  return machine;
}

/** Waits until a machine has printed something. */
async function printed(machine: ChildProcess, what: string): Promise<void> {
  let text = "";
  for await (const chunk of machine.stdout!.iterator({ destroyOnReturn: false })) {
    if ((text += chunk).includes(what)) return;
  }
  throw new Error(`The machine ended before it said ${what}`);
}

/** Has all machines do the same at once, up to their ends. */
async function allAtOnce(task: "write" | "renew"): Promise<void> {
  const all = NAMES.map((name) => startMachine(name, task));
  await Promise.all(all.map((machine) => printed(machine, "ready")));
  await connected.send("RPUSH", "go", ...NAMES);
  const ends = await Promise.all(all.map(async (machine) => machine.exitCode ?? (await once(machine, "exit"))[0]));
  expect(ends).toEqual(NAMES.map(() => 0));
}

test("update() in many processes loses nothing", async () => {
  await allAtOnce("write");
  const store = redisStore(connected.client), document = JSON.parse(await store.read("jane") ?? "");
  const fields = NAMES.flatMap((name) => Array.from({ length: EACH }, (_, number) => `${name}-${number}`));
  expect(Object.keys(document).toSorted()).toEqual(fields.toSorted());
  const accounts = (await store.readAccounts()).flatMap((json) => Object.keys(JSON.parse(json).Account ?? {}));
  expect(accounts.toSorted()).toEqual(fields.toSorted());
});

test("withLock() in many processes lets one work at a time, so that one renews", async () => {
  await allAtOnce("renew");
  expect(await connected.send("GET", "renewals")).toBe("1");
  const atWork = await connected.send("LRANGE", "at-work", "0", "-1");
  expect(atWork).toEqual(Array.from({ length: PROCESSES * EACH }, () => "1"));
  expect(await connected.send("EXISTS", "latchkey:lock:jane")).toBe(0);
});

test("withLock() has the lock of a process that died once its lease has ended", async () => {
  const machine = startMachine("holder", "hold");
  await printed(machine, "ready");
  await connected.send("RPUSH", "go", "holder");
  await printed(machine, "holds");
  machine.kill("SIGKILL");
  await once(machine, "exit");
  const holder = () => connected.send("GET", "latchkey:lock:jane");
  const token = await holder();
  expect(token).toBeTruthy();
  await connected.send("PEXPIRE", "latchkey:lock:jane", "1000"); // the end of its lease, which is 15 seconds
  const own = await redisStore(connected.client).withLock!("jane", holder);
  expect(own).toBeTruthy();
  expect(own).not.toBe(token);
});

// A web app on two machines: two WebApplication objects, each with a connection of its own to one real Redis server.

const SCOPES = ["User.Read"];

// Each request of a browser is a call of its own; in one app object equal ones are one.
describe("WebApplication on two machines, each with a connection of its own", () => {
  const entra = useEntra();
  let other: ConnectedRedis;
  beforeAll(async () => void (other = await connectNodeRedis(redis.socket)));
  afterAll(() => other[Symbol.asyncDispose]());

  function machine(number: number, logger?: WebApplicationOptions["logger"]): WebApplication {
    const cache = redisStore([connected, other][number % 2]!.client);
    return new WebApplication({ clientId: CLIENT_ID, fetch: entra.fetch, cache, ...(logger && { logger }) });
  }

  async function signIn(app: WebApplication): Promise<AccountInfo> {
    const redirectUri = "https://app.contoso.com/signed-in";
    const { authUri, ...flow } = await app.initiateAuthCodeFlow({ scopes: SCOPES, redirectUri, responseMode: "query" });
    return (await app.acquireTokenByAuthCodeFlow(flow, entra.authorize(authUri))).account;
  }

  test("renews a token that ended once, by one of them", async () => {
    entra.behaviour.reply = { expires_in: 1 };
    const account = await signIn(machine(0));
    entra.reset();
    const numbers = Array.from({ length: 10 }, (_, number) => number);
    const calls = numbers.map((number) => machine(number).acquireTokenSilent({ scopes: SCOPES, account }));
    expect(new Set((await Promise.all(calls)).map((token) => token?.accessToken)).size).toBe(1);
    expect(entra.requests.map(({ parameters }) => parameters.get("grant_type"))).toEqual(["refresh_token"]);
  });

  test("gives the app a token that cannot be stored, and the log says why", async () => {
    const lines: string[] = [], app = machine(0, (level, line) => lines.push(`${level} ${line}`));
    await connected.send("CONFIG", "SET", "maxmemory", "1mb");
    try {
      expect((await signIn(app)).username).toBe("jane@contoso.com");
    } finally {
      await connected.send("CONFIG", "SET", "maxmemory", "0");
    }
    expect(lines).toEqual([expect.stringMatching(/^warn The token could not be stored: .*\(OOM\)$/)]);
  });
});

// redisStore at a real cluster of two Redis servers, by the libraries' clients for clusters: no command has keys of two slots.

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

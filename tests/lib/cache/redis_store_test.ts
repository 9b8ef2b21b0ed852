// What redisStore and its parts do without a server.
import { describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { accountsExcerpt } from "../../../lib/cache/changes.ts";
import { type RedisClient, redisFailure } from "../../../lib/cache/redis.ts";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { redisStore, type RedisStoreOptions } from "../../../lib/redis.ts";
import { expectNoSecret } from "../../fixture.ts";

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

// What every store on this machine promises, held against each of them.
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { fileStore, plaintextStore } from "../../../lib/cache/file_store.ts";
import { type CachePlugin, cachePluginStore } from "../../../lib/cache/plugin_store.ts";
import { type CacheStore, memoryStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { APP, HOST, jane, john, MINUTE, NOW, reply } from "./sample_replies.ts";
import { useStage } from "../../fixture.ts";

const stage = useStage();
let count = 0;

/** A store, and another object that keeps things in the same place. */
interface Pair {
  readonly store: CacheStore;
  readonly other: CacheStore;
}

const STORES: Readonly<Record<string, () => Pair>> = {
  memoryStore: () => {
    const store = memoryStore();
    return { store, other: store };
  },
  fileStore: () => {
    const options = { folder: join(stage.folder, `files-${++count}`), keyLocation: "file" } as const;
    return { store: fileStore(options), other: fileStore(options) };
  },
  plaintextStore: () => {
    const path = join(stage.folder, `plain-${++count}`, "tokens.json");
    return { store: plaintextStore(path), other: plaintextStore(path) };
  },
  cachePluginStore: () => {
    const plugin = memoryPlugin();
    return { store: cachePluginStore(plugin), other: cachePluginStore(plugin) };
  },
};

/** Stores of one process, which shares its calls, and of plugins, which lock each access. */
const WITHOUT_LOCK = ["memoryStore", "cachePluginStore"];

/** A plugin as MSAL for Node's documentation has it, with a lock. */
function memoryPlugin(): CachePlugin {
  let stored = "", last = Promise.resolve();
  const ends: (() => void)[] = [];
  return {
    async beforeCacheAccess({ tokenCache }) {
      const before = last, end = Promise.withResolvers<void>();
      last = end.promise;
      await before;
      ends.push(end.resolve);
      if (stored) tokenCache.deserialize(stored);
    },
    // deno-lint-ignore require-await
    async afterCacheAccess({ cacheHasChanged, tokenCache }) {
      if (cacheHasChanged) stored = tokenCache.serialize();
      ends.shift()?.();
    },
  };
}

/** A document with an account's record, and what else it has. */
function documentOf(id: string, more: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ Account: { [id]: { home_account_id: id, environment: HOST, username: id, ...more } } });
}

/** Adds to what is there: an account's record. */
function adding(id: string, more: Readonly<Record<string, unknown>> = {}) {
  return (document = "{}"): string => {
    const root = JSON.parse(document), own = JSON.parse(documentOf(id, more)).Account;
    return JSON.stringify({ ...root, Account: { ...root.Account, [id]: { ...root.Account?.[id], ...own[id] } } });
  };
}

async function accountsIn(store: CacheStore): Promise<string[]> {
  const documents = (await store.readAccounts()).map((json) => JSON.parse(json).Account ?? {});
  return documents.flatMap((accounts) => Object.values(accounts).map((one) => (one as { username: string }).username))
    .sort();
}

function accountIn(document: string | undefined, id: string): Record<string, unknown> {
  return JSON.parse(document!).Account[id];
}

for (const [name, makePair] of Object.entries(STORES)) {
  describe(name, () => {
    test("has nothing at first", async () => {
      const { store } = makePair();
      expect(await store.readAccounts()).toEqual([]);
      expect(await store.read("jane")).toBeUndefined();
    });

    test("update() is read by another object", async () => {
      const { store, other } = makePair();
      await store.update("jane", adding("jane"));
      await other.update("joe", adding("joe"));
      expect(accountIn(await other.read("jane"), "jane").username).toBe("jane");
      expect(await accountsIn(store)).toEqual(["jane", "joe"]);
    });

    test("update() that gives nothing, or what was there, changes nothing", async () => {
      const { store } = makePair();
      await store.update("jane", () => undefined);
      expect(await store.read("jane")).toBeUndefined();
      await store.update("jane", adding("jane"));
      const before = await store.read("jane");
      await store.update("jane", () => undefined);
      await store.update("jane", (document) => document);
      expect(await store.read("jane")).toBe(before);
    });

    test("update() that throws changes nothing, and leaves no lock", async () => {
      const { store } = makePair();
      const fail = () => {
        throw new SyntaxError("mine");
      };
      await expect(store.update("jane", fail)).rejects.toThrow("mine");
      await store.update("jane", adding("jane"));
      expect(await accountsIn(store)).toEqual(["jane"]);
    });

    test("update() loses nothing of many at once, of one account and of many", async () => {
      const { store, other } = makePair();
      const numbers = Array.from({ length: 12 }, (_, number) => number);
      await Promise.all(numbers.flatMap((number) => [
        (number % 2 ? store : other).update("jane", adding("jane", { [`field${number}`]: number })),
        (number % 2 ? other : store).update(`account${number}`, adding(`account${number}`)),
      ]));
      const jane = accountIn(await store.read("jane"), "jane");
      expect(numbers.map((number) => jane[`field${number}`])).toEqual(numbers);
      expect(await accountsIn(other)).toEqual(["jane", ...numbers.map((number) => `account${number}`)].toSorted());
    });

    test("ids can be of any length and have anything in them", async () => {
      const ids = ["../../jane", "a/b\\c", "x".repeat(5_000), "j\u0000ne", "\u{1F511} jane", "CON", "."];
      const { store, other } = makePair();
      for (const id of ids) await store.update(id, adding(id));
      for (const id of ids) expect(accountIn(await other.read(id), id).username).toBe(id);
      expect(await accountsIn(other)).toEqual(ids.toSorted());
    });

    test("setAside() gives the place of a damaged document, and begins a new one", async () => {
      const { store, other } = makePair();
      if (!store.setAside) return expect(WITHOUT_LOCK).toContain(name); // nothing damages it
      await store.update("jane", () => "{ damaged");
      expect(await store.setAside("jane", () => false)).toBeUndefined();
      const place = await store.setAside("jane", (document) => document === "{ damaged");
      expect(typeof place).toBe("string");
      expect(await other.read("jane")).toBeUndefined();
      await other.update("jane", adding("jane"));
      expect(await accountsIn(store)).toEqual(["jane"]);
      expect(await store.setAside("jane", () => false)).toBeUndefined();
    });

    test("withLock() lets one work at a time for an account, and another account's meanwhile", async () => {
      const { store, other } = makePair(), steps: string[] = [];
      if (!store.withLock) return expect(WITHOUT_LOCK).toContain(name);
      for (const id of ["jane", "joe"]) await store.update(id, adding(id));
      const gate = Promise.withResolvers<void>(), started = Promise.withResolvers<void>();
      const first = store.withLock("jane", async () => {
        steps.push("first");
        started.resolve();
        await gate.promise;
        steps.push("first is done");
        return 1;
      });
      await started.promise;
      const second = other.withLock!("jane", () => (steps.push("second"), Promise.resolve(2)));
      expect(await other.withLock!("joe", () => Promise.resolve("joe's"))).toBe("joe's");
      gate.resolve();
      expect(await Promise.all([first, second])).toEqual([1, 2]);
      expect(steps).toEqual(["first", "first is done", "second"]);
    });

    test("withLock() rethrows what the work throws, once, and lets the next work", async () => {
      const { store } = makePair(), alone = store.withLock ?? ((_, work) => work());
      await store.update("jane", adding("jane"));
      let times = 0;
      const fail = () => Promise.reject(new SyntaxError(`mine ${++times}`));
      await expect(alone("jane", fail)).rejects.toThrow("mine 1");
      expect(await alone("jane", () => Promise.resolve(times))).toBe(1);
    });

    test("a call that is aborted rethrows the reason, and changes nothing", async () => {
      const { store } = makePair(), reason = new Error("no more"), signal = AbortSignal.abort(reason);
      await store.update("jane", adding("jane"));
      if (name === "memoryStore") return; // its calls are over before anybody could abort them
      await expect(store.read("jane", { signal })).rejects.toBe(reason);
      await expect(store.readAccounts({ signal })).rejects.toBe(reason);
      await expect(store.update("jane", adding("joe"), { signal })).rejects.toBe(reason);
      if (!WITHOUT_LOCK.includes(name)) {
        await expect(store.withLock!("jane", () => Promise.resolve(), { signal })).rejects.toBe(reason);
      }
      expect(await accountsIn(store)).toEqual(["jane"]);
    });

    test("a token cache signs in, out and in again", async () => {
      const { store, other } = makePair(), now = () => NOW, options = { clientId: APP, environment: HOST, now };
      const [cache, later] = [new TokenCache(store, options), new TokenCache(other, options)];
      const query = { account: jane, scopes: ["User.Read"], correlationId: "" };
      await cache.save(reply("hers", ["User.Read"], { refreshToken: "r" }));
      await cache.save(reply("his", ["User.Read"], { account: john }));
      expect((await later.findAccessToken(query))?.result.accessToken).toBe("hers");
      expect((await later.findAccounts()).map(({ account }) => account.username))
        .toEqual(["jane@contoso.com", "john@contoso.com"]);

      await later.removeAccount(jane);
      expect(await cache.findAccessToken(query)).toBeUndefined();
      expect(await cache.isSignedOut(jane)).toBe(true);
      expect((await cache.findAccounts()).map(({ account }) => account.username)).toEqual(["john@contoso.com"]);
      expect(await cache.save(reply("renewed", ["User.Read"], { accountSource: undefined }))).toBe(false);

      const expiresOn = new Date(NOW + 2 * 60 * MINUTE);
      await cache.save(reply("hers again", ["User.Read"], { expiresOn, refreshToken: "s" }));
      expect(await later.isSignedOut(jane)).toBe(false);
      expect((await later.findAccessToken(query))?.result.accessToken).toBe("hers again");
      expect(await later.findAccounts()).toHaveLength(2);
    });
  });
}

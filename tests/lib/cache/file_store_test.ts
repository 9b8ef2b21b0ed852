// The encrypted file: what is in it, and what becomes of it when it is lost, damaged, or changed by others.
import { beforeEach, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { encrypt } from "../../../lib/cache/encrypted_store.ts";
import { openEncryptionKey } from "../../../lib/cache/encryption_key.ts";
import { fileStore, plaintextStore } from "../../../lib/cache/file_store.ts";
import type { CacheStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { failure, useStage } from "../../fixture.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { SMALL_DISK, type WornDisk } from "../../tools/worn_disk.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

const QUERY = { account: jane, scopes: ["User.Read"], correlationId: "" };
const JOHNS = { ...QUERY, account: john };

const stage = useStage();
let folder: string;
beforeEach(() => void (folder = join(stage.newFolder(), "cache")));

function newStore(): CacheStore {
  return fileStore({ folder, keyLocation: "file" });
}

/** A cache over an object of its own, as another process has it, and what it says. */
function newCache() {
  const lines: string[] = [], log = (level: string, message: string) => void lines.push(`${level} ${message}`);
  const cache = new TokenCache(newStore(), { clientId: APP, environment: HOST, now: () => NOW, log });
  return { cache, lines };
}

/** Jane and John sign in. @returns The path of the file. */
async function signIn(): Promise<string> {
  const { cache } = newCache();
  await cache.save(reply("janes-access-token", ["User.Read"], { refreshToken: "janes-refresh-token" }));
  await cache.save(reply("johns-access-token", ["User.Read"], { account: john }));
  return join(folder, "tokens.encrypted");
}

async function usernames(): Promise<string[]> {
  return (await newCache().cache.findAccounts()).map(({ account }) => account.username).sort();
}

describe("fileStore()", () => {
  test("makes nothing while there is nothing to keep", async () => {
    const { cache } = newCache();
    expect(await cache.findAccounts()).toEqual([]);
    expect(await cache.findAccessToken(QUERY)).toBeUndefined();
    expect(await cache.withLock(jane, () => Promise.resolve("done"))).toBe("done");
    await expect(stat(folder)).rejects.toThrow("ENOENT");
  });

  test("keeps one file and its key for this user alone, and nothing can be read in it", async () => {
    await signIn();
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    const names = await readdir(folder);
    expect(names.toSorted()).toEqual(["key.json", "tokens.encrypted"]);
    for (const name of names) {
      expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
      const text = await readFile(join(folder, name), "latin1");
      expect(text).not.toMatch(/jane|john|contoso|token|11111111|aaaaaaaa/i);
    }
  });

  test("refuses what is no folder and no place for a key", () => {
    expect(() => fileStore({ folder: "" })).toThrow(TypeError);
    expect(() => fileStore({ keyLocation: "pocket" as never })).toThrow(TypeError);
  });

  test("makes no key for a change that changes nothing", async () => {
    await newStore().update("jane", (document) => document);
    await expect(stat(folder)).rejects.toThrow("ENOENT");
  });

  test("finds with the same object what another has written", async () => {
    const { cache } = newCache();
    for (const token of ["one", "two", "three"]) {
      await newCache().cache.save(reply(token, ["User.Read"]));
      expect((await cache.findAccessToken(QUERY))?.result.accessToken).toBe(token);
    }
  });

  test("sets a damaged file aside, byte for byte, and begins a new one", async () => {
    const damages: ((bytes: Uint8Array) => Uint8Array)[] = [
      (bytes) => bytes.subarray(0, bytes.length - 1),
      (bytes) => bytes.with(60, bytes[60]! ^ 1),
      () => new Uint8Array(),
      () => new TextEncoder().encode('{"AccessToken":{}}'),
    ];
    for (const damage of damages) {
      folder = join(stage.newFolder(), "cache");
      const path = await signIn(), damaged = damage(new Uint8Array(await readFile(path)));
      await writeFile(path, damaged);
      const { cache, lines } = newCache();
      expect(await cache.findAccessToken(QUERY)).toBeUndefined();
      const [, place = ""] = /^warn .* set aside as (\S+),/.exec(lines.join("\n")) ?? [];
      expect(new Uint8Array(await readFile(place))).toEqual(new Uint8Array(damaged));
      expect(await usernames()).toEqual([]);
      await cache.save(reply("new", ["User.Read"]));
      expect((await newCache().cache.findAccessToken(QUERY))?.result.accessToken).toBe("new");
    }
  });

  test("does not take another file for its own, be it encrypted with its key", async () => {
    const path = await signIn(), key = await openEncryptionKey(folder, { keyLocation: "file" });
    await writeFile(path, await encrypt("{}", key, { name: "other.encrypted" }));
    const { cache, lines } = newCache();
    expect(await cache.findAccessToken(QUERY)).toBeUndefined();
    expect(lines.join("\n")).toMatch(/set aside/);
  });

  test("does not set aside what others wrote who took its lock over", async () => {
    const path = await signIn(), store = newStore(), whole = await readFile(path);
    await writeFile(path, whole.subarray(0, 40));
    const place = await store.setAside!(jane.homeAccountId, (document) => {
      // Under the lock: it looks abandoned to somebody, who takes it over and mends the file.
      fs.rmSync(`${path}.lockfile`);
      fs.writeFileSync(path, whole);
      return !document.startsWith("{");
    });
    expect(place).toBeUndefined();
    expect(await usernames()).toHaveLength(2);
    expect((await readdir(folder)).toSorted()).toEqual(["key.json", "tokens.encrypted"]);
  });

  test("is not read where the key is lost, and stays as it is", async () => {
    await signIn();
    const before = await readdir(folder);
    await rename(join(folder, "key.json"), join(stage.folder, "key.json"));
    for (const read of [newCache().cache.findAccounts(), newCache().cache.findAccessToken(QUERY)]) {
      expect(await failure(read)).toMatchObject({
        code: "configuration",
        hint: expect.stringContaining("acquireTokenInteractive"),
      });
    }
    await rename(join(stage.folder, "key.json"), join(folder, "key.json"));
    expect(await readdir(folder)).toEqual(before);
    expect(await usernames()).toHaveLength(2);
  });

  test("begins anew with a new key where the key is lost, and sets aside what it encrypted", async () => {
    await signIn();
    await rm(join(folder, "key.json"));
    const { cache, lines } = newCache();
    await cache.save(reply("new", ["User.Read"]));
    expect((await newCache().cache.findAccessToken(QUERY))?.result.accessToken).toBe("new");
    expect(lines.join("\n")).toMatch(/set aside/);
    expect((await readdir(folder)).filter((name) => name.includes(".damaged-"))).toHaveLength(1);
    expect(await newCache().cache.findAccessToken(JOHNS)).toBeUndefined();
  });

  test("does not write over what others wrote who took its lock over", async () => {
    const path = await signIn(), store = newStore(), seen: (string | undefined)[] = [];
    await store.update(jane.homeAccountId, (document) => {
      // Under the lock: it looks abandoned to somebody, who takes it over and is done.
      if (seen.push(document) === 2) fs.rmSync(`${path}.lockfile`);
      return JSON.stringify({ ...JSON.parse(document!), Own: { seen: seen.length } });
    });
    expect(seen).toHaveLength(3);
    expect(JSON.parse((await newStore().read(jane.homeAccountId))!).Own).toEqual({ seen: 3 });
  });

  test("withLock() leaves nothing beside the file, whether the work stores something, nothing, or fails", async () => {
    const path = await signIn(), store = newStore();
    const during: string[][] = [], look = async () => void during.push(await readdir(folder));
    const add = (json?: string) => JSON.stringify({ ...JSON.parse(json!), Own: {} });
    await store.withLock!(jane.homeAccountId, look);
    await store.withLock!(jane.homeAccountId, () => store.update(jane.homeAccountId, add));
    await expect(store.withLock!(jane.homeAccountId, () => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    expect(during[0]).toHaveLength(4); // with the lock, and the space that is taken
    expect((await readdir(folder)).toSorted()).toEqual(["key.json", "tokens.encrypted"]);
    expect(JSON.parse((await newStore().read(jane.homeAccountId))!).Own).toEqual({});
    expect((await stat(path)).size).toBeLessThan(20_000); // and not what was reserved
  });

  test("an object that is in use finds what was encrypted with a key that another process made", async () => {
    await signIn();
    const { cache } = newCache();
    expect(await cache.findAccessToken(QUERY)).toMatchObject({ state: "use" });
    await rm(join(folder, "key.json"));
    await newCache().cache.save(reply("new", ["User.Read"]));
    expect((await cache.findAccessToken(QUERY))?.result.accessToken).toBe("new");
  });
});

// The refresh token was spent, and the disk had no room for the new one: the sign-in was lost.
for (const kind of ["file", "plaintext"]) {
  describe(`withLock() of the ${kind} store on a disk with little room`, () => {
    /** Runs disk_program.ts on a disk that it may fill. */
    async function run(disk: WornDisk | undefined, action: string) {
      if (!disk) return undefined; // this user may have no mount
      await mkdir(folder, { mode: 0o700 });
      const words = [...ownRuntimePath().program(), fileURLToPath(new URL("disk_program.ts", import.meta.url)), action];
      const [file, ...rest] = disk.command(folder, [...words, kind, folder]);
      return JSON.parse((await promisify(execFile)(file!, rest)).stdout);
    }

    test("stores what the work brings, though the disk is full by then", async () => {
      const outcome = await run(SMALL_DISK, "fill-while-working");
      expect(outcome).toEqual(outcome && { worked: true, document: { Own: "new" } });
    });

    test("does not begin when the disk is full, and says what is at stake", async () => {
      const outcome = await run(SMALL_DISK, "fill-before");
      expect(outcome).toEqual(
        outcome && {
          worked: false,
          failure: {
            ...{ name: "LatchkeyError", code: "configuration", error: "cache_not_writable" },
            message: expect.stringMatching(/^Cannot store the tokens of a renewal: .*: the disk is full$/),
            hint: expect.stringMatching(
              /^Free some space and try again\. Nothing was renewed: .* to lose the sign-in$/,
            ),
          },
          document: { Own: "old" },
          left: 0,
        },
      );
    });
  });
}

// The plaintext file, beside programs that write it as they like.

const isRoot = process.getuid?.() === 0;
/** A file in a folder that is not there yet, a store over it, and a cache as each process has its own. */
function newPlace() {
  const folder = join(stage.newFolder(), "cache"), path = join(folder, "tokens.json"), log: string[] = [];
  const store = plaintextStore(path);
  const newCache = (clientId = APP) =>
    new TokenCache(plaintextStore(path), {
      ...{ clientId, environment: HOST, now: () => NOW },
      log: (level, message) => log.push(`${level}: ${message}`),
    });
  return { folder, path, lock: `${path}.lockfile`, store, newCache, log };
}

/** The same with a file in it. */
function newFile(text: string) {
  const place = newPlace();
  fs.mkdirSync(place.folder, { mode: 0o700 });
  fs.writeFileSync(place.path, text, { mode: 0o600 });
  return place;
}

/** As if nobody had written it for a long time. */
function makeOld(path: string): void {
  fs.utimesSync(path, 1_000_000_000, 1_000_000_000);
}

function documentOf(name: string): string {
  return JSON.stringify({ Account: { [name]: { home_account_id: name, environment: HOST, username: name } } });
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

describe("plaintextStore()", () => {
  test("refuses an empty path, and makes nothing while there is nothing to keep", async () => {
    expect(() => plaintextStore("")).toThrow(TypeError);
    expect(() => plaintextStore(undefined as never)).toThrow(TypeError);
    const { folder, newCache } = newPlace(), cache = newCache();
    expect([await cache.findAccounts(), await cache.findAccessToken(QUERY)]).toEqual([[], undefined]);
    expect(await cache.withLock(jane, () => Promise.resolve("done"))).toBe("done");
    expect(fs.existsSync(folder)).toBe(false);
  });

  test("makes one file for this user alone, in UTF-8 without a mark, and leaves no lock", async () => {
    const { folder, path, newCache } = newPlace(), name = "J\u00e4ne \u{1F511}";
    await newCache().save(reply("access", ["User.Read"], { account: { ...jane, name } }));
    expect(fs.readdirSync(folder)).toEqual(["tokens.json"]);
    expect([fs.statSync(path).mode & 0o777, fs.statSync(folder).mode & 0o777]).toEqual([0o600, 0o700]);
    const bytes = fs.readFileSync(path);
    expect([bytes[0], bytes.toString("utf8").includes(name)]).toEqual(["{".charCodeAt(0), true]);
  });

  test("reads what another program has put there, at once, be it of the same size", async () => {
    const { path, store } = newFile(documentOf("anne"));
    makeOld(path);
    expect(await store.readAccounts()).toEqual([documentOf("anne")]);
    for (const name of ["jane", "joan", "john"]) {
      fs.writeFileSync(path, documentOf(name));
      expect(await store.readAccounts()).toEqual([documentOf(name)]);
      expect(await store.read(name)).toBe(documentOf(name));
    }
    fs.rmSync(path);
    expect(await store.readAccounts()).toEqual([]);
  });

  test("reads a file with a byte order mark, and one in the middle of a write when that is done", async () => {
    const marked = newFile(`\ufeff${documentOf("jane")}`);
    expect(await marked.newCache().findAccounts()).toHaveLength(1);

    for (const begun of ["", documentOf("jane").slice(0, -3)]) {
      const { path, lock, store } = newFile(begun), reading = store.read("jane");
      await until(() => fs.existsSync(lock));
      fs.writeFileSync(path, documentOf("jane"));
      expect(await reading).toBe(documentOf("jane"));
      await until(() => !fs.existsSync(lock));
    }
  });

  test("update() waits for a write that is under way, and adds to that", async () => {
    const { path, lock, store } = newFile("");
    const updating = store.update("jane", (json) => json?.replace('{"Account"', '{"Other":1,"Account"'));
    await until(() => fs.existsSync(lock));
    fs.writeFileSync(path, documentOf("jane"));
    await updating;
    expect(JSON.parse(fs.readFileSync(path, "utf8"))).toEqual({ Other: 1, ...JSON.parse(documentOf("jane")) });
  });

  test("update() takes an empty file that stays so for a new one", async () => {
    const { newCache } = newFile("");
    await newCache().save(reply("access", ["User.Read"]));
    expect((await newCache().findAccessToken(QUERY))?.result.accessToken).toBe("access");
  });

  test("update() makes its change again when another program has written in between", async () => {
    const { path, store } = newFile("{}"), seen: (string | undefined)[] = [];
    await store.update("jane", (json) => {
      seen.push(json);
      if (seen.length === 1) fs.writeFileSync(path, '{"theirs":1}');
      return JSON.stringify({ ...JSON.parse(json!), ours: 1 });
    });
    expect(seen).toEqual(["{}", '{"theirs":1}']);
    expect(JSON.parse(fs.readFileSync(path, "utf8"))).toEqual({ theirs: 1, ours: 1 });
  });

  test("update() makes its change again when another program has removed its lock", async () => {
    const { path, lock, store } = newFile("{}"), seen: (string | undefined)[] = [];
    await store.update("jane", (json) => {
      seen.push(json);
      if (seen.length === 1) fs.rmSync(lock);
      return '{"ours":1}';
    });
    expect(seen).toEqual(["{}", '{"ours":1}']);
    expect(fs.readFileSync(path, "utf8")).toBe('{"ours":1}');
    expect(fs.existsSync(lock)).toBe(false);
  });

  test("update() gives up with timed_out when other programs write all the time", async () => {
    const { path, store } = newFile("{}");
    let round = 0;
    const error = await failure(store.update("jane", () => {
      fs.writeFileSync(path, JSON.stringify({ round: ++round }));
      return '{"ours":1}';
    }));
    expect([error.name, error.code]).toEqual(["LatchkeyError", "timed_out"]);
    expect(fs.readFileSync(path, "utf8")).toBe(JSON.stringify({ round }));
  });

  test("all of it gives up with timed_out on a file that is never whole and never still, and leaves no lock", async () => {
    const calls: readonly ((store: Required<CacheStore>) => Promise<unknown>)[] = [
      (store) => store.read("jane"),
      (store) => store.readAccounts(),
      (store) => store.update("jane", () => "{}"),
      (store) => store.setAside("jane", () => true),
    ];
    await Promise.all(calls.map(async (call) => {
      const { folder, path, store } = newFile("{");
      const writing = setInterval(() => fs.appendFileSync(path, "x", { mode: 0o600 }), 20);
      try {
        expect(await failure(call(store as Required<CacheStore>))).toMatchObject({
          ...{ code: "timed_out", message: `Cannot read ${path}: another program writes it all the time` },
        });
      } finally {
        clearInterval(writing);
      }
      expect([fs.readdirSync(folder), /^\{x+$/.test(fs.readFileSync(path, "utf8"))]).toEqual([["tokens.json"], true]);
    }));
  });

  test("a file in the middle of a write is whole a little later, although the machine stood still meanwhile", async () => {
    const { path, store } = newFile("{"), { now } = performance;
    let times = 0;
    // Each look at the clock finds more time gone than a file has to be still for.
    performance.now = () => {
      if (++times === 6) fs.writeFileSync(path, documentOf("jane"));
      return times * 400;
    };
    try {
      expect(await store.read("jane")).toBe(documentOf("jane"));
    } finally {
      performance.now = now;
    }
  });

  test("update() gives the file a time after whatever was read of it before", async () => {
    const { path, store } = newFile("{}");
    let atMs = Infinity;
    await store.update("jane", () => {
      atMs = Date.now();
      return '{"ours":1}';
    });
    expect(fs.statSync(path).mtimeMs).toBeGreaterThan(atMs);
  });

  test("update() does not change a file's time when there is nothing to change", async () => {
    const { path, store } = newFile("{}");
    makeOld(path);
    await store.update("jane", (json) => json);
    expect(fs.statSync(path).mtimeMs).toBe(1_000_000_000_000);
  });

  test("withLock() locks beside the file, which can be read and written meanwhile", async () => {
    const { folder, store, newCache } = newPlace(), cache = newCache();
    await cache.save(reply("access", ["User.Read"]));
    await store.withLock!(jane.homeAccountId, async () => {
      expect(fs.readdirSync(folder).toSorted()).toEqual([
        expect.stringMatching(/^\.latchkey-[\da-f-]{36}\.tmp$/), // space for what the work brings
        "tokens.json",
        expect.stringMatching(/^tokens\.json\.[\da-f]{32}\.renewal\.lockfile$/),
      ]);
      await cache.save(reply("johns", ["User.Read"], { account: john }));
    });
    expect(fs.readdirSync(folder)).toEqual(["tokens.json"]);
    expect(await cache.findAccounts()).toHaveLength(2);
  });

  // What the look at the file threw was thrown as it came.
  test("withLock() throws configuration where the file cannot be looked at, and does not begin the work", async () => {
    const folder = newPlace().folder;
    fs.symlinkSync(folder, folder); // a loop, which not even root can follow
    const { withLock } = plaintextStore(join(folder, "below", "tokens.json"));
    let isBegun = false;
    const error = await failure(withLock!("jane", () => Promise.resolve(isBegun = true)));
    expect(error).toMatchObject({ name: "LatchkeyError", code: "configuration", error: "cache_not_writable" });
    expect(isBegun).toBe(false);
  });

  test("a damaged file is set aside as it is, under the name that the warning gives", async () => {
    for (const damaged of ["{", '{"Account": {}', "\u0000\u0001", '{"AccessToken":{"a":"secret-token"}]']) {
      const { folder, path, newCache, log } = newFile(damaged);
      expect(await newCache().findAccessToken(QUERY)).toBeUndefined();
      const [, aside = ""] =
        /^warn: The token cache was damaged\. It was set aside as (.+), and a new one/.exec(log[0]!) ?? [];
      expect([log.length, fs.readFileSync(aside, "utf8"), fs.existsSync(path)]).toEqual([1, damaged, false]);
      await newCache().save(reply("access", ["User.Read"]));
      expect((await newCache().findAccessToken(QUERY))?.result.accessToken).toBe("access");
      expect(fs.readdirSync(folder)).toHaveLength(2);
    }
  });

  test("a link is refused, and so is a folder that others can write; neither is changed", async () => {
    const real = newFile(documentOf("jane")), link = join(real.folder, "link.json");
    fs.symlinkSync(real.path, link);
    fs.chmodSync(real.folder, 0o700);
    for (const call of [plaintextStore(link).read("jane"), plaintextStore(link).update("jane", () => "{}")]) {
      expect(await failure(call)).toMatchObject({ code: "configuration", hint: expect.any(String) });
    }
    const open = newFile(documentOf("jane"));
    fs.chmodSync(open.folder, 0o777);
    expect(await failure(open.store.readAccounts())).toMatchObject({ code: "configuration" });
    expect(await failure(open.store.update("jane", () => "{}"))).toMatchObject({ code: "configuration" });
    for (const { path } of [real, open]) expect(fs.readFileSync(path, "utf8")).toBe(documentOf("jane"));
  });

  test("where nothing may be written, it is read, and a write fails with configuration", async () => {
    if (isRoot) return expect(process.getuid?.()).toBe(0); // who may do everything
    const { folder, store } = newFile(documentOf("jane"));
    fs.chmodSync(folder, 0o500);
    expect(await store.read("jane")).toBe(documentOf("jane"));
    expect(await failure(store.update("jane", () => "{}"))).toMatchObject({ code: "configuration" });
    fs.chmodSync(folder, 0o700);
  });

  test("a large file keeps what is not latchkey's when one account signs out", async () => {
    const { path, newCache, store } = newPlace(), cache = newCache();
    await cache.save(reply("janes", ["User.Read"]));
    await cache.save(reply("johns", ["User.Read"], { account: john }));
    await store.update("", (json) => JSON.stringify({ Padding: "x".repeat(1_000_000), ...JSON.parse(json!) }));
    await newCache().removeAccount(jane);
    const whole = fs.readFileSync(path, "utf8");
    expect([whole.includes("janes"), whole.includes("johns"), whole.length > 1_000_000]).toEqual([false, true, true]);
    expect((await newCache().findAccounts()).map(({ account }) => account.username)).toEqual([john.username]);
  });

  test("loses nothing of many writers in one process, each with a store of its own", async () => {
    const { newCache } = newPlace(), scopes = Array.from({ length: 30 }, (_, number) => `Scope${number}`);
    await Promise.all(scopes.map((scope) => newCache().save(reply(scope, [scope]))));
    const cache = newCache();
    for (const scope of scopes) {
      expect((await cache.findAccessToken({ ...QUERY, scopes: [scope] }))?.result.accessToken).toBe(scope);
    }
  });
});

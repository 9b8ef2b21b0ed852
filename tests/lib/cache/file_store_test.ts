// The encrypted file: what is in it, and what becomes of it when it is lost, damaged, or changed by others.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { encrypt } from "../../../lib/cache/encrypted_store.ts";
import { openEncryptionKey } from "../../../lib/cache/encryption_key.ts";
import { fileStore } from "../../../lib/cache/file_store.ts";
import type { CacheStore } from "../../../lib/cache/store.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { failure } from "../../fixture.ts";
import { SMALL_DISK, type WornDisk } from "../../tools/worn_disk.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

const QUERY = { account: jane, scopes: ["User.Read"], correlationId: "" };
const JOHNS = { ...QUERY, account: john };

let root: string, folder: string, count = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "latchkey-files-"));
});
beforeEach(() => {
  folder = join(root, String(++count));
});
afterAll(() => rm(root, { recursive: true }));

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
      folder = join(root, String(++count));
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
      rmSync(`${path}.lockfile`);
      writeFileSync(path, whole);
      return !document.startsWith("{");
    });
    expect(place).toBeUndefined();
    expect(await usernames()).toHaveLength(2);
    expect((await readdir(folder)).toSorted()).toEqual(["key.json", "tokens.encrypted"]);
  });

  test("is not read where the key is lost, and stays as it is", async () => {
    await signIn();
    const before = await readdir(folder);
    await rename(join(folder, "key.json"), join(root, "key.json"));
    for (const read of [newCache().cache.findAccounts(), newCache().cache.findAccessToken(QUERY)]) {
      expect(await failure(read)).toMatchObject({
        code: "configuration",
        hint: expect.stringContaining("acquireTokenInteractive"),
      });
    }
    await rename(join(root, "key.json"), join(folder, "key.json"));
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
      if (seen.push(document) === 2) rmSync(`${path}.lockfile`);
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

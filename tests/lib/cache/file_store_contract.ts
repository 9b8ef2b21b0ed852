// The encrypted files: what is in them, and what becomes of them when they are lost, damaged, or changed by others.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readAccountList, withUnsure, writeAccountList } from "../../../lib/cache/account_list.ts";
import type { CacheStore } from "../../../lib/cache/cache_store.ts";
import { fileStore } from "../../../lib/cache/file_store.ts";
import { seal, unseal } from "../../../lib/cache/sealed_text.ts";
import { openStoreKey } from "../../../lib/cache/store_key.ts";
import { TokenCache } from "../../../lib/cache/token_cache.ts";
import { failureOf } from "../../tools/failure_of.ts";
import { APP, HOST, jane, john, NOW, reply } from "./sample_replies.ts";

const LIST = { place: "accounts.sealed" };
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
  return fileStore({ folder, keyPlace: "file" });
}

/** A cache over an object of its own, as another process has it, and what it says. */
function newCache() {
  const lines: string[] = [], log = (level: string, message: string) => void lines.push(`${level} ${message}`);
  const cache = new TokenCache(newStore(), { clientId: APP, environment: HOST, now: () => NOW, log });
  return { cache, lines };
}

/** Jane and John sign in. @returns The names of their documents. */
async function signIn(): Promise<readonly [janes: string, johns: string]> {
  const { cache } = newCache();
  await cache.save(reply("janes-access-token", ["User.Read"], { refreshToken: "janes-refresh-token" }));
  const [janes] = await documents();
  await cache.save(reply("johns-access-token", ["User.Read"], { account: john }));
  const [johns] = (await documents()).filter((name) => name !== janes);
  return [janes!, johns!];
}

async function documents(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /^[\da-f]{32}\.sealed$/.test(name));
}

async function usernames(): Promise<string[]> {
  return (await newCache().cache.findAccounts()).map(({ account }) => account.username).sort();
}

describe("fileStore()", () => {
  test("makes nothing while there is nothing to keep", async () => {
    const { cache } = newCache();
    expect(await cache.findAccounts()).toEqual([]);
    expect(await cache.findAccessToken(QUERY)).toBeUndefined();
    expect(await cache.alone(jane, () => Promise.resolve("done"))).toBe("done");
    await expect(stat(folder)).rejects.toThrow("ENOENT");
  });

  test("keeps files for this user alone, and nothing can be read in them", async () => {
    await signIn();
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    const names = await readdir(folder);
    expect(names.toSorted()).toEqual([...(await documents()), "accounts.sealed", "key.json"].toSorted());
    for (const name of names) {
      expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
      const text = await readFile(join(folder, name), "latin1");
      expect(text).not.toMatch(/jane|john|contoso|token|11111111|aaaaaaaa/i);
    }
  });

  test("refuses what is no folder and no place for a key", () => {
    expect(() => fileStore({ folder: "" })).toThrow(TypeError);
    expect(() => fileStore({ keyPlace: "pocket" as never })).toThrow(TypeError);
  });

  test("finds a token in the one document of its account, whatever became of the others", async () => {
    const [, johns] = await signIn();
    await rm(join(folder, johns));
    await rm(join(folder, "accounts.sealed"));
    expect((await newCache().cache.findAccessToken(QUERY))?.result.accessToken).toBe("janes-access-token");
  });

  test("makes the list of accounts anew where it is lost, damaged, or another store's", async () => {
    await signIn();
    const path = join(folder, "accounts.sealed"), everybody = ["jane@contoso.com", "john@contoso.com"];
    const whole = await readFile(path);
    const damages = [undefined, new Uint8Array(), whole.subarray(0, 40), new TextEncoder().encode("{}")];
    for (const [number, bytes] of damages.entries()) {
      await rm(path, { force: true });
      if (bytes) await writeFile(path, bytes, { mode: 0o600 });
      expect(await usernames()).toEqual(everybody);
      await newCache().cache.removeAccount({ ...john, homeAccountId: `somebody.${number}` });
      expect((await readFile(path)).length).toBeGreaterThan(whole.length);
      expect(await usernames()).toEqual(everybody);
      await rm(path);
      await writeFile(path, whole, { mode: 0o600 });
    }
  });

  test("looks into the documents that the list is not sure of: a change was cut short", async () => {
    const [janes, johns] = await signIn();
    const key = await openStoreKey(folder, { keyPlace: "file" }), path = join(folder, "accounts.sealed");
    const list = readAccountList((await unseal(new Uint8Array(await readFile(path)), key, LIST))!)!;
    await writeFile(path, await seal(writeAccountList(withUnsure(list, janes)), key, LIST));
    expect(await usernames()).toEqual(["jane@contoso.com", "john@contoso.com"]);
    await writeFile(path, await seal(writeAccountList(withUnsure(list, johns)), key, LIST));
    await rm(join(folder, johns));
    expect(await usernames()).toEqual(["jane@contoso.com"]);
  });

  test("sets a damaged document aside, byte for byte, and leaves the others", async () => {
    const damages: ((bytes: Uint8Array) => Uint8Array)[] = [
      (bytes) => bytes.subarray(0, bytes.length - 1),
      (bytes) => bytes.with(60, bytes[60]! ^ 1),
      () => new Uint8Array(),
      () => new TextEncoder().encode('{"AccessToken":{}}'),
    ];
    for (const damage of damages) {
      folder = join(root, String(++count));
      const [janes] = await signIn(), path = join(folder, janes);
      const damaged = damage(new Uint8Array(await readFile(path)));
      await writeFile(path, damaged);
      const { cache, lines } = newCache();
      expect(await cache.findAccessToken(QUERY)).toBeUndefined();
      const [, place = ""] = /^warn .* set aside as (\S+),/.exec(lines.join("\n")) ?? [];
      expect(new Uint8Array(await readFile(place))).toEqual(new Uint8Array(damaged));
      expect(await usernames()).toEqual(["john@contoso.com"]);
      expect(await cache.findAccessToken(JOHNS)).toMatchObject({ state: "use" });
      await cache.save(reply("new", ["User.Read"]));
      expect((await newCache().cache.findAccessToken(QUERY))?.result.accessToken).toBe("new");
    }
  });

  test("does not take one account's document for another's", async () => {
    const [janes, johns] = await signIn();
    await rename(join(folder, johns), join(folder, janes));
    const { cache, lines } = newCache();
    expect(await cache.findAccessToken(QUERY)).toBeUndefined();
    expect(lines.join("\n")).toMatch(/set aside/);
  });

  test("is not read where the key is lost, and stays as it is", async () => {
    await signIn();
    const before = await readdir(folder);
    await rename(join(folder, "key.json"), join(root, "key.json"));
    for (const read of [newCache().cache.findAccounts(), newCache().cache.findAccessToken(QUERY)]) {
      expect(await failureOf(read)).toMatchObject({
        code: "configuration",
        hint: expect.stringContaining("latchkey login"),
      });
    }
    await rename(join(root, "key.json"), join(folder, "key.json"));
    expect(await readdir(folder)).toEqual(before);
    expect(await usernames()).toHaveLength(2);
  });

  test("begins anew with a new key where the key is lost, and sets aside what it sealed", async () => {
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
    const [janes] = await signIn(), store = newStore(), seen: (string | undefined)[] = [];
    await store.update(jane.homeAccountId, (document) => {
      // Under the lock: it looks abandoned to somebody, who takes it over and is done.
      if (seen.push(document) === 2) rmSync(join(folder, `${janes}.lockfile`));
      return JSON.stringify({ ...JSON.parse(document!), Own: { seen: seen.length } });
    });
    expect(seen).toHaveLength(3);
    expect(JSON.parse((await newStore().read(jane.homeAccountId))!).Own).toEqual({ seen: 3 });
  });

  test("an object that is in use finds what was sealed with a key that another process made", async () => {
    await signIn();
    const { cache } = newCache();
    expect(await cache.findAccessToken(QUERY)).toMatchObject({ state: "use" });
    await rm(join(folder, "key.json"));
    await newCache().cache.save(reply("new", ["User.Read"]));
    expect((await cache.findAccessToken(QUERY))?.result.accessToken).toBe("new");
  });
});

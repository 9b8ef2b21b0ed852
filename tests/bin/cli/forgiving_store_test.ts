// What becomes of a store's failures where a token is wanted all the same.
import { describe, expect, test } from "bun:test";
import { bestEffortStore } from "../../../bin/cli/token_cache.ts";
import { type CacheStore, LatchkeyError, memoryStore } from "../../../mod.ts";

const lost = () => new LatchkeyError("configuration", "The key is lost");
const readOnly = () => new LatchkeyError("configuration", "The disk is read-only");

/** A store whose methods fail as long as they are told to, and what is told of it. */
function makeStores() {
  const kept = memoryStore(), spare = memoryStore(), told: string[] = [];
  const fails = new Map<"read" | "update" | "setAside", () => Error>();
  const check = (name: "read" | "update" | "setAside") => {
    const error = fails.get(name);
    if (error) throw error();
  };
  const store: CacheStore = {
    readAccounts: async (call) => (check("read"), await kept.readAccounts(call)),
    read: async (id, call) => (check("read"), await kept.read(id, call)),
    update: async (id, change, call) => (check("update"), await kept.update(id, change, call)),
    setAside: (_id) => Promise.resolve().then(() => (check("setAside"), "jane.damaged")),
  };
  const notify = (what: string, error: LatchkeyError | undefined) => void told.push(`${what}: ${error?.message}`);
  return {
    ...{ kept, spare, told, fails, store, notify },
    forgiving: bestEffortStore(store, { notify, instead: () => spare }),
  };
}

describe("bestEffortStore()", () => {
  test("reads from memory when reading fails, says so once, and writes to the store even so", async () => {
    const { kept, spare, told, fails, forgiving } = makeStores();
    fails.set("read", lost);
    expect(await forgiving.readAccounts()).toEqual([]);
    expect(await forgiving.read("jane")).toBeUndefined();
    fails.delete("read");
    await forgiving.update("jane", () => "{}");
    expect([await kept.read("jane"), await spare.read("jane")]).toEqual(["{}", undefined]);
    expect(await forgiving.read("jane")).toBe("{}");
    expect(told).toEqual(["The token cache cannot be read: The key is lost"]);
  });

  test("writes to memory when reading failed and writing fails too, and gives no reason twice", async () => {
    const { told, fails, forgiving } = makeStores();
    fails.set("read", lost).set("update", lost);
    expect(await forgiving.read("jane")).toBeUndefined();
    await forgiving.update("jane", () => "{}");
    await forgiving.update("joe", () => "{}");
    expect(await forgiving.read("jane")).toBe("{}");
    expect(told).toEqual([
      "The token cache cannot be read: The key is lost",
      "The token cache cannot be written, and nothing is kept for the next run: undefined",
    ]);
  });

  test("takes a document that cannot be set aside for none", async () => {
    const { kept, told, fails, forgiving } = makeStores();
    await kept.update("jane", () => "damaged");
    fails.set("setAside", readOnly);
    expect(await forgiving.setAside!("jane", () => true)).toBeUndefined();
    expect(await forgiving.read("jane")).toBeUndefined();
    expect(await forgiving.update("jane", () => "{}").catch((error) => error.message)).toBe("The disk is read-only");
    expect(told).toEqual([
      "The token cache cannot be written, and nothing is kept for the next run: The disk is read-only",
    ]);
  });

  test("hands a failure to read on where there is nothing instead, and tells nothing of a caller who gave up", async () => {
    const { told, fails, store, notify } = makeStores(), forgiving = bestEffortStore(store, { notify });
    fails.set("read", lost);
    const signal = AbortSignal.abort();
    expect(await forgiving.read("jane", { signal }).catch((error) => error.message)).toBe("The key is lost");
    expect(told).toEqual([]);
    expect(await forgiving.read("jane").catch((error) => error.message)).toBe("The key is lost");
    expect(told).toEqual(["The token cache cannot be read: The key is lost"]);
  });

  test("tryOut() says what stands in the way of writing, else of reading; neither is said again", async () => {
    for (const [name, says] of [["written, and nothing is kept for the next run", readOnly], ["read", lost]] as const) {
      const { told, fails, store, notify } = makeStores();
      const tryToWrite = () => says === readOnly ? Promise.reject(readOnly()) : Promise.resolve();
      const forgiving = bestEffortStore(store, { notify, instead: memoryStore, tryToWrite });
      fails.set(says === readOnly ? "update" : "read", says);
      await forgiving.tryOut();
      expect(told).toEqual([`The token cache cannot be ${name}: ${says().message}`]);
      await forgiving.read("jane");
      await forgiving.update("jane", () => "{}").catch(() => {});
      expect(told).toHaveLength(1);
    }
  });

  test("tryOut() says nothing where all is well, and heeds its signal", async () => {
    const { told, store, notify } = makeStores(), tryToWrite = () => Promise.reject(readOnly());
    await bestEffortStore(store, { notify }).tryOut();
    const call = { signal: AbortSignal.abort() };
    await expect(bestEffortStore(store, { notify, tryToWrite }).tryOut(call)).rejects.toThrow("read-only");
    expect(told).toEqual([]);
  });
});

// Notices of the token cache, and what a command does with a store that fails.
import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HeldNotices } from "../../../bin/cli/application.ts";
import { type Notice, NoticePrinter, ReportingStore } from "../../../bin/cli/token_cache.ts";
import { replaceProgramIo } from "../../../lib/runtime/host.ts";
import { type CacheStore, LatchkeyError, memoryStore } from "../../../mod.ts";
import { CLIENT_ID, openHome, useStage } from "../../fixture.ts";
import { latchkeyOf } from "../run_latchkey.ts";

const READ = "The token cache cannot be read";
const WRITTEN = "The token cache cannot be written, and nothing is kept for the next run";

type Failing = "read" | "update" | "setAside";

/** Opens a store whose methods fail as long as they are told to. */
function openFailing({ hasSpare = true, path = "unused" } = {}) {
  const kept = memoryStore();
  const told: Notice[] = [];
  const fails = new Map<Failing, LatchkeyError>();
  const check = (name: Failing): void => {
    const error = fails.get(name);
    if (error) throw error;
  };
  const store: CacheStore = {
    async readAccounts(call) {
      check("read");
      return await kept.readAccounts(call);
    },
    async read(id, call) {
      check("read");
      return await kept.read(id, call);
    },
    async update(id, change, call) {
      check("update");
      await kept.update(id, change, call);
    },
    // deno-lint-ignore require-await
    async setAside() {
      check("setAside");
      return "jane.damaged";
    },
  };
  const tell = (notice: Notice) => void told.push(notice);
  const place = { kind: "plaintext", path, isNamed: false } as const;
  const reporting = new ReportingStore(place, store, { needsCache: false, hasSpare, tell });
  return { kept, fails, reporting, told: () => told.map(({ what, error }) => `${what}: ${error?.message}`) };
}

const failed = (message: string) => new LatchkeyError("configuration", message);
const messageOf = (promise: Promise<unknown>) => promise.catch((error) => error.message);

describe("ReportingStore", () => {
  test("reads from memory once reading has failed, and still writes to the store", async () => {
    const { kept, fails, reporting, told } = openFailing();
    fails.set("read", failed("The key is lost"));
    expect(await reporting.readAccounts()).toEqual([]);
    expect(await reporting.read("jane")).toBeUndefined();
    fails.delete("read");
    await reporting.update("jane", () => "{}");
    expect(await kept.read("jane")).toBe("{}");
    expect(await reporting.read("jane")).toBe("{}");
    expect(told()).toEqual([`${READ}: The key is lost`]);
  });

  test("writes to memory if both fail", async () => {
    const { fails, reporting, told } = openFailing();
    fails.set("read", failed("The key is lost")).set("update", failed("The disk is read-only"));
    expect(await reporting.read("jane")).toBeUndefined();
    await reporting.update("jane", () => "{}");
    expect(await reporting.read("jane")).toBe("{}");
    expect(told()).toEqual([`${READ}: The key is lost`, `${WRITTEN}: The disk is read-only`]);
  });

  test("treats a document that cannot be quarantined as missing", async () => {
    const { kept, fails, reporting, told } = openFailing();
    await kept.update("jane", () => "damaged");
    fails.set("setAside", failed("The disk is read-only"));
    expect(await reporting.setAside!("jane", () => true)).toBeUndefined();
    expect(await reporting.read("jane")).toBeUndefined();
    expect(await messageOf(reporting.update("jane", () => "{}"))).toBe("The disk is read-only");
    expect(new Set(told())).toEqual(new Set([`${WRITTEN}: The disk is read-only`]));
  });

  test("rethrows a failure to read if there is no other store, and reports nothing after an abort", async () => {
    const { fails, reporting, told } = openFailing({ hasSpare: false });
    fails.set("read", failed("The key is lost"));
    expect(await messageOf(reporting.read("jane", { signal: AbortSignal.abort() }))).toBe("The key is lost");
    expect(told()).toEqual([]);
    expect(await messageOf(reporting.read("jane"))).toBe("The key is lost");
    expect(told()).toEqual([`${READ}: The key is lost`]);
  });

  test("reports a damaged document, and where it was quarantined", async () => {
    const { kept, reporting, told } = openFailing();
    await kept.update("jane", () => "damaged");
    await reporting.readAccounts();
    expect(await reporting.setAside!("jane", () => true)).toBe("jane.damaged");
    expect(told()).toEqual([
      `${READ}: it is damaged. Sign in again: latchkey login: undefined`,
      "The token cache was damaged. It was set aside as jane.damaged, and a new one was started: undefined",
    ]);
  });

  test("tryOut() reports what prevents writing, then reading, and respects its signal", async () => {
    using home = openHome();
    const file = join(home.path, "file");
    writeFileSync(file, "");
    const noFolder = openFailing({ path: join(file, "cache.json") });
    await noFolder.reporting.tryOut();
    expect(noFolder.told()).toEqual([expect.stringContaining(`${WRITTEN}: `)]);
    await expect(noFolder.reporting.tryOut({ signal: AbortSignal.abort() })).rejects.toThrow();

    const locked = openFailing({ path: join(home.path, "cache.json") });
    await locked.reporting.tryOut();
    expect(locked.told()).toEqual([]);
    locked.fails.set("read", failed("The key is lost"));
    await locked.reporting.tryOut();
    expect(locked.told()).toEqual([`${READ}: The key is lost`]);
  });
});

describe("NoticePrinter and HeldNotices", () => {
  /** Returns what `work` writes to standard error. */
  async function errorsOf(work: () => unknown): Promise<string> {
    let written = "";
    using _ = replaceProgramIo({
      environment: {},
      input: new Blob().stream(),
      terminals: [],
      write: (_stream, bytes) => written += new TextDecoder().decode(bytes),
      onSignals: () => ({ [Symbol.dispose]() {} }),
    });
    await work();
    return written;
  }

  test("tell() prints a notice once, and a reason once", async () => {
    const error = failed("The key is lost");
    const { tell } = new NoticePrinter();
    const written = await errorsOf(() => [READ, READ, WRITTEN].forEach((what) => tell({ what, error })));
    expect(written).toBe(`latchkey: ${READ}: The key is lost\nlatchkey: ${WRITTEN}\n`);
  });

  test("during() returns or throws as the work does, and prints what was held unless it repeats the failure", async () => {
    const error = failed("The key is lost");
    const notices = new HeldNotices();
    const returned = await errorsOf(async () => {
      notices.hold({ what: READ, error });
      expect(await notices.during(() => Promise.resolve(1))).toBe(1);
    });
    expect(returned).toBe(`latchkey: ${READ}: The key is lost\n`);
    const thrown = await errorsOf(async () => {
      notices.hold({ what: WRITTEN, error });
      await expect(notices.during(() => Promise.reject(failed("The key is lost")))).rejects.toThrow("The key is lost");
    });
    expect(thrown).toBe("");
  });
});

describe("a token cache that cannot be read", () => {
  const latchkey = latchkeyOf(useStage({ broker: {} }), "--client-id", CLIENT_ID);

  test.each(["accounts", "token --scope User.Read"])(
    "latchkey %s has its result from the broker, and says so",
    async (line) => {
      using home = openHome();
      mkdirSync(join(home.path, "elsewhere"), { mode: 0o700 });
      mkdirSync(join(home.state, ".."), { recursive: true });
      symlinkSync(join(home.path, "elsewhere"), home.state);
      const { code, stdout, stderr } = await latchkey(line, { env: home.env });
      expect({ code, isEmpty: stdout === "" }).toEqual({ code: 0, isEmpty: false });
      expect(stderr).toMatch(/^latchkey: The token cache cannot be read: .*it is a symbolic link\. .*\n$/);
    },
  );
});

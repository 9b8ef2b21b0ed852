// Locks, held by real programs and left behind by ones that were killed.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type LockOptions, withLockFile } from "../../../lib/platform/lock_file.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { failureOf } from "../../tools/failure_of.ts";
import { FULL_DISK, READ_ONLY_DISK } from "../../tools/worn_disk.ts";

const program = [...ownRuntimePath().program(), fileURLToPath(new URL("file_program.ts", import.meta.url))];
/** A number that no process has: Linux gives none beyond 4,194,304. */
const NOBODY = 2_147_483_646;
const children: ChildProcess[] = [];
let top: string;
let count = 0;

beforeAll(() => {
  top = fs.mkdtempSync(join(tmpdir(), "lock-"));
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

afterAll(() => fs.rmSync(top, { recursive: true }));

/** The path of a lock in a folder of its own. */
function newLock(): string {
  const folder = join(top, `folder-${count++}`);
  fs.mkdirSync(folder, { mode: 0o700 });
  return join(folder, "tokens.lockfile");
}

/** A lock that somebody made some time ago. */
function leave(text: string, ageMs: number, path: string = newLock()): string {
  fs.writeFileSync(path, text, { flag: "wx" });
  const time = new Date(Date.now() - ageMs);
  fs.utimesSync(path, time, time);
  return path;
}

/** A program that holds a lock until it is killed. */
async function hold(path: string): Promise<ChildProcess> {
  const child = spawn(program[0]!, [...program.slice(1), "hold", path], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await once(child.stdout, "data");
  return child;
}

const namesBeside = (path: string) => fs.readdirSync(join(path, ".."));
const textOf = (path: string) => fs.readFileSync(path, "utf8");
const taken = (path: string, options?: LockOptions) => withLockFile(path, () => Promise.resolve("taken"), options);

/** What is told of a lock that others have. */
const held = (path: string, holder: string) => ({
  name: "LatchkeyError",
  code: "timed_out",
  message: `Cannot lock ${path}: ${holder} has it`,
  hint: `Try again. If ${holder} does not run on any machine that has this folder, remove ${path}`,
});

describe("withLockFile()", () => {
  test("has the lock file there while it works, with the process's number in it, and gives what the work gives", async () => {
    const path = newLock();
    const result = await withLockFile(path, () => {
      expect([textOf(path), fs.lstatSync(path).mode & 0o777]).toEqual([`${process.pid} latchkey`, 0o600]);
      return Promise.resolve(42);
    });
    expect([result, namesBeside(path)]).toEqual([42, []]);
  });

  test("makes the folder", async () => {
    const path = join(newLock(), "..", "a", "b", "tokens.lockfile");
    expect(await taken(path)).toBe("taken");
    expect(fs.lstatSync(join(path, "..")).mode & 0o777).toBe(0o700);
  });

  test("removes the lock when the work fails, and throws what it threw", async () => {
    const path = newLock(), error = Object.assign(new Error("work"), { code: "ENOENT" });
    expect(await failureOf(withLockFile(path, () => Promise.reject(error))) as Error).toBe(error);
    expect(
      await failureOf(withLockFile(path, () => {
        throw error;
      })) as Error,
    ).toBe(error);
    expect(namesBeside(path)).toEqual([]);
  });

  test("has calls of one program wait for each other, in their order", async () => {
    const path = newLock(), events: string[] = [];
    const work = (name: string) =>
      withLockFile(path, async () => {
        events.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        events.push(`${name} ends`);
      });
    await Promise.all([work("a"), work("b"), work("c")]);
    expect(events).toEqual(["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  test("has calls wait for each other that name a lock differently", async () => {
    const path = newLock(), other = path.replace("/tokens", "/./tokens"), events: string[] = [];
    const inner = Promise.withResolvers<void>();
    const first = withLockFile(path, async () => {
      events.push("first");
      inner.resolve();
      await delay(5); // time for the other one to be wrong
      events.push("first ends");
    });
    await inner.promise;
    await withLockFile(other, () => Promise.resolve(events.push("second")));
    await first;
    expect(events).toEqual(["first", "first ends", "second"]);
  });

  test("gives up after a while, and says who has it", async () => {
    const path = newLock(), child = await hold(path);
    expect(await failureOf(taken(path, { waitMs: 20 }))).toMatchObject(held(path, `process ${child.pid}`));
    expect(await failureOf(taken(path, { waitMs: 0 }))).toMatchObject(held(path, `process ${child.pid}`));
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    expect(textOf(path)).toBe(`${child.pid} latchkey`);
  });

  test("gives up on a lock of this program as well", async () => {
    const path = newLock(), end = Promise.withResolvers<void>();
    const first = withLockFile(path, () => end.promise);
    expect(await failureOf(taken(path, { waitMs: 10 }))).toMatchObject(held(path, "this program itself"));
    end.resolve();
    await first;
    expect(await taken(path)).toBe("taken");
  });

  test("ends the waiting with the signal's reason, for other programs and for this one", async () => {
    const path = newLock(), reason = new Error("enough");
    await hold(path);
    for (const waiting of [1, 2]) {
      const controller = new AbortController(),
        calls = Array.from({ length: waiting }, () => failureOf(taken(path, { signal: controller.signal })));
      setImmediate(() => controller.abort(reason));
      for (const call of calls) expect(await call as Error).toBe(reason);
    }
    expect(await failureOf(taken(newLock(), { signal: AbortSignal.abort(reason) })) as Error).toBe(reason);
  });

  test("tells a mistake before it does anything", async () => {
    const path = newLock();
    expect(await failureOf(taken(path, { waitMs: -1 })) as Error).toBeInstanceOf(RangeError);
    expect(await failureOf(taken(path, { waitMs: NaN })) as Error).toBeInstanceOf(RangeError);
    expect(await failureOf(taken(path, { staleMs: 0 })) as Error).toBeInstanceOf(RangeError);
    expect(await failureOf(taken("folder/")) as Error).toBeInstanceOf(TypeError);
    expect(namesBeside(path)).toEqual([]);
  });

  test("leaves a lock that has become another's", async () => {
    const path = newLock(), text = `${process.ppid} python`;
    await withLockFile(path, () => {
      fs.writeFileSync(path, text); // as MSAL for Python does, after 5 seconds
      return Promise.resolve();
    });
    expect(textOf(path)).toBe(text);
    fs.rmSync(path);
    await withLockFile(path, () => {
      fs.rmSync(path);
      fs.writeFileSync(path, `${process.pid} latchkey`);
      return Promise.resolve();
    });
    expect(textOf(path)).toBe(`${process.pid} latchkey`);
    fs.rmSync(path);
    await withLockFile(path, () => Promise.resolve(fs.rmSync(path)));
    expect(namesBeside(path)).toEqual([]);
  });

  test("gives signs of life for as long as it works", async () => {
    const path = newLock(), past = new Date(Date.now() - 3_600_000);
    await withLockFile(path, async () => {
      for (let signs = 0; signs < 2; signs++) {
        fs.utimesSync(path, past, past);
        while (fs.lstatSync(path).mtimeMs === past.getTime()) await delay(10);
      }
      expect(textOf(path)).toBe(`${process.pid} latchkey`);
    });
    expect(namesBeside(path)).toEqual([]);
  });
});

describe("A lock that was left behind", () => {
  test("is taken over when its process is gone, after 2 seconds", async () => {
    expect(await taken(leave(`${NOBODY} latchkey`, 3000), { waitMs: 0 })).toBe("taken");
    expect(await taken(leave(`${NOBODY}`, 3000))).toBe("taken");
    const path = leave(`${NOBODY} /usr/bin/az`, 0);
    expect(await failureOf(taken(path, { waitMs: 30 }))).toMatchObject(held(path, `process ${NOBODY}`));
    expect(namesBeside(path)).toEqual(["tokens.lockfile"]);
  });

  test("is taken over when a process was killed that held it", async () => {
    const path = newLock(), child = await hold(path), ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    expect(await taken(path)).toBe("taken");
    expect(namesBeside(path)).toEqual([]);
  });

  test("is taken over when an earlier process had this one's number", async () => {
    const path = leave(`${process.pid} latchkey`, 3000);
    expect(await taken(path)).toBe("taken");
  });

  test("is taken over when no number is in it, after 10 seconds", async () => {
    for (const text of ["", "python", "-1", "0", "99999999999", "\0", "🔑".repeat(5000)]) {
      expect(await taken(leave(text, 11_000))).toBe("taken");
      const path = leave(text, 3000);
      expect(await failureOf(taken(path, { waitMs: 10 }))).toMatchObject(held(path, "another program"));
    }
  });

  test("is taken over when it did not change for long, whoever has its number now", async () => {
    const path = leave(`${process.ppid} latchkey`, 61_000);
    expect(await failureOf(taken(path, { waitMs: 10 }))).toMatchObject(held(path, `process ${process.ppid}`));
    expect(await taken(path)).toBe("taken");
    expect(await taken(leave(`${process.ppid} latchkey`, 200), { staleMs: 100 })).toBe("taken");
  });

  test("is taken over when it seems to come from the future", async () => {
    expect(await taken(leave(`${process.ppid} latchkey`, -3_600_000), { staleMs: 100 })).toBe("taken");
  });

  test("is not taken over while another program is about to, unless that one is gone as well", async () => {
    const path = leave(`${NOBODY} latchkey`, 3000), takeover = `${path}.takeover`;
    leave(`${process.ppid} latchkey`, 3000, takeover);
    expect(await failureOf(taken(path, { waitMs: 30 }))).toMatchObject(held(path, `process ${NOBODY}`));
    expect(namesBeside(path).sort()).toEqual(["tokens.lockfile", "tokens.lockfile.takeover"]);

    fs.rmSync(takeover);
    leave(`${NOBODY} latchkey`, 3000, takeover);
    leave("", 11_000, `${takeover}.takeover`);
    expect(await taken(path)).toBe("taken");
    expect(namesBeside(path)).toEqual([]);
  });
});

describe("A lock that is not safe", () => {
  test("is refused when it is a link, a folder or a pipe", async () => {
    const path = newLock(), target = join(path, "..", "target");
    fs.writeFileSync(target, "");
    const places: readonly [how: string, reason: string][] = [
      [`ln -s target "$0"`, "it is a symbolic link"],
      [`ln -s nowhere "$0"`, "it is a symbolic link"],
      [`mkdir "$0"`, "it is no regular file"],
      [`mkfifo "$0"`, "it is no regular file"],
    ];
    for (const [script, reason] of places) {
      await promisify(execFile)("sh", ["-c", script, path]);
      const message = `${path} is not safe for tokens: ${reason}`;
      expect(await failureOf(taken(path))).toMatchObject({ code: "configuration", message });
      fs.rmSync(path, { recursive: true });
    }
    expect(namesBeside(path)).toEqual(["target"]);
  });

  test("is refused when others could remove it", async () => {
    const path = newLock(), folder = join(path, "..");
    fs.chmodSync(folder, 0o777);
    expect(await failureOf(taken(path))).toMatchObject({ code: "configuration", hint: `Run chmod go-w ${folder}` });
  });

  test("is told when the disk is full or read-only, and none is left there", async () => {
    for (const disk of [FULL_DISK, READ_ONLY_DISK]) {
      const path = newLock(), folder = join(path, "..");
      const [file, ...rest] = disk.command(folder, [...program, "lock", path]);
      const { left, ...failure } = JSON.parse((await promisify(execFile)(file!, rest)).stdout);
      expect(failure).toMatchObject({ code: "configuration", message: `Cannot lock ${path}: ${disk.reason}` });
      expect(left.filter((name: string) => name !== "full")).toEqual([]);
      fs.chmodSync(folder, 0o700);
    }
  });
});

describe("Forty programs at once", () => {
  test("count to 200 without losing one, beginning with a lock and a take-over that were left behind", async () => {
    const path = newLock().replace(/\.lockfile$/, "");
    leave(`${NOBODY} latchkey`, 3000, `${path}.lockfile`);
    leave(`${NOBODY} latchkey`, 3000, `${path}.lockfile.takeover`);
    const run = promisify(execFile);
    await Promise.all(Array.from({ length: 40 }, () => run(program[0]!, [...program.slice(1), "count", path, "5"])));
    expect([textOf(path), namesBeside(path)]).toEqual(["200", ["tokens"]]);
  });
});

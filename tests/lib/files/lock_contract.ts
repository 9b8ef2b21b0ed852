// Locks, held by real programs and left behind by ones that were killed.
import { afterEach, describe, expect, test } from "bun:test";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readProcessFacts } from "../../../lib/files/files.ts";
import {
  isAbandoned,
  type LockOptions,
  readLockText,
  watchLock,
  withLock,
  writeLockText,
} from "../../../lib/files/lock.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { failure, rejection, useStage } from "../../fixture.ts";
import { fastClock } from "../../tools/test_clocks.ts";
import { FULL_DISK, READ_ONLY_DISK } from "../../tools/worn_disk.ts";

const program = [...ownRuntimePath().program(), fileURLToPath(new URL("file_program.ts", import.meta.url))];
/** Where a lock says that it was made here. Deno can read that with all permissions, which the tests have. */
const { host, bootId, pidNamespace } = {
  host: hostname(),
  bootId: fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
  pidNamespace: /\d+/.exec(fs.readlinkSync("/proc/self/ns/pid"))![0],
};
const HERE = `host=${host} boot=${bootId} pid_namespace=${pidNamespace}`;
const startOf = (pid: number) => fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ")[19]!;
const OWN_TEXT = `${process.pid} latchkey ${HERE} start=${startOf(process.pid)}`;
/** A number that no process has: Linux gives none beyond 4,194,304. */
const NOBODY = 2_147_483_646;
const children: ChildProcess[] = [];
const stage = useStage();

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** The path of a lock in a folder of its own. */
function newLock(): string {
  return join(stage.newFolder(), "tokens.lockfile");
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

/** Takes a lock that was left behind. Returns the time for which it was waited, in seconds. */
async function waitedFor(path: string): Promise<number> {
  const { clock, elapsedMs } = fastClock();
  await withLock(path, () => Promise.resolve(), { clock });
  return elapsedMs() / 1000;
}

const namesBeside = (path: string) => fs.readdirSync(join(path, ".."));
const textOf = (path: string) => fs.readFileSync(path, "utf8");
const taken = (path: string, options?: LockOptions) => withLock(path, () => Promise.resolve("taken"), options);

/** What is told of a lock that others have. */
const held = (path: string, holder: string) => ({
  name: "LatchkeyError",
  code: "timed_out",
  message: `Cannot lock ${path}: ${holder} has it`,
  hint: `Try again. If ${holder} does not run on any machine that has this folder, remove ${path}`,
});

describe("withLock()", () => {
  test("has the lock file there while it works, which says whose it is, and gives what the work gives", async () => {
    const path = newLock();
    const result = await withLock(path, () => {
      expect([textOf(path), fs.lstatSync(path).mode & 0o777]).toEqual([OWN_TEXT, 0o600]);
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
    expect(await rejection(withLock(path, () => Promise.reject(error)))).toBe(error);
    expect(
      await rejection(withLock(path, () => {
        throw error;
      })) as Error,
    ).toBe(error);
    expect(namesBeside(path)).toEqual([]);
  });

  test("has calls of one program wait for each other, in their order", async () => {
    const path = newLock(), events: string[] = [];
    const work = (name: string) =>
      withLock(path, async () => {
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
    const first = withLock(path, async () => {
      events.push("first");
      inner.resolve();
      await delay(5); // time for the other one to be wrong
      events.push("first ends");
    });
    await inner.promise;
    await withLock(other, () => Promise.resolve(events.push("second")));
    await first;
    expect(events).toEqual(["first", "first ends", "second"]);
  });

  test("gives up after a while, and says who has it", async () => {
    const path = newLock(), child = await hold(path);
    expect(await failure(taken(path, { waitMs: 20 }))).toMatchObject(held(path, `process ${child.pid}`));
    expect(await failure(taken(path, { waitMs: 0 }))).toMatchObject(held(path, `process ${child.pid}`));
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    expect(textOf(path)).toMatch(new RegExp(`^${child.pid} latchkey ${HERE} start=\\d+$`));
  });

  test("gives up on a lock of this program as well", async () => {
    const path = newLock(), end = Promise.withResolvers<void>();
    const first = withLock(path, () => end.promise);
    expect(await failure(taken(path, { waitMs: 10 }))).toMatchObject(held(path, "this program itself"));
    end.resolve();
    await first;
    expect(await taken(path)).toBe("taken");
  });

  test("ends the waiting with the signal's reason, for other programs and for this one", async () => {
    const path = newLock(), reason = new Error("enough");
    await hold(path);
    for (const waiting of [1, 2]) {
      const controller = new AbortController(),
        calls = Array.from({ length: waiting }, () => rejection(taken(path, { signal: controller.signal })));
      setImmediate(() => controller.abort(reason));
      for (const call of calls) expect(await call as Error).toBe(reason);
    }
    expect(await rejection(taken(newLock(), { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });

  test("tells a mistake before it does anything", async () => {
    const path = newLock();
    expect(await rejection(taken(path, { waitMs: -1 }))).toBeInstanceOf(RangeError);
    expect(await rejection(taken(path, { waitMs: NaN }))).toBeInstanceOf(RangeError);
    expect(await rejection(taken("folder/"))).toBeInstanceOf(TypeError);
    expect(namesBeside(path)).toEqual([]);
  });

  test("leaves a lock that has become another's", async () => {
    const path = newLock(), text = `${process.ppid} python`;
    await withLock(path, () => {
      fs.writeFileSync(path, text); // as MSAL for Python does, after 5 seconds
      return Promise.resolve();
    });
    expect(textOf(path)).toBe(text);
    fs.rmSync(path);
    await withLock(path, () => {
      fs.rmSync(path);
      fs.writeFileSync(path, OWN_TEXT);
      return Promise.resolve();
    });
    expect(textOf(path)).toBe(OWN_TEXT);
    fs.rmSync(path);
    await withLock(path, () => Promise.resolve(fs.rmSync(path)));
    expect(namesBeside(path)).toEqual([]);
  });

  test("gives signs of life for as long as it works", async () => {
    const path = newLock(), past = new Date(Date.now() - 3_600_000);
    await withLock(path, async () => {
      for (let signs = 0; signs < 2; signs++) {
        fs.utimesSync(path, past, past);
        while (fs.lstatSync(path).mtimeMs === past.getTime()) await delay(10);
      }
      expect(textOf(path)).toBe(OWN_TEXT);
    });
    expect(namesBeside(path)).toEqual([]);
  });

  test("isHeld() is false once another has taken the lock over, or removed it", async () => {
    const path = newLock();
    await withLock(path, (lock) => {
      expect(lock.isHeld()).toBe(true);
      fs.rmSync(path);
      expect(lock.isHeld()).toBe(false);
      fs.writeFileSync(path, OWN_TEXT);
      expect(lock.isHeld()).toBe(false);
      return Promise.resolve();
    });
    fs.rmSync(path);
  });
});

describe("A lock that was left behind", () => {
  test("is taken over at once when its process was of this machine and is gone", async () => {
    expect(await taken(leave(`${NOBODY} latchkey ${HERE}`, 0), { waitMs: 0 })).toBe("taken");
  });

  test("is taken over at once when a process was killed that held it", async () => {
    const path = newLock(), child = await hold(path), ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
    expect(await taken(path, { waitMs: 0 })).toBe("taken");
    expect(namesBeside(path)).toEqual([]);
  });

  // A process of another container or machine was taken for dead: the lock named no place for its pid. A lock from the future
  // was believed for more than a minute, and one from the past for no time: the clocks of two machines were compared.
  test("is taken over after it was seen not to change for 10 seconds, unless its process may run here", async () => {
    const elsewhere = [
      `${NOBODY} latchkey host=other boot=${bootId} pid_namespace=${pidNamespace}`,
      `${NOBODY} latchkey host=${host} boot=${crypto.randomUUID()} pid_namespace=${pidNamespace}`,
      `${NOBODY} latchkey host=${host} boot=${bootId} pid_namespace=1`,
      `${process.pid} latchkey host=other boot=${bootId} pid_namespace=${pidNamespace} start=${startOf(process.pid)}`,
      `${NOBODY} latchkey`,
    ];
    const strange = [`${process.ppid}`, "", "python", "-1", "0", "99999999999", "\0", "🔑".repeat(5000)];
    const paths = [...elsewhere, ...strange].flatMap((text) =>
      [3_600_000, -3_600_000].map((ageMs) => leave(text, ageMs))
    );
    for (const path of paths) {
      expect(await failure(taken(path, { waitMs: 0 }))).toMatchObject({ code: "timed_out" });
      expect(namesBeside(path)).toEqual(["tokens.lockfile"]);
    }
    for (const seconds of await Promise.all(paths.map(waitedFor))) {
      expect(seconds).toBeGreaterThanOrEqual(10);
      expect(seconds).toBeLessThan(20);
    }
  });

  test("is waited for a minute if its process runs here, or may run here", async () => {
    const texts = [
      `${process.ppid} latchkey ${HERE} start=${startOf(process.ppid)}`,
      `${process.ppid} latchkey ${HERE}`,
      `${process.ppid} latchkey`,
      OWN_TEXT,
      `${process.pid} latchkey`,
    ];
    for (const seconds of await Promise.all(texts.map((text) => waitedFor(leave(text, 3_600_000))))) {
      expect(seconds).toBeGreaterThanOrEqual(60);
      expect(seconds).toBeLessThan(75);
    }
  });

  test("is taken over at once if a later process has the pid of its process", async () => {
    for (const pid of [process.pid, process.ppid]) {
      expect(await taken(leave(`${pid} latchkey ${HERE} start=1`, 0), { waitMs: 0 })).toBe("taken");
    }
  });

  test("is taken over at once if its process has ended, and only its parent has not noticed", async () => {
    // The shell becomes a program that never asks for its children's exit codes.
    const script = "exec 3<&0; cat <&3 & echo $!; exec sleep 1000";
    const parent = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(parent);
    const [pid] = await once(parent.stdout, "data");
    const until = async (path: string, content: string) => {
      while (!fs.readFileSync(path, "utf8").includes(content)) await new Promise((resolve) => setImmediate(resolve));
    };
    await until(`/proc/${parent.pid}/comm`, "sleep");
    parent.stdin.end();
    await until(`/proc/${Number(pid)}/stat`, ") Z ");
    expect(await taken(leave(`${Number(pid)} latchkey ${HERE}`, 0), { waitMs: 0 })).toBe("taken");
  });

  test("is MSAL's, and taken over 2 seconds after its process is gone", async () => {
    const paths = [leave(`${NOBODY}`, 3000), leave(`${NOBODY} /usr/bin/az`, 0)];
    expect(await failure(taken(paths[1]!, { waitMs: 30 }))).toMatchObject(held(paths[1]!, `process ${NOBODY}`));
    expect(namesBeside(paths[1]!)).toEqual(["tokens.lockfile"]);
    for (const path of paths) expect(await waitedFor(path)).toBeLessThan(8);
  });

  test("is said to be of another machine", async () => {
    const path = leave(`${NOBODY} latchkey host=other.contoso.com boot=x pid_namespace=1`, 0);
    expect(await failure(taken(path, { waitMs: 0 })))
      .toMatchObject(held(path, `process ${NOBODY} on other.contoso.com`));
  });

  test("is not taken over while another program is about to, unless that one is gone as well", async () => {
    const path = leave(`${NOBODY} latchkey ${HERE}`, 3000), takeover = `${path}.takeover`;
    leave(`${process.ppid} latchkey ${HERE}`, 3000, takeover);
    expect(await failure(taken(path, { waitMs: 30 }))).toMatchObject(held(path, `process ${NOBODY}`));
    expect(namesBeside(path).sort()).toEqual(["tokens.lockfile", "tokens.lockfile.takeover"]);

    fs.rmSync(takeover);
    leave(`${NOBODY} latchkey ${HERE}`, 3000, takeover);
    expect(await taken(path)).toBe("taken");
    expect(namesBeside(path)).toEqual([]);
  });
});

// A lock counted as abandoned after 10 seconds without a sign of life: a second process renewed with the same refresh token, and
// the sign-in was lost.
describe("A holder that stands still", () => {
  test("is waited for, and has its lock until it is gone", async () => {
    const path = newLock(), child = await hold(path);
    process.kill(child.pid!, "SIGSTOP"); // Deno's child.kill() sends one signal only
    const { clock, elapsedMs } = fastClock();
    expect(await failure(taken(path, { waitMs: 50_000, clock }))).toMatchObject(held(path, `process ${child.pid}`));
    expect(elapsedMs()).toBeGreaterThanOrEqual(50_000);
    expect(namesBeside(path)).toEqual(["tokens.lockfile"]);

    const waiting = taken(path);
    child.kill("SIGKILL");
    expect(await waiting).toBe("taken");
  });

  test("loses its lock after a minute", async () => {
    const path = newLock(), child = await hold(path);
    process.kill(child.pid!, "SIGSTOP"); // Deno's child.kill() sends one signal only
    const seconds = await waitedFor(path);
    expect(seconds).toBeGreaterThanOrEqual(60);
    expect(seconds).toBeLessThan(75);
  });
});

describe("isAbandoned()", () => {
  const own = { host, bootId, pidNamespace };
  const facts = { start: "7", hasEnded: false };
  /** Seconds without a change after which a lock counts as abandoned. */
  function silence(
    text: string | undefined,
    isGone: boolean | undefined,
    { processFacts = undefined as typeof facts | undefined, ownLocation = own as Partial<typeof own> } = {},
  ): number {
    const signs = { ownLocation, isProcessGone: () => isGone, processFacts: () => processFacts };
    return [0, 2, 10, 60].find((seconds) => isAbandoned(text, { ...signs, unchangedMs: seconds * 1000 }))!;
  }

  test("believes only a missing process of the very same place to be gone", () => {
    expect(silence(writeLockText(NOBODY, own), true)).toBe(0);
    expect(silence(writeLockText(NOBODY, own), false)).toBe(60);
    for (const missing of ["host", "bootId", "pidNamespace"] as const) {
      const place = { ...own, [missing]: undefined };
      expect(silence(writeLockText(NOBODY, place), true)).toBe(10);
      expect(silence(writeLockText(NOBODY, own), true, { ownLocation: place })).toBe(10);
      expect(silence(writeLockText(NOBODY, place), true, { ownLocation: place })).toBe(10);
    }
  });

  test("compares the start of a process", () => {
    const text = writeLockText(NOBODY, own, "7");
    expect(silence(text, false, { processFacts: facts })).toBe(60);
    expect(silence(text, undefined, { processFacts: facts })).toBe(60);
    expect(silence(text, false, { processFacts: { ...facts, start: "8" } })).toBe(0);
    expect(silence(text, false, { processFacts: { ...facts, hasEnded: true } })).toBe(0);
    expect(silence(writeLockText(NOBODY, own), false, { processFacts: { ...facts, start: "8" } })).toBe(60);
    expect(silence(writeLockText(NOBODY, {}, "7"), false, { processFacts: { ...facts, start: "8" } })).toBe(10);
  });

  // Deno without --allow-run waited a minute for the lock of a program that was killed.
  test("waits 10 seconds for a sign of a process that cannot be looked up, as on Deno without permission", () => {
    for (const ownLocation of [own, {}]) {
      expect(silence(writeLockText(NOBODY, own), undefined, { ownLocation })).toBe(10);
      expect(silence(`${NOBODY} latchkey`, undefined, { ownLocation })).toBe(10);
    }
  });

  test("believes any other lock until it was seen not to change for 10 seconds", () => {
    const elsewhere = writeLockText(NOBODY, { ...own, host: "other" });
    for (const text of [undefined, "", "az", elsewhere]) {
      for (const isGone of [true, false, undefined]) expect(silence(text, isGone)).toBe(10);
    }
    expect([true, false, undefined].map((isGone) => silence(`${NOBODY} az`, isGone))).toEqual([2, 10, 10]);
  });
});

describe("readProcessFacts()", () => {
  const read = (stat: string, self = "5") =>
    readProcessFacts(9, { ownPid: 5, readFile: (path) => path === "/proc/9/stat" ? stat : "", readLink: () => self });
  const fields = Array.from({ length: 48 }, (_, at) => String(at + 4)).join(" ");

  test("reads the state and the start, whatever the name of the program", () => {
    expect(read(`9 (sh) S ${fields}\n`)).toEqual({ start: "22", hasEnded: false });
    expect(read(`9 (a) Z 1 2 (b c) Z ${fields}\n`)).toEqual({ start: "22", hasEnded: true });
  });

  test("reads nothing from what is not that, nor from the /proc of another pid namespace", () => {
    for (const stat of ["", "9 (sh) S 1 2", "sh"]) expect(read(stat)).toBeUndefined();
    expect(read(`9 (sh) S ${fields}\n`, "77")).toBeUndefined();
    expect(readProcessFacts(9, { ownPid: 5, readFile: () => "", readLink: () => fs.readlinkSync("/nowhere") }))
      .toBeUndefined();
  });
});

describe("readLockText()", () => {
  test("reads the pid that latchkey and MSAL write", () => {
    const texts = [writeLockText(1234, { host: "a b" }), "1234", "1234 /usr/bin/az", "1234\n"];
    expect(texts.map((text) => readLockText(text)?.pid)).toEqual([1234, 1234, 1234, 1234]);
    const known = { pid: 1234, isLatchkey: true, location: "host=a%20b" };
    expect(readLockText(texts[0]!)).toEqual({ ...known, start: undefined });
    expect(readLockText(writeLockText(1234, { host: "a b" }, "77"))).toEqual({ ...known, start: "77" });
    expect(readLockText(writeLockText(1234, {}, "77"))).toEqual({ ...known, location: "", start: "77" });
  });

  test("reads no pid that no process has", () => {
    for (const text of ["", "0", "-1", "1e3", "12a", " 12", "2147483648", "99999999999", "az"]) {
      expect(readLockText(text)).toBeUndefined();
    }
  });
});

describe("watchLock()", () => {
  const look = { id: "1:1", changedMs: 1, text: "" };
  /** Starts to watch. Returns a function that looks at a time. */
  function watchAt() {
    let now = { monotonicMs: 0, wallMs: 0 };
    const watch = watchLock({ monotonicMs: () => now.monotonicMs, wallMs: () => now.wallMs });
    return (seen: typeof look, monotonicMs: number, wallMs = monotonicMs) => {
      now = { monotonicMs, wallMs };
      return watch(seen);
    };
  }
  /** Looks every second until a lock has been the same for 10. */
  const watchFor10 = (watch: ReturnType<typeof watchAt>, fromMs: number, wallFromMs = fromMs) => {
    for (let ms = 0; ms < 10_000; ms += 1000) expect(watch(look, fromMs + ms, wallFromMs + ms)).toBe(ms);
  };

  test("counts from the first look, and anew after each change", () => {
    const watch = watchAt();
    watchFor10(watch, 1_000_000);
    for (const change of [{ changedMs: -5 }, { id: "1:2" }, { text: "x" }]) {
      expect(watch({ ...look, ...change }, 1_010_000)).toBe(0);
    }
  });

  // A machine that slept woke to locks that had not changed for hours, and took them over before their holders went on.
  test("begins anew after this process was stopped, or the machine slept: only the clock on the wall shows that", () => {
    const watch = watchAt();
    watchFor10(watch, 1_000_000);
    watchFor10(watch, 1_060_000);
    watchFor10(watch, 1_070_000, 9_000_000);
    expect(watch(look, 1_080_000, 9_010_000)).toBe(10_000);
  });
});

describe("A lock that is not safe", () => {
  test("is refused when it is a link, a folder or a pipe", async () => {
    const path = newLock(), target = join(path, "..", "target");
    fs.writeFileSync(target, "");
    const places: readonly [how: string, reason: string][] = [
      [`ln -s target "$0"`, "it is a symbolic link"],
      [`ln -s nowhere "$0"`, "it is a symbolic link"],
      [`mkdir "$0"`, "it is not a regular file"],
      [`mkfifo "$0"`, "it is not a regular file"],
    ];
    for (const [script, reason] of places) {
      await promisify(execFile)("sh", ["-c", script, path]);
      const message = `${path} is not safe: ${reason}`;
      expect(await failure(taken(path))).toMatchObject({ code: "configuration", message });
      fs.rmSync(path, { recursive: true });
    }
    expect(namesBeside(path)).toEqual(["target"]);
  });

  test("is refused when others could remove it", async () => {
    const path = newLock(), folder = join(path, "..");
    fs.chmodSync(folder, 0o777);
    expect(await failure(taken(path))).toMatchObject({ code: "configuration", hint: `Run chmod go-w ${folder}` });
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
    leave(`${NOBODY} latchkey ${HERE}`, 3000, `${path}.lockfile`);
    leave(`${NOBODY} latchkey ${HERE}`, 3000, `${path}.lockfile.takeover`);
    const run = promisify(execFile);
    await Promise.all(Array.from({ length: 40 }, () => run(program[0]!, [...program.slice(1), "count", path, "5"])));
    expect([textOf(path), namesBeside(path)]).toEqual(["200", ["tokens"]]);
  });
});

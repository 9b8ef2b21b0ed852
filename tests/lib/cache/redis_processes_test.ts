// redisStore in many processes at once, as on many machines, at a real Redis server.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { redisStore } from "../../../lib/redis.ts";
import { type PrivateRedis, startPrivateRedis } from "../../fakes/private_redis.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";
import { type ConnectedRedis, connectNodeRedis } from "../../tools/redis_clients.ts";

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
    cwd: fileURLToPath(new URL("../../../", import.meta.url)),
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

/** The fake broker as tests hold it: started, told how to behave, asked what it was called with. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Message, sessionBus } from "dbus-next";
import { findTool } from "../tools/find_tool.js";
import { type Behaviour, BROKER_NAME, type Call } from "./behaviour.ts";
import {
  readBehaviour,
  readCalls,
  readProcessId,
  readReplies,
  removeCalls,
  removeProcessId,
  writeBehaviour,
} from "./broker_directory.ts";
import type { PrivateBus } from "./private_bus.ts";

export interface FakeBroker {
  /** Changes the given parts of the behaviour, `replies` as a whole, from the next call on. */
  behave(behaviour: Partial<Behaviour>): Promise<void>;
  /** The calls so far, Ping included, in order; those of one method when it is named. */
  calls(member?: string): Promise<Call[]>;
  /** Forgets the calls so far, and the replies. */
  forgetCalls(): Promise<void>;
  /** The bodies of its replies so far, in order. */
  replies(): Promise<unknown[][]>;
  /** Stops the process from running: it owns its name and takes no message. */
  pause(): void;
  resume(): void;
  /** Kills the process and waits until it has ended. */
  kill(): Promise<void>;
  /** Starts it again after `kill`. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const DEFAULT_BEHAVIOUR: Behaviour = { sender: "microsoft-2.5.2" };

/** Starts a broker on the bus, and waits until it owns its name. */
export async function startFakeBroker(bus: PrivateBus, behaviour: Partial<Behaviour> = {}): Promise<FakeBroker> {
  const broker = await prepareFakeBroker(bus, behaviour);
  await broker.start();
  return broker;
}

/** A broker that the bus starts when it is first called. */
export async function activatableFakeBroker(bus: PrivateBus, behaviour: Partial<Behaviour> = {}): Promise<FakeBroker> {
  const broker = await prepareFakeBroker(bus, behaviour);
  await bus.addService(BROKER_NAME, broker.command);
  return broker;
}

/** A broker, and the command that starts it. */
export interface PreparedFakeBroker extends FakeBroker {
  readonly command: readonly string[];
}

/** A broker that is not started yet. */
export async function prepareFakeBroker(bus: PrivateBus, behaviour: Partial<Behaviour>): Promise<PreparedFakeBroker> {
  const directory = await mkdtemp(join(bus.directory, "broker-"));
  const command = [findTool("bun"), fileURLToPath(new URL("fake_broker.ts", import.meta.url)), directory];
  await writeBehaviour(directory, { ...DEFAULT_BEHAVIOUR, ...behaviour });

  async function kill(): Promise<void> {
    const pid = readProcessId(directory);
    if (pid === undefined) return;
    killProcess(pid);
    // It may be the bus's child, whose end is not told to us.
    while (isRunning(pid)) await delay(2);
    await untilNobodyOwns(BROKER_NAME, bus.address);
    await removeProcessId(directory);
  }

  return {
    command,
    behave: (changes) => writeBehaviour(directory, { ...readBehaviour(directory), ...changes }),
    calls: async (member) =>
      (await readCalls(directory)).filter((call) => member === undefined || call.member === member),
    forgetCalls: () => removeCalls(directory),
    replies: () => readReplies(directory),
    pause: () => void process.kill(readProcessId(directory)!, "SIGSTOP"),
    resume: () => void process.kill(readProcessId(directory)!, "SIGCONT"),
    kill,
    start: () => startProcess(command, bus.address, join(directory, "broker.log")),
    stop: kill,
  };
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended by itself
  }
}

/** Whether the process runs: the bus leaves a child that has ended a zombie for seconds. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** The bus notices later than we do that a process has ended. */
async function untilNobodyOwns(name: string, busAddress: string): Promise<void> {
  const client = sessionBus({ busAddress });
  const question = {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
  };
  try {
    for (;;) {
      const reply = await client.call(
        new Message({ ...question, member: "NameHasOwner", signature: "s", body: [name] }),
      );
      if (!reply?.body[0]) return;
    }
  } finally {
    client.disconnect();
  }
}

async function startProcess(command: readonly string[], address: string, logFile: string): Promise<void> {
  const [program = "", ...args] = command;
  const log = openSync(logFile, "a");
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", log],
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: address },
  });
  closeSync(log);
  for await (const line of createInterface({ input: child.stdout! })) {
    if (line !== "ready") continue;
    child.stdout!.destroy();
    child.unref();
    return;
  }
  throw new Error(`The fake broker did not start: ${readFileSync(logFile, "utf8")}`);
}

// A broker that comes and goes, and who is told of it.
import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { sessionBus } from "dbus-next";
import type { BrokerChange, PublicClientApplication } from "../../mod.ts";
import { BROKER_NAME } from "../fakes/behaviour.ts";
import { failure, useFakeBroker } from "../fakes/use_fake_broker.ts";
import { ownRuntimePath } from "../runtimes/runtime_paths.ts";

/** Programs are started, which takes a busy machine longer than a test usually has. */
const TIMEOUT_MS = 30_000;
/** Flags of RequestName. */
const ALLOW_REPLACEMENT = 1, REPLACE_EXISTING = 2, DO_NOT_QUEUE = 4;
const { bus, broker, makeApp, behave } = useFakeBroker();

/** What is told from now on. */
async function listen(app: PublicClientApplication): Promise<{ changes: BrokerChange[]; listening: Disposable }> {
  const changes: BrokerChange[] = [], listening = app.onBrokerChange((change) => changes.push(change));
  await app.brokerStatus(); // the bus takes its messages in order, so that it knows by now what is to be told
  return { changes, listening };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await delay(1);
}

async function restart(): Promise<void> {
  await broker().kill();
  await broker().start();
}

describe("onBrokerChange()", () => {
  test("tells when the broker stops and starts", async () => {
    await behave();
    const { changes } = await listen(makeApp());
    await broker().kill();
    await until(() => changes.length === 1);
    await broker().start();
    await until(() => changes.length === 2);
    expect(changes).toEqual([{ running: false }, { running: true }]);
  });

  test("tells when another process takes the broker's place", async () => {
    await behave();
    const { changes } = await listen(makeApp());
    await broker().kill();
    const [one, other] = [1, 2].map(() => sessionBus({ busAddress: bus().address }));
    await one!.requestName(BROKER_NAME, ALLOW_REPLACEMENT | DO_NOT_QUEUE); // else it would get the name back
    await other!.requestName(BROKER_NAME, REPLACE_EXISTING);
    await until(() => changes.length === 3);
    one!.disconnect();
    other!.disconnect();
    await until(() => changes.length === 4);
    await broker().start();
    await until(() => changes.length === 5);
    expect(changes.map(({ running }) => running)).toEqual([false, true, true, false, true]);
  });

  test("goes on after the daemon restarted", async () => {
    await behave();
    const app = makeApp(), { changes } = await listen(app);
    await broker().kill();
    await until(() => changes.length === 1);
    await bus().restart();
    await failure(app.getAccounts()); // it is connected again
    await broker().start();
    await until(() => changes.length === 2);
    expect(changes[1]).toEqual({ running: true });
  });

  test("tells each listener until it is disposed of", async () => {
    await behave();
    const app = makeApp(), changes: BrokerChange[] = [];
    const listener = (change: BrokerChange) => changes.push(change);
    const first = app.onBrokerChange(listener), second = app.onBrokerChange(listener); // one function, twice
    const { changes: all, listening } = await listen(app);
    await broker().kill();
    await until(() => all.length === 1);
    expect(changes).toHaveLength(2);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await broker().start();
    await until(() => all.length === 2);
    expect(changes).toHaveLength(3);
    second[Symbol.dispose]();
    listening[Symbol.dispose]();
    await restart();
    await app.getAccounts(); // what were told would have come before this
    expect([changes.length, all.length]).toEqual([3, 2]);
  });

  test("tells nothing after the application was closed, and again when it is asked anew", async () => {
    await behave();
    const app = makeApp(), { changes, listening } = await listen(app);
    app.close();
    const { changes: later } = await listen(app);
    listening[Symbol.dispose](); // of what has ended before: the new one goes on
    await restart();
    await until(() => later.length === 2);
    expect(changes).toEqual([]);
  });

  test("is quiet when it was disposed of before the broker was found", async () => {
    await behave();
    const lines: string[] = [], app = makeApp({ logger: (level, message) => lines.push(`${level}: ${message}`) });
    const changes: BrokerChange[] = [];
    app.onBrokerChange((change) => changes.push(change))[Symbol.dispose]();
    await app.getAccounts();
    await restart();
    await app.getAccounts();
    expect(changes).toEqual([]);
    app.close();
    app.onBrokerChange((change) => changes.push(change));
    app.close(); // while it looks for the broker
    await makeApp().getAccounts();
    expect(lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  test("says why in the log when there is no broker", async () => {
    await behave();
    const told = Promise.withResolvers<string>();
    const logger = (level: string, message: string) => level === "warn" && told.resolve(message);
    makeApp({ enableBrokerOnLinux: false, logger }).onBrokerChange(() => {});
    expect(await told.promise).toContain("enableBrokerOnLinux");
  });

  test("tells the others when a listener throws, which the program sees", async () => {
    await behave();
    const script = fileURLToPath(new URL("../fakes/throwing_listener_program.ts", import.meta.url));
    const [program, ...args] = ownRuntimePath().program();
    const child = spawn(program!, [...args, script], { stdio: ["ignore", "pipe", "inherit"], env: process.env });
    const closed = once(child, "close");
    let printed = "";
    child.stdout.on("data", (text) => printed += text);
    await until(() => printed.includes("watching\n") || child.exitCode !== null);
    await broker().kill();
    const [code] = await closed;
    await broker().start();
    expect({ code, printed }).toEqual({ code: 0, printed: "watching\nthrown\ntold\n" });
  }, TIMEOUT_MS);

  test("does not keep a program alive", async () => {
    await behave();
    const script = fileURLToPath(new URL("../fakes/watching_program.ts", import.meta.url));
    const [program, ...args] = ownRuntimePath().program();
    const child = spawn(program!, [...args, script], { stdio: ["ignore", "pipe", "inherit"], env: process.env });
    let printed = "";
    child.stdout.on("data", (text) => printed += text);
    const [code] = await once(child, "close");
    expect({ code, printed }).toEqual({ code: 0, printed: "watching\n" });
  });
});

// A broker that starts and stops, and the channel that reports it.
import { afterEach, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { sessionBus } from "dbus-next";
import { type BrokerChannel, openBrokerChannel } from "../../../mod.ts";
import { BROKER_NAME } from "../../fakes/behaviour.ts";
import { CLIENT_ID, failure, useStage } from "../../fixture.ts";
import { ownRuntimePath } from "../../runtimes/runtime_paths.ts";

type BrokerChange = Parameters<Parameters<BrokerChannel["onChange"]>[0]>[0];

/** Flags of RequestName. */
const ALLOW_REPLACEMENT = 1, REPLACE_EXISTING = 2, DO_NOT_QUEUE = 4;
const stage = useStage({ broker: {} });
const channels: BrokerChannel[] = [];

afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});

async function open(): Promise<BrokerChannel> {
  const channel = await openBrokerChannel({ clientId: CLIENT_ID });
  channels.push(channel);
  return channel;
}

async function listen(channel: BrokerChannel): Promise<{ changes: BrokerChange[]; listening: Disposable }> {
  const changes: BrokerChange[] = [], listening = await channel.onChange((change) => void changes.push(change));
  return { changes, listening };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await delay(1);
}

describe("BrokerChannel.onChange()", () => {
  test("tells when the broker stops and starts", async () => {
    const { changes } = await listen(await open());
    await stage.broker.kill();
    await until(() => changes.length === 1);
    await stage.broker.start();
    await until(() => changes.length === 2);
    expect(changes).toEqual([{ running: false }, { running: true }]);
  });

  test("tells when another process takes the broker's place", async () => {
    const { changes } = await listen(await open());
    await stage.broker.kill();
    const [one, other] = [1, 2].map(() => sessionBus({ busAddress: stage.bus.address }));
    await one!.requestName(BROKER_NAME, ALLOW_REPLACEMENT | DO_NOT_QUEUE); // else it would get the name back
    await other!.requestName(BROKER_NAME, REPLACE_EXISTING);
    await until(() => changes.length === 3);
    one!.disconnect();
    other!.disconnect();
    await until(() => changes.length === 4);
    await stage.broker.start();
    await until(() => changes.length === 5);
    expect(changes.map(({ running }) => running)).toEqual([false, true, true, false, true]);
  });

  test("goes on after the daemon restarted", async () => {
    const channel = await open(), { changes } = await listen(channel);
    await stage.broker.kill();
    await until(() => changes.length === 1);
    await stage.bus.restart();
    await failure(channel.ask({ method: "getAccounts" })); // it is connected again
    await stage.broker.start();
    await until(() => changes.length === 2);
    expect(changes[1]).toEqual({ running: true });
  });

  test("tells each listener until it is disposed of", async () => {
    const channel = await open(), changes: BrokerChange[] = [];
    const listener = (change: BrokerChange) => void changes.push(change);
    const first = await channel.onChange(listener), second = await channel.onChange(listener); // one function, twice
    const { changes: all, listening } = await listen(channel);
    await stage.broker.kill();
    await until(() => all.length === 1);
    expect(changes).toHaveLength(2);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    await stage.broker.start();
    await until(() => all.length === 2);
    expect(changes).toHaveLength(3);
    second[Symbol.dispose]();
    listening[Symbol.dispose]();
    await stage.broker.kill();
    await stage.broker.start();
    await channel.ask({ method: "getAccounts" }); // what were told would have come before this
    expect([changes.length, all.length]).toEqual([3, 2]);
  });

  test("tells nothing after the channel was closed", async () => {
    const closed = await open(), { changes } = await listen(closed);
    closed.close();
    const { changes: later } = await listen(await open());
    await stage.broker.kill();
    await stage.broker.start();
    await until(() => later.length === 2);
    expect(changes).toEqual([]);
  });

  test("does not keep a program alive", async () => {
    const script = fileURLToPath(new URL("../../fakes/watching_program.ts", import.meta.url));
    const [program, ...args] = ownRuntimePath().program();
    const child = spawn(program!, [...args, script], { stdio: ["ignore", "pipe", "inherit"], env: process.env });
    let printed = "";
    child.stdout.on("data", (text) => printed += text);
    const [code] = await once(child, "close");
    expect({ code, printed }).toEqual({ code: 0, printed: "watching\n" });
  });
});

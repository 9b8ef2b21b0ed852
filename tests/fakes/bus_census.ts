/** What this process has on a bus: what a client leaves behind shows here. */
import { expect } from "bun:test";
import process from "node:process";
import { Message, type MessageBus, sessionBus } from "dbus-next";
import type { PrivateBus } from "./private_bus.ts";

interface BusCensus {
  readonly connections: number;
  readonly matchRules: number;
}

/**
 * Expects so many connections of this process, and no match rule. Nobody is told when the bus has noticed that a connection
 * ended, so it is asked until it has, or often enough.
 */
export async function expectConnections({ address }: PrivateBus, connections: number): Promise<void> {
  let census = await busCensus(address);
  for (let tries = 0; census.connections !== connections && tries < 200; tries++) census = await busCensus(address);
  expect(census).toEqual({ connections, matchRules: 0 });
}

/** Counts the connections of this process and their match rules, but for the one that asks. */
async function busCensus(busAddress: string): Promise<BusCensus> {
  const client = sessionBus({ busAddress });
  try {
    const rules: Record<string, readonly string[]> = await ask(client, "Debug.Stats", "GetAllMatchRules");
    const ours: (readonly string[])[] = [];
    for (const [name, itsRules] of Object.entries(rules)) {
      if (name !== client.name && await processOf(client, name) === process.pid) ours.push(itsRules);
    }
    return { connections: ours.length, matchRules: ours.flat().length };
  } finally {
    client.disconnect();
  }
}

/** @returns nothing for a connection that has ended meanwhile */
async function processOf(client: MessageBus, name: string): Promise<number | undefined> {
  return await ask<number>(client, "", "GetConnectionUnixProcessID", name).catch(() => undefined);
}

async function ask<T>(client: MessageBus, under: string, member: string, ...body: readonly string[]): Promise<T> {
  const daemon = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", member };
  const name = ["org.freedesktop.DBus", under].filter(Boolean).join(".");
  const reply = await client.call(
    new Message({ ...daemon, interface: name, signature: "s".repeat(body.length), body: [...body] }),
  );
  return reply!.body[0] as T;
}

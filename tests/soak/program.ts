// A program that asks for accounts and silent tokens while its standard input is open, as an agent does that runs for days, and
// tells for each line what it holds. Each call is given the same signal: what a call leaves there would be seen.
import process from "node:process";
import { createInterface } from "node:readline";
import { setImmediate, setTimeout as delay } from "node:timers/promises";
import { LatchkeyError, PublicClientApplication } from "../../mod.ts";

/** What the program tells. */
export interface Told {
  /** What is alive after a garbage collection, but for code: KiB, on Bun objects, whose bytes have the code among them. */
  readonly alive: number;
  /** How many rounds of calls were answered. */
  readonly answered: number;
  /** How many were not, by code. */
  readonly refused: Readonly<Record<string, number>>;
}

/** How long to wait for a broker that does not run. */
const RETRY_MS = 20;

const app = new PublicClientApplication({
  clientId: "11111111-2222-4333-8444-555555555555",
  enableBrokerOnLinux: true,
  requireBroker: true,
});
const { signal } = new AbortController();
const refused: Record<string, number> = {};
let answered = 0, asked = 0;

createInterface({ input: process.stdin })
  .on("line", () => asked++)
  .on("close", () => process.exit());
for (;;) {
  await callAll();
  for (; asked > 0; asked--) {
    const told: Told = { alive: await countAlive(), answered, refused };
    process.stdout.write(`${JSON.stringify(told)}\n`);
  }
}

async function callAll(): Promise<void> {
  try {
    const [account] = await app.getAccounts({ signal });
    await app.acquireTokenSilent({ scopes: ["User.Read"], account: account!, forceRefresh: true, signal });
    await app.acquireToken({ scopes: ["User.Read"], interactive: "never", signal });
    answered++;
  } catch (error) {
    const code = error instanceof LatchkeyError ? error.code : String(error);
    refused[code] = (refused[code] ?? 0) + 1;
    await delay(RETRY_MS);
  }
}

/** Collects twice, since what has a finalizer is gone for good with the second. */
async function countAlive(): Promise<number> {
  const heap = "Bun" in globalThis ? await heapOfBun() : await heapOfV8();
  heap.collect();
  await setImmediate();
  heap.collect();
  return heap.alive();
}

interface Heap {
  collect(): void;
  alive(): number;
}

async function heapOfBun(): Promise<Heap> {
  const { heapStats } = await import("bun:jsc");
  return { collect: () => Bun.gc(true), alive: () => heapStats().objectCount };
}

async function heapOfV8(): Promise<Heap> {
  const { getHeapSpaceStatistics } = await import("node:v8"), spaces = ["old_space", "large_object_space"];
  const alive = () => {
    const used = getHeapSpaceStatistics().filter(({ space_name }) => spaces.includes(space_name));
    return used.reduce((sum, { space_used_size }) => sum + space_used_size, process.memoryUsage().external) / 1024;
  };
  return { collect: () => globalThis.gc!(), alive };
}

/** What suites of built programs run in: a folder of their own, and a bus with a broker that knows jane. */
import { afterAll, beforeAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";

/** A suite's stage, from its first test on. */
export interface BuiltStage {
  /** A folder that goes when the suite ends. */
  folder(): string;
  /** What a program has to have in its environment to find the broker. */
  environment(): Readonly<Record<string, string>>;
}

/** Sets it up before the tests of the suite that calls this. */
export function useStage(): BuiltStage {
  let bus: PrivateBus, broker: FakeBroker, folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "latchkey-built-"));
    bus = await startPrivateBus();
    broker = await startFakeBroker(bus, { accounts: [{ username: "jane@contoso.com" }] });
  });
  afterAll(async () => {
    await broker.stop();
    await bus.stop();
    rmSync(folder, { recursive: true });
  });
  return { folder: () => folder, environment: () => ({ DBUS_SESSION_BUS_ADDRESS: bus.address }) };
}

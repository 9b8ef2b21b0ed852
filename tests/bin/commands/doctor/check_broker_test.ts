// What the doctor says of a fake broker at each failure of the library's table.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { accounts, broker, silentToken } from "../../../../bin/commands/doctor/broker.ts";
import { runChecks } from "../../../../bin/commands/doctor/check.ts";
import { type LatchkeyError, memoryStore, PublicClientApplication } from "../../../../mod.ts";
import { FAILED_STARTS } from "../../../fakes/failed_starts.ts";
import { FAILURES } from "../../../fakes/failures.ts";
import { startPrivateBus } from "../../../fakes/private_bus.ts";
import { endStage, play, type Stage, startStage } from "../../../fakes/stage.ts";
import { CLIENT_ID } from "../../../fixture.ts";

const IMPATIENT = { accountsMs: 400, silentMs: 400 };

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
});
afterEach(() => {
  process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
});
afterAll(() => endStage(stage));

async function examineBroker(timeLimits: Readonly<Record<string, number>>) {
  const app = new PublicClientApplication({
    ...{ clientId: CLIENT_ID, enableBrokerOnLinux: true, requireBroker: true, timeLimits },
  });
  await app.brokerStatus();
  return {
    app,
    results: async () => {
      const nobody = () => Promise.reject(new Error("no check of the broker opens a bus"));
      const context = { app, clientId: CLIENT_ID, username: undefined, scopes: ["User.Read"] };
      const profile = { name: undefined, problem: undefined }, at = { authority: "", tenantId: undefined };
      const hintOf = ({ hint }: LatchkeyError) => hint;
      const kept = { ...at, hintOf, profile, tokenPlace: () => ({ kind: "memory" }) as const, cache: memoryStore() };
      const found = await runChecks([broker, accounts, silentToken], { ...context, ...kept, bus: nobody });
      app.close();
      return found;
    },
  };
}

test.each(FAILURES.filter(([method]) => ["getAccounts", "acquireTokenSilently"].includes(method)))(
  "each failed check says what to run when in %s the broker %s",
  async (method, _name, failure) => {
    process.env.DBUS_SESSION_BUS_ADDRESS = stage.bus.address;
    const { results } = await examineBroker(failure.code === "timed_out" ? IMPATIENT : {});
    await stage.broker.forgetCalls();
    await play(stage, {
      ...{ failure, method, call: results },
      afterwards(found) {
        const failed = found.filter(({ state }) => state === "failed" || state === "blocked");
        expect(failed.length).toBeGreaterThan(0);
        expect(failed.filter(({ fix }) => !fix)).toEqual([]);
        if (failure.code === "timed_out") expect(failed[0]!.fix).toContain("systemctl --user restart");
      },
    });
  },
);

test.each(FAILED_STARTS.map((row) => [row.name, row] as const))(
  "each failed check says what to run when a broker %s",
  async (_name, { install, isSilent, hint }) => {
    const bus = await startPrivateBus();
    process.env.DBUS_SESSION_BUS_ADDRESS = bus.address;
    const fake = await install(bus);
    const { results } = await examineBroker(isSilent ? { pingMs: 1000, startMs: 1000 } : {});
    expect(await results()).toMatchObject([
      { id: "broker", state: "failed", fix: expect.stringMatching(hint) },
      { id: "accounts", state: "blocked", fix: "Fix broker first" },
      { id: "silent_token", state: "blocked", fix: "Fix broker first" },
    ]);
    await fake?.stop();
    await bus.stop();
  },
);

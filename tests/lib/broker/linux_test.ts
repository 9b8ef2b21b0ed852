// Brokers that the bus starts when they are first called, and those that it cannot start.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { AccountInfo, PublicClientApplication, PublicClientApplicationOptions } from "../../../mod.ts";
import { expectConnections } from "../../fakes/bus_census.ts";
import { FAILED_STARTS } from "../../fakes/failed_starts.ts";
import { expectHarmless } from "../../fakes/harmless_error.ts";
import { activatableFakeBroker, type FakeBroker, startFakeBroker } from "../../fakes/start_fake_broker.ts";
import { failure, openStage, type Stage } from "../../fixture.ts";

let stage: Stage;
beforeEach(async () => void (stage = await openStage({ bus: true })));
afterEach(() => stage[Symbol.asyncDispose]());

const makeApp = (options: Partial<PublicClientApplicationOptions> = {}): PublicClientApplication =>
  stage.makeApp({ enableBrokerOnLinux: true, ...options });

const JANE: AccountInfo = {
  ...{ homeAccountId: "o.t", localAccountId: "o", environment: "login.microsoftonline.com", tenantId: "t", realm: "t" },
  ...{ username: "jane@contoso.com", source: "broker" },
};

const silently = (app: PublicClientApplication, more: object = {}) =>
  app.acquireToken({ scopes: ["User.Read"], interactive: "never", ...more });

describe("PublicClientApplication, when the broker cannot be started", () => {
  test.each(FAILED_STARTS.map((start) => [start.name, start] as const))(
    "because it %s, says so, once, and stays without",
    async (_name, { install, isSilent, isInstalled = true, hint }) => {
      const installed = await install(stage.bus), lines: string[] = [];
      const options = {
        timeLimits: isSilent ? { startMs: 300 } : {},
        logger: (level: string, message: string) => void lines.push(`${level}: ${message}`),
      };
      const app = makeApp(options), correlationId = "99999999-9999-4999-8999-999999999999";
      expect(await app.getAccounts()).toEqual([]);
      await expectConnections(stage.bus, 0);
      const error = await failure(silently(app, { correlationId }));
      expect(error).toMatchObject({ code: isInstalled ? "broker_unavailable" : "interaction_required", correlationId });
      expectHarmless(error);
      const { reason, failure: failed, ...status } = await app.brokerStatus();
      expect(status).toEqual({ state: "unavailable", kind: null, version: null });
      expect(reason).toMatch(/^Cannot start the broker: ./);
      if (isInstalled) expect([error.message, failed?.message, failed?.code]).toEqual([reason!, reason!, error.code]);
      else expect(failed).toBeUndefined();
      expect(isInstalled ? error.hint : error.hint!.split(`There was no broker to ask: ${reason}. `)[1]).toMatch(hint);
      expect(error.hint).toContain("acquireTokenInteractive");
      expect(lines).toEqual([`warn: Going on without a broker: ${reason}`]);
      // A sign-in that may follow goes on in the browser.
      expect(await app.acquireTokenSilent({ scopes: ["User.Read"], account: JANE })).toBeNull();
      if (isSilent) return; // the bus waits for it on

      expect((await failure(makeApp({ requireBroker: true }).getAccounts())).code).toBe("broker_unavailable");
      await installed?.kill();
      const mended = await startFakeBroker(stage.bus);
      expect((await app.brokerStatus()).state).toBe("unavailable");
      expect((await silently(makeApp())).source).toBe("broker");
      await mended.stop();
    },
  );

  test("because it runs and takes no messages, says so in its time", async () => {
    const broker = await startFakeBroker(stage.bus);
    broker.pause();
    const error = await failure(silently(makeApp({ timeLimits: { pingMs: 50 } })));
    expect(error.code).toBe("broker_unavailable");
    expect(error.message).toMatch(/did not answer Ping within 0\.05 s/);
    expect(error.hint).toMatch(/^Restart it/);
    broker.resume();
    expect((await silently(makeApp())).source).toBe("broker");
    await broker.stop();
  });
});

describe("PublicClientApplication, when the bus starts the broker", () => {
  let broker: FakeBroker;

  beforeEach(async () => {
    broker = await activatableFakeBroker(stage.bus);
  });
  afterEach(() => broker.stop());

  test("waits for it longer than for one that runs", async () => {
    await broker.behave({ startDelayMs: 1_000 });
    expect((await silently(makeApp({ timeLimits: { pingMs: 500 } }))).source).toBe("broker");
  });

  test("starts it once for many calls", async () => {
    await broker.behave({ startDelayMs: 200 });
    const app = makeApp();
    const results = await Promise.all([app.getAccounts(), silently(app), silently(app, { scopes: ["Mail.Read"] })]);
    expect(results).toHaveLength(3);
    expect(await broker.calls("Ping")).toHaveLength(1);
    await expectConnections(stage.bus, 1);
  });

  test("lets go at an abort while it is being started, and leaves nothing behind", async () => {
    await broker.behave({ startDelayMs: 200 });
    const app = makeApp(), leaving = new AbortController(), reason = new Error("enough");
    const gone = silently(app, { signal: leaving.signal }).catch((error) => error);
    leaving.abort(reason);
    expect(await gone).toBe(reason);
    await expectConnections(stage.bus, 0);
    expect((await silently(app)).source).toBe("broker");
  });

  test.each(["getAccounts", "acquireTokenSilently"])("tries %s once more when it went away", async (member) => {
    await broker.behave({ replies: { [member]: { kind: "exit", times: 1 } } });
    expect((await silently(makeApp())).source).toBe("broker");
    expect(await broker.calls(member)).toHaveLength(2);
    await broker.forgetCalls();
    await broker.behave({ replies: { [member]: { kind: "exit" } } });
    const error = await failure(silently(makeApp()));
    expect(error.code).toBe("broker_unavailable");
    expectHarmless(error);
    expect(await broker.calls(member)).toHaveLength(2);
  });

  test("starts it again after it stopped", async () => {
    const app = makeApp();
    await app.getAccounts();
    await broker.kill();
    expect((await silently(app)).source).toBe("broker");
  });

  test("waits for one that stopped as long as for one that never ran", async () => {
    const app = makeApp({ timeLimits: { accountsMs: 1_000 } }), impatient = makeApp({ timeLimits: { startMs: 200 } });
    for (const each of [app, impatient]) await each.getAccounts();
    await broker.kill();
    await broker.behave({ startDelayMs: 2_000 });
    expect(await app.getAccounts()).toHaveLength(1);
    await broker.kill();
    await broker.behave({ startDelayMs: 5_000 });
    expect(await failure(impatient.getAccounts())).toMatchObject({
      ...{ code: "timed_out", hint: expect.stringContaining("Restart it"), correlationId: expect.any(String) },
    });
  });

  test("cannot start it again, says so, and starts it when it can", async () => {
    const app = makeApp();
    await app.getAccounts();
    await broker.kill();
    await stage.bus.addService("com.microsoft.identity.broker1", ["/bin/false"]);
    const error = await failure(silently(app));
    expect(error.code).toBe("broker_unavailable");
    expectHarmless(error);
    broker = await activatableFakeBroker(stage.bus);
    expect((await silently(app)).source).toBe("broker");
  });
});

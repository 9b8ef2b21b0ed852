/** A fake broker on a bus of its own for the tests of a suite, and applications that use it. */
import { afterAll, afterEach, beforeAll, expect } from "bun:test";
import { setTimeout as delay } from "node:timers/promises";
import { LatchkeyError, PublicClientApplication, type PublicClientApplicationOptions } from "../../mod.ts";
import type { Behaviour, Call } from "./behaviour.ts";
import { emptyKeyring, givenBus } from "./given_bus.ts";
import { type PrivateBus, startPrivateBus } from "./private_bus.ts";
import { type FakeBroker, startFakeBroker } from "./start_fake_broker.ts";
import { BROKER } from "./tested_broker.ts";

export const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
/** Tenant of the people at contoso.com. */
export const CONTOSO = "11111111-1111-1111-1111-111111111111";
export const JANE = { username: "jane@contoso.com" }, JOE = { username: "joe@contoso.com" };

/** What the fake keeps a memory of, so that the next test would see it. */
const LASTING = ["acquireTokenInteractively", "removeAccount", "signOutSilently"];

export interface FakeBrokerFixture {
  /** What it runs on. */
  bus(): PrivateBus;
  broker(): FakeBroker;
  /** An application that is closed after the test. */
  makeApp(options?: Partial<PublicClientApplicationOptions>): PublicClientApplication;
  /** Sets the whole behaviour: what was set earlier is gone. */
  behave(behaviour?: Partial<Behaviour>): Promise<void>;
  /** Waits until the broker got so many calls of a method, and gives them. */
  called(member: string, times?: number): Promise<Call[]>;
  /** The last request of a method. */
  requestOf(member: string): Promise<Call["request"]>;
  /** What the broker was asked for a token with, in order: silently and for whom, or by the window. */
  steps(): Promise<string[]>;
}

/** Starts it before the tests of the suite that calls this; each test finds a broker that nobody has used. */
export function useFakeBroker(): FakeBrokerFixture {
  let bus: PrivateBus, broker: FakeBroker;
  const apps: PublicClientApplication[] = [];

  beforeAll(async () => {
    bus = BROKER === "msalruntime" ? givenBus() : await startPrivateBus();
    process.env.DBUS_SESSION_BUS_ADDRESS = bus.address;
    broker = await startFakeBroker(bus);
  });

  afterEach(async () => {
    for (const app of apps.splice(0)) app.close();
    if ((await broker.calls()).some(({ member }) => LASTING.includes(member))) {
      await broker.kill();
      await broker.start();
    }
    await broker.forgetCalls();
    if (BROKER === "msalruntime") await emptyKeyring(bus.address);
  });

  afterAll(async () => {
    await broker.stop();
    await bus.stop();
  });

  return {
    bus: () => bus,
    broker: () => broker,
    makeApp(options = {}) {
      const app = new PublicClientApplication({ clientId: CLIENT_ID, enableBrokerOnLinux: true, ...options });
      apps.push(app);
      return app;
    },
    async behave(behaviour = {}) {
      const normal = {
        sender: "microsoft-2.5.2",
        accounts: [JANE],
        defaultAccount: JANE.username,
        tokenLifetimeSeconds: 4000,
        replies: {},
      } as const;
      await broker.behave({ ...normal, startDelayMs: 0, pingDelayMs: 0, noPing: false, ...behaviour });
    },
    async called(member, times = 1) {
      for (;;) {
        const calls = await broker.calls(member);
        if (calls.length >= times) return calls;
        await delay(1);
      }
    },
    requestOf: async (member) => (await broker.calls(member)).at(-1)!.request,
    steps: async () =>
      (await broker.calls()).flatMap(({ member, request }) => {
        if (member === "acquireTokenInteractively") return ["window"];
        const { account } = request?.authParameters ?? {};
        return member === "acquireTokenSilently" ? [`silently ${account?.username ?? "whoever is signed in"}`] : [];
      }),
  };
}

/** What a call fails with; an error of ours. */
export async function failure(promise: Promise<unknown>): Promise<LatchkeyError> {
  try {
    await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(LatchkeyError);
    return error as LatchkeyError;
  }
  throw new Error("it did not fail");
}

/** A bus with a broker on it, on which failures are played. */
import { setTimeout as delay } from "node:timers/promises";
import type { Behaviour } from "./behaviour.ts";
import type { Failure, Method } from "./failures.ts";
import { type PrivateBus, startPrivateBus } from "./private_bus.ts";
import { type FakeBroker, prepareFakeBroker, startFakeBroker } from "./start_fake_broker.ts";

export interface Stage {
  readonly bus: PrivateBus;
  readonly broker: FakeBroker;
  /** Another process that takes the broker's name when it is started. */
  readonly rival: FakeBroker;
}

const NORMAL: Behaviour = { sender: "microsoft-2.5.2", accounts: [{ username: "jane@contoso.com" }], replies: {} };

export async function startStage(): Promise<Stage> {
  const bus = await startPrivateBus();
  const rival = await prepareFakeBroker(bus, { ...NORMAL, takesName: true });
  return { bus, broker: await startFakeBroker(bus, NORMAL), rival };
}

export async function endStage({ bus, broker, rival }: Stage): Promise<void> {
  await rival.kill();
  await broker.stop();
  await bus.stop();
}

/** A failure as it is played. */
export interface Play<T> {
  readonly failure: Failure;
  /** The method that it happens to. */
  readonly method: Method;
  /** Calls the method; what it fails with is its result. */
  readonly call: () => Promise<T>;
  /** Looks at the result while the broker is well again. */
  readonly afterwards: (result: T) => void | Promise<void>;
}

/** Plays a failure, and leaves the stage as it was. */
export async function play<T>(
  stage: Stage,
  { failure, method, call, afterwards }: Play<T>,
): Promise<void> {
  const { broker } = stage;
  await broker.behave({ replies: { [method]: failure.replies[method]! } });
  try {
    await failure.before?.(stage);
    let isUnderWay = true;
    const called = call().finally(() => isUnderWay = false);
    if (failure.meanwhile) {
      while (isUnderWay && (await broker.calls(method)).length === 0) await delay(1);
      await failure.meanwhile(stage);
    }
    const result = await called;
    await broker.behave(NORMAL);
    await failure.mend?.(stage);
    await afterwards(result);
  } finally {
    await broker.behave(NORMAL);
    await failure.restore?.(stage);
  }
}

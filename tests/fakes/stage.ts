/** A bus with a broker on it, on which failures are played. */
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

const NORMAL: Behaviour = { sender: "microsoft-2.5.0", accounts: [{ username: "jane@contoso.com" }], replies: {} };

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
  /** Calls the method, by as many callers as are said; what they fail with is their result. */
  readonly call: () => Promise<T>;
  /** @default 1 */
  readonly callers?: number;
  /** Looks at the result while the broker is well again. */
  readonly afterwards: (result: T) => void | Promise<void>;
}

/** Plays a failure, and leaves the stage as it was. */
export async function play<T>(
  stage: Stage,
  { failure, method, call, callers = 1, afterwards }: Play<T>,
): Promise<void> {
  const { broker } = stage;
  await broker.behave({ replies: { [method]: failure.replies[method]! } });
  try {
    await failure.before?.(stage);
    const called = call();
    if (failure.meanwhile) {
      while ((await broker.calls(method)).length < callers) await new Promise((resolve) => setTimeout(resolve, 1));
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

/** Microsoft's client beside our fake broker, with a bus and a keyring of their own. */
import type { Behaviour } from "../fakes/behaviour.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { addPrivateKeyring } from "../fakes/private_keyring.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { type MsalRuntime, startMsalRuntime } from "./start_msalruntime.ts";

/** Disposing of it ends all processes. */
export interface Pair extends AsyncDisposable {
  readonly bus: PrivateBus;
  readonly broker: FakeBroker;
  readonly client: MsalRuntime;
}

export async function startPair(behaviour: Partial<Behaviour> = {}): Promise<Pair> {
  const bus = await startPrivateBus();
  try {
    const broker = await startFakeBroker(bus, behaviour);
    await addPrivateKeyring(bus, "unlocked");
    const client = await startMsalRuntime(bus);
    return {
      bus,
      broker,
      client,
      async [Symbol.asyncDispose]() {
        await client.stop();
        await broker.stop();
        await bus.stop();
      },
    };
  } catch (error) {
    await bus.stop(); // and with it the broker
    throw error;
  }
}

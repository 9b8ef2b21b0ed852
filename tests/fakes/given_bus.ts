/** A bus that was there before the suite: Microsoft's library takes the address that its process was started with. */
import process from "node:process";
import { Message, sessionBus } from "dbus-next";
import { addBusService, type PrivateBus } from "./private_bus.ts";

/** Environment variable with the folder of the bus. */
export const BUS_FOLDER = "BUS_FOLDER";

/**
 * The bus that msalruntime_stage.ts started, which ends it as well.
 *
 * @throws {Error} when the suite was not started by it
 */
export function givenBus(): PrivateBus {
  const address = process.env.DBUS_SESSION_BUS_ADDRESS, directory = process.env[BUS_FOLDER];
  if (!address || !directory) throw new Error(`${BUS_FOLDER} names no folder of a bus`);
  const cannot = () => {
    throw new Error("The bus is another process's");
  };
  return {
    ...{ address, directory, restart: cannot, pause: cannot, resume: cannot },
    stop: () => Promise.resolve(),
    addService: (name, command) => addBusService({ address, directory }, name, command),
  };
}

/** Removes all that is in the keyring: Microsoft's library has its memory there, and nowhere else. */
export async function emptyKeyring(busAddress: string): Promise<void> {
  const client = sessionBus({ busAddress });
  const secrets = { destination: "org.freedesktop.secrets", path: "/org/freedesktop/secrets" };
  const search = { ...secrets, interface: "org.freedesktop.Secret.Service", member: "SearchItems" };
  const searched = () => client.call(new Message({ ...search, signature: "a{ss}", body: [{}] }));
  try {
    // Now and then gnome-keyring says to a client that it has yet to make out that it has no such method.
    const found = await searched().catch(searched);
    for (const path of found!.body.flat() as string[]) {
      await client.call(new Message({ ...secrets, path, interface: "org.freedesktop.Secret.Item", member: "Delete" }));
    }
  } finally {
    client.disconnect();
  }
}

/**
 * Keys in freedesktop's Secret Service: gnome-keyring, KWallet, KeePassXC.
 *
 * @module
 */
import { asKeyringError, KeyringError } from "../platform/keyring_error.ts";
import { openSessionBus } from "../platform/open_session_bus.ts";
import { readSecret, storeSecret } from "../platform/secret_item.ts";
import type { SessionBus } from "../platform/session_bus.ts";
import { KEY_LABEL, type KeyKeeper } from "./key_keeper.ts";
import type { KeySpot } from "./key_record.ts";

/** How long the keyring has to tell how it stands, in milliseconds: the bus may have to start it. */
const PROBE_MS = 25_000;

/** The Secret Service as a keeper of keys. */
export function secretServiceKeeper(): KeyKeeper<Extract<KeySpot, { place: "secret-service" }>> {
  return {
    put: (key, call) =>
      withBus(async (bus) => {
        const secret = { label: KEY_LABEL, attributes: attributesOf(key.id), text: key.text };
        const { collection } = await storeSecret(bus, secret, call);
        return { place: "secret-service", collection };
      }),
    get: ({ id, spot }, call) =>
      withBus((bus) => readSecret(bus, { attributes: attributesOf(id), collection: spot.collection }, call)),
    probe: ({ signal }) =>
      withBus(async (bus) => {
        const { readSecretService } = await import("../platform/secret_service.ts");
        const { state } = await readSecretService(bus, { timeoutMs: PROBE_MS, signal });
        if (state === "missing") throw new KeyringError("no_service");
        if (state === "no_default") throw new KeyringError("no_keyring");
        if (state === "locked") throw new KeyringError("locked");
      }),
  };
}

/** As libsecret does it, the kind of item is among what it is found by. */
function attributesOf(id: string): Readonly<Record<string, string>> {
  return { "xdg:schema": "org.latchkey.StoreKey", application: "latchkey", key: id };
}

async function withBus<T>(work: (bus: SessionBus) => Promise<T>): Promise<T> {
  let bus;
  try {
    bus = await openSessionBus();
    return await work(bus);
  } catch (error) {
    throw asKeyringError(error);
  } finally {
    bus?.close();
  }
}

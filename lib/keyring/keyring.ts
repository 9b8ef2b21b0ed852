/**
 * The keyrings that keep a key for the user: freedesktop's Secret Service, the macOS Keychain, and Windows' Data
 * Protection API. The code of each is loaded when it is used.
 *
 * @module
 */
import type { SessionBus } from "../dbus/bus.ts";
import { operatingSystem } from "../runtime/host.ts";
import { asKeyringError, KeyringError } from "./errors.ts";
import type { PromptCall } from "./secret_service.ts";

export type KeyLocation = KeyReference["place"];

/** Place of a key, and what is needed to get it from there. These are fields of `key.json`. */
export type KeyReference =
  | { readonly place: "secret-service"; readonly collection: string } // the object path of the keyring
  | { readonly place: "keychain" }
  | { readonly place: "dpapi"; readonly protected: string } // base64, encrypted for this user of this machine
  | { readonly place: "file"; readonly key: string }; // the key itself, as base64

type ReferenceTo<Place extends KeyLocation> = Extract<KeyReference, { readonly place: Place }>;

/** A keyring. Texts are keys, as base64. All calls throw a {@linkcode KeyringError} if it cannot be used now. */
interface Keyring<Place extends KeyLocation> {
  readonly place: Place;
  put(key: { readonly id: string; readonly text: string }, call: PromptCall): Promise<ReferenceTo<Place>>;
  /** Returns the key; `undefined` if it is lost. */
  get(
    key: { readonly id: string; readonly reference: ReferenceTo<Place> },
    call: PromptCall,
  ): Promise<string | undefined>;
  /** Checks if a key could be kept. Nobody is prompted, and nothing changes. */
  probe(call: PromptCall): Promise<void>;
}

/** Name that users see in their keyring. */
const KEY_LABEL = "latchkey: key of the token cache";
/** Timeout of a probe in milliseconds: the bus may have to start the keyring. */
const PROBE_MS = 25_000;

/** Returns this system's keyring. */
export function findKeyring(): Keyring<"secret-service"> | Keyring<"keychain"> | Keyring<"dpapi"> {
  switch (operatingSystem()) {
    case "darwin":
      return KEYCHAIN;
    case "win32":
      return DPAPI;
    default:
      return SECRET_SERVICE;
  }
}

const KEYCHAIN: Keyring<"keychain"> = {
  place: "keychain",
  async put({ id, text }, call) {
    const { writeKeychain } = await import("./system.ts");
    await writeKeychain({ service: "latchkey", account: id, label: KEY_LABEL, text }, call);
    return { place: "keychain" };
  },
  async get({ id }, call) {
    const { readKeychain } = await import("./system.ts");
    return await readKeychain({ service: "latchkey", account: id }, call);
  },
  // To ask if it is locked would prompt for its password.
  probe: () => Promise.resolve(),
};

const DPAPI: Keyring<"dpapi"> = {
  place: "dpapi",
  async put({ text }, call) {
    const { protect } = await import("./system.ts");
    return { place: "dpapi", protected: await protect(text, call) };
  },
  async get({ reference }, call) {
    const { unprotect } = await import("./system.ts");
    return await unprotect(reference.protected, call);
  },
  probe: () => Promise.resolve(),
};

const SECRET_SERVICE: Keyring<"secret-service"> = {
  place: "secret-service",
  put: ({ id, text }, call) =>
    withBus(async (bus) => {
      const { storeSecret } = await import("./secret_service.ts");
      const { collection } = await storeSecret(bus, { label: KEY_LABEL, attributes: attributesOf(id), text }, call);
      return { place: "secret-service", collection };
    }),
  get: ({ id, reference: { collection } }, call) =>
    withBus(async (bus) => {
      const { readSecret } = await import("./secret_service.ts");
      return await readSecret(bus, { attributes: attributesOf(id), collection }, call);
    }),
  probe: ({ signal }) =>
    withBus(async (bus) => {
      const { readSecretService } = await import("./secret_service.ts");
      const { state } = await readSecretService(bus, { timeoutMs: PROBE_MS, signal });
      const problems = { missing: "no_service", no_default: "no_keyring", locked: "locked" } as const;
      if (state !== "unlocked") throw new KeyringError(problems[state]);
    }),
};

/** As with libsecret, the schema is among the attributes. */
function attributesOf(id: string): Readonly<Record<string, string>> {
  return { "xdg:schema": "org.latchkey.StoreKey", application: "latchkey", key: id };
}

async function withBus<T>(work: (bus: SessionBus) => Promise<T>): Promise<T> {
  let bus;
  try {
    const { openSessionBus } = await import("../dbus/open.ts");
    bus = await openSessionBus();
    return await work(bus);
  } catch (error) {
    throw asKeyringError(error);
  } finally {
    bus?.close();
  }
}

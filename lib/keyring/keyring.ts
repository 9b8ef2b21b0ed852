/**
 * The keyrings that keep a key for the person who is logged in: freedesktop's Secret Service (gnome-keyring, KWallet, KeePassXC),
 * the macOS Keychain, and Windows' Data Protection API. The code of each is loaded when it is used.
 *
 * @module
 */
import type { SessionBus } from "../dbus/bus.ts";
import { operatingSystem } from "../runtime/host.ts";
import { asKeyringError, KeyringError } from "./errors.ts";
import type { PromptListener } from "./secret_service.ts";

/** Where a key is. */
export type KeyLocation = "secret-service" | "keychain" | "dpapi" | "file";

/** Where a key is, and what it takes to get it from there. */
export type KeyReference =
  | {
    readonly place: "secret-service";
    /** Object path of the keyring that has it. */
    readonly collection: string;
  }
  | { readonly place: "keychain" }
  | {
    readonly place: "dpapi";
    /** The key as base64, protected for this user on this machine. */
    readonly protected: string;
  }
  | {
    readonly place: "file";
    /** The key itself, as base64. */
    readonly key: string;
  };

/** What people see of a key in their keyring. */
const KEY_LABEL = "latchkey: key of the token cache";

/** How a key is asked for. */
export interface KeyringCall {
  /** Whether the keyring may ask the person. */
  readonly mayPrompt: boolean;
  /** How long they have, in milliseconds. */
  readonly promptMs: number;
  /** Called before the keyring shows a window of its own, where that is known. */
  readonly onPrompt?: PromptListener | undefined;
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A keyring, or what does for one. Texts are keys, as base64. */
interface Keyring<Location extends KeyReference = KeyReference> {
  /**
   * Keeps a key.
   *
   * @returns Where it is.
   * @throws {KeyringError} when it cannot be kept there now.
   */
  put(key: { readonly id: string; readonly text: string }, call: KeyringCall): Promise<Location>;
  /**
   * Gets a key.
   *
   * @returns The key; `undefined` when it is lost.
   * @throws {KeyringError} when it cannot be had now.
   */
  get(key: { readonly id: string; readonly location: Location }, call: KeyringCall): Promise<string | undefined>;
  /**
   * Sees whether a key could be kept; nobody is asked, and nothing changes.
   *
   * @throws {KeyringError} for what stands in the way.
   */
  probe(call: KeyringCall): Promise<void>;
}

/** A keyring, and where its keys are. */
type FoundKeyring = {
  readonly [Location in KeyReference as Location["place"]]: NamedKeyring<Location>;
}[Exclude<KeyLocation, "file">];

interface NamedKeyring<Location extends KeyReference> {
  readonly place: Location["place"];
  readonly keyring: Keyring<Location>;
}

/** Where keys are kept on this system, apart from files. */
export function keyringPlace(): Exclude<KeyLocation, "file"> {
  switch (operatingSystem()) {
    case "darwin":
      return "keychain";
    case "win32":
      return "dpapi";
    default:
      return "secret-service";
  }
}

/** This system's keyring. Its code is loaded when it is used. */
export function findKeyring(): FoundKeyring {
  const place = keyringPlace();
  if (place === "secret-service") return { place, keyring: secretServiceKeyring() };
  return place === "keychain" ? { place, keyring: keychainKeyring() } : { place, keyring: dpapiKeyring() };
}

const SERVICE = "latchkey";

/** The macOS Keychain as a keyring of keys. */
function keychainKeyring(): Keyring<Extract<KeyReference, { place: "keychain" }>> {
  return {
    async put({ id, text }, call) {
      const { writeKeychain } = await import("./system.ts");
      await writeKeychain({ service: SERVICE, account: id, label: KEY_LABEL, text }, call);
      return { place: "keychain" };
    },
    async get({ id }, call) {
      const { readKeychain } = await import("./system.ts");
      return await readKeychain({ service: SERVICE, account: id }, call);
    },
    // Whether it is locked cannot be asked without being asked for its password.
    probe: () => Promise.resolve(),
  };
}

/** Windows' Data Protection API as a keyring of keys. */
function dpapiKeyring(): Keyring<Extract<KeyReference, { place: "dpapi" }>> {
  return {
    async put({ text }, call) {
      const { protect } = await import("./system.ts");
      return { place: "dpapi", protected: await protect(text, call) };
    },
    async get({ location }, call) {
      const { unprotect } = await import("./system.ts");
      return await unprotect(location.protected, call);
    },
    probe: () => Promise.resolve(),
  };
}

/** How long the keyring has to tell how it stands, in milliseconds: the bus may have to start it. */
const PROBE_MS = 25_000;

/** The Secret Service as a keyring of keys. */
function secretServiceKeyring(): Keyring<Extract<KeyReference, { place: "secret-service" }>> {
  return {
    put: (key, call) =>
      withBus(async (bus) => {
        const secret = { label: KEY_LABEL, attributes: attributesOf(key.id), text: key.text };
        const { storeSecret } = await import("./secret_service.ts");
        const { collection } = await storeSecret(bus, secret, call);
        return { place: "secret-service", collection };
      }),
    get: ({ id, location }, call) =>
      withBus(async (bus) => {
        const { readSecret } = await import("./secret_service.ts");
        return await readSecret(bus, { attributes: attributesOf(id), collection: location.collection }, call);
      }),
    probe: ({ signal }) =>
      withBus(async (bus) => {
        const { readSecretService } = await import("./secret_service.ts");
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
    const { openSessionBus } = await import("../dbus/open.ts");
    bus = await openSessionBus();
    return await work(bus);
  } catch (error) {
    throw asKeyringError(error);
  } finally {
    bus?.close();
  }
}

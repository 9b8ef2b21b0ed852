/**
 * Keys in the macOS Keychain, and keys that Windows protects.
 *
 * @module
 */
import { readKeychain, writeKeychain } from "../platform/keychain.ts";
import { protect, unprotect } from "../platform/dpapi.ts";
import { KEY_LABEL, type KeyKeeper } from "./key_keeper.ts";
import type { KeySpot } from "./key_record.ts";

const SERVICE = "latchkey";

/** The macOS Keychain as a keeper of keys. */
export function keychainKeeper(): KeyKeeper<Extract<KeySpot, { place: "keychain" }>> {
  return {
    async put({ id, text }, call) {
      await writeKeychain({ service: SERVICE, account: id, label: KEY_LABEL, text }, call);
      return { place: "keychain" };
    },
    get: ({ id }, call) => readKeychain({ service: SERVICE, account: id }, call),
    // Whether it is locked cannot be asked without being asked for its password.
    probe: () => Promise.resolve(),
  };
}

/** Windows' Data Protection API as a keeper of keys. */
export function dpapiKeeper(): KeyKeeper<Extract<KeySpot, { place: "dpapi" }>> {
  return {
    put: async ({ text }, call) => ({ place: "dpapi", protected: await protect(text, call) }),
    get: ({ spot }, call) => unprotect(spot.protected, call),
    probe: () => Promise.resolve(),
  };
}

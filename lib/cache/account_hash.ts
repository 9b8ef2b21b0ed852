/**
 * Names of files for accounts: ids can have any characters in them, and be of any length.
 *
 * @module
 */
import { idKey } from "../account.ts";

/** 32 hexadecimal digits that stand for an account, the same for all ways to write its id. */
export async function accountHash(homeAccountId: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(idKey(homeAccountId))));
  return [...hash.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

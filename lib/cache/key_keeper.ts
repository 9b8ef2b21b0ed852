/**
 * Who keeps a key for the person who is logged in.
 *
 * @module
 */
import type { PromptListener } from "../platform/secret_prompt.ts";
import type { KeySpot } from "./key_record.ts";

/** What people see of a key in their keyring. */
export const KEY_LABEL = "latchkey: key of the token cache";

/** How a key is asked for. */
export interface KeeperCall {
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
export interface KeyKeeper<Spot extends KeySpot = KeySpot> {
  /**
   * Keeps a key.
   *
   * @returns Where it is.
   * @throws {KeyringError} when it cannot be kept there now.
   */
  put(key: { readonly id: string; readonly text: string }, call: KeeperCall): Promise<Spot>;
  /**
   * Gets a key.
   *
   * @returns The key; `undefined` when it is lost.
   * @throws {KeyringError} when it cannot be had now.
   */
  get(key: { readonly id: string; readonly spot: Spot }, call: KeeperCall): Promise<string | undefined>;
  /**
   * Sees whether a key could be kept; nobody is asked, and nothing changes.
   *
   * @throws {KeyringError} for what stands in the way.
   */
  probe(call: KeeperCall): Promise<void>;
}

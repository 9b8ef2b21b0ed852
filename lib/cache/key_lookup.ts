/**
 * Looking for the key of a folder: in what is written down of it, and where that says it is.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { readPrivateFile } from "../platform/private_file.ts";
import { findKeyKeeper, keyringPlace } from "./find_key_keeper.ts";
import { cannotRead, nameOf } from "./key_failure.ts";
import type { KeeperCall } from "./key_keeper.ts";
import { type KeyPlace, type KeyRecord, readKey, readKeyRecord } from "./key_record.ts";

/** A key. */
export interface StoreKey {
  /** UUID that names it in what it seals; no secret. */
  readonly id: string;
  /** Its 32 bytes. No inspection prints them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it is kept. */
  readonly place: KeyPlace;
  /** For people: why it is kept there. */
  readonly why: string;
}

/** How a key is had. */
export interface StoreKeyOptions {
  /**
   * Where a new key is put; one that is there stays where it is. `keyring`: the Secret Service, the macOS Keychain, or what
   * Windows protects; `auto`: that where it can be used, else a file.
   *
   * @default "auto"
   */
  readonly keyPlace?: "auto" | "keyring" | "file" | undefined;
  /** Whether the keyring may ask the person to unlock or make it. The macOS Keychain decides that by itself. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** How long the person has to answer, in milliseconds. @default 120,000 */
  readonly promptMs?: number | undefined;
  /** A key that was had before: when it still is the one, it is given back and no keyring is asked. @default none */
  readonly known?: StoreKey | undefined;
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Takes log lines. @default none */
  readonly log?: Logger | undefined;
}

/** What was found of a key. */
export type KeyFinding =
  | { readonly state: "none" }
  | { readonly state: "damaged" }
  | { readonly state: "lost"; readonly record: KeyRecord }
  | { readonly state: "found"; readonly key: StoreKey };

/** How long a person has to answer, in milliseconds, when nothing else is said. */
export const PROMPT_MS = 120_000;

/** The window can be behind others: who waits at a terminal is told of it there. */
const PROMPT_NOTICES = {
  unlock: "The keyring asks to be unlocked, in a window of its own",
  make: "The keyring asks for the password of a new keyring, in a window of its own",
} as const;

/**
 * Looks for a key.
 *
 * @param folder Folder of what it seals.
 * @param options How it is had.
 * @returns What was found. Lost is a key that its place has not got any more.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency`, `invalid_response` when it cannot be had now.
 */
export async function lookForKey(folder: string, options: StoreKeyOptions): Promise<KeyFinding> {
  const record = await readRecord(folder, options);
  if (record === undefined) return { state: "none" };
  return record === "damaged" ? { state: "damaged" } : await getKey(folder, record, options);
}

/** What is written down of the key of a folder. */
export async function readRecord(
  folder: string,
  { signal }: StoreKeyOptions,
): Promise<KeyRecord | "damaged" | undefined> {
  const path = pathOf(folder), bytes = await readPrivateFile(path, { signal, isSecret: true });
  if (!bytes) return undefined;
  const record = readKeyRecord(bytes);
  if (record !== "unknown_place") return record ?? "damaged";
  throw new LatchkeyError("configuration", `${path} names a place for keys that is not known`, {
    hint: `Update latchkey, or move ${folder} away and sign in again`,
  });
}

/** The key that is written down, or that it is lost. */
export async function getKey(
  folder: string,
  record: KeyRecord,
  options: StoreKeyOptions,
): Promise<Extract<KeyFinding, { readonly state: "found" | "lost" }>> {
  if (options.known?.id === record.id) return { state: "found", key: options.known };
  const text = record.place === "file" ? record.key : await getFromKeeper(folder, record, options);
  if (text === undefined) return { state: "lost", record };
  const bytes = readKey(text);
  if (bytes) return { state: "found", key: keyOf(record, bytes) };
  throw new LatchkeyError("invalid_response", `What ${nameOf(record.place)} has under ${record.id} is no key`, {
    hint: `Remove that item from it, and sign in again`,
  });
}

async function getFromKeeper(
  folder: string,
  record: Exclude<KeyRecord, { readonly place: "file" }>,
  options: StoreKeyOptions,
): Promise<string | undefined> {
  if (record.place !== keyringPlace()) {
    throw new LatchkeyError(
      "configuration",
      `The key of the token cache in ${folder} is in ${nameOf(record.place)}, and this is another system`,
      { hint: `Choose another folder on this system, or move ${folder} away and sign in again` },
    );
  }
  const { keeper } = await findKeyKeeper();
  try {
    // The keeper of the record's own place, as was seen above.
    return await keeper.get({ id: record.id, spot: record as never }, keeperCall(options));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw cannotRead(error, { folder, place: record.place });
  }
}

/** How a keeper is asked. */
export function keeperCall({ mayPrompt = true, promptMs = PROMPT_MS, signal, log }: StoreKeyOptions): KeeperCall {
  return { mayPrompt, promptMs, signal, onPrompt: log && ((purpose) => log("warn", PROMPT_NOTICES[purpose])) };
}

/** A key out of its bytes. */
export function keyOf({ id, place, why }: KeyRecord, bytes: Uint8Array<ArrayBuffer>): StoreKey {
  return Object.defineProperty({ id, place, why } as StoreKey, "bytes", { get: () => bytes });
}

/** Path of what is written down. */
export function pathOf(folder: string): string {
  return `${folder}/key.json`;
}

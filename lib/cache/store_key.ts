/**
 * The key that an encrypted token cache is sealed with: made once, and looked for from then on where it was put.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { KeyringError } from "../platform/keyring_error.ts";
import { withLockFile } from "../platform/lock_file.ts";
import { readPrivateFile, replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
import { findKeyKeeper, keyringPlace } from "./find_key_keeper.ts";
import { cannotKeep, cannotRead, nameOf, reasonOf } from "./key_failure.ts";
import type { KeeperCall } from "./key_keeper.ts";
import {
  KEY_BYTES,
  type KeyPlace,
  type KeyRecord,
  type KeySpot,
  readKey,
  readKeyRecord,
  writeKey,
  writeKeyRecord,
} from "./key_record.ts";

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

/** How a key stands. */
export interface StoreKeyDescription {
  /** Where it is, or would be put. */
  readonly place: KeyPlace;
  /** Whether it has been made. */
  readonly isMade: boolean;
  /** For people: why it is, or would be, there. */
  readonly why: string;
  /** Why it cannot be had at once, without asking anybody. */
  readonly problem?: LatchkeyError | undefined;
}

/** What was found of a key. */
type Finding =
  | { readonly state: "none" }
  | { readonly state: "damaged" }
  | { readonly state: "lost"; readonly record: KeyRecord }
  | { readonly state: "found"; readonly key: StoreKey };

const PROMPT_MS = 120_000;
/** How long the making of a key takes when nobody has to be asked, at most, in milliseconds. */
const MAKING_MS = 60_000;
const ASKED_FOR = "a file was asked for";
const USABLE = "it is there and can be used";

/**
 * The key of a folder, made when there is none, or when it is lost.
 *
 * @param folder Folder of what it seals.
 * @param options How it is had.
 * @returns The key.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency`, `invalid_response` when the keyring that it is
 * in does not give it; `configuration`, `missing_dependency` when the folder cannot be used.
 */
export async function openStoreKey(folder: string, options: StoreKeyOptions = {}): Promise<StoreKey> {
  const finding = await lookFor(folder, options);
  if (finding.state === "found") return finding.key;
  return await alone(folder, options, async () => {
    const again = await lookFor(folder, options); // another process can have been here
    if (again.state === "found") return again.key;
    if (again.state !== "none") await setAside(folder, again, options);
    return await make(folder, options);
  });
}

/**
 * The key of a folder. None is made.
 *
 * @param folder Folder of what it seals.
 * @param options How it is had.
 * @returns The key; `undefined` when there is none, or when it is lost.
 * @throws {LatchkeyError} as {@linkcode openStoreKey}.
 */
export async function findStoreKey(folder: string, options: StoreKeyOptions = {}): Promise<StoreKey | undefined> {
  const finding = await lookFor(folder, options);
  if (finding.state === "found") return finding.key;
  if (finding.state === "none") return undefined;
  try {
    return await alone(folder, options, async () => {
      const again = await lookFor(folder, options);
      if (again.state === "found") return again.key;
      if (again.state !== "none") await setAside(folder, again, options);
      return undefined;
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof LatchkeyError)) throw error;
    options.log?.("warn", `${pathOf(folder)} has no key that can be used, and stays as it is: ${error.message}`);
    return undefined;
  }
}

/**
 * Tells how the key of a folder stands. Nobody is asked, and nothing changes.
 *
 * @param folder Folder of what it seals.
 * @param options How it would be had.
 * @returns How it stands.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when what is written down of it cannot be read.
 */
export async function describeStoreKey(folder: string, options: StoreKeyOptions = {}): Promise<StoreKeyDescription> {
  const quiet = { ...options, mayPrompt: false, log: undefined, known: undefined },
    record = await read(folder, options);
  if (record === undefined || record === "damaged") return await describeNext(folder, quiet);
  const { place, why } = record;
  try {
    const { state } = await find(folder, record, quiet);
    return { place, isMade: true, why, problem: state === "lost" ? lost(folder, record) : undefined };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof LatchkeyError)) throw error;
    return { place, isMade: true, why, problem: error };
  }
}

async function describeNext(folder: string, options: StoreKeyOptions): Promise<StoreKeyDescription> {
  const { keyPlace = "auto" } = options;
  if (keyPlace === "file") return { place: "file", isMade: false, why: ASKED_FOR };
  const { place, keeper } = await findKeyKeeper();
  try {
    await keeper.probe(keeperCall(options));
    return { place, isMade: false, why: USABLE };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!isUnusable(error)) throw error;
    // A person can still unlock it.
    const canBeMended = error instanceof KeyringError && ["locked", "no_keyring"].includes(error.problem);
    if (keyPlace === "auto" && !canBeMended) return { place: "file", isMade: false, why: reasonOf(error, place) };
    const problem = cannotKeep(error, { folder, place }) as LatchkeyError;
    return { place, isMade: false, why: "it is there", problem };
  }
}

async function lookFor(folder: string, options: StoreKeyOptions): Promise<Finding> {
  const record = await read(folder, options);
  if (record === undefined) return { state: "none" };
  return record === "damaged" ? { state: "damaged" } : await find(folder, record, options);
}

async function read(folder: string, { signal }: StoreKeyOptions): Promise<KeyRecord | "damaged" | undefined> {
  const path = pathOf(folder), bytes = await readPrivateFile(path, { signal });
  if (!bytes) return undefined;
  const record = readKeyRecord(bytes);
  if (record !== "unknown_place") return record ?? "damaged";
  throw new LatchkeyError("configuration", `${path} names a place for keys that is not known`, {
    hint: `Update latchkey, or move ${folder} away and sign in again`,
  });
}

async function find(folder: string, record: KeyRecord, options: StoreKeyOptions): Promise<Finding> {
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
    return await keeper.get({ id: record.id, spot: record as never }, keeperCall(options));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw cannotRead(error, { folder, place: record.place });
  }
}

async function make(folder: string, options: StoreKeyOptions): Promise<StoreKey> {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES)), id = crypto.randomUUID();
  const { spot, why } = await keep({ id, text: writeKey(bytes) }, folder, options);
  const record: KeyRecord = { id, why, ...spot };
  await replacePrivateFile(pathOf(folder), writeKeyRecord(record), options);
  return keyOf(record, bytes);
}

async function keep(
  key: { readonly id: string; readonly text: string },
  folder: string,
  options: StoreKeyOptions,
): Promise<{ readonly spot: KeySpot; readonly why: string }> {
  const { keyPlace = "auto", signal, log } = options, inFile = { place: "file", key: key.text } as const;
  if (keyPlace === "file") return { spot: inFile, why: ASKED_FOR };
  const { place, keeper } = await findKeyKeeper();
  try {
    const spot = await keeper.put(key, keeperCall(options));
    log?.("info", `The key of the token cache was put into ${nameOf(place)}`);
    return { spot, why: USABLE };
  } catch (error) {
    signal?.throwIfAborted();
    if (keyPlace === "keyring" || !isUnusable(error)) throw cannotKeep(error, { folder, place });
    const why = reasonOf(error, place),
      isUsual = error instanceof KeyringError && /^no_(bus|service)$/.test(error.problem);
    const hint = error instanceof LatchkeyError && error.hint ? ` (${error.hint})` : "";
    log?.(isUsual ? "info" : "warn", `The key of the token cache is in ${pathOf(folder)}: ${why}${hint}`);
    return { spot: inFile, why };
  }
}

/** Whether a keyring cannot be used, as opposed to a mistake of ours. */
function isUnusable(error: unknown): error is KeyringError | LatchkeyError {
  return error instanceof KeyringError || error instanceof LatchkeyError;
}

async function setAside(folder: string, finding: Finding, { log }: StoreKeyOptions): Promise<void> {
  const place = await setAsideFile(pathOf(folder));
  const what = finding.state === "lost" ? lost(folder, finding.record).message : `${pathOf(folder)} is damaged`;
  log?.("warn", `${what}; set aside as ${place}. What was sealed with that key cannot be read: sign in again`);
}

function lost(folder: string, { place }: KeyRecord): LatchkeyError {
  return new LatchkeyError(
    "configuration",
    `The key of the token cache in ${folder} is lost: ${nameOf(place)} has not got it any more`,
    { hint: "Sign in again" },
  );
}

/** Processes that come at the same time make one key. Who is asked for a password takes their time. */
async function alone<T>(folder: string, { signal, promptMs = PROMPT_MS }: StoreKeyOptions, work: () => Promise<T>) {
  return await withLockFile(`${folder}/key.lockfile`, work, { signal, waitMs: promptMs + MAKING_MS });
}

function keeperCall({ mayPrompt = true, promptMs = PROMPT_MS, signal }: StoreKeyOptions): KeeperCall {
  return { mayPrompt, promptMs, signal };
}

function keyOf({ id, place, why }: KeyRecord, bytes: Uint8Array<ArrayBuffer>): StoreKey {
  return Object.defineProperty({ id, place, why } as StoreKey, "bytes", { get: () => bytes });
}

function pathOf(folder: string): string {
  return `${folder}/key.json`;
}

/**
 * The key that an encrypted token cache is sealed with: made once, and looked for from then on where it was put.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { KeyringError } from "../platform/keyring_error.ts";
import { withLockFile } from "../platform/lock_file.ts";
import { replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
import { findKeyKeeper } from "./find_key_keeper.ts";
import { cannotKeep, nameOf, reasonOf } from "./key_failure.ts";
import {
  getKey,
  keeperCall,
  type KeyFinding,
  keyOf,
  lookForKey,
  pathOf,
  PROMPT_MS,
  readRecord,
  type StoreKey,
  type StoreKeyOptions,
} from "./key_lookup.ts";
import { KEY_BYTES, type KeyPlace, type KeyRecord, type KeySpot, writeKey, writeKeyRecord } from "./key_record.ts";

export type { StoreKey, StoreKeyOptions } from "./key_lookup.ts";

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
  const finding = await lookForKey(folder, options);
  if (finding.state === "found") return finding.key;
  return await alone(folder, options, async () => {
    const again = await lookForKey(folder, options); // another process can have been here
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
  const finding = await lookForKey(folder, options);
  if (finding.state === "found") return finding.key;
  if (finding.state === "none") return undefined;
  try {
    return await alone(folder, options, async () => {
      const again = await lookForKey(folder, options);
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
    record = await readRecord(folder, options);
  if (record === undefined || record === "damaged") return await describeNext(folder, quiet);
  const { place, why } = record;
  try {
    const { state } = await getKey(folder, record, quiet);
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

async function setAside(folder: string, finding: KeyFinding, { log }: StoreKeyOptions): Promise<void> {
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
async function alone<T>(
  folder: string,
  { signal, promptMs = PROMPT_MS }: StoreKeyOptions,
  work: () => Promise<T>,
): Promise<T> {
  return await withLockFile(`${folder}/key.lockfile`, work, { signal, waitMs: promptMs + MAKING_MS });
}

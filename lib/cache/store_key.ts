/**
 * The key that an encrypted token cache is sealed with: made once, and looked for from then on where it was put.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { KeyringError } from "../platform/keyring_error.ts";
import { withLock } from "../platform/lock.ts";
import { replacePrivateFile, setAsideFile } from "../platform/private_file.ts";
import { findKeyKeeper } from "./find_key_keeper.ts";
import { cannotKeep, keyLost, mayBeInFile, nameOf, reasonOf, wayOutOfFile } from "./key_failure.ts";
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

type Lost = Extract<KeyFinding, { readonly state: "lost" | "damaged" }>;

/** How long the making of a key takes when nobody has to be asked, at most, in milliseconds. */
const MAKING_MS = 60_000;
/** How long that goes on before it is said what is waited for, in milliseconds. */
const QUIET_MS = 2000;
const WAITING = "Another program makes the key of the token cache, and may wait for somebody to unlock the keyring";
const ASKED_FOR = "a file was asked for";
const USABLE = "it is there and can be used";
const DAMAGED = "what was written down of it is damaged";

/**
 * The key of a folder, made when there is none, or when it is lost: then what was written down of it is set aside, and a
 * warning logged.
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
    return again.state === "found" ? again.key : await make(folder, again, options);
  });
}

/**
 * The key of a folder. None is made, and nothing changes: what is lost here, another session can still have.
 *
 * @param folder Folder of what it seals.
 * @param options How it is had.
 * @returns The key; `undefined` when there is none.
 * @throws {LatchkeyError} `configuration` when it is lost; else as {@linkcode openStoreKey}.
 */
export async function findStoreKey(folder: string, options: StoreKeyOptions = {}): Promise<StoreKey | undefined> {
  const finding = await lookForKey(folder, options);
  if (finding.state === "found") return finding.key;
  if (finding.state === "none") return undefined;
  throw lost(folder, finding);
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
  if (record === undefined) return await describeNext(folder, quiet);
  if (record === "damaged") {
    return { place: "file", isMade: true, why: DAMAGED, problem: lost(folder, { state: record }) };
  }
  const { place, why } = record;
  try {
    const finding = await getKey(folder, record, quiet);
    return { place, isMade: true, why, problem: finding.state === "found" ? undefined : lost(folder, finding) };
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
    const problem = keyPlace === "auto" && canBeMended
      ? mayBeInFile(error, { folder, place })
      : cannotKeep(error, { folder, place }) as LatchkeyError;
    return { place, isMade: false, why: "it is there", problem };
  }
}

/** Nothing is set aside before there is a key to take its place. */
async function make(
  folder: string,
  before: Lost | { readonly state: "none" },
  options: StoreKeyOptions,
): Promise<StoreKey> {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES)), id = crypto.randomUUID();
  const { spot, why } = await keep({ id, text: writeKey(bytes) }, folder, options);
  const record: KeyRecord = { id, why, ...spot };
  if (before.state !== "none") await setAside(folder, before, options);
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
    log?.(
      isUsual ? "info" : "warn",
      `The key of the token cache goes into ${pathOf(folder)}: ${why}${hint}. ` +
        `To move it into ${nameOf(place)}: ${wayOutOfFile(error, folder)}`,
    );
    return { spot: inFile, why };
  }
}

/** Whether a keyring cannot be used, as opposed to a mistake of ours. */
function isUnusable(error: unknown): error is KeyringError | LatchkeyError {
  return error instanceof KeyringError || error instanceof LatchkeyError;
}

async function setAside(folder: string, finding: Lost, { log }: StoreKeyOptions): Promise<void> {
  const { message } = lost(folder, finding), place = await setAsideFile(pathOf(folder));
  log?.(
    "warn",
    `${message}; set aside as ${place}. There is a new key now. What was sealed with the old one cannot be read: ` +
      `accounts that were kept have to sign in again`,
  );
}

function lost(folder: string, finding: Lost): LatchkeyError {
  return keyLost({ folder, place: finding.state === "lost" ? finding.record.place : undefined });
}

/** Processes that come at the same time make one key. Who is asked for a password takes their time. */
async function alone<T>(
  folder: string,
  { signal, promptMs = PROMPT_MS, log }: StoreKeyOptions,
  work: () => Promise<T>,
): Promise<T> {
  const notice = log && setTimeout(log, QUIET_MS, "warn", WAITING);
  try {
    return await withLock(`${folder}/key.lockfile`, async () => (clearTimeout(notice), await work()), {
      signal,
      waitMs: promptMs + MAKING_MS,
    });
  } finally {
    clearTimeout(notice);
  }
}

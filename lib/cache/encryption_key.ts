/**
 * The key that a token cache is encrypted with: made once, and put into the user's keyring or into a file. `key.json`,
 * beside the encrypted file, says where it is.
 *
 * @module
 */
import { type Clock, runtimeClock } from "../async.ts";
import { encodeBase64, isBase64, isGuid, readJson, readText } from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import { type Lock, withLock } from "../files/lock.ts";
import { readPrivateFile, replacePrivateFile, setAsideFile } from "../files/private_files.ts";
import { KeyringError, type KeyringProblem } from "../keyring/errors.ts";
import { findKeyring, type KeyLocation, type KeyReference } from "../keyring/keyring.ts";
import type { PromptCall } from "../keyring/secret_service.ts";
import { pathIn } from "../runtime/path.ts";

export interface EncryptionKey {
  /** UUID that names it in the encrypted file. It is not secret. */
  readonly id: string;
  /** Its 32 bytes. No inspection prints them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly place: KeyLocation;
  /** Reason for the place, for people. */
  readonly why: string;
}

export interface EncryptionKeyOptions {
  /**
   * Place of a new key; an existing one stays where it is. `keyring`: the Secret Service, the macOS Keychain, or
   * Windows' DPAPI; `auto`: the keyring if it can be used, else a file.
   *
   * @default "auto"
   */
  readonly keyLocation?: "auto" | "keyring" | "file" | undefined;
  /** True if the keyring may prompt the user. The macOS Keychain decides that by itself. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** A key that was read before: if it still is the one, no keyring is used. @default none */
  readonly known?: EncryptionKey | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly log?: Logger | undefined;
  /** Clock of the waits for the user and for other programs. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** State of a key, or of a future key. */
interface EncryptionKeyDescription extends Pick<EncryptionKey, "place" | "why"> {
  readonly isMade: boolean;
  /** Why it cannot be read at once, without a prompt. */
  readonly problem?: LatchkeyError | undefined;
}

/** `key.json`: the fields of its place, and these. */
export type KeyRecord = Pick<EncryptionKey, "id" | "why"> & KeyReference;

/** `key.json` without its key: the key is lost. */
type LostRecord = KeyRecord | "damaged";

/** Limit of keys that other processes make while the user is prompted. */
const MAX_ATTEMPTS = 5;
/** Time that it takes at most to make a key without a prompt, in milliseconds. */
const MAKING_MS = 60_000;
/** Time until a wait is logged, in milliseconds. */
const QUIET_MS = 2000;
const KEY_BYTES = 32;

const ASKED_FOR = "a file was asked for";
const USABLE = "it is there and can be used";
const WAITING =
  "Another program is making the key of the token cache, and may be waiting for somebody to unlock the keyring";
/** The window can be behind others, so a terminal says that there is one. */
const PROMPT_NOTICES = {
  unlock: "The keyring asks to be unlocked, in a window of its own",
  make: "The keyring asks for the password of a new keyring, in a window of its own",
} as const;

/** Another process took the lock over, or made a key. */
class Overtaken extends Error {}

/**
 * Returns the key of the encrypted file's folder, and makes one if it is missing. If it is lost, its `key.json` is set
 * aside with a warning.
 *
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency`, `invalid_response` if the keyring does
 * not give the key; `configuration`, `missing_dependency` if the folder cannot be used.
 */
export async function openEncryptionKey(folder: string, options: EncryptionKeyOptions = {}): Promise<EncryptionKey> {
  for (let attempt = 1;; attempt++) {
    const { key } = await lookForKey(folder, options);
    if (key) return key;
    try {
      return await underLock(folder, options, async (lock) => {
        const { key, record } = await lookForKey(folder, options); // another process may have made one
        return key ?? await makeKey(folder, record, { ...options, lock });
      });
    } catch (error) {
      if (!(error instanceof Overtaken) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/**
 * Returns the key of a folder; `undefined` if it is missing. Nothing changes: another session can still have a lost
 * key.
 *
 * @throws {LatchkeyError} `configuration` if it is lost; else as {@linkcode openEncryptionKey}.
 */
export async function findEncryptionKey(
  folder: string,
  options: EncryptionKeyOptions = {},
): Promise<EncryptionKey | undefined> {
  const { key, record } = await lookForKey(folder, options);
  if (key === undefined && record !== undefined) throw keyLost(folder, record);
  return key;
}

/**
 * Describes the key of a folder. Nobody is prompted, and nothing changes.
 *
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if `key.json` cannot be read.
 */
export async function describeEncryptionKey(
  folder: string,
  options: EncryptionKeyOptions = {},
): Promise<EncryptionKeyDescription> {
  const quiet = { ...options, mayPrompt: false, log: undefined, known: undefined };
  const record = await readRecord(folder, options);
  if (record === undefined) return await describeNewKey(folder, quiet);
  const { place, why } = record === "damaged" ? { place: "file", why: "key.json is damaged" } as const : record;
  try {
    const key = record === "damaged" ? undefined : await getKey(folder, record, quiet);
    return { place, isMade: true, why, problem: key ? undefined : keyLost(folder, record) };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof LatchkeyError)) throw error;
    return { place, isMade: true, why, problem: error };
  }
}

async function describeNewKey(folder: string, options: EncryptionKeyOptions): Promise<EncryptionKeyDescription> {
  const { keyLocation = "auto" } = options;
  if (keyLocation === "file") return { place: "file", isMade: false, why: ASKED_FOR };
  const keyring = findKeyring();
  const { place } = keyring;
  try {
    await keyring.probe(promptCall(options));
    return { place, isMade: false, why: USABLE };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!isUnusable(error)) throw error;
    let problem = cannotKeep(error, folder, place) as LatchkeyError;
    if (keyLocation === "auto") {
      const canBeFixed = error instanceof KeyringError && ["locked", "no_keyring"].includes(error.problem);
      if (!canBeFixed) return { place: "file", isMade: false, why: reasonOf(error, place) };
      problem = mayBeInFile(error, folder, place);
    }
    return { place, isMade: false, why: "it is running", problem };
  }
}

/** Returns the key, and `key.json`. If there is no key, it is lost or was never made. */
async function lookForKey(
  folder: string,
  options: EncryptionKeyOptions,
): Promise<{ readonly key?: EncryptionKey | undefined; readonly record: LostRecord | undefined }> {
  const record = await readRecord(folder, options);
  if (record === undefined || record === "damaged") return { record };
  return { record, key: await getKey(folder, record, options) };
}

async function readRecord(folder: string, { signal }: EncryptionKeyOptions): Promise<LostRecord | undefined> {
  const path = pathOf(folder);
  const bytes = await readPrivateFile(path, { signal, isSecret: true });
  if (!bytes) return undefined;
  const record = readKeyRecord(bytes);
  if (record !== "unknown_place") return record ?? "damaged";
  throw new LatchkeyError("configuration", `${path} names an unknown place for keys`, {
    remedy: `Update latchkey, or move ${folder} away and sign in again`,
  });
}

/** Returns the key of a record; `undefined` if its place does not have it. */
async function getKey(
  folder: string,
  record: KeyRecord,
  options: EncryptionKeyOptions,
): Promise<EncryptionKey | undefined> {
  if (options.known?.id === record.id) return options.known;
  const text = record.place === "file" ? record.key : await getFromKeyring(folder, record, options);
  if (text === undefined) return undefined;
  const bytes = readKey(text);
  if (bytes) return keyOf(record, bytes);
  throw new LatchkeyError("invalid_response", `The item ${record.id} in ${NAMES[record.place]} is not a key`, {
    remedy: `Remove that item from it, and sign in again`,
  });
}

async function getFromKeyring(
  folder: string,
  record: Exclude<KeyRecord, { readonly place: "file" }>,
  options: EncryptionKeyOptions,
): Promise<string | undefined> {
  const keyring = findKeyring();
  const { id, place } = record;
  if (place !== keyring.place) {
    const message = `The key of the token cache in ${folder} is in ${NAMES[place]}, which this system does not have`;
    throw new LatchkeyError("configuration", message, {
      remedy: `Choose another folder on this system, or move ${folder} away and sign in again`,
    });
  }
  try {
    return await keyring.get({ id, reference: record as never }, promptCall(options));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw keyringFailure(error, place, {
      doing: `Cannot read the token cache in ${folder}`,
      alternative: {
        kind: "choose_store",
        when: "To go on without it",
        or: advice(`Move ${folder} away and sign in again`),
      },
    });
  }
}

/**
 * Makes a key. `key.json` is not set aside before there is a new key. While the user is prompted, this process can be
 * stopped, and another one can make a key and use it: then that key counts.
 */
async function makeKey(
  folder: string,
  before: LostRecord | undefined,
  { lock, ...options }: EncryptionKeyOptions & { readonly lock: Lock },
): Promise<EncryptionKey> {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const id = crypto.randomUUID();
  const { signal, log } = options;
  const { reference, why } = await keepKey({ id, text: encodeBase64(bytes) }, folder, options);
  const record: KeyRecord = { id, why, ...reference };
  const beforeRenaming = () => {
    if (!lock.isHeld()) throw new Overtaken();
  };
  const idIn = (record: LostRecord | undefined) => typeof record === "object" ? record.id : record;
  if (idIn(await readRecord(folder, options)) !== idIn(before)) throw new Overtaken();
  if (before !== undefined) {
    const aside = await setAsideFile(pathOf(folder), { signal, beforeRenaming });
    const { message } = keyLost(folder, before);
    log?.(
      "warn",
      `${message}; key.json was set aside as ${aside}. A new key replaces it. Files that were encrypted with the old one cannot ` +
        `be read: their accounts have to sign in again`,
    );
  }
  await replacePrivateFile(pathOf(folder), writeKeyRecord(record), { signal, beforeRenaming });
  return keyOf(record, bytes);
}

async function keepKey(
  key: { readonly id: string; readonly text: string },
  folder: string,
  options: EncryptionKeyOptions,
): Promise<{ readonly reference: KeyReference; readonly why: string }> {
  const { keyLocation = "auto", signal, log } = options;
  const inFile = { place: "file", key: key.text } as const;
  if (keyLocation === "file") return { reference: inFile, why: ASKED_FOR };
  const keyring = findKeyring();
  const { place } = keyring;
  try {
    const reference = await keyring.put(key, promptCall(options));
    log?.("info", `The key of the token cache was put into ${NAMES[place]}`);
    return { reference, why: USABLE };
  } catch (error) {
    signal?.throwIfAborted();
    if (keyLocation === "keyring" || !isUnusable(error)) throw cannotKeep(error, folder, place);
    const why = reasonOf(error, place);
    // Linux may have no keyring. The other systems always have theirs, so a key in a file is worth a warning there.
    const isUsual = error instanceof KeyringError && ["no_bus", "no_service"].includes(error.problem);
    const hint = error instanceof LatchkeyError && error.hint ? ` (${error.hint})` : "";
    const first = error instanceof KeyringError && place === "secret-service"
      ? PROBLEMS[error.problem].step
      : "fix that";
    log?.(
      isUsual ? "info" : "warn",
      `The key of the token cache goes into ${pathOf(folder)}: ${why}${hint}. ` +
        `To move it into ${NAMES[place]}: ${first}, move ${folder} away, and sign in again`,
    );
    return { reference: inFile, why };
  }
}

/** Returns true if a keyring cannot be used, as opposed to a defect of ours. */
function isUnusable(error: unknown): error is KeyringError | LatchkeyError {
  return error instanceof KeyringError || error instanceof LatchkeyError;
}

/** Lets processes that start at the same time make one key. */
async function underLock<T>(
  folder: string,
  { signal, log, clock = runtimeClock }: EncryptionKeyOptions,
  work: (lock: Lock) => Promise<T>,
): Promise<T> {
  const { PROMPT_MS } = await import("../keyring/secret_service.ts");
  const waiting = new AbortController();
  const workUnderLock = async (lock: Lock) => {
    waiting.abort();
    return await work(lock);
  };
  if (log) void clock.delay(QUIET_MS, waiting.signal).then(() => log("warn", WAITING), () => {}); // the end of the wait
  try {
    const options = { signal, clock, waitMs: PROMPT_MS + MAKING_MS };
    return await withLock(pathIn(folder, "key.lockfile"), workUnderLock, options);
  } finally {
    waiting.abort();
  }
}

function promptCall({ mayPrompt = true, signal, log, clock }: EncryptionKeyOptions): PromptCall {
  return {
    mayPrompt,
    signal,
    clock,
    onPrompt: log && ((purpose) => log("warn", PROMPT_NOTICES[purpose])),
  };
}

function keyOf({ id, place, why }: KeyRecord, bytes: Uint8Array<ArrayBuffer>): EncryptionKey {
  return Object.defineProperty({ id, place, why } as EncryptionKey, "bytes", { get: () => bytes });
}

function pathOf(folder: string): string {
  return pathIn(folder, "key.json");
}

/** Returns the bytes of `key.json`. */
export function writeKeyRecord(record: KeyRecord): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`);
}

/** Reads `key.json`. Returns `unknown_place` for a later version's, and `undefined` for a damaged one. */
export function readKeyRecord(bytes: Uint8Array): KeyRecord | "unknown_place" | undefined {
  const fields = readJson(bytes);
  const field = (name: string): string => readText(fields?.[name]) ?? "";
  const id = field("id").toLowerCase();
  const place = field("place");
  const base = { id, why: escapeControlCharacters(field("why")) };
  if (!isGuid(id) || place === "") return undefined;
  switch (place) {
    case "secret-service": {
      const collection = field("collection");
      return /^(\/\w+)+$/.test(collection) ? { ...base, place, collection } : undefined;
    }
    case "keychain":
      return { ...base, place };
    case "dpapi":
      return isBase64(field("protected")) ? { ...base, place, protected: field("protected") } : undefined;
    case "file":
      return readKey(field("key")) ? { ...base, place, key: field("key") } : undefined;
    default:
      return "unknown_place";
  }
}

/** Decodes a key from base64. Returns `undefined` if the text is not a key. */
export function readKey(base64: string): Uint8Array<ArrayBuffer> | undefined {
  if (!isBase64(base64)) return undefined;
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return bytes.length === KEY_BYTES ? bytes : undefined;
}

const NAMES: Readonly<Record<KeyLocation, string>> = {
  "secret-service": "the keyring (Secret Service)",
  keychain: "the macOS Keychain",
  dpapi: "Windows (DPAPI)",
  file: "a file",
};

/** Condition of a sign-in after which a cache that cannot be decrypted is quarantined. */
export const BEGIN_ANEW = "To begin a new cache and quarantine the old one";

const LOG_IN = "log out and in again with your password";
const UNLOCK = { remedy: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`, step: "unlock the keyring" };
const START_AGAIN = { remedy: `Start it again: ${LOG_IN}`, step: "start the keyring again" };

const HINTS: Readonly<Record<string, string>> = {
  keychain: `Unlock it, or ${LOG_IN}`,
  dpapi: "Log out of Windows and in again with your password",
};

/** Reason for people, hint, and the first step to get a new key into the keyring. */
const PROBLEMS: Readonly<
  Record<KeyringProblem, { readonly reason: string; readonly remedy: string; readonly step: string }>
> = {
  no_bus: {
    reason: "cannot be reached: this session has no bus",
    remedy: "Run this program in a session that has a bus, with its address in DBUS_SESSION_BUS_ADDRESS",
    step: "work in a session that has a bus",
  },
  no_service: {
    reason: "is not there: no program serves it, and none can be started",
    remedy: "Start the program that kept the key (gnome-keyring, KWallet, KeePassXC)",
    step: "start a keyring",
  },
  no_keyring: {
    reason: "is running, but has no keyring yet",
    remedy: `Make a default keyring in seahorse (Passwords and Keys), or ${LOG_IN}`,
    step: "make a default keyring",
  },
  locked: { reason: "is locked", ...UNLOCK },
  dismissed: { reason: "is locked, and its prompt was dismissed or could not be shown", ...UNLOCK },
  unanswered: { reason: "is locked, and nobody answered its prompt", ...UNLOCK },
  silent: { reason: "does not answer", ...START_AGAIN },
  gone: { ...START_AGAIN, reason: "went away", remedy: `Try again, or start it again: ${LOG_IN}` },
  failed: { reason: "failed", ...START_AGAIN },
};

/** Returns a clause such as `the macOS Keychain is locked`. */
function reasonOf(error: KeyringError | LatchkeyError, place: KeyLocation): string {
  if (error instanceof LatchkeyError) return error.message;
  const detail = escapeControlCharacters(error.detail ?? "");
  return `${NAMES[place]} ${PROBLEMS[error.problem].reason}${detail && `: ${detail}`}`;
}

function keyLost(folder: string, record: LostRecord): LatchkeyError {
  const place = record === "damaged" ? undefined : record.place;
  const cause = place ? `${NAMES[place]} does not have it` : `${pathOf(folder)} is damaged`;
  const again: Remedy = { kind: "sign_in_again", when: BEGIN_ANEW };
  const remedy: Remedy = place === "secret-service"
    ? { ...advice("Work in that session"), when: "If another session's keyring has the key", or: again }
    : again;
  return new LatchkeyError("configuration", `The key of the token cache in ${folder} is lost: ${cause}`, { remedy });
}

/** Returns the problem of a new key that the user can still fix, and says where the key goes otherwise. */
function mayBeInFile(error: KeyringError, folder: string, place: KeyLocation): LatchkeyError {
  const step = error.problem === "locked" ? "unlock it" : "make one";
  const message = `For now ${reasonOf(error, place)}. A sign-in at a desktop prompts to ${step}; otherwise the key ` +
    `goes into ${pathOf(folder)}`;
  return new LatchkeyError("configuration", message, {
    remedy: `${PROBLEMS[error.problem].remedy}, before you sign in`,
  });
}

function cannotKeep(error: unknown, folder: string, place: KeyLocation): unknown {
  return keyringFailure(error, place, {
    doing: `Cannot keep the key of the token cache in ${folder}`,
    alternative: advice('Let the key be in a file (keyLocation "auto" or "file")'),
  });
}

/** Returns `configuration` or `timed_out` for a keyring's failure, and other errors unchanged. */
function keyringFailure(
  error: unknown,
  place: KeyLocation,
  { doing, alternative }: { readonly doing: string; readonly alternative: Remedy },
): unknown {
  if (!(error instanceof KeyringError)) return error;
  const code = ["unanswered", "silent"].includes(error.problem) ? "timed_out" : "configuration";
  const step = place === "secret-service" ? PROBLEMS[error.problem].remedy : HINTS[place] ?? LOG_IN;
  return new LatchkeyError(code, `${doing}: ${reasonOf(error, place)}`, {
    remedy: { ...advice(step), or: alternative },
  });
}

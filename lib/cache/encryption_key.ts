/**
 * The key that a token cache is encrypted with: made once, put into the keyring of the person who is logged in or into a file,
 * and looked for there from then on. `key.json`, beside what it encrypts, says where it is.
 *
 * @module
 */
import { encodeBase64, escapeControlCharacters, isBase64, isObject, parseJson, readText } from "../encoding.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { type Lock, withLock } from "../files/lock.ts";
import { readPrivateFile, replacePrivateFile, setAsideFile } from "../files/private_files.ts";
import { KeyringError, type KeyringProblem } from "../keyring/errors.ts";
import {
  findKeyring,
  type KeyLocation,
  type KeyReference,
  type KeyringCall,
  keyringPlace,
} from "../keyring/keyring.ts";

/** A key. */
export interface EncryptionKey {
  /** UUID that names it in what it encrypts; no secret. */
  readonly id: string;
  /** Its 32 bytes. No inspection prints them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it is kept. */
  readonly place: KeyLocation;
  /** For people: why it is kept there. */
  readonly why: string;
}

/** How a key is had. */
export interface EncryptionKeyOptions {
  /**
   * Where a new key is put; one that is there stays where it is. `keyring`: the Secret Service, the macOS Keychain, or what
   * Windows protects; `auto`: that where it can be used, else a file.
   *
   * @default "auto"
   */
  readonly keyLocation?: "auto" | "keyring" | "file" | undefined;
  /** Whether the keyring may ask the person to unlock or make it. The macOS Keychain decides that by itself. @default true */
  readonly mayPrompt?: boolean | undefined;
  /** How long the person has to answer, in milliseconds. @default 120,000 */
  readonly promptMs?: number | undefined;
  /** A key that was had before: when it still is the one, it is given back and no keyring is asked. @default none */
  readonly known?: EncryptionKey | undefined;
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Takes log lines. @default none */
  readonly log?: Logger | undefined;
}

/** What was found of a key. */
type KeyFinding =
  | { readonly state: "none" }
  | { readonly state: "damaged" }
  | { readonly state: "lost"; readonly record: KeyRecord }
  | { readonly state: "found"; readonly key: EncryptionKey };

/** How long a person has to answer, in milliseconds, when nothing else is said. */
const PROMPT_MS = 120_000;

/** The window can be behind others: who waits at a terminal is told of it there. */
const PROMPT_NOTICES = {
  unlock: "The keyring asks to be unlocked, in a window of its own",
  make: "The keyring asks for the password of a new keyring, in a window of its own",
} as const;

/**
 * Looks for a key.
 *
 * @param folder Folder of what it encrypts.
 * @param options How it is had.
 * @returns What was found. Lost is a key that its place has not got any more.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency`, `invalid_response` when it cannot be had now.
 */
async function lookForKey(folder: string, options: EncryptionKeyOptions): Promise<KeyFinding> {
  const record = await readRecord(folder, options);
  if (record === undefined) return { state: "none" };
  return record === "damaged" ? { state: "damaged" } : await getKey(folder, record, options);
}

/** What is written down of the key of a folder. */
async function readRecord(
  folder: string,
  { signal }: EncryptionKeyOptions,
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
async function getKey(
  folder: string,
  record: KeyRecord,
  options: EncryptionKeyOptions,
): Promise<Extract<KeyFinding, { readonly state: "found" | "lost" }>> {
  if (options.known?.id === record.id) return { state: "found", key: options.known };
  const text = record.place === "file" ? record.key : await getFromKeyring(folder, record, options);
  if (text === undefined) return { state: "lost", record };
  const bytes = readKey(text);
  if (bytes) return { state: "found", key: keyOf(record, bytes) };
  throw new LatchkeyError("invalid_response", `What ${nameOf(record.place)} has under ${record.id} is no key`, {
    hint: `Remove that item from it, and sign in again`,
  });
}

async function getFromKeyring(
  folder: string,
  record: Exclude<KeyRecord, { readonly place: "file" }>,
  options: EncryptionKeyOptions,
): Promise<string | undefined> {
  if (record.place !== keyringPlace()) {
    throw new LatchkeyError(
      "configuration",
      `The key of the token cache in ${folder} is in ${nameOf(record.place)}, and this is another system`,
      { hint: `Choose another folder on this system, or move ${folder} away and sign in again` },
    );
  }
  const { keyring } = findKeyring();
  try {
    // The keyring of the record's own place, as was seen above.
    return await keyring.get({ id: record.id, location: record as never }, keyringCall(options));
  } catch (error) {
    options.signal?.throwIfAborted();
    throw cannotRead(error, { folder, place: record.place });
  }
}

/** How a keyring is asked. */
function keyringCall({ mayPrompt = true, promptMs = PROMPT_MS, signal, log }: EncryptionKeyOptions): KeyringCall {
  return { mayPrompt, promptMs, signal, onPrompt: log && ((purpose) => log("warn", PROMPT_NOTICES[purpose])) };
}

/** A key out of its bytes. */
function keyOf({ id, place, why }: KeyRecord, bytes: Uint8Array<ArrayBuffer>): EncryptionKey {
  return Object.defineProperty({ id, place, why } as EncryptionKey, "bytes", { get: () => bytes });
}

/** Path of what is written down. */
function pathOf(folder: string): string {
  return `${folder}/key.json`;
}

/** How a key stands. */
export interface EncryptionKeyDescription {
  /** Where it is, or would be put. */
  readonly place: KeyLocation;
  /** Whether it has been made. */
  readonly isMade: boolean;
  /** For people: why it is, or would be, there. */
  readonly why: string;
  /** Why it cannot be had at once, without asking anybody. */
  readonly problem?: LatchkeyError | undefined;
}

/** Others took the lock over, or made a key. */
class Overtaken extends Error {}

type Lost = Extract<KeyFinding, { readonly state: "lost" | "damaged" }>;

/** How often another process may have made a key while a person was asked. */
const MAX_ATTEMPTS = 5;
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
 * @param folder Folder of what it encrypts.
 * @param options How it is had.
 * @returns The key.
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency`, `invalid_response` when the keyring that it is
 * in does not give it; `configuration`, `missing_dependency` when the folder cannot be used.
 */
export async function openEncryptionKey(folder: string, options: EncryptionKeyOptions = {}): Promise<EncryptionKey> {
  for (let attempt = 1;; attempt++) {
    const finding = await lookForKey(folder, options);
    if (finding.state === "found") return finding.key;
    try {
      return await locked(folder, options, async (lock) => {
        const again = await lookForKey(folder, options); // another process can have been here
        return again.state === "found" ? again.key : await make(folder, again, { ...options, lock });
      });
    } catch (error) {
      if (!(error instanceof Overtaken) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/**
 * The key of a folder. None is made, and nothing changes: what is lost here, another session can still have.
 *
 * @param folder Folder of what it encrypts.
 * @param options How it is had.
 * @returns The key; `undefined` when there is none.
 * @throws {LatchkeyError} `configuration` when it is lost; else as {@linkcode openEncryptionKey}.
 */
export async function findEncryptionKey(
  folder: string,
  options: EncryptionKeyOptions = {},
): Promise<EncryptionKey | undefined> {
  const finding = await lookForKey(folder, options);
  if (finding.state === "found") return finding.key;
  if (finding.state === "none") return undefined;
  throw lost(folder, finding);
}

/**
 * Tells how the key of a folder stands. Nobody is asked, and nothing changes.
 *
 * @param folder Folder of what it encrypts.
 * @param options How it would be had.
 * @returns How it stands.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when what is written down of it cannot be read.
 */
export async function describeEncryptionKey(
  folder: string,
  options: EncryptionKeyOptions = {},
): Promise<EncryptionKeyDescription> {
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

async function describeNext(folder: string, options: EncryptionKeyOptions): Promise<EncryptionKeyDescription> {
  const { keyLocation = "auto" } = options;
  if (keyLocation === "file") return { place: "file", isMade: false, why: ASKED_FOR };
  const { place, keyring } = findKeyring();
  try {
    await keyring.probe(keyringCall(options));
    return { place, isMade: false, why: USABLE };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!isUnusable(error)) throw error;
    // A person can still unlock it.
    const canBeMended = error instanceof KeyringError && ["locked", "no_keyring"].includes(error.problem);
    if (keyLocation === "auto" && !canBeMended) return { place: "file", isMade: false, why: reasonOf(error, place) };
    const problem = keyLocation === "auto" && canBeMended
      ? mayBeInFile(error, { folder, place })
      : cannotKeep(error, { folder, place }) as LatchkeyError;
    return { place, isMade: false, why: "it is there", problem };
  }
}

/**
 * Makes a key. Nothing is set aside before there is a key to take its place. While a person was asked, this process can have been
 * stopped and another one have made a key and used it: then that one counts.
 */
async function make(
  folder: string,
  before: Lost | { readonly state: "none" },
  { lock, ...options }: EncryptionKeyOptions & { readonly lock: Lock },
): Promise<EncryptionKey> {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES)), id = crypto.randomUUID();
  const { location, why } = await keep({ id, text: writeKey(bytes) }, folder, options);
  const record: KeyRecord = { id, why, ...location };
  const beforeRenaming = () => {
    if (!lock.isHeld()) throw new Overtaken();
  };
  const { signal } = options, written = await readRecord(folder, options);
  if (idIn(written) !== idIn(recordOf(before))) throw new Overtaken();
  if (before.state !== "none") await setAside(folder, before, { ...options, beforeRenaming });
  await replacePrivateFile(pathOf(folder), writeKeyRecord(record), { signal, beforeRenaming });
  return keyOf(record, bytes);
}

function recordOf(finding: Lost | { readonly state: "none" }): KeyRecord | "damaged" | undefined {
  if (finding.state === "lost") return finding.record;
  return finding.state === "damaged" ? "damaged" : undefined;
}

function idIn(record: KeyRecord | "damaged" | undefined): string | undefined {
  return typeof record === "object" ? record.id : record;
}

async function keep(
  key: { readonly id: string; readonly text: string },
  folder: string,
  options: EncryptionKeyOptions,
): Promise<{ readonly location: KeyReference; readonly why: string }> {
  const { keyLocation = "auto", signal, log } = options, inFile = { place: "file", key: key.text } as const;
  if (keyLocation === "file") return { location: inFile, why: ASKED_FOR };
  const { place, keyring } = findKeyring();
  try {
    const location = await keyring.put(key, keyringCall(options));
    log?.("info", `The key of the token cache was put into ${nameOf(place)}`);
    return { location, why: USABLE };
  } catch (error) {
    signal?.throwIfAborted();
    if (keyLocation === "keyring" || !isUnusable(error)) throw cannotKeep(error, { folder, place });
    const why = reasonOf(error, place),
      isUsual = error instanceof KeyringError && /^no_(bus|service)$/.test(error.problem);
    const hint = error instanceof LatchkeyError && error.hint ? ` (${error.hint})` : "";
    log?.(
      isUsual ? "info" : "warn",
      `The key of the token cache goes into ${pathOf(folder)}: ${why}${hint}. ` +
        `To move it into ${nameOf(place)}: ${wayOutOfFile(error, folder)}`,
    );
    return { location: inFile, why };
  }
}

/** Whether a keyring cannot be used, as opposed to a mistake of ours. */
function isUnusable(error: unknown): error is KeyringError | LatchkeyError {
  return error instanceof KeyringError || error instanceof LatchkeyError;
}

async function setAside(
  folder: string,
  finding: Lost,
  { log, signal, beforeRenaming }: EncryptionKeyOptions & { readonly beforeRenaming: () => void },
): Promise<void> {
  const { message } = lost(folder, finding), place = await setAsideFile(pathOf(folder), { signal, beforeRenaming });
  log?.(
    "warn",
    `${message}; set aside as ${place}. There is a new key now. What was encrypted with the old one cannot be read: ` +
      `accounts that were kept have to sign in again`,
  );
}

function lost(folder: string, finding: Lost): LatchkeyError {
  return keyLost({ folder, place: finding.state === "lost" ? finding.record.place : undefined });
}

/** Processes that come at the same time make one key. Who is asked for a password takes their time. */
async function locked<T>(
  folder: string,
  { signal, promptMs = PROMPT_MS, log }: EncryptionKeyOptions,
  work: (lock: Lock) => Promise<T>,
): Promise<T> {
  const notice = log && setTimeout(log, QUIET_MS, "warn", WAITING);
  try {
    return await withLock(`${folder}/key.lockfile`, async (lock) => (clearTimeout(notice), await work(lock)), {
      signal,
      waitMs: promptMs + MAKING_MS,
    });
  } finally {
    clearTimeout(notice);
  }
}

/** What is written down, by place. */
export type KeyRecord = {
  /** UUID that names the key in what it encrypts. */
  readonly id: string;
  /** For people: why the key is where it is. */
  readonly why: string;
} & KeyReference;

/** How many bytes a key has. */
const KEY_BYTES = 32;

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

/** The bytes of a record. */
export function writeKeyRecord(record: KeyRecord): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`);
}

/**
 * Reads a record.
 *
 * @returns The record; `unknown_place` for one that a later version wrote; `undefined` for what is none.
 */
export function readKeyRecord(bytes: Uint8Array): KeyRecord | "unknown_place" | undefined {
  const fields = fieldsIn(bytes), id = readText(fields?.id), place = readText(fields?.place);
  if (!fields || id === undefined || !UUID.test(id) || place === undefined) return undefined;
  const base = { id, why: escapeControlCharacters(readText(fields.why) ?? "") };
  switch (place) {
    case "secret-service": {
      const collection = readText(fields.collection) ?? "";
      return /^(\/\w+)+$/.test(collection) ? { ...base, place, collection } : undefined;
    }
    case "keychain":
      return { ...base, place };
    case "dpapi": {
      const encrypted = readText(fields.protected) ?? "";
      return isBase64(encrypted) ? { ...base, place, protected: encrypted } : undefined;
    }
    case "file": {
      const key = readText(fields.key) ?? "";
      return readKey(key) ? { ...base, place, key } : undefined;
    }
    default:
      return "unknown_place";
  }
}

function fieldsIn(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message would quote the key
  }
}

/** A key as text: base64, which every keyring's program can show. */
export function writeKey(bytes: Uint8Array): string {
  return encodeBase64(bytes);
}

/** The key that a text is; `undefined` when it is none. */
export function readKey(base64: string): Uint8Array<ArrayBuffer> | undefined {
  if (!isBase64(base64)) return undefined;
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return bytes.length === KEY_BYTES ? bytes : undefined;
}

/** Where a key is, or is to be. */
interface KeyFolder {
  /** The folder of what it encrypts. */
  readonly folder: string;
  /** Where the key is kept. */
  readonly place: KeyLocation;
}

const NAMES: Readonly<Record<KeyLocation, string>> = {
  "secret-service": "the keyring (Secret Service)",
  keychain: "the macOS Keychain",
  dpapi: "Windows (DPAPI)",
  file: "a file",
};

const REASONS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "cannot be reached: this session has no bus",
  no_service: "is not there: no program serves it, nor can be started",
  no_keyring: "has no default keyring",
  locked: "is locked",
  dismissed: "is locked, and its prompt was dismissed or could not be shown",
  unanswered: "is locked, and nobody answered its prompt",
  silent: "does not answer",
  gone: "went away",
  failed: "failed",
};

const LOG_IN = "log out and in again with your password";
const HINTS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "Run it in a session that has a bus, and see that DBUS_SESSION_BUS_ADDRESS names it",
  no_service: "Start the program that kept the key (gnome-keyring, KWallet, KeePassXC)",
  no_keyring: `Make a default keyring in seahorse (Passwords and Keys), or ${LOG_IN}`,
  locked: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  dismissed: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  unanswered: `Unlock it in seahorse (Passwords and Keys), or ${LOG_IN}`,
  silent: `Start it again: ${LOG_IN}`,
  gone: `Try again, or start it again: ${LOG_IN}`,
  failed: `Start it again: ${LOG_IN}`,
};

/** What comes first for a new key to get into the keyring. */
const FIRST_STEPS: Readonly<Record<KeyringProblem, string>> = {
  no_bus: "work in a session that has a bus",
  no_service: "start a keyring",
  no_keyring: "make a default keyring",
  locked: "unlock the keyring",
  dismissed: "unlock the keyring",
  unanswered: "unlock the keyring",
  silent: "start the keyring again",
  gone: "start the keyring again",
  failed: "start the keyring again",
};

/** For people: what keeps the keys of a place. */
function nameOf(place: KeyLocation): string {
  return NAMES[place];
}

/** For people: what a keyring failed with, such as `the macOS Keychain is locked`. */
function reasonOf(error: KeyringError | LatchkeyError, place: KeyLocation): string {
  if (error instanceof LatchkeyError) return error.message;
  const detail = escapeControlCharacters(error.detail ?? "");
  return `${NAMES[place]} ${REASONS[error.problem]}${detail && `: ${detail}`}`;
}

/**
 * A failure to have a key that is there.
 *
 * @returns `configuration`, `timed_out`; what is no keyring's failure, as it is.
 */
function cannotRead(error: unknown, { folder, place }: KeyFolder): unknown {
  if (!(error instanceof KeyringError)) return error;
  return failure(error, place, {
    doing: `Cannot read the token cache in ${folder}`,
    otherwise: `to go on without it, choose --store plaintext or memory (LATCHKEY_STORE); ` +
      `or move ${folder} away and sign in again`,
  });
}

/**
 * What is said of a key that cannot be had again here: its place has not got it, or what is written down of it is damaged.
 *
 * @returns `configuration`.
 */
function keyLost(
  { folder, place }: { readonly folder: string; readonly place?: KeyLocation | undefined },
): LatchkeyError {
  const what = place ? `${nameOf(place)} has not got it` : `${folder}/key.json is damaged`;
  const anew = "latchkey login begins anew, and what was kept is set aside";
  const hint = place === "secret-service"
    ? `Where another session's keyring has it, work there; else sign in again: ${anew}`
    : `Sign in again: ${anew}`;
  return new LatchkeyError("configuration", `The key of the token cache in ${folder} is lost: ${what}`, { hint });
}

/**
 * What stands in the way of a new key where a person can still mend it, and what becomes of the key if they do not.
 *
 * @returns `configuration`.
 */
function mayBeInFile(error: KeyringError, { folder, place }: KeyFolder): LatchkeyError {
  const step = error.problem === "locked" ? "unlock it" : "make one";
  return new LatchkeyError(
    "configuration",
    `For now ${reasonOf(error, place)}. A sign-in asks to ${step} where somebody can be asked; ` +
      `if that is not done, the key goes into ${folder}/key.json`,
    { hint: `${HINTS[error.problem]}, before you sign in` },
  );
}

/** For people: how a key gets from a file into the keyring, such as `unlock the keyring, move … away, and sign in again`. */
function wayOutOfFile(error: KeyringError | LatchkeyError, folder: string): string {
  const first = error instanceof KeyringError ? FIRST_STEPS[error.problem] : "mend that";
  return `${first}, move ${folder} away, and sign in again`;
}

/**
 * A failure to keep a new key where it is wanted.
 *
 * @returns `configuration`, `timed_out`; what is no keyring's failure, as it is.
 */
function cannotKeep(error: unknown, { folder, place }: KeyFolder): unknown {
  if (!(error instanceof KeyringError)) return error;
  return failure(error, place, {
    doing: `Cannot keep the key of the token cache in ${folder}`,
    otherwise: 'or let the key be in a file (keyLocation "auto" or "file")',
  });
}

function failure(
  error: KeyringError,
  place: KeyLocation,
  { doing, otherwise }: { readonly doing: string; readonly otherwise: string },
): LatchkeyError {
  const code = ["unanswered", "silent"].includes(error.problem) ? "timed_out" : "configuration";
  const hint = place === "secret-service" ? HINTS[error.problem] : `Unlock it, or ${LOG_IN}`;
  return new LatchkeyError(code, `${doing}: ${reasonOf(error, place)}`, { hint: `${hint}; ${otherwise}` });
}

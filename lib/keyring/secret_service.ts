/**
 * freedesktop's Secret Service over D-Bus (gnome-keyring, KWallet, KeePassXC): its state, and one secret read or
 * stored. Microsoft's broker keeps its keys there, and so does latchkey.
 *
 * Secrets are encrypted on the bus, where a monitor can see all messages: Secret Service API Draft 0.2, "Transfer of
 * Secrets", with the second Oakley group of RFC 2409.
 *
 * @module
 */
import { type Clock, runtimeClock, untilAborted } from "../async.ts";
import {
  BUS_DAEMON,
  type CallLimits,
  type DBusValue,
  type MethodCall,
  type SessionBus,
  type Signal,
  undefinedIfNoOwner,
  type Variant,
} from "../dbus/bus.ts";
import { decodeHex, encodeHex } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { asKeyringError, KeyringError } from "./errors.ts";

/** State of the keyring. */
export interface SecretService {
  /** `missing`: no program serves it, and none can be started. `no_default`: there is no default keyring. */
  readonly state: "missing" | "no_default" | "locked" | "unlocked";
  /** Program that serves it; `undefined` if it is not a known one. */
  readonly provider: "gnome-keyring" | "kwallet" | "KeePassXC" | undefined;
  /** True if KDE's wallet can stand behind the Secret portal, which newer brokers use. */
  readonly hasKdePortal: boolean;
}

const SECRETS_NAME = "org.freedesktop.secrets";
/** The service's own object, to be completed with `member`, `signature` and `body`. */
const SECRET_SERVICE = {
  destination: SECRETS_NAME,
  path: "/org/freedesktop/secrets",
  interface: "org.freedesktop.Secret.Service",
} as const;
const COLLECTION = "org.freedesktop.Secret.Collection";
const ITEM = "org.freedesktop.Secret.Item";
const PROMPT = "org.freedesktop.Secret.Prompt";
const PROPERTIES = "org.freedesktop.DBus.Properties";
/** The path that stands for no object: no prompt is needed, no keyring has this alias. */
const NO_OBJECT = "/";

const KDE_PORTAL = "org.freedesktop.impl.portal.desktop.kwallet";
/** Other bus names of the programs that serve the keyring: the bus knows them only by name. */
const OTHER_NAMES: readonly (readonly [name: string, provider: NonNullable<SecretService["provider"]>])[] = [
  ["org.gnome.keyring", "gnome-keyring"],
  ["org.kde.kwalletd5", "kwallet"],
  ["org.kde.kwalletd6", "kwallet"],
  ["org.kde.secretservicecompat", "kwallet"],
  ["org.keepassxc.KeePassXC.MainWindow", "KeePassXC"],
];

/**
 * Reads the state of the keyring. The bus starts the service if it does not run. Nothing is unlocked, and nobody is prompted.
 *
 * @throws {DBusError} if it cannot be started, or answers with an error.
 * @throws {LatchkeyError} `timed_out` if it does not answer.
 */
export async function readSecretService(bus: SessionBus, limits: CallLimits = {}): Promise<SecretService> {
  const askBus = async (member: string, ...body: readonly string[]) =>
    (await bus.call({ ...BUS_DAEMON, member, signature: "s".repeat(body.length), body }, limits))[0];
  const ownerOf = (name: string) => undefinedIfNoOwner(askBus("GetNameOwner", name));

  const state = await stateOf(bus, limits);
  const [owner, ...owners] = await Promise.all([SECRETS_NAME, ...OTHER_NAMES.map(([name]) => name)].map(ownerOf));
  const [, provider] = OTHER_NAMES.find((_, index) => owner !== undefined && owners[index] === owner) ?? [];
  const startable = await askBus("ListActivatableNames");
  const hasKdePortal = Array.isArray(startable) && startable.includes(KDE_PORTAL) ||
    await ownerOf(KDE_PORTAL) !== undefined;
  return { state, provider, hasKdePortal };
}

async function stateOf(bus: SessionBus, limits: CallLimits): Promise<SecretService["state"]> {
  const reply = await undefinedIfNoOwner(bus.call(readAlias("default"), limits));
  if (reply === undefined) return "missing";
  const [path] = reply;
  if (typeof path !== "string" || path === NO_OBJECT) return "no_default";
  const [locked] = await bus.call(getProperty(path, COLLECTION, "Locked"), limits);
  return typeof locked === "object" && "value" in locked && locked.value === false ? "unlocked" : "locked";
}

function readAlias(alias: string): MethodCall {
  return { ...SECRET_SERVICE, member: "ReadAlias", signature: "s", body: [alias] };
}

function getProperty(path: string, owner: string, name: string): MethodCall {
  const body = [owner, name];
  return { destination: SECRETS_NAME, path, interface: PROPERTIES, member: "Get", signature: "ss", body };
}

type SecretAttributes = Readonly<Record<string, string>>;

/** Location of a secret: the attributes that it was stored with, and its keyring. */
export interface SecretLocation {
  readonly attributes: SecretAttributes;
  /** Object path of its keyring. */
  readonly collection: string;
}

interface NewSecret {
  readonly label: string;
  /** An item with the same attributes is replaced. */
  readonly attributes: SecretAttributes;
  /** A text, since programs that show keyrings show texts. */
  readonly text: string;
}

/** Time in milliseconds that the user has to answer the keyring's prompt. */
export const PROMPT_MS = 120_000;

/** Options of a call that may prompt the user. */
export interface PromptCall {
  readonly mayPrompt: boolean;
  /** Called before the keyring's prompt is shown, which may be behind other windows. */
  readonly onPrompt?: ((purpose: "unlock" | "make") => void) | undefined;
  /** Dismisses the prompt, and ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Clock of the wait for the user. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/**
 * Reads a secret: two round trips if it is unlocked. Returns `undefined` if its keyring is unlocked and does not have it.
 *
 * @throws {KeyringError} if it cannot be read now.
 * @throws {LatchkeyError} `invalid_response` if the keyring breaks the specification.
 */
export async function readSecret(
  bus: SessionBus,
  location: SecretLocation,
  call: PromptCall,
): Promise<string | undefined> {
  const { signal } = call;
  const [session, found] = await startingSecrets((autoStart) =>
    Promise.all([openSession(bus, { signal, autoStart }), search(bus, location, { signal, autoStart })])
  );
  const item = found.unlocked[0] ?? await unlockItem(bus, found.locked[0], { location, call });
  if (item === undefined) return undefined;
  const method = { destination: SECRETS_NAME, path: item, interface: ITEM, member: "GetSecret" };
  const [secret] = await callSecrets(bus, { ...method, signature: "o", body: [session.path] }, { signal });
  const [, parameters, value] = Array.isArray(secret) ? secret : misread();
  const bytes = await decryptSecret({ parameters: readBytes(parameters), value: readBytes(value) }, session.key);
  return new TextDecoder().decode(bytes);
}

/**
 * Stores a secret in the default keyring, and reads it again.
 *
 * @throws {KeyringError} if it cannot be stored now.
 * @throws {LatchkeyError} `invalid_response` if the keyring breaks the specification.
 */
export async function storeSecret(bus: SessionBus, secret: NewSecret, call: PromptCall): Promise<SecretLocation> {
  const { label, attributes, text } = secret;
  const { signal } = call;
  const collection = await openCollection(bus, call);
  const [session, owner] = await Promise.all([openSession(bus, { signal }), secretsOwner(bus, { signal })]);
  const { parameters, value } = await encryptSecret(new TextEncoder().encode(text), session.key);
  const [made, prompt] = await callSecrets(bus, {
    destination: owner,
    path: collection,
    interface: COLLECTION,
    member: "CreateItem",
    signature: "a{sv}(oayays)b",
    body: [
      new Map<string, DBusValue>([
        [`${ITEM}.Label`, { signature: "s", value: label }],
        [`${ITEM}.Attributes`, { signature: "a{ss}", value: new Map(Object.entries(attributes)) }],
      ]),
      [session.path, parameters, value, "text/plain"],
      true,
    ],
  }, { signal });
  readPath(await afterPrompt(bus, { owner, path: readPath(prompt), otherwise: made }, call));
  const location = { attributes, collection };
  if (await readSecret(bus, location, call) !== text) throw new KeyringError("failed", "it did not keep the secret");
  return location;
}

/** Returns the item once it is unlocked. A locked keyring can hide its items, so they are searched again. */
async function unlockItem(
  bus: SessionBus,
  locked: string | undefined,
  { location, call }: { readonly location: SecretLocation; readonly call: PromptCall },
): Promise<string | undefined> {
  const { collection } = location;
  if (locked !== undefined) {
    await unlock(bus, locked, call);
    return locked;
  }
  const [all] = await callSecrets(bus, getProperty(SECRET_SERVICE.path, SECRET_SERVICE.interface, "Collections"), call);
  if (!readPaths(readVariant(all).value).includes(collection)) {
    throw new KeyringError("gone", `it has no keyring ${collection} any more`);
  }
  const [reply] = await callSecrets(bus, getProperty(collection, COLLECTION, "Locked"), { signal: call.signal });
  const { value: isLocked } = readVariant(reply);
  if (typeof isLocked !== "boolean") misread();
  if (!isLocked) return undefined;
  await unlock(bus, collection, call);
  return (await search(bus, location, call)).unlocked[0];
}

async function search(
  bus: SessionBus,
  { attributes }: SecretLocation,
  call: SecretCall,
): Promise<{ readonly unlocked: readonly string[]; readonly locked: readonly string[] }> {
  const method = { ...SECRET_SERVICE, member: "SearchItems", signature: "a{ss}" };
  const [unlocked, locked] = await callSecrets(bus, { ...method, body: [new Map(Object.entries(attributes))] }, call);
  return { unlocked: readPaths(unlocked), locked: readPaths(locked) };
}

/** Returns the path of an unlocked keyring: the default one, else the login keyring, else a new one. */
async function openCollection(bus: SessionBus, call: PromptCall): Promise<string> {
  const { signal } = call;
  const [usual, login, session] = await startingSecrets((autoStart) =>
    Promise.all(
      ["default", "login", "session"].map(async (alias) =>
        readPath((await callSecrets(bus, readAlias(alias), { signal, autoStart }))[0])
      ),
    )
  );
  // The session's keyring is lost with the session.
  const found = [usual, login].find((path) => path !== undefined && path !== NO_OBJECT && path !== session);
  if (found === undefined) return await makeCollection(bus, call);
  await unlock(bus, found, call);
  return found;
}

async function makeCollection(bus: SessionBus, call: PromptCall): Promise<string> {
  // It always prompts for the new keyring's password.
  if (!call.mayPrompt) throw new KeyringError("no_keyring");
  const owner = await secretsOwner(bus, call);
  const [made, prompt] = await callSecrets(bus, {
    ...SECRET_SERVICE,
    destination: owner,
    member: "CreateCollection",
    signature: "a{sv}s",
    // libsecret's label for a new default keyring.
    body: [new Map([[`${COLLECTION}.Label`, { signature: "s", value: "Default keyring" }]]), "default"],
  }, call);
  try {
    const reply = { owner, path: readPath(prompt), otherwise: made, purpose: "make" } as const;
    return readPath(await afterPrompt(bus, reply, call));
  } catch (error) {
    const isRefused = error instanceof KeyringError && ["dismissed", "unanswered"].includes(error.problem);
    throw isRefused ? new KeyringError("no_keyring") : error;
  }
}

/** Unlocks a keyring or an item, and leaves it unlocked. */
async function unlock(bus: SessionBus, path: string, call: PromptCall): Promise<void> {
  const owner = await secretsOwner(bus, call);
  const method = { ...SECRET_SERVICE, destination: owner, member: "Unlock", signature: "ao", body: [[path]] };
  const [unlocked, prompt] = await callSecrets(bus, method, call);
  const done = await afterPrompt(bus, { owner, path: readPath(prompt), otherwise: unlocked }, call);
  if (!readPaths(done).includes(path)) throw new KeyringError("locked");
}

/** Timeouts of a call in milliseconds: to a keyring that runs, and to one that the bus starts first. */
const CALL_MS = 10_000;
const START_MS = 25_000;

interface SecretCall {
  readonly signal?: AbortSignal | undefined;
  /** True if the bus starts the service if it does not run. @default false */
  readonly autoStart?: boolean | undefined;
}

async function callSecrets(
  bus: SessionBus,
  method: MethodCall,
  { signal, autoStart = false }: SecretCall = {},
): Promise<readonly DBusValue[]> {
  try {
    return await bus.call({ ...method, autoStart }, { timeoutMs: autoStart ? START_MS : CALL_MS, signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : asKeyringError(error);
  }
}

/** Makes the first calls to the service that runs, else to one that the bus starts. */
async function startingSecrets<T>(calls: (autoStart: boolean) => Promise<T>): Promise<T> {
  try {
    return await calls(false);
  } catch (error) {
    if (!(error instanceof KeyringError) || error.problem !== "no_service") throw error;
    return await calls(true);
  }
}

/** Returns the unique bus name of the service. */
async function secretsOwner(bus: SessionBus, call: SecretCall): Promise<string> {
  const method = { ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [SECRETS_NAME] };
  const [owner] = await callSecrets(bus, method, call);
  if (typeof owner !== "string") throw new KeyringError("no_service");
  return owner;
}

/** A call's reply: a prompt that has to be answered first, or else a result. */
interface Reply {
  /** Object path of the prompt, or {@linkcode NO_OBJECT}. */
  readonly path: string;
  /** Unique bus name of the program that made it. */
  readonly owner: string;
  readonly otherwise: DBusValue | undefined;
  /** @default "unlock" */
  readonly purpose?: "unlock" | "make" | undefined;
}

/** Interval in milliseconds of checks that the keyring still runs. */
const LOOK_MS = 1000;
/** Timeouts of calls about the prompt, in milliseconds; to dismiss it delays the end of a call. */
const PROMPT_CALL_MS = 10_000;
const DISMISS_MS = 1000;

/**
 * Shows a reply's prompt, if it has one, and returns the result.
 *
 * The signal that completes it counts only if its sender made the prompt: any program on the bus can send one of its
 * name. That the keyring still runs is polled, since a bus that ends says nothing.
 *
 * @throws {KeyringError} `locked` if prompts are not allowed; `dismissed`, `unanswered`, `gone` …
 */
async function afterPrompt(bus: SessionBus, reply: Reply, call: PromptCall): Promise<DBusValue | undefined> {
  const { path, owner, otherwise, purpose = "unlock" } = reply;
  const { mayPrompt, onPrompt, signal, clock = runtimeClock } = call;
  if (path === NO_OBJECT) return otherwise;
  const object = { destination: owner, path, interface: PROMPT, autoStart: false };
  // A prompt that has ended by itself is not a failure.
  const dismiss = () => bus.call({ ...object, member: "Dismiss" }, { timeoutMs: DISMISS_MS }).catch(() => {});
  if (!mayPrompt) {
    await dismiss();
    throw new KeyringError("locked");
  }
  const completed = Promise.withResolvers<Signal>();
  const limits = { timeoutMs: PROMPT_CALL_MS, signal };
  const match = { sender: owner, path, interface: PROMPT, member: "Completed" };
  const subscription = await bus.subscribe(match, completed.resolve, limits);
  const ending = new AbortController();
  const over = watchPrompt(bus, owner, { signal: ending.signal, clock });
  over.catch(() => {}); // the prompt may have ended before
  try {
    signal?.throwIfAborted();
    onPrompt?.(purpose);
    await bus.call({ ...object, member: "Prompt", signature: "s", body: [""] }, limits);
    const { body: [isDismissed, result] } = await untilAborted(Promise.race([completed.promise, over]), signal);
    if (isDismissed !== false) throw new KeyringError("dismissed");
    return readVariant(result).value;
  } catch (error) {
    await dismiss();
    throw signal?.aborted ? signal.reason : asKeyringError(error);
  } finally {
    ending.abort();
    subscription[Symbol.dispose]();
  }
}

/** Rejects when the prompt's time is over, or the keyring gone. Its timer keeps the program alive. */
async function watchPrompt(
  bus: SessionBus,
  owner: string,
  { signal, clock }: { readonly signal: AbortSignal; readonly clock: Clock },
): Promise<never> {
  const untilMs = clock.monotonicMs() + PROMPT_MS;
  for (;;) {
    await clock.delay(Math.max(0, Math.min(LOOK_MS, untilMs - clock.monotonicMs())), signal);
    if (clock.monotonicMs() >= untilMs) throw new KeyringError("unanswered");
    try {
      const method = { ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [owner] };
      await bus.call(method, { timeoutMs: PROMPT_CALL_MS });
    } catch {
      throw new KeyringError("gone");
    }
  }
}

function readVariant(value: DBusValue | undefined): Variant {
  return typeof value === "object" && "signature" in value ? value : misread();
}

function readPath(value: DBusValue | undefined): string {
  return typeof value === "string" && value.startsWith("/") ? value : misread();
}

function readPaths(value: DBusValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(readPath) : misread();
}

function readBytes(value: DBusValue | undefined): Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array ? value as Uint8Array<ArrayBuffer> : misread();
}

function misread(): never {
  throw new LatchkeyError("invalid_response", "The keyring's answer breaks the Secret Service specification", {
    remedy: "Update the program that serves org.freedesktop.secrets (gnome-keyring, KWallet, KeePassXC)",
  });
}

const SESSION_ALGORITHM = "dh-ietf1024-sha256-aes128-cbc-pkcs7";
const PRIME = BigInt(
  "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD" +
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
);
const PRIME_BYTES = 128;
/** Twice the length of the key that comes of it. */
const EXPONENT_BYTES = 32;
const KEY_BITS = 128;
const IV_BYTES = 16;

async function openSession(
  bus: SessionBus,
  call: SecretCall,
): Promise<{ readonly path: string; readonly key: CryptoKey }> {
  const share = makeKeyShare();
  const ours = { signature: "ay", value: share.publicValue };
  const method = { ...SECRET_SERVICE, member: "OpenSession", signature: "sv", body: [SESSION_ALGORITHM, ours] };
  const [theirs, path] = await callSecrets(bus, method, call);
  return { path: readPath(path), key: await agreeOnKey(share, readBytes(readVariant(theirs).value)) };
}

interface KeyShare {
  /** Big-endian bytes for the other side. */
  readonly publicValue: Uint8Array;
  readonly exponent: bigint;
}

/** Returns a new half of a key agreement. */
export function makeKeyShare(): KeyShare {
  const exponent = integerOf(crypto.getRandomValues(new Uint8Array(EXPONENT_BYTES)));
  return { exponent, publicValue: bytesOf(power(2n, exponent)) };
}

/** Returns the key of a session. Throws `invalid_response` if the other side's public value is not safe. */
export async function agreeOnKey(share: KeyShare, theirs: Uint8Array): Promise<CryptoKey> {
  const value = integerOf(theirs.subarray(0, 2 * PRIME_BYTES));
  // 0, 1 and p-1 would make a secret that anybody knows.
  if (theirs.length > 2 * PRIME_BYTES || value <= 1n || value >= PRIME - 1n) {
    throw new LatchkeyError("invalid_response", "The keyring offered a key agreement that is not safe");
  }
  const shared = bytesOf(power(value, share.exponent));
  const none = new Uint8Array();
  const isExtractable = false;
  const secret = await crypto.subtle.importKey("raw", shared, "HKDF", isExtractable, ["deriveKey"]);
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: none, info: none };
  const key = { name: "AES-CBC", length: KEY_BITS };
  return await crypto.subtle.deriveKey(algorithm, secret, key, isExtractable, ["encrypt", "decrypt"]);
}

/** Fields of a `Secret` of the specification: the initialization vector, and the ciphertext. */
interface EncryptedSecret {
  readonly parameters: Uint8Array<ArrayBuffer>;
  readonly value: Uint8Array<ArrayBuffer>;
}

/** Encrypts a secret for the way over the bus. */
export async function encryptSecret(secret: Uint8Array<ArrayBuffer>, key: CryptoKey): Promise<EncryptedSecret> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  return { parameters: iv, value: new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, key, secret)) };
}

/** Decrypts a secret that came over the bus. Throws `invalid_response` if it was not encrypted with this key. */
export async function decryptSecret(
  { parameters: iv, value }: EncryptedSecret,
  key: CryptoKey,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (iv.length !== IV_BYTES) throw new DOMException("no initialization vector", "OperationError");
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CBC", iv }, key, value));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new LatchkeyError("invalid_response", "The keyring sent a secret that its session's key does not decrypt");
  }
}

/** Returns `base` to the power of `exponent`, modulo the prime. */
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = result * result % PRIME;
    if (bit === "1") result = result * base % PRIME;
  }
  return result;
}

function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${encodeHex(bytes)}`);
}

/** Returns as many bytes as the prime has: the secret's leading zeros go into the key, too. */
function bytesOf(value: bigint): Uint8Array<ArrayBuffer> {
  return decodeHex(value.toString(16).padStart(2 * PRIME_BYTES, "0"));
}

/**
 * The keyring in which Microsoft's broker keeps its keys: freedesktop's Secret Service.
 *
 * @module
 */
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
import { LatchkeyError } from "../errors.ts";
import { asKeyringError, KeyringError } from "./errors.ts";
import { agreeOnKey, decryptSecret, encryptSecret, makeKeyShare, SESSION_ALGORITHM } from "./secret_session.ts";

/** How the keyring stands. */
export interface SecretService {
  /** `missing`: nobody serves it, nor can be started. `no_default`: there is no keyring to put things in. */
  readonly state: "missing" | "no_default" | "locked" | "unlocked";
  /** Who serves it; `undefined` when that is nobody whom we know. */
  readonly provider: "gnome-keyring" | "kwallet" | "KeePassXC" | undefined;
  /** Whether KDE's wallet can stand behind the Secret portal, which newer brokers go through. */
  readonly hasKdePortal: boolean;
}

const NAME = "org.freedesktop.secrets";
const PATH = "/org/freedesktop/secrets";
const KDE_PORTAL = "org.freedesktop.impl.portal.desktop.kwallet";
/** What else the process is called that serves the keyring: the bus knows no more of it than its names. */
const OTHER_NAMES: readonly (readonly [name: string, provider: NonNullable<SecretService["provider"]>])[] = [
  ["org.gnome.keyring", "gnome-keyring"],
  ["org.kde.kwalletd5", "kwallet"],
  ["org.kde.kwalletd6", "kwallet"],
  ["org.kde.secretservicecompat", "kwallet"],
  ["org.keepassxc.KeePassXC.MainWindow", "KeePassXC"],
];

/**
 * Reads how the keyring stands. The service is started when it does not run; nothing is unlocked, and nobody is asked.
 *
 * @param bus The session bus.
 * @param limits How long a call may take, and what ends it.
 * @returns How it stands.
 * @throws {DBusError} when it cannot be started, or answers with an error.
 * @throws {LatchkeyError} `timed_out`.
 */
export async function readSecretService(bus: SessionBus, limits: CallLimits = {}): Promise<SecretService> {
  const askBus = async (member: string, ...body: readonly string[]) =>
    (await bus.call({ ...BUS_DAEMON, member, signature: "s".repeat(body.length), body }, limits))[0];
  const ownerOf = (name: string) => undefinedIfNoOwner(askBus("GetNameOwner", name));

  const state = await stateOf(bus, limits);
  const [owner, ...owners] = await Promise.all([NAME, ...OTHER_NAMES.map(([name]) => name)].map(ownerOf));
  const [, provider] = OTHER_NAMES.find((_, index) => owner !== undefined && owners[index] === owner) ?? [];
  const startable = await askBus("ListActivatableNames");
  const hasKdePortal = Array.isArray(startable) && startable.includes(KDE_PORTAL) ||
    await ownerOf(KDE_PORTAL) !== undefined;
  return { state, provider, hasKdePortal };
}

async function stateOf(bus: SessionBus, limits: CallLimits): Promise<SecretService["state"]> {
  const service = { destination: NAME, path: PATH, interface: "org.freedesktop.Secret.Service" };
  const alias = { ...service, member: "ReadAlias", signature: "s", body: ["default"] };
  const reply = await undefinedIfNoOwner(bus.call(alias, limits));
  if (reply === undefined) return "missing";
  const [path] = reply;
  if (typeof path !== "string" || path === "/") return "no_default";
  const properties = { destination: NAME, path, interface: "org.freedesktop.DBus.Properties" };
  const body = ["org.freedesktop.Secret.Collection", "Locked"];
  const [locked] = await bus.call({ ...properties, member: "Get", signature: "ss", body }, limits);
  return isFalse(locked) ? "unlocked" : "locked";
}

function isFalse(variant: DBusValue | undefined): boolean {
  return typeof variant === "object" && "value" in variant && variant.value === false;
}

/** The Secret Service's "no object": no prompt is needed, no keyring has this alias. */
const NO_OBJECT = "/";

/** A value that carries its own type. */
function readVariant(value: DBusValue | undefined): Variant {
  return typeof value === "object" && "signature" in value ? value : misread();
}

/** An object path. */
function readPath(value: DBusValue | undefined): string {
  return typeof value === "string" && value.startsWith("/") ? value : misread();
}

/** Object paths. */
function readPaths(value: DBusValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(readPath) : misread();
}

/** Bytes. */
function readBytes(value: DBusValue | undefined): Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array ? value as Uint8Array<ArrayBuffer> : misread();
}

/** Whether a variant is `true`; what is no boolean is no answer. */
function readBoolean(value: DBusValue | undefined): boolean {
  const inner = readVariant(value).value;
  return typeof inner === "boolean" ? inner : misread();
}

/** The fields of a struct. */
function readStruct(value: DBusValue | undefined): readonly DBusValue[] {
  return Array.isArray(value) ? value : misread();
}

function misread(): never {
  throw new LatchkeyError("invalid_response", "The keyring answered what the Secret Service does not have", {
    hint: "Update the program that serves org.freedesktop.secrets (gnome-keyring, KWallet, KeePassXC)",
  });
}

/** Bus name of the Secret Service. */
const SECRETS_NAME = "org.freedesktop.secrets";

/** The service's own object, to be completed with `member`, `signature` and `body`. */
const SECRET_SERVICE = {
  destination: SECRETS_NAME,
  path: "/org/freedesktop/secrets",
  interface: "org.freedesktop.Secret.Service",
} as const;

/** How long a call may take, in milliseconds: a keyring that runs, and one that the bus starts first. */
const CALL_MS = 10_000, START_MS = 25_000;

/** How it is called. */
interface SecretCall {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the bus starts the service first when it does not run. @default false */
  readonly autoStart?: boolean | undefined;
}

/**
 * Calls a method of the Secret Service.
 *
 * @param bus The session bus.
 * @param method The method.
 * @param call How it is called.
 * @returns The reply's arguments.
 * @throws {KeyringError} for what the bus or the keyring says instead.
 */
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

/**
 * Makes the first calls of a conversation: to the service that runs, else to one that is started for them.
 *
 * @param converse Makes them.
 * @returns What they give.
 */
async function startingSecrets<T>(converse: (autoStart: boolean) => Promise<T>): Promise<T> {
  try {
    return await converse(false);
  } catch (error) {
    if (!(error instanceof KeyringError) || error.problem !== "no_service") throw error;
    return await converse(true);
  }
}

/** Unique bus name of who serves the secrets now. */
async function secretsOwner(bus: SessionBus, call: SecretCall): Promise<string> {
  const method = { ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [SECRETS_NAME] };
  const [owner] = await callSecrets(bus, method, call);
  if (typeof owner !== "string") throw new KeyringError("no_service");
  return owner;
}

/** Told before a person is asked: to unlock what is there, or to make a keyring. */
export type PromptListener = (purpose: "unlock" | "make") => void;

/** How a person is asked. */
export interface PromptCall {
  /** Whether they may be asked. */
  readonly mayPrompt: boolean;
  /** How long they have, in milliseconds. */
  readonly promptMs: number;
  /** Called before the keyring's window is shown: whoever waits for it may not see it. @default nothing is called */
  readonly onPrompt?: PromptListener | undefined;
  /** Takes the prompt away, and ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A prompt that waits to be shown. */
interface Prompt {
  /** Its object. */
  readonly path: string;
  /** Unique bus name of who made it. */
  readonly owner: string;
  /** What it asks for. @default "unlock" */
  readonly purpose?: "unlock" | "make" | undefined;
}

const INTERFACE = "org.freedesktop.Secret.Prompt";
/** How often it is looked whether the keyring is still there, in milliseconds. */
const LOOK_MS = 1000;
/** How long a call about the prompt may take, in milliseconds; taking it away holds up the end of a call. */
const PROMPT_CALL_MS = 10_000, DISMISS_MS = 1000;

/**
 * Shows a prompt and waits for its end.
 *
 * The signal that ends it counts only from who made the prompt: any program on the bus can send one of its name. That the
 * keyring is gone is asked for rather than heard of, since a bus that ends says nothing.
 *
 * @param bus The session bus.
 * @param prompt The prompt.
 * @param call How the person is asked.
 * @returns What came of it.
 * @throws {KeyringError} `locked` when nobody may be asked; `dismissed`, `unanswered`, `gone` …
 * @throws {LatchkeyError} `invalid_response`.
 */
async function answerOf(bus: SessionBus, prompt: Prompt, call: PromptCall): Promise<DBusValue> {
  const { mayPrompt, promptMs, onPrompt, signal } = call;
  if (!mayPrompt) {
    await dismiss(bus, prompt);
    throw new KeyringError("locked");
  }
  const completed = Promise.withResolvers<Signal>();
  completed.promise.catch(() => {}); // an abort can come before anybody waits for it
  const match = { sender: prompt.owner, path: prompt.path, interface: INTERFACE, member: "Completed" };
  const subscription = await bus.subscribe(match, completed.resolve, { timeoutMs: PROMPT_CALL_MS, signal });
  const watch = watchOver(bus, prompt, promptMs);
  const abort = () => completed.reject(signal!.reason);
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    onPrompt?.(prompt.purpose ?? "unlock");
    await bus.call({ ...objectOf(prompt), member: "Prompt", signature: "s", body: [""] }, {
      timeoutMs: PROMPT_CALL_MS,
      signal,
    });
    return resultIn(await Promise.race([completed.promise, watch.ended]));
  } catch (error) {
    await dismiss(bus, prompt);
    throw signal?.aborted ? signal.reason : asKeyringError(error);
  } finally {
    watch.stop();
    signal?.removeEventListener("abort", abort);
    subscription[Symbol.dispose]();
  }
}

function resultIn({ body: [dismissed, result] }: Signal): DBusValue {
  if (dismissed !== false) throw new KeyringError("dismissed");
  return readVariant(result).value;
}

/** Fails when the prompt's time is over, or the keyring gone. Its timer keeps the program alive. */
function watchOver(bus: SessionBus, { owner }: Prompt, promptMs: number): { ended: Promise<never>; stop(): void } {
  const failed = Promise.withResolvers<never>(), untilMs = performance.now() + promptMs;
  failed.promise.catch(() => {}); // the prompt may have ended before
  let timer: ReturnType<typeof setTimeout>, stopped = false;
  const look = async (): Promise<void> => {
    if (performance.now() >= untilMs) return failed.reject(new KeyringError("unanswered"));
    try {
      await bus.call({ ...BUS_DAEMON, member: "GetNameOwner", signature: "s", body: [owner] }, {
        timeoutMs: PROMPT_CALL_MS,
      });
    } catch {
      failed.reject(new KeyringError("gone"));
    }
    if (!stopped) lookLater();
  };
  const lookLater = (): void => {
    timer = setTimeout(look, Math.max(0, Math.min(LOOK_MS, untilMs - performance.now())));
  };
  lookLater();
  return { ended: failed.promise, stop: () => (stopped = true, clearTimeout(timer)) };
}

/** Takes a prompt away that is not needed; one that is gone by itself is no failure. */
async function dismiss(bus: SessionBus, prompt: Prompt): Promise<void> {
  await bus.call({ ...objectOf(prompt), member: "Dismiss" }, { timeoutMs: DISMISS_MS }).catch(() => {});
}

function objectOf({ path, owner }: Prompt): { destination: string; path: string; interface: string; autoStart: false } {
  return { destination: owner, path, interface: INTERFACE, autoStart: false };
}

/** What libsecret calls a keyring that it makes for want of one. */
const NEW_LABEL = "Default keyring";

/**
 * The keyring to put things in, unlocked: the default one, else that of the log-in, else a new one.
 *
 * @param bus The session bus.
 * @param call How a person is asked.
 * @returns Its object path.
 * @throws {KeyringError} when there is none that can be used.
 * @throws {LatchkeyError} `invalid_response`.
 */
async function openCollection(bus: SessionBus, call: PromptCall): Promise<string> {
  const { signal } = call;
  const [usual, login, session] = await startingSecrets((autoStart) =>
    Promise.all(["default", "login", "session"].map(async (alias) => {
      const method = { ...SECRET_SERVICE, member: "ReadAlias", signature: "s", body: [alias] };
      return readPath((await callSecrets(bus, method, { signal, autoStart }))[0]);
    }))
  );
  // What is in the session's is lost with the session.
  const found = [usual, login].find((path) => path !== undefined && path !== NO_OBJECT && path !== session);
  if (found === undefined) return await makeCollection(bus, call);
  await unlock(bus, found, call);
  return found;
}

/**
 * Unlocks a keyring or an item. What is unlocked stays so.
 *
 * @param bus The session bus.
 * @param path Its object path.
 * @param call How a person is asked, if the keyring wants to.
 * @throws {KeyringError} when it stays locked.
 * @throws {LatchkeyError} `invalid_response`.
 */
async function unlock(bus: SessionBus, path: string, call: PromptCall): Promise<void> {
  const owner = await secretsOwner(bus, call);
  const method = { ...SECRET_SERVICE, destination: owner, member: "Unlock", signature: "ao", body: [[path]] };
  const [unlocked, prompt] = await callSecrets(bus, method, call);
  const done = await afterPrompt(bus, { owner, path: readPath(prompt), otherwise: unlocked! }, call);
  if (!readPaths(done).includes(path)) throw new KeyringError("locked");
}

/** Whether a keyring is locked. */
async function isLocked(bus: SessionBus, path: string, { signal }: PromptCall): Promise<boolean> {
  const properties = { destination: SECRETS_NAME, path, interface: "org.freedesktop.DBus.Properties" };
  const body = ["org.freedesktop.Secret.Collection", "Locked"];
  const [locked] = await callSecrets(bus, { ...properties, member: "Get", signature: "ss", body }, { signal });
  return readBoolean(locked);
}

/** What comes of a call that may have wanted a prompt. */
interface PromptOrResult {
  /** Unique bus name of who was called. */
  readonly owner: string;
  /** The prompt, or the path that stands for none. */
  readonly path: string;
  /** What the call gave, when it wanted none. */
  readonly otherwise: DBusValue;
  /** What the prompt asks for. @default "unlock" */
  readonly purpose?: "unlock" | "make" | undefined;
}

/** The result of a call, from its prompt when it wanted one. */
async function afterPrompt(
  bus: SessionBus,
  { owner, path, otherwise, purpose }: PromptOrResult,
  call: PromptCall,
): Promise<DBusValue> {
  return path === NO_OBJECT ? otherwise : await answerOf(bus, { path, owner, purpose }, call);
}

async function makeCollection(bus: SessionBus, call: PromptCall): Promise<string> {
  // It always asks for the new keyring's password.
  if (!call.mayPrompt) throw new KeyringError("no_keyring");
  const owner = await secretsOwner(bus, call);
  const label = { signature: "s", value: NEW_LABEL };
  const [made, prompt] = await callSecrets(bus, {
    ...SECRET_SERVICE,
    destination: owner,
    member: "CreateCollection",
    signature: "a{sv}s",
    body: [new Map([["org.freedesktop.Secret.Collection.Label", label]]), "default"],
  }, call);
  try {
    const reply = { owner, path: readPath(prompt), otherwise: made!, purpose: "make" } as const;
    return readPath(await afterPrompt(bus, reply, call));
  } catch (error) {
    const isRefused = error instanceof KeyringError && ["dismissed", "unanswered"].includes(error.problem);
    throw isRefused ? new KeyringError("no_keyring") : error;
  }
}

/** By what a secret is found. */
type SecretAttributes = Readonly<Record<string, string>>;

/** Where a secret is looked for. */
export interface SecretLocation {
  /** What it was stored with. */
  readonly attributes: SecretAttributes;
  /** Object path of the keyring that it was put in. */
  readonly collection: string;
}

/** A secret to be stored. */
interface NewSecret {
  /** What people see of it. */
  readonly label: string;
  /** By what it will be found; an item that has the same is replaced. */
  readonly attributes: SecretAttributes;
  /** The secret: a text, since programs that show keyrings show texts. */
  readonly text: string;
}

interface Session {
  readonly path: string;
  readonly key: CryptoKey;
}

/** Attributes and label of an item as `CreateItem` takes them. */
const ITEM = "org.freedesktop.Secret.Item";
const CONTENT_TYPE = "text/plain";

/**
 * Reads a secret, in two steps to the keyring and back where it is unlocked.
 *
 * @param bus The session bus.
 * @param place Where it is.
 * @param call How a person is asked to unlock it.
 * @returns The secret; `undefined` when its keyring is unlocked and has not got it.
 * @throws {KeyringError} when it cannot be had now.
 * @throws {LatchkeyError} `invalid_response`.
 */
export async function readSecret(
  bus: SessionBus,
  place: SecretLocation,
  call: PromptCall,
): Promise<string | undefined> {
  const { signal } = call;
  const [session, found] = await startingSecrets((autoStart) =>
    Promise.all([openSession(bus, { signal, autoStart }), search(bus, place, { signal, autoStart })])
  );
  const item = found.unlocked[0] ?? await unlockItem(bus, found.locked[0], { place, call });
  if (item === undefined) return undefined;
  const method = { destination: SECRETS_NAME, path: item, interface: ITEM, member: "GetSecret" };
  const [secret] = await callSecrets(bus, { ...method, signature: "o", body: [session.path] }, { signal });
  const [, parameters, value] = readStruct(secret);
  const bytes = await decryptSecret({ parameters: readBytes(parameters), value: readBytes(value) }, session.key);
  return new TextDecoder().decode(bytes);
}

/** The item once it is unlocked. A keyring can hide its items while it is locked, so it is searched once more. */
async function unlockItem(
  bus: SessionBus,
  locked: string | undefined,
  { place, call }: { readonly place: SecretLocation; readonly call: PromptCall },
): Promise<string | undefined> {
  if (locked !== undefined) {
    await unlock(bus, locked, call);
    return locked;
  }
  if (!await isThereAndLocked(bus, place.collection, call)) return undefined;
  await unlock(bus, place.collection, call);
  return (await search(bus, place, call)).unlocked[0];
}

async function isThereAndLocked(bus: SessionBus, collection: string, call: PromptCall): Promise<boolean> {
  const properties = { ...SECRET_SERVICE, interface: "org.freedesktop.DBus.Properties" };
  const body = [SECRET_SERVICE.interface, "Collections"];
  const [all] = await callSecrets(bus, { ...properties, member: "Get", signature: "ss", body }, call);
  if (!readPaths(readVariant(all).value).includes(collection)) {
    throw new KeyringError("gone", `it has no keyring ${collection} any more`);
  }
  return await isLocked(bus, collection, call);
}

/**
 * Stores a secret in the default keyring.
 *
 * @param bus The session bus.
 * @param secret The secret.
 * @param call How a person is asked to unlock or make a keyring.
 * @returns Where it is found again: it has been read from there.
 * @throws {KeyringError} when that is not possible now.
 * @throws {LatchkeyError} `invalid_response`.
 */
export async function storeSecret(bus: SessionBus, secret: NewSecret, call: PromptCall): Promise<SecretLocation> {
  const { label, attributes, text } = secret, { signal } = call;
  const collection = await openCollection(bus, call);
  const [session, owner] = await Promise.all([openSession(bus, { signal }), secretsOwner(bus, { signal })]);
  const { parameters, value } = await encryptSecret(new TextEncoder().encode(text), session.key);
  const [made, prompt] = await callSecrets(bus, {
    destination: owner,
    path: collection,
    interface: "org.freedesktop.Secret.Collection",
    member: "CreateItem",
    signature: "a{sv}(oayays)b",
    body: [
      new Map<string, DBusValue>([
        [`${ITEM}.Label`, { signature: "s", value: label }],
        [`${ITEM}.Attributes`, { signature: "a{ss}", value: new Map(Object.entries(attributes)) }],
      ]),
      [session.path, parameters, value, CONTENT_TYPE],
      true,
    ],
  }, { signal });
  readPath(await afterPrompt(bus, { owner, path: readPath(prompt), otherwise: made! }, call));
  const place = { attributes, collection };
  if (await readSecret(bus, place, call) !== text) throw new KeyringError("failed", "it did not keep the secret");
  return place;
}

async function openSession(bus: SessionBus, call: SecretCall): Promise<Session> {
  const share = makeKeyShare(), ours = { signature: "ay", value: share.publicValue };
  const method = { ...SECRET_SERVICE, member: "OpenSession", signature: "sv", body: [SESSION_ALGORITHM, ours] };
  const [theirs, path] = await callSecrets(bus, method, call);
  return { path: readPath(path), key: await agreeOnKey(share, readBytes(readVariant(theirs).value)) };
}

async function search(
  bus: SessionBus,
  { attributes }: SecretLocation,
  call: SecretCall,
): Promise<{ readonly unlocked: readonly string[]; readonly locked: readonly string[] }> {
  const body = [new Map(Object.entries(attributes))];
  const [unlocked, locked] = await callSecrets(bus, {
    ...SECRET_SERVICE,
    member: "SearchItems",
    signature: "a{ss}",
    body,
  }, call);
  return { unlocked: readPaths(unlocked), locked: readPaths(locked) };
}

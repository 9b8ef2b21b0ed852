/**
 * Keyrings of the Secret Service ("collections"): which one things are put in, and its unlocking.
 *
 * @module
 */
import { KeyringError } from "./keyring_error.ts";
import { callSecrets, SECRET_SERVICE, SECRETS_NAME, secretsOwner, startingSecrets } from "./secret_calls.ts";
import { answerOf, type PromptCall } from "./secret_prompt.ts";
import { NO_OBJECT, readBoolean, readPath, readPaths } from "./secret_replies.ts";
import type { DBusValue, SessionBus } from "./session_bus.ts";

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
export async function openCollection(bus: SessionBus, call: PromptCall): Promise<string> {
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
export async function unlock(bus: SessionBus, path: string, call: PromptCall): Promise<void> {
  const owner = await secretsOwner(bus, call);
  const method = { ...SECRET_SERVICE, destination: owner, member: "Unlock", signature: "ao", body: [[path]] };
  const [unlocked, prompt] = await callSecrets(bus, method, call);
  const done = await afterPrompt(bus, { owner, path: readPath(prompt), otherwise: unlocked! }, call);
  if (!readPaths(done).includes(path)) throw new KeyringError("locked");
}

/** Whether a keyring is locked. */
export async function isLocked(bus: SessionBus, path: string, { signal }: PromptCall): Promise<boolean> {
  const properties = { destination: SECRETS_NAME, path, interface: "org.freedesktop.DBus.Properties" };
  const body = ["org.freedesktop.Secret.Collection", "Locked"];
  const [locked] = await callSecrets(bus, { ...properties, member: "Get", signature: "ss", body }, { signal });
  return readBoolean(locked);
}

/** What comes of a call that may have wanted a prompt. */
export interface PromptOrResult {
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
export async function afterPrompt(
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

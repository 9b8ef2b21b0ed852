/**
 * Secrets in the Secret Service, found by their attributes.
 *
 * @module
 */
import { KeyringError } from "./keyring_error.ts";
import {
  callSecrets,
  SECRET_SERVICE,
  type SecretCall,
  SECRETS_NAME,
  secretsOwner,
  startingSecrets,
} from "./secret_calls.ts";
import { afterPrompt, isLocked, openCollection, unlock } from "./secret_collection.ts";
import type { PromptCall } from "./secret_prompt.ts";
import { readBytes, readPath, readPaths, readStruct, readVariant } from "./secret_replies.ts";
import { agreeOnKey, coverSecret, makeKeyShare, SESSION_ALGORITHM, uncoverSecret } from "./secret_session.ts";
import type { DBusValue, SessionBus } from "./session_bus.ts";

/** By what a secret is found. */
export type SecretAttributes = Readonly<Record<string, string>>;

/** Where a secret is looked for. */
export interface SecretPlace {
  /** What it was stored with. */
  readonly attributes: SecretAttributes;
  /** Object path of the keyring that it was put in. */
  readonly collection: string;
}

/** A secret to be stored. */
export interface NewSecret {
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
export async function readSecret(bus: SessionBus, place: SecretPlace, call: PromptCall): Promise<string | undefined> {
  const { signal } = call;
  const [session, found] = await startingSecrets((autoStart) =>
    Promise.all([openSession(bus, { signal, autoStart }), search(bus, place, { signal, autoStart })])
  );
  const item = found.unlocked[0] ?? await unlockItem(bus, found.locked[0], { place, call });
  if (item === undefined) return undefined;
  const method = { destination: SECRETS_NAME, path: item, interface: ITEM, member: "GetSecret" };
  const [secret] = await callSecrets(bus, { ...method, signature: "o", body: [session.path] }, { signal });
  const [, parameters, value] = readStruct(secret);
  const bytes = await uncoverSecret({ parameters: readBytes(parameters), value: readBytes(value) }, session.key);
  return new TextDecoder().decode(bytes);
}

/** The item once it is unlocked. A keyring can hide its items while it is locked, so it is searched once more. */
async function unlockItem(
  bus: SessionBus,
  locked: string | undefined,
  { place, call }: { readonly place: SecretPlace; readonly call: PromptCall },
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
export async function storeSecret(bus: SessionBus, secret: NewSecret, call: PromptCall): Promise<SecretPlace> {
  const { label, attributes, text } = secret, { signal } = call;
  const collection = await openCollection(bus, call);
  const [session, owner] = await Promise.all([openSession(bus, { signal }), secretsOwner(bus, { signal })]);
  const { parameters, value } = await coverSecret(new TextEncoder().encode(text), session.key);
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
  { attributes }: SecretPlace,
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

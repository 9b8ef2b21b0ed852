/**
 * The encrypted token cache: AES-GCM with 256 bits, so that it can be neither read nor changed without the key.
 *
 * The file is `LKS1`, 16 bytes of the key's id, 12 of the nonce, then the ciphertext. The id and the file's name are
 * authenticated: bytes that are moved to another file cannot be decrypted.
 *
 * @module
 */
import { decodeHex, encodeHex, isGuid, joinBytes } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { advice } from "../remedies.ts";
import { pathIn } from "../runtime/path.ts";
import { DocumentFile, type DocumentFormat } from "./document_file.ts";
import {
  BEGIN_ANEW,
  type EncryptionKey,
  type EncryptionKeyOptions,
  findEncryptionKey,
  openEncryptionKey,
} from "./encryption_key.ts";
import type { CacheCall } from "./store.ts";

/** Name of the file. */
export const DOCUMENT_NAME = "tokens.encrypted";
/** Stands for a document that cannot be decrypted. */
const UNREADABLE = "(encrypted)";

/** Returns a store in an encrypted file. */
export function encryptedStore(
  folder: string,
  options: Pick<EncryptionKeyOptions, "keyLocation" | "mayPrompt" | "log">,
): DocumentFile {
  let key: EncryptionKey | undefined;
  const keyOptions = ({ signal }: CacheCall): EncryptionKeyOptions => ({ ...options, known: key, signal });
  const open = async (call: CacheCall) => {
    key = await openEncryptionKey(folder, keyOptions(call));
    return key;
  };

  const format: DocumentFormat = {
    isShared: false,
    prepare: async (call) => void await open(call),
    async decode(bytes, { isForChange, ...call }) {
      // Only a change replaces a lost key: another session can still have the old one.
      if (isForChange) await open(call);
      else if (key === undefined || key.id !== keyIdOf(bytes)) key = await findEncryptionKey(folder, keyOptions(call));
      if (!key) {
        const message = `The key of the token cache in ${folder} is lost: key.json is missing`;
        throw new LatchkeyError("configuration", message, {
          remedy: { ...advice("Restore key.json"), or: { kind: "sign_in_again", when: BEGIN_ANEW } },
        });
      }
      return await decrypt(bytes, key, { name: DOCUMENT_NAME }) ?? UNREADABLE;
    },
    encode: async (document, call) => await encrypt(document, await open(call), { name: DOCUMENT_NAME }),
  };
  return new DocumentFile(pathIn(folder, DOCUMENT_NAME), { format, log: options.log });
}

const MAGIC = new TextEncoder().encode("LKS1");
const ID_LENGTH = 16;
const NONCE_LENGTH = 12;
const HEAD_LENGTH = MAGIC.length + ID_LENGTH;
/** Each key is imported once. */
const imported = new WeakMap<KeyBytes, Promise<CryptoKey>>();

/** The fields of a key that encryption needs. */
export type KeyBytes = Pick<EncryptionKey, "id" | "bytes">;

/** Encrypts a text for the file of that name. */
export async function encrypt(text: string, key: KeyBytes, { name }: { readonly name: string }): Promise<Uint8Array> {
  const head = headOf(key);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_LENGTH));
  const options = { name: "AES-GCM", iv: nonce, additionalData: authenticatedData(head, name) };
  const encrypted = await crypto.subtle.encrypt(options, await importKey(key), new TextEncoder().encode(text));
  return joinBytes([head, nonce, new Uint8Array(encrypted)]);
}

/** Decrypts a text; `undefined` if it was encrypted with another key, or for another file, or was changed since. */
export async function decrypt(
  bytes: Uint8Array<ArrayBuffer>,
  key: KeyBytes,
  { name }: { readonly name: string },
): Promise<string | undefined> {
  if (keyIdOf(bytes) !== key.id.toLowerCase()) return undefined;
  const head = bytes.subarray(0, HEAD_LENGTH);
  const nonce = bytes.subarray(HEAD_LENGTH, HEAD_LENGTH + NONCE_LENGTH);
  const options = { name: "AES-GCM", iv: nonce, additionalData: authenticatedData(head, name) };
  let text;
  try {
    text = await crypto.subtle.decrypt(options, await importKey(key), bytes.subarray(HEAD_LENGTH + NONCE_LENGTH));
  } catch (error) {
    if (error instanceof DOMException) return undefined; // OperationError: it is not authentic
    throw error;
  }
  return new TextDecoder().decode(text);
}

/** Returns the id of the key that bytes were encrypted with; `undefined` if they are not encrypted. */
export function keyIdOf(bytes: Uint8Array): string | undefined {
  if (bytes.length < HEAD_LENGTH + NONCE_LENGTH || MAGIC.some((byte, index) => bytes[index] !== byte)) return undefined;
  const hex = encodeHex(bytes.subarray(MAGIC.length, HEAD_LENGTH));
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function headOf({ id }: KeyBytes): Uint8Array<ArrayBuffer> {
  if (!isGuid(id)) throw new TypeError("Cannot encrypt: the key's id is not a UUID");
  return joinBytes([MAGIC, decodeHex(id.replaceAll("-", ""))]);
}

function authenticatedData(head: Uint8Array<ArrayBuffer>, name: string): Uint8Array<ArrayBuffer> {
  return joinBytes([head, new TextEncoder().encode(name)]);
}

function importKey(key: KeyBytes): Promise<CryptoKey> {
  let promise = imported.get(key);
  if (!promise) {
    const isExtractable = false;
    promise = crypto.subtle.importKey("raw", key.bytes, "AES-GCM", isExtractable, ["encrypt", "decrypt"]);
    imported.set(key, promise);
  }
  return promise;
}

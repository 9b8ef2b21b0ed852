/**
 * Text sealed with a key: AES-GCM with 256 bits, so that it is neither read nor changed without the key. Pure but for the
 * random numbers.
 *
 * A sealed text is `LKS1`, 16 bytes that name the key, 12 of the nonce, then what AES-GCM made. Key and place of the text are
 * sealed with it: one that is moved to another place is none.
 *
 * @module
 */

/** A key. */
export interface SealingKey {
  /** UUID that names it in what it sealed. */
  readonly id: string;
  /** Its 32 bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const MAGIC = new TextEncoder().encode("LKS1");
const ID_LENGTH = 16, NONCE_LENGTH = 12;
const HEAD_LENGTH = MAGIC.length + ID_LENGTH;
/** Each key is imported once. */
const imported = new WeakMap<SealingKey, Promise<CryptoKey>>();

/**
 * Seals a text.
 *
 * @param text The text.
 * @param key The key.
 * @param place Where it is to be kept.
 * @returns The sealed text.
 */
export async function seal(text: string, key: SealingKey, { place }: { readonly place: string }): Promise<Uint8Array> {
  const head = headOf(key), nonce = crypto.getRandomValues(new Uint8Array(NONCE_LENGTH));
  const options = { name: "AES-GCM", iv: nonce, additionalData: sealedWith(head, place) };
  const sealed = await crypto.subtle.encrypt(options, await importKey(key), new TextEncoder().encode(text));
  return joined(head, nonce, new Uint8Array(sealed));
}

/**
 * Reads a sealed text.
 *
 * @param bytes What was kept.
 * @param key The key.
 * @param place Where it was kept.
 * @returns The text; `undefined` when it was not sealed with this key, for this place, or was changed since.
 */
export async function unseal(
  bytes: Uint8Array<ArrayBuffer>,
  key: SealingKey,
  { place }: { readonly place: string },
): Promise<string | undefined> {
  if (keyIdOf(bytes) !== key.id.toLowerCase()) return undefined;
  const head = bytes.subarray(0, HEAD_LENGTH), nonce = bytes.subarray(HEAD_LENGTH, HEAD_LENGTH + NONCE_LENGTH);
  const options = { name: "AES-GCM", iv: nonce, additionalData: sealedWith(head, place) };
  let text;
  try {
    text = await crypto.subtle.decrypt(options, await importKey(key), bytes.subarray(HEAD_LENGTH + NONCE_LENGTH));
  } catch (error) {
    if (error instanceof DOMException) return undefined; // OperationError: it is not what was sealed
    throw error;
  }
  return new TextDecoder().decode(text);
}

/** The id of the key that sealed a text; `undefined` when it is no sealed text. */
export function keyIdOf(bytes: Uint8Array): string | undefined {
  if (bytes.length < HEAD_LENGTH + NONCE_LENGTH || MAGIC.some((byte, index) => bytes[index] !== byte)) return undefined;
  const hex = [...bytes.subarray(MAGIC.length, HEAD_LENGTH)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function headOf({ id }: SealingKey): Uint8Array<ArrayBuffer> {
  const hex = id.replaceAll("-", "");
  if (!/^[\da-f]{32}$/i.test(hex)) throw new TypeError("Cannot seal: the key's id is no UUID");
  return joined(
    MAGIC,
    Uint8Array.from({ length: ID_LENGTH }, (_, index) => parseInt(hex.slice(index * 2, index * 2 + 2), 16)),
  );
}

function sealedWith(head: Uint8Array, place: string): Uint8Array<ArrayBuffer> {
  return joined(head, new TextEncoder().encode(place));
}

function importKey(key: SealingKey): Promise<CryptoKey> {
  let promise = imported.get(key);
  if (!promise) {
    promise = crypto.subtle.importKey("raw", key.bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    imported.set(key, promise);
  }
  return promise;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}

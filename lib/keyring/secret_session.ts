/**
 * The encrypted session of freedesktop's Secret Service, `dh-ietf1024-sha256-aes128-cbc-pkcs7`: secrets do not lie open in
 * the messages, which a monitor of the bus can see.
 *
 * Facts: Secret Service API Draft 0.2, "Transfer of Secrets"; the prime is RFC 2409's second Oakley group. Pure but for the
 * random numbers.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";

/** What a session of this kind is called. */
export const SESSION_ALGORITHM = "dh-ietf1024-sha256-aes128-cbc-pkcs7";

const PRIME = BigInt(
  "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD" +
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
);
const PRIME_BYTES = 128;
/** Twice what the key has that comes of it. */
const EXPONENT_BYTES = 32;
const KEY_BITS = 128;
const IV_BYTES = 16;

/** Our half of the agreement. */
interface KeyShare {
  /** What the other side gets, as big-endian bytes. */
  readonly publicValue: Uint8Array;
  /** Ours alone. */
  readonly exponent: bigint;
}

/** A secret under way: what a `Secret` of the Secret Service has beside the session and the content type. */
interface EncryptedSecret {
  /** The initialization vector. */
  readonly parameters: Uint8Array<ArrayBuffer>;
  /** What AES made of it. */
  readonly value: Uint8Array<ArrayBuffer>;
}

/** A new half of an agreement. */
export function makeKeyShare(): KeyShare {
  const exponent = integerOf(crypto.getRandomValues(new Uint8Array(EXPONENT_BYTES)));
  return { exponent, publicValue: bytesOf(power(2n, exponent)) };
}

/**
 * The key of a session.
 *
 * @param share Our half.
 * @param theirs The other side's public value.
 * @throws {LatchkeyError} `invalid_response` when that is none.
 */
export async function agreeOnKey(share: KeyShare, theirs: Uint8Array): Promise<CryptoKey> {
  const value = integerOf(theirs.subarray(0, 2 * PRIME_BYTES));
  // 0, 1 and p-1 would make a secret that anybody knows.
  if (theirs.length > 2 * PRIME_BYTES || value <= 1n || value >= PRIME - 1n) {
    throw new LatchkeyError("invalid_response", "The keyring offered a key agreement that is not safe");
  }
  const secret = await crypto.subtle.importKey("raw", bytesOf(power(value, share.exponent)), "HKDF", false, [
    "deriveKey",
  ]);
  const none = new Uint8Array();
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: none, info: none };
  const key = { name: "AES-CBC", length: KEY_BITS };
  return await crypto.subtle.deriveKey(algorithm, secret, key, false, ["encrypt", "decrypt"]);
}

/** Covers a secret for the way over the bus. */
export async function encryptSecret(secret: Uint8Array<ArrayBuffer>, key: CryptoKey): Promise<EncryptedSecret> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  return { parameters: iv, value: new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, key, secret)) };
}

/**
 * Uncovers a secret that came.
 *
 * @throws {LatchkeyError} `invalid_response` when it was not covered with this key.
 */
export async function decryptSecret(secret: EncryptedSecret, key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (secret.parameters.length !== IV_BYTES) throw new DOMException("no initialization vector", "OperationError");
    const algorithm = { name: "AES-CBC", iv: secret.parameters };
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, secret.value));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new LatchkeyError("invalid_response", "The keyring sent a secret that its session's key does not open");
  }
}

/** `base` to the power of `exponent`, modulo the prime. */
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = result * result % PRIME;
    if (bit === "1") result = result * base % PRIME;
  }
  return result;
}

function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);
}

/** As many bytes as the prime has: the secret's zeros at the beginning go into the key like all others. */
function bytesOf(value: bigint): Uint8Array<ArrayBuffer> {
  const hex = value.toString(16).padStart(2 * PRIME_BYTES, "0");
  return Uint8Array.from({ length: PRIME_BYTES }, (_, index) => parseInt(hex.slice(2 * index, 2 * index + 2), 16));
}

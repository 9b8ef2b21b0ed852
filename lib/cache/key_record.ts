/**
 * What is written down of the key: `key.json`, beside what the key seals. Pure.
 *
 * @module
 */
import { isObject, parseJson, printable, text } from "../json_values.ts";
import { base64Of, isBase64 } from "../platform/base64_text.ts";

/** Where a key is. */
export type KeyPlace = "secret-service" | "keychain" | "dpapi" | "file";

/** What is written down, by place. */
export type KeyRecord = {
  /** UUID that names the key in what it seals. */
  readonly id: string;
  /** For people: why the key is where it is. */
  readonly why: string;
} & KeySpot;

/** Where a key is, and what it takes to get it from there. */
export type KeySpot =
  | {
    readonly place: "secret-service";
    /** Object path of the keyring that has it. */
    readonly collection: string;
  }
  | { readonly place: "keychain" }
  | {
    readonly place: "dpapi";
    /** The key as base64, protected for this user on this machine. */
    readonly protected: string;
  }
  | {
    readonly place: "file";
    /** The key itself, as base64. */
    readonly key: string;
  };

/** How many bytes a key has. */
export const KEY_BYTES = 32;

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
  const fields = fieldsIn(bytes), id = text(fields?.id), place = text(fields?.place);
  if (!fields || id === undefined || !UUID.test(id) || place === undefined) return undefined;
  const base = { id, why: printable(text(fields.why) ?? "") };
  switch (place) {
    case "secret-service": {
      const collection = text(fields.collection) ?? "";
      return /^(\/\w+)+$/.test(collection) ? { ...base, place, collection } : undefined;
    }
    case "keychain":
      return { ...base, place };
    case "dpapi": {
      const sealed = text(fields.protected) ?? "";
      return isBase64(sealed) ? { ...base, place, protected: sealed } : undefined;
    }
    case "file": {
      const key = text(fields.key) ?? "";
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
  return base64Of(bytes);
}

/** The key that a text is; `undefined` when it is none. */
export function readKey(base64: string): Uint8Array<ArrayBuffer> | undefined {
  if (!isBase64(base64)) return undefined;
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return bytes.length === KEY_BYTES ? bytes : undefined;
}

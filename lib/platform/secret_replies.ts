/**
 * What a Secret Service answered, any of which may be of another type than it should be. Pure.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { DBusValue, Variant } from "./session_bus.ts";

/** The Secret Service's "no object": no prompt is needed, no keyring has this alias. */
export const NO_OBJECT = "/";

/** A value that carries its own type. */
export function readVariant(value: DBusValue | undefined): Variant {
  return typeof value === "object" && "signature" in value ? value : misread();
}

/** An object path. */
export function readPath(value: DBusValue | undefined): string {
  return typeof value === "string" && value.startsWith("/") ? value : misread();
}

/** Object paths. */
export function readPaths(value: DBusValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(readPath) : misread();
}

/** Bytes. */
export function readBytes(value: DBusValue | undefined): Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array ? value as Uint8Array<ArrayBuffer> : misread();
}

/** Whether a variant is `true`; what is no boolean is no answer. */
export function readBoolean(value: DBusValue | undefined): boolean {
  const inner = readVariant(value).value;
  return typeof inner === "boolean" ? inner : misread();
}

/** The fields of a struct. */
export function readStruct(value: DBusValue | undefined): readonly DBusValue[] {
  return Array.isArray(value) ? value : misread();
}

function misread(): never {
  throw new LatchkeyError("invalid_response", "The keyring answered what the Secret Service does not have", {
    hint: "Update the program that serves org.freedesktop.secrets (gnome-keyring, KWallet, KeePassXC)",
  });
}

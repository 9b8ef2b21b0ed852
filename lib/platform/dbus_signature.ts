/**
 * D-Bus signatures, read into types. Facts: D-Bus Specification, "Type System".
 *
 * @module
 */

/** A complete type. */
export type DBusType =
  | { readonly kind: "basic"; readonly code: string; readonly signature: string }
  | { readonly kind: "array"; readonly element: DBusType; readonly signature: string }
  | { readonly kind: "dictionary"; readonly key: DBusType; readonly value: DBusType; readonly signature: string }
  | { readonly kind: "struct"; readonly fields: readonly DBusType[]; readonly signature: string }
  | { readonly kind: "variant"; readonly signature: "v" };

const BASIC = "ybnqiuxtdsog";
const MAX_LENGTH = 255;
const MAX_DEPTH = 32;

/**
 * Reads a signature.
 *
 * @param signature Zero or more complete types, such as `sa{sv}`.
 * @returns The types.
 * @throws {TypeError} when it is not a signature, or carries file descriptors.
 */
export function parseSignature(signature: string): DBusType[] {
  if (signature.length > MAX_LENGTH) throw new TypeError(`A D-Bus signature has at most ${MAX_LENGTH} characters`);
  let position = 0;
  const wrong = () => new TypeError(`${JSON.stringify(signature)} is not a D-Bus signature`);

  function type(arrays: number, structs: number): DBusType {
    const start = position;
    const code = signature[position++] ?? "";
    const end = <T extends object>(rest: T) => ({ ...rest, signature: signature.slice(start, position) });
    if (code && BASIC.includes(code)) return end({ kind: "basic", code });
    if (code === "v") return { kind: "variant", signature: code };
    if (code === "a" && arrays < MAX_DEPTH) {
      if (signature[position] !== "{") return end({ kind: "array", element: type(arrays + 1, structs) });
      position++;
      const key = type(arrays + 1, structs + 1);
      const value = type(arrays + 1, structs + 1);
      if (key.kind !== "basic" || signature[position++] !== "}") throw wrong();
      return end({ kind: "dictionary", key, value });
    }
    if (code === "(" && structs < MAX_DEPTH) {
      const fields: DBusType[] = [];
      while (signature[position] !== ")") fields.push(type(arrays, structs + 1));
      position++;
      if (fields.length === 0) throw wrong();
      return end({ kind: "struct", fields });
    }
    throw wrong();
  }

  const types: DBusType[] = [];
  while (position < signature.length) types.push(type(0, 0));
  return types;
}

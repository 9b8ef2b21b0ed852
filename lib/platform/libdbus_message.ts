/**
 * Values into and out of libdbus messages.
 *
 * @module
 */
import type { DBusType } from "./dbus_signature.ts";
import { parseSignature } from "./dbus_signature.ts";
import { copyBytes, copyText, cString, type Libdbus } from "./libdbus.ts";
import type { DBusValue, Variant } from "./session_bus.ts";

/** Room for a DBusMessageIter, which is 72 bytes on 64-bit machines. */
type Iterator = Uint8Array<ArrayBuffer>;
const newIterator = (): Iterator => new Uint8Array(128);

const INVALID = 0, ARRAY = code("a"), STRUCT = code("r"), DICT_ENTRY = code("e"), VARIANT = code("v"), BYTE = code("y");

function code(type: string): number {
  return type.charCodeAt(0);
}

/** Integer types: how many bits, and whether there is a sign. Those of 64 bits are bigint. */
const INTEGERS: Record<string, readonly [bits: number, signed: boolean]> = {
  y: [8, false],
  n: [16, true],
  q: [16, false],
  i: [32, true],
  u: [32, false],
  x: [64, true],
  t: [64, false],
};

/**
 * Appends arguments to a message.
 *
 * @param library libdbus.
 * @param message Address of a message.
 * @param types Types of its arguments.
 * @param values As many values.
 * @throws {TypeError} when a value does not fit its type.
 */
export function appendArguments(
  library: Libdbus,
  message: bigint,
  types: readonly DBusType[],
  values: readonly DBusValue[],
): void {
  if (types.length !== values.length) {
    throw new TypeError(`Cannot call over D-Bus: ${types.length} arguments are needed, ${values.length} were given`);
  }
  const iterator = newIterator();
  library.calls.dbus_message_iter_init_append(message, iterator);
  types.forEach((type, index) => append(library, iterator, type, values[index]!));
}

function append(library: Libdbus, iterator: Iterator, type: DBusType, value: DBusValue): void {
  switch (type.kind) {
    case "basic":
      return appendBasic(library, iterator, type.code, value);
    case "array": {
      const items = value instanceof Uint8Array && type.signature === "ay" ? [...value] : value;
      if (!Array.isArray(items)) throw misfit(type.signature, value);
      return inContainer(library, iterator, ARRAY, type.element.signature, (inner) => {
        for (const item of items) append(library, inner, type.element, item);
      });
    }
    case "dictionary": {
      if (!(value instanceof Map)) throw misfit(type.signature, value);
      return inContainer(library, iterator, ARRAY, type.signature.slice(1), (entries) => {
        for (const [key, item] of value) {
          inContainer(library, entries, DICT_ENTRY, null, (inner) => {
            append(library, inner, type.key, key);
            append(library, inner, type.value, item);
          });
        }
      });
    }
    case "struct":
      if (!Array.isArray(value) || value.length !== type.fields.length) throw misfit(type.signature, value);
      return inContainer(library, iterator, STRUCT, null, (inner) => {
        type.fields.forEach((field, index) => append(library, inner, field, value[index]!));
      });
    case "variant": {
      if (!isVariant(value)) throw misfit(type.signature, value);
      const [only, ...more] = parseSignature(value.signature);
      if (!only || more.length > 0) {
        throw new TypeError(`A D-Bus variant has one complete type, not ${JSON.stringify(value.signature)}`);
      }
      return inContainer(
        library,
        iterator,
        VARIANT,
        value.signature,
        (inner) => append(library, inner, only, value.value),
      );
    }
  }
}

function isVariant(value: DBusValue): value is Variant {
  return typeof value === "object" && "signature" in value && "value" in value;
}

/** An open container is closed or abandoned, or libdbus keeps its memory. */
function inContainer(
  library: Libdbus,
  iterator: Iterator,
  type: number,
  contained: string | null,
  fill: (inner: Iterator) => void,
): void {
  const { containers } = library, inner = newIterator();
  const signature = contained === null ? null : cString(contained);
  outOfMemoryUnless(containers.dbus_message_iter_open_container(iterator, type, signature, inner));
  try {
    fill(inner);
  } catch (error) {
    containers.dbus_message_iter_abandon_container(iterator, inner);
    throw error;
  }
  outOfMemoryUnless(containers.dbus_message_iter_close_container(iterator, inner));
}

function appendBasic(library: Libdbus, iterator: Iterator, type: string, value: DBusValue): void {
  const { calls } = library;
  const data = new DataView(new ArrayBuffer(8)), bytes = new Uint8Array(data.buffer);
  const done = () => outOfMemoryUnless(calls.dbus_message_iter_append_basic(iterator, code(type), bytes));
  if (type in INTEGERS) {
    const [bits, signed] = INTEGERS[type]!;
    if (typeof value !== (bits === 64 ? "bigint" : "number") || (bits < 64 && !Number.isInteger(value))) {
      throw misfit(type, value);
    }
    const wide = BigInt(value as number | bigint);
    if ((signed ? BigInt.asIntN(bits, wide) : BigInt.asUintN(bits, wide)) !== wide) throw misfit(type, value);
    data.setBigInt64(0, wide, true);
    return done();
  }
  if (type === "b" && typeof value === "boolean") {
    data.setUint32(0, Number(value), true);
    return done();
  }
  if (type === "d" && typeof value === "number") {
    data.setFloat64(0, value, true);
    return done();
  }
  if (typeof value !== "string" || !isText(type, value)) throw misfit(type, value);
  const copy = calls.strdup(cString(value));
  data.setBigUint64(0, BigInt(copy), true);
  try {
    done();
  } finally {
    calls.free(copy);
  }
}

/** libdbus takes what it is given for valid and warns on stderr when it is not, so it is looked at before. */
function isText(type: string, value: string): boolean {
  if (type === "s") return !value.includes("\0");
  if (type === "o") return /^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/.test(value);
  if (type !== "g") return false;
  parseSignature(value);
  return true;
}

function misfit(signature: string, value: DBusValue): TypeError {
  const kind = value instanceof Uint8Array || value instanceof Map
    ? value.constructor.name
    : Array.isArray(value)
    ? "array"
    : typeof value;
  return new TypeError(`Cannot call over D-Bus: a value (${kind}) does not fit the type ${JSON.stringify(signature)}`);
}

function outOfMemoryUnless(done: number): void {
  if (!done) {
    throw new RangeError("Cannot call over D-Bus: the message is larger than D-Bus allows, or memory is short");
  }
}

/**
 * Reads the arguments of a message.
 *
 * @param library libdbus.
 * @param message Address of a message.
 * @returns Its arguments.
 * @throws {TypeError} when it carries a file descriptor.
 */
export function readArguments(library: Libdbus, message: bigint): DBusValue[] {
  const iterator = newIterator();
  return library.calls.dbus_message_iter_init(message, iterator) ? readAll(library, iterator) : [];
}

function readAll(library: Libdbus, iterator: Iterator): DBusValue[] {
  const values: DBusValue[] = [];
  while (library.calls.dbus_message_iter_get_arg_type(iterator) !== INVALID) {
    values.push(read(library, iterator));
    library.calls.dbus_message_iter_next(iterator);
  }
  return values;
}

function read(library: Libdbus, iterator: Iterator): DBusValue {
  const type = library.calls.dbus_message_iter_get_arg_type(iterator);
  switch (type) {
    case STRUCT:
      return readAll(library, recurse(library, iterator));
    case VARIANT: {
      const inner = recurse(library, iterator);
      const signature = library.containers.dbus_message_iter_get_signature(inner);
      try {
        return { signature: copyText(library, signature), value: read(library, inner) };
      } finally {
        library.containers.dbus_free(signature);
      }
    }
    case ARRAY:
      return readArray(library, iterator);
    default:
      return readBasic(library, iterator, String.fromCharCode(type));
  }
}

function recurse(library: Libdbus, iterator: Iterator): Iterator {
  const inner = newIterator();
  library.containers.dbus_message_iter_recurse(iterator, inner);
  return inner;
}

function readArray(library: Libdbus, iterator: Iterator): DBusValue {
  const element = library.containers.dbus_message_iter_get_element_type(iterator);
  const inner = recurse(library, iterator);
  if (element === BYTE) {
    const address = new BigUint64Array(1), length = new Int32Array(1);
    library.containers.dbus_message_iter_get_fixed_array(
      inner,
      new Uint8Array(address.buffer),
      new Uint8Array(length.buffer),
    );
    return copyBytes(library, address[0]!, length[0]!);
  }
  if (element !== DICT_ENTRY) return readAll(library, inner);
  const entries = new Map<DBusValue, DBusValue>();
  while (library.calls.dbus_message_iter_get_arg_type(inner) === DICT_ENTRY) {
    const [key, value] = readAll(library, recurse(library, inner));
    entries.set(key!, value!);
    library.calls.dbus_message_iter_next(inner);
  }
  return entries;
}

function readBasic(library: Libdbus, iterator: Iterator, type: string): DBusValue {
  // Reading an `h` would make a duplicate that someone has to close; unread, the descriptor goes with its message.
  if (!"ybnqiuxtdsog".includes(type)) {
    throw new TypeError(`D-Bus values of type ${JSON.stringify(type)} are not carried`);
  }
  const data = new DataView(new ArrayBuffer(8));
  library.calls.dbus_message_iter_get_basic(iterator, new Uint8Array(data.buffer));
  if ("sog".includes(type)) return copyText(library, data.getBigUint64(0, true));
  if (type === "b") return data.getUint32(0, true) !== 0;
  if (type === "d") return data.getFloat64(0, true);
  const [bits, signed] = INTEGERS[type]!;
  const wide = data.getBigUint64(0, true);
  const value = signed ? BigInt.asIntN(bits, wide) : BigInt.asUintN(bits, wide);
  return bits === 64 ? value : Number(value);
}

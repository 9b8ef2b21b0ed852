/**
 * D-Bus signatures, read into types. Facts: D-Bus Specification, "Type System".
 *
 * @module
 */
import type { DBusValue, Variant } from "./bus.ts";

/** A complete type. */
type DBusType =
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

/** Integer types: how many bytes, and whether there is a sign. Those of eight bytes are bigint. */
const INTEGERS: Readonly<Record<string, readonly [size: number, signed: boolean]>> = {
  y: [1, false],
  n: [2, true],
  q: [2, false],
  i: [4, true],
  u: [4, false],
  x: [8, true],
  t: [8, false],
};

function alignment(type: DBusType): number {
  if (type.kind === "struct") return 8;
  if (type.kind === "variant") return 1;
  if (type.kind !== "basic" || "sob".includes(type.code)) return 4;
  return type.code === "d" ? 8 : INTEGERS[type.code]?.[0] ?? 1;
}

/** Writes values, in little-endian byte order. */
class ValueWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length);
  }

  align(boundary: number): void {
    this.#grow(-this.length & (boundary - 1));
  }

  write(type: DBusType, value: DBusValue): void {
    switch (type.kind) {
      case "basic":
        return this.writeBasic(type.code, value);
      case "array": {
        if (value instanceof Uint8Array && type.signature === "ay") {
          return this.writeArray(1, () => this.put(value));
        }
        if (!Array.isArray(value)) throw misfit(type.signature, value);
        return this.writeArray(alignment(type.element), () => value.forEach((item) => this.write(type.element, item)));
      }
      case "dictionary":
        if (!(value instanceof Map)) throw misfit(type.signature, value);
        return this.writeArray(8, () => {
          for (const [key, item] of value) {
            this.align(8);
            this.write(type.key, key);
            this.write(type.value, item);
          }
        });
      case "struct":
        if (!Array.isArray(value) || value.length !== type.fields.length) throw misfit(type.signature, value);
        this.align(8);
        return type.fields.forEach((field, index) => this.write(field, value[index]!));
      case "variant": {
        if (!isVariant(value)) throw misfit(type.signature, value);
        const [only, ...more] = parseSignature(value.signature);
        if (!only || more.length > 0) throw misfit(type.signature, value);
        this.writeBasic("g", value.signature);
        return this.write(only, value.value);
      }
    }
  }

  /** The length counts the elements, not the padding before the first. */
  writeArray(boundary: number, writeElements: () => void): void {
    this.align(4);
    const length = this.#grow(4);
    this.align(boundary);
    const start = this.length;
    writeElements();
    this.#view.setUint32(length, this.length - start, true);
  }

  writeBasic(code: string, value: DBusValue): void {
    if (code in INTEGERS) return this.#writeInteger(code, value);
    if (code === "b" && typeof value === "boolean") return this.#writeInteger("u", Number(value));
    if (code === "d" && typeof value === "number") {
      this.align(8);
      const at = this.#grow(8);
      return this.#view.setFloat64(at, value, true);
    }
    if (typeof value !== "string" || !isText(code, value)) throw misfit(code, value);
    const text = encoder.encode(value);
    this.#writeInteger(code === "g" ? "y" : "u", text.length);
    this.put(text);
    this.#grow(1); // the NUL
  }

  #writeInteger(code: string, value: DBusValue): void {
    const [size, signed] = INTEGERS[code]!;
    if (size === 8 ? !isWide(value, signed) : !isInteger(value, size, signed)) throw misfit(code, value);
    this.align(size);
    const at = this.#grow(size);
    if (typeof value === "bigint") this.#view.setBigInt64(at, value, true);
    else if (size === 4) this.#view.setInt32(at, value as number, true);
    else if (size === 2) this.#view.setInt16(at, value as number, true);
    else this.#view.setInt8(at, value as number);
  }

  put(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Makes room, zeroed, and tells where it begins. */
  #grow(size: number): number {
    const start = this.length;
    this.length += size;
    if (this.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return start;
  }
}

/** Reads values out of a message that libdbus has found valid. */
class ValueReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  /** What was read of the message, in bytes. */
  position: number;

  /**
   * @param bytes The whole message: values are aligned to its beginning.
   * @param littleEndian Its byte order.
   * @param position Where to begin.
   */
  constructor(bytes: Uint8Array<ArrayBuffer>, littleEndian: boolean, position: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#littleEndian = littleEndian;
    this.position = position;
  }

  /** A number of the header, which stand at fixed places. */
  readAt(position: number): number {
    return this.#view.getUint32(position, this.#littleEndian);
  }

  align(boundary: number): void {
    this.position += -this.position & (boundary - 1);
  }

  read(type: DBusType): DBusValue {
    switch (type.kind) {
      case "basic":
        return this.readBasic(type.code);
      case "array":
        return type.signature === "ay" ? this.#take(this.#readLength()).slice() : this.#readElements(type.element);
      case "dictionary": {
        const entry: DBusType = { kind: "struct", fields: [type.key, type.value], signature: type.signature };
        return new Map(this.#readElements(entry) as unknown as [DBusValue, DBusValue][]);
      }
      case "struct":
        this.align(8);
        return type.fields.map((field) => this.read(field));
      case "variant": {
        const signature = this.readBasic("g") as string;
        return { signature, value: this.read(parseSignature(signature)[0]!) };
      }
    }
  }

  #readElements(element: DBusType): DBusValue[] {
    const length = this.#readLength(), values: DBusValue[] = [];
    this.align(alignment(element));
    for (const end = this.position + length; this.position < end;) values.push(this.read(element));
    return values;
  }

  #readLength(): number {
    return this.readBasic("u") as number;
  }

  readBasic(code: string): DBusValue {
    const little = this.#littleEndian, view = this.#view;
    switch (code) {
      case "y":
        return view.getUint8(this.#skip(1));
      case "n":
        return view.getInt16(this.#skip(2), little);
      case "q":
        return view.getUint16(this.#skip(2), little);
      case "i":
        return view.getInt32(this.#skip(4), little);
      case "u":
        return view.getUint32(this.#skip(4), little);
      case "b":
        return view.getUint32(this.#skip(4), little) !== 0;
      case "x":
        return view.getBigInt64(this.#skip(8), little);
      case "t":
        return view.getBigUint64(this.#skip(8), little);
      case "d":
        return view.getFloat64(this.#skip(8), little);
      default: {
        const text = decoder.decode(this.#take(this.readBasic(code === "g" ? "y" : "u") as number));
        this.position++; // the NUL
        return text;
      }
    }
  }

  /** Passes over a number of so many bytes, and tells where it begins. */
  #skip(size: number): number {
    this.align(size);
    this.position += size;
    return this.position - size;
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    this.position += length;
    return this.#bytes.subarray(this.position - length, this.position);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function isInteger(value: DBusValue, size: number, signed: boolean): boolean {
  const range = 2 ** (8 * size), least = signed ? -range / 2 : 0;
  return typeof value === "number" && Number.isInteger(value) && value >= least && value < least + range;
}

function isWide(value: DBusValue, signed: boolean): boolean {
  return typeof value === "bigint" && (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) === value;
}

function isVariant(value: DBusValue): value is Variant {
  return typeof value === "object" && "signature" in value && "value" in value;
}

function isText(code: string, value: string): boolean {
  if (code === "s") return !value.includes("\0");
  if (code === "o") return /^\/(?:[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*)?$/.test(value);
  parseSignature(value);
  return true;
}

function misfit(signature: string, value: DBusValue): TypeError {
  const isNamed = value instanceof Uint8Array || value instanceof Map || Array.isArray(value);
  const kind = isNamed ? value.constructor.name : typeof value;
  return new TypeError(`Cannot call over D-Bus: a value (${kind}) does not fit the type ${JSON.stringify(signature)}`);
}

/** Types of message. */
export const METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4;

/** Flags of a method call: its caller waits for no reply; the bus starts no service for it. */
export const NO_REPLY_EXPECTED = 1, NO_AUTO_START = 2;

/** A message. Which fields it has goes by its type. */
export interface DBusMessage {
  /** One of the types of message. */
  readonly type: number;
  /** @default 0 */
  readonly flags?: number;
  /** Number of the message among those of its sender, from 1. */
  readonly serial: number;
  /** Object path. */
  readonly path?: string | undefined;
  /** Interface of the method or signal. */
  readonly interface?: string | undefined;
  /** Name of the method or signal. */
  readonly member?: string | undefined;
  /** Name of the error. */
  readonly errorName?: string | undefined;
  /** Serial of the call that is answered. */
  readonly replySerial?: number | undefined;
  /** Bus name that it goes to. */
  readonly destination?: string | undefined;
  /** Unique bus name that it comes from. */
  readonly sender?: string | undefined;
  /** Signature of the body. @default "" */
  readonly signature?: string | undefined;
  /** The arguments; absent from a message that was read when they cannot be: file descriptors are not carried. */
  readonly body?: readonly DBusValue[] | undefined;
}

/** Header fields by their number, and the type of each. */
const FIELDS: readonly (readonly [name: keyof DBusMessage, type: string] | undefined)[] = [
  undefined,
  ["path", "o"],
  ["interface", "s"],
  ["member", "s"],
  ["errorName", "s"],
  ["replySerial", "u"],
  ["destination", "s"],
  ["sender", "s"],
  ["signature", "g"],
];
const LITTLE_ENDIAN = 0x6c; // "l"
const PROTOCOL_VERSION = 1;
/** Where a header's array of fields begins: after its length. */
const FIELDS_START = 16;

/**
 * Writes a message.
 *
 * @throws {TypeError} when the body does not fit the signature.
 */
export function encodeMessage(message: DBusMessage): Uint8Array<ArrayBuffer> {
  const types = parseSignature(message.signature ?? ""), values = message.body ?? [];
  if (types.length !== values.length) {
    throw new TypeError(`Cannot call over D-Bus: ${types.length} arguments are needed, ${values.length} were given`);
  }
  const body = new ValueWriter();
  for (let index = 0; index < types.length; index++) body.write(types[index]!, values[index]!);
  const whole = new ValueWriter();
  for (const byte of [LITTLE_ENDIAN, message.type, message.flags ?? 0, PROTOCOL_VERSION]) whole.writeBasic("y", byte);
  whole.writeBasic("u", body.length);
  whole.writeBasic("u", message.serial);
  whole.writeArray(8, () => {
    for (let code = 1; code < FIELDS.length; code++) {
      const [name, type] = FIELDS[code]!, value = message[name] as DBusValue | undefined;
      if (value === undefined || value === "") continue;
      whole.align(8);
      whole.writeBasic("y", code);
      whole.writeBasic("g", type);
      whole.writeBasic(type, value);
    }
  });
  whole.align(8);
  whole.put(body.bytes());
  return whole.bytes();
}

/** Reads a message that libdbus has found valid. */
export function decodeMessage(bytes: Uint8Array<ArrayBuffer>): DBusMessage {
  const reader = new ValueReader(bytes, bytes[0] === LITTLE_ENDIAN, FIELDS_START);
  const message: Record<string, DBusValue> = { type: bytes[1]!, flags: bytes[2]!, serial: reader.readAt(8) };
  const end = FIELDS_START + reader.readAt(12);
  while (reader.position < end) {
    reader.align(8);
    const field = FIELDS[reader.readBasic("y") as number];
    const type = reader.readBasic("g") as string;
    const value = reader.read(parseSignature(type)[0]!);
    if (field) message[field[0]] = value;
  }
  reader.align(8);
  const body = readBody(reader, message.signature as string | undefined ?? "");
  return { ...message, ...(body && { body }) } as unknown as DBusMessage;
}

function readBody(reader: ValueReader, signature: string): DBusValue[] | undefined {
  try {
    return parseSignature(signature).map((type) => reader.read(type));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/**
 * Encodes and decodes D-Bus messages (D-Bus Specification, "Type System" and "Message Protocol").
 *
 * @module
 */
import type { DBusValue, MethodCall, Variant } from "./bus.ts";

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
 * Parses zero or more complete types, such as `sa{sv}`.
 *
 * @throws {TypeError} if the signature is malformed, or has file descriptors.
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
      return end({ kind: "dictionary", ...entry(arrays + 1, structs + 1) });
    }
    if (code === "(" && structs < MAX_DEPTH) return end({ kind: "struct", fields: fields(arrays, structs + 1) });
    throw wrong();
  }

  function entry(arrays: number, structs: number): { readonly key: DBusType; readonly value: DBusType } {
    position++;
    const key = type(arrays, structs);
    const value = type(arrays, structs);
    if (key.kind !== "basic" || signature[position++] !== "}") throw wrong();
    return { key, value };
  }

  function fields(arrays: number, structs: number): readonly DBusType[] {
    const found: DBusType[] = [];
    while (signature[position] !== ")") found.push(type(arrays, structs));
    position++;
    if (found.length === 0) throw wrong();
    return found;
  }

  const types: DBusType[] = [];
  while (position < signature.length) types.push(type(0, 0));
  return types;
}

/** Numbers, by size in bytes, and the functions that read and write them. */
const NUMBERS = {
  y: [1, "getUint8", "setUint8"],
  n: [2, "getInt16", "setInt16"],
  q: [2, "getUint16", "setUint16"],
  i: [4, "getInt32", "setInt32"],
  u: [4, "getUint32", "setUint32"],
  b: [4, "getUint32", "setUint32"],
  x: [8, "getBigInt64", "setBigInt64"],
  t: [8, "getBigUint64", "setBigUint64"],
  d: [8, "getFloat64", "setFloat64"],
} as const;

function isNumberCode(code: string): code is keyof typeof NUMBERS {
  return code in NUMBERS;
}

/** Returns true if a value is of a number's type, and in its range. */
function isNumber(code: keyof typeof NUMBERS, value: DBusValue): value is number | bigint | boolean {
  if (code === "b") return typeof value === "boolean";
  if (code === "d") return typeof value === "number";
  const bits = 8 * NUMBERS[code][0];
  const isSigned = "nix".includes(code);
  if (bits === 64 ? typeof value !== "bigint" : !Number.isInteger(value)) return false;
  const integer = BigInt(value as number | bigint);
  return (isSigned ? BigInt.asIntN(bits, integer) : BigInt.asUintN(bits, integer)) === integer;
}

function alignment(type: DBusType): number {
  if (type.kind === "struct") return 8;
  if (type.kind === "variant") return 1;
  if (type.kind !== "basic") return 4;
  if (isNumberCode(type.code)) return NUMBERS[type.code][0];
  return type.code === "g" ? 1 : 4;
}

/** Writes values in little-endian byte order. */
class ValueWriter {
  #bytes = new Uint8Array(4096);
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
        if (value instanceof Uint8Array && type.signature === "ay") return this.writeArray(1, () => this.put(value));
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

  /** The length counts the elements, but not the padding before the first. */
  writeArray(boundary: number, writeElements: () => void): void {
    this.align(4);
    const length = this.#grow(4);
    this.align(boundary);
    const start = this.length;
    writeElements();
    this.#view.setUint32(length, this.length - start, true);
  }

  writeBasic(code: string, value: DBusValue): void {
    if (isNumberCode(code)) {
      if (!isNumber(code, value)) throw misfit(code, value);
      const [size, , set] = NUMBERS[code];
      this.align(size);
      const at = this.#grow(size);
      return this.#view[set](at, value as never, true);
    }
    if (typeof value !== "string" || !isText(code, value)) throw misfit(code, value);
    const size = code === "g" ? 1 : 4;
    this.align(size);
    const at = this.#grow(size);
    const start = this.#grow(3 * value.length + 1); // the longest UTF-8, and the NUL
    const { written } = encoder.encodeInto(value, this.#bytes.subarray(start));
    this.length = start + written + 1;
    if (size === 4) this.#view.setUint32(at, written, true);
    else if (written <= 255) this.#view.setUint8(at, written);
    else throw misfit(code, value);
  }

  /** Replaces a number that was written before. */
  replaceUint32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  put(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length); // may replace #bytes
    this.#bytes.set(bytes, at);
  }

  /** Adds zeros, and returns where they begin. */
  #grow(size: number): number {
    const start = this.length;
    this.length += size;
    if (this.length > this.#bytes.length) {
      this.#bytes = new Uint8Array(this.#bytes.buffer.transfer(Math.max(this.length, 2 * this.#bytes.length)));
      this.#view = new DataView(this.#bytes.buffer);
    }
    return start;
  }
}

/** Reads values from a valid message. */
class ValueReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  position: number;

  /** @param bytes The whole message: values are aligned to its beginning. */
  constructor(bytes: Uint8Array<ArrayBuffer>, position: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#littleEndian = bytes[0] === LITTLE_ENDIAN;
    this.position = position;
  }

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
        return type.signature === "ay"
          ? this.#take(this.readBasic("u") as number).slice()
          : this.#readElements(type.element);
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
    const length = this.readBasic("u") as number;
    const values: DBusValue[] = [];
    this.align(alignment(element));
    for (const end = this.position + length; this.position < end;) values.push(this.read(element));
    return values;
  }

  readBasic(code: string): DBusValue {
    if (isNumberCode(code)) {
      const [size, get] = NUMBERS[code];
      this.align(size);
      this.position += size;
      const value = this.#view[get](this.position - size, this.#littleEndian);
      return code === "b" ? value !== 0 : value;
    }
    const text = decoder.decode(this.#take(this.readBasic(code === "g" ? "y" : "u") as number));
    this.position++; // the NUL
    return text;
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    this.position += length;
    return this.#bytes.subarray(this.position - length, this.position);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

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

export const METHOD_CALL = 1, METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4;

export const NO_REPLY_EXPECTED = 1, NO_AUTO_START = 2;

/** A message. Its type decides which fields it has. */
export interface DBusMessage extends OrUndefined<Partial<Omit<MethodCall, "autoStart">>> {
  readonly type: number;
  readonly flags?: number;
  /** Number of the message among those of its sender, from 1. */
  readonly serial: number;
  readonly errorName?: string | undefined;
  /** Serial of the call that this message answers. */
  readonly replySerial?: number | undefined;
  readonly sender?: string | undefined;
  /** The arguments; `undefined` after decoding if they have unsupported types. */
  readonly body?: readonly DBusValue[] | undefined;
}

type OrUndefined<T> = { [K in keyof T]: T[K] | undefined };

/** Header fields by code, and their types. */
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
/** The byte "l". */
const LITTLE_ENDIAN = 0x6c;
const PROTOCOL_VERSION = 1;
const BODY_LENGTH_AT = 4;
const FIELDS_START = 16;

/** @throws {TypeError} if the body does not fit the signature. */
export function encodeMessage(message: DBusMessage): Uint8Array<ArrayBuffer> {
  const types = parseSignature(message.signature ?? "");
  const values = message.body ?? [];
  if (types.length !== values.length) {
    throw new TypeError(`Cannot call over D-Bus: expected ${types.length} arguments, got ${values.length}`);
  }
  const whole = new ValueWriter();
  for (const byte of [LITTLE_ENDIAN, message.type, message.flags ?? 0, PROTOCOL_VERSION]) whole.writeBasic("y", byte);
  whole.writeBasic("u", 0); // the length of the body
  whole.writeBasic("u", message.serial);
  whole.writeArray(8, () => {
    for (let code = 1; code < FIELDS.length; code++) {
      const [name, type] = FIELDS[code]!;
      const value = message[name] as DBusValue | undefined;
      if (value === undefined || value === "") continue;
      whole.align(8);
      whole.writeBasic("y", code);
      whole.writeBasic("g", type);
      whole.writeBasic(type, value);
    }
  });
  whole.align(8);
  const start = whole.length; // aligned, so that the body is as it would be by itself
  for (let index = 0; index < types.length; index++) whole.write(types[index]!, values[index]!);
  whole.replaceUint32(BODY_LENGTH_AT, whole.length - start);
  return whole.bytes();
}

/** The message must be valid. */
export function decodeMessage(bytes: Uint8Array<ArrayBuffer>): DBusMessage {
  const reader = new ValueReader(bytes, FIELDS_START);
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

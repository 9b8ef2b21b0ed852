/**
 * D-Bus values as bytes and back. Facts: D-Bus Specification, "Marshaling (Wire Format)". Pure.
 *
 * @module
 */
import { type DBusType, parseSignature } from "./dbus_signature.ts";
import type { DBusValue, Variant } from "./session_bus.ts";

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
export class ValueWriter {
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
export class ValueReader {
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

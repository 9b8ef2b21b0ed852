/**
 * D-Bus messages as bytes and back. Facts: D-Bus Specification, "Message Format". Pure.
 *
 * libdbus could do this value by value; doing it here takes two of its functions instead of twenty, and each that is bound
 * costs a program that wants one token 0.1 ms.
 *
 * @module
 */
import { parseSignature } from "./dbus_signature.ts";
import { ValueReader, ValueWriter } from "./dbus_values.ts";
import type { DBusValue } from "./session_bus.ts";

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

/**
 * D-Bus messages out of a stream of bytes. Facts: D-Bus Specification, "Message Format". Pure.
 *
 * @module
 */

/** What tells how long a message is: a byte order, numbers at fixed places, and the length of the fields that follow. */
const HEADER_LENGTH = 16;
const MAX_LENGTH = 128 * 1024 * 1024;
const BYTE_ORDERS = "lB"; // little, big

/** Puts the pieces in which messages come together. */
export class MessageSplitter {
  #message = new Uint8Array(HEADER_LENGTH);
  #filled = 0;

  /**
   * Takes the next piece.
   *
   * @returns The messages that are whole by now, in order.
   * @throws {RangeError} when it is no message; nothing that follows can be read then.
   */
  push(piece: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const messages = [];
    for (let rest = piece; rest.length > 0;) {
      const part = rest.subarray(0, this.#message.length - this.#filled);
      this.#message.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled < this.#message.length) break;
      const length = lengthOf(this.#message);
      if (length === this.#filled) {
        messages.push(this.#message);
        this.#message = new Uint8Array(HEADER_LENGTH);
        this.#filled = 0;
      } else {
        const whole = new Uint8Array(length);
        whole.set(this.#message);
        this.#message = whole;
      }
    }
    return messages;
  }
}

function lengthOf(message: Uint8Array<ArrayBuffer>): number {
  const order = String.fromCharCode(message[0]!), view = new DataView(message.buffer);
  const body = view.getUint32(4, order === "l"), fields = view.getUint32(12, order === "l");
  const length = HEADER_LENGTH + Math.ceil(fields / 8) * 8 + body;
  if (!BYTE_ORDERS.includes(order) || length > MAX_LENGTH) throw new RangeError("The bytes are no D-Bus message");
  return length;
}

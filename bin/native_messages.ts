/**
 * The messages by which browsers speak to a program that they start: the length as four bytes in the machine's order, then JSON
 * in UTF-8.
 *
 * @module
 */

/** The longest message that a browser takes, in bytes: Chromium and Firefox end a program that sends more. */
export const MAX_MESSAGE = 1024 * 1024;

const LENGTH_BYTES = 4;

/** A message that came in: its bytes, the number of them where there were too many to read, or the end in the middle of one. */
export type IncomingMessage =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "too long"; readonly length: number }
  | { readonly kind: "cut off" };

/**
 * Messages, as they come. One that is too long is passed over, and none of it kept.
 *
 * @param input The bytes, cut anywhere.
 * @param limit The longest message that is read, in bytes.
 */
export async function* readMessages(
  input: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<IncomingMessage, void> {
  const length = new Uint8Array(LENGTH_BYTES);
  let part: Uint8Array = length, filled = 0, passedOver = 0;
  for await (let bytes of input) {
    while (bytes.length > 0) {
      const taken = Math.min(bytes.length, passedOver || part.length - filled);
      if (passedOver > 0) passedOver -= taken;
      else {
        part.set(bytes.subarray(0, taken), filled);
        filled += taken;
      }
      bytes = bytes.subarray(taken);
      if (passedOver > 0 || filled < part.length) continue;
      const whole = part;
      part = length;
      filled = 0;
      if (whole !== length) yield { kind: "message", bytes: whole };
      else {
        const size = new Uint32Array(length.buffer)[0]!;
        if (size > limit) {
          passedOver = size;
          yield { kind: "too long", length: size };
        } else if (size === 0) yield { kind: "message", bytes: new Uint8Array() };
        else part = new Uint8Array(size);
      }
    }
  }
  if (filled > 0 || part !== length || passedOver > 0) yield { kind: "cut off" };
}

/** A message as it is sent; `undefined` when it is longer than browsers take. */
export function frameOf(message: unknown): Uint8Array | undefined {
  const json = new TextEncoder().encode(JSON.stringify(message));
  if (json.length > MAX_MESSAGE) return undefined;
  const frame = new Uint8Array(LENGTH_BYTES + json.length);
  frame.set(new Uint8Array(new Uint32Array([json.length]).buffer));
  frame.set(json, LENGTH_BYTES);
  return frame;
}

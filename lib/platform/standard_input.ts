/**
 * What another program writes to standard input, as far as it is wanted.
 *
 * @module
 */
import { standardInput } from "./standard_pipes.ts";

/** Which part of the input is wanted. */
export interface InputOptions {
  /** How much is taken at most: a little more may be read, so that it shows. */
  readonly maxBytes: number;
  /**
   * Whether what was read so far is all that is wanted; what is before `from` was looked at before.
   *
   * @default at the end of the input
   */
  readonly isComplete?: (bytes: Uint8Array, from: number) => boolean;
  /** Reads no further. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads standard input to its end, or as far as it is wanted. A read under way cannot be called off; a program that exits does
 * not wait for it.
 *
 * @returns What was read; it has more than `maxBytes` where there is more.
 * @throws The signal's reason.
 */
export async function readStandardInput({ maxBytes, isComplete, signal }: InputOptions): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const end = Promise.withResolvers<never>(), giveUp = () => end.reject(signal!.reason);
  signal?.addEventListener("abort", giveUp, { once: true });
  const chunks = standardInput()[Symbol.asyncIterator]();
  let bytes = new Uint8Array(0), length = 0;
  try {
    for (;;) {
      const next = await Promise.race([chunks.next(), end.promise]), from = length;
      if (next.done) return bytes.subarray(0, length);
      length += next.value.length;
      if (length > bytes.length) bytes = grown(bytes, length);
      bytes.set(next.value, from);
      const read = bytes.subarray(0, length);
      if (length > maxBytes || isComplete?.(read, from)) return read;
    }
  } finally {
    signal?.removeEventListener("abort", giveUp);
  }
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(length, bytes.length * 2));
  larger.set(bytes);
  return larger;
}

/**
 * What another program writes to standard input.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";

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
 * Reads standard input to its end, or as far as it is wanted.
 *
 * @returns What was read; it has more than `maxBytes` where there is more.
 * @throws The signal's reason.
 */
export async function readStandardInput({ maxBytes, isComplete, signal }: InputOptions): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const end = Promise.withResolvers<void>(), giveUp = () => end.reject(signal!.reason);
  signal?.addEventListener("abort", giveUp, { once: true });
  let bytes = new Uint8Array(CHUNK_BYTES), length = 0;
  /** Takes a chunk; says whether another is wanted. */
  const take = (chunk: Uint8Array): boolean => {
    const from = length;
    length += chunk.length;
    if (length > bytes.length) bytes = grown(bytes, length);
    bytes.set(chunk, from);
    return length <= maxBytes && !isComplete?.(bytes.subarray(0, length), from);
  };
  const stop = denoNamespace() ? readByDeno(take, end) : readByNode(take, end);
  try {
    await end.promise;
  } finally {
    signal?.removeEventListener("abort", giveUp);
    stop();
  }
  return bytes.subarray(0, length);
}

/** What a pipe of Linux holds. */
const CHUNK_BYTES = 65_536;

type Take = (chunk: Uint8Array) => boolean;
type End = Pick<PromiseWithResolvers<void>, "resolve" | "reject">;

/** A read under way cannot be called off; the program does not wait for it when it exits. */
function readByDeno(take: Take, { resolve, reject }: End): () => void {
  const { stdin } = denoNamespace()!;
  let isOver = false;
  const read = async (): Promise<void> => {
    const buffer = new Uint8Array(CHUNK_BYTES);
    while (!isOver) {
      const length = await stdin.read(buffer);
      if (length === null || !take(buffer.subarray(0, length))) return resolve();
    }
  };
  read().catch(reject);
  return () => void (isOver = true);
}

function readByNode(take: Take, { resolve, reject }: End): () => void {
  const { stdin } = globalThis.process;
  const read = (chunk: Uint8Array): void => {
    if (!take(chunk)) resolve();
  };
  stdin.on("data", read).on("end", resolve).on("error", reject).resume();
  return () => {
    // A stream that is paused keeps no program.
    stdin.off("data", read).off("end", resolve).off("error", reject).pause();
  };
}

function grown(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(length, bytes.length * 2));
  larger.set(bytes);
  return larger;
}

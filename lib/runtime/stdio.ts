/**
 * Standard input and output as another program speaks through them: bytes, and neither side waits for the other.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { writeErrorsBy } from "./program.ts";

/** Reads standard input until its end. */
export function standardInput(): AsyncIterable<Uint8Array> {
  return denoNamespace()?.stdin.readable ?? globalThis.process.stdin;
}

/**
 * Writes to standard output without holding up the program when its reader is slow.
 *
 * @returns What writes: bytes that are given before others are written before them. It fails with an error that `isBrokenPipe`
 * knows when nobody reads any more.
 */
export function standardOutput(): (bytes: Uint8Array) => Promise<void> {
  const deno = denoNamespace();
  if (!deno) return writeByNode;
  let before = Promise.resolve();
  return (bytes) => before = before.then(() => writeAll(deno.stdout, bytes));
}

async function writeAll(stream: Pick<typeof Deno.stdout, "write">, bytes: Uint8Array): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await stream.write(left));
}

/** By the stream: Node would not end before a write of its file functions, which a reader that stands still never lets end. */
function writeByNode(bytes: Uint8Array): Promise<void> {
  const { stdout } = globalThis.process;
  // Whoever writes is told of a failure; without a listener it would end the program.
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => {});
  return new Promise((resolve, reject) => stdout.write(bytes, (error) => error ? reject(error) : resolve()));
}

/** Limit of pending bytes for standard error. */
const MAX_PENDING_BYTES = 64 * 1024;

/**
 * Makes `write` drop what goes to standard error and cannot be written: it neither throws nor waits for a reader, and a program
 * that serves others does not end or stand still because of its log.
 *
 * @returns Ends that, once what can be written is.
 */
export async function dropUnreadErrors(): Promise<AsyncDisposable> {
  const deno = denoNamespace(), log = boundedLog(deno ? (bytes) => writeAll(deno.stderr, bytes) : await errorWriter());
  writeErrorsBy(log.write);
  return {
    async [Symbol.asyncDispose]() {
      // Where a write is stuck, another one would be as well.
      if (await log.written()) writeErrorsBy(undefined);
    },
  };
}

/** Time in milliseconds that a program waits at its end for its last lines to be read. */
const LAST_LINES_MS = 500;

interface BoundedLog {
  write(text: string): void;
  /** Waits for a moment until all is written; `false` if it is not. */
  written(): Promise<boolean>;
}

function boundedLog(writeBytes: (bytes: Uint8Array) => Promise<void>): BoundedLog {
  let pending = 0, last = Promise.resolve();
  return {
    write(text) {
      const bytes = new TextEncoder().encode(text);
      if (pending + bytes.length > MAX_PENDING_BYTES) return;
      pending += bytes.length;
      const before = last;
      last = (async () => {
        await before;
        // Nobody reads, or the disk is full.
        await writeBytes(bytes).catch(() => {});
        pending -= bytes.length;
      })();
    },
    async written() {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tooLate = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), LAST_LINES_MS));
      const isWritten = await Promise.race([last.then(() => true), tooLate]);
      clearTimeout(timer);
      return isWritten;
    },
  };
}

/**
 * A pipe or terminal is opened once more, so as not to wait: to set that on standard error itself would set it for all who share it,
 * and a command that we run could fail to write. A socket cannot be opened.
 */
async function errorWriter(): Promise<(bytes: Uint8Array) => Promise<void>> {
  const { constants, fstatSync, openSync, writeSync } = await import("node:fs");
  const writeTo = (fd: number) => (bytes: Uint8Array) => new Promise<void>((done) => done(void writeSync(fd, bytes)));
  try {
    // A file never waits, and to open it once more would write at its beginning.
    if (fstatSync(2).isFile()) return writeTo(2);
    return writeTo(openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY));
  } catch {
    const { stderr } = globalThis.process;
    stderr.on("error", () => {});
    return (bytes) => new Promise((resolve) => stderr.write(bytes, () => resolve()));
  }
}

/**
 * A line of standard input.
 *
 * @param signal Reads no further, and lets the program end.
 * @returns The line, without its end; at the end of the input it waits for the signal.
 * @throws The signal's reason.
 */
export async function readLine(signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const line = Promise.withResolvers<string>(), end = () => line.reject(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  const stop = denoNamespace() ? readByDeno(line.resolve) : readByNode(line.resolve);
  try {
    return await line.promise;
  } finally {
    signal.removeEventListener("abort", end);
    stop();
  }
}

/** A read under way cannot be called off; the program does not wait for it when it exits. */
function readByDeno(found: (line: string) => void): () => void {
  const reader = denoNamespace()!.stdin.readable.getReader(), decoder = new TextDecoder();
  let text = "";
  const read = async (): Promise<void> => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      text += decoder.decode(next.value, { stream: true });
      const [line, ...rest] = text.split("\n");
      if (rest.length > 0) return found(line!);
    }
  };
  read().catch(() => {}); // nobody can type anything: the browser may still come back
  return () => reader.releaseLock();
}

function readByNode(found: (line: string) => void): () => void {
  const { stdin } = globalThis.process, decoder = new TextDecoder();
  let text = "";
  const read = (chunk: Uint8Array): void => {
    text += decoder.decode(chunk, { stream: true });
    const [line, ...rest] = text.split("\n");
    if (rest.length > 0) found(line!);
  };
  const ignore = (): void => {}; // nobody can type anything: the browser may still come back
  stdin.on("data", read).on("error", ignore).resume();
  return () => {
    // A stream that is paused keeps no program.
    stdin.off("data", read).off("error", ignore).pause();
  };
}

/** Limits of the input. */
interface InputOptions {
  /** Limit in bytes. A little more may be read, to detect that there is more. */
  readonly maxBytes: number;
  /**
   * Returns true if the bytes so far are complete. Those before `from` were checked before.
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

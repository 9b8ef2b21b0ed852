/**
 * Standard input and output as another program speaks through them: bytes, and neither side waits for the other.
 *
 * @module
 */
import { untilAborted, withinTime } from "../async.ts";
import { type ByteStream, denoNamespace, programIo } from "./host.ts";
import { writeErrorsBy } from "./lifecycle.ts";

/** Reads standard input until its end. */
export function standardInput(): AsyncIterable<Uint8Array> {
  return programIo()?.input ?? denoNamespace()?.stdin.readable ?? globalThis.process.stdin;
}

/**
 * Returns a function that writes to standard output in the order of its calls, without holding up the program if the reader is
 * slow. It fails with an error that `isBrokenPipe` knows once nobody reads any more.
 */
export function standardOutput(): (bytes: Uint8Array) => Promise<void> {
  const own = programIo();
  if (own) return (bytes) => Promise.resolve(own.write("stdout", bytes));
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
/** Time in milliseconds that a program waits at its end for its last lines to be read. */
const LAST_LINES_MS = 500;

/**
 * Makes `write` drop what goes to standard error and cannot be written: it neither throws nor waits for a reader, and a program
 * that serves others does not end or stand still because of its log. Disposing of the result ends that.
 */
export async function dropUnreadErrors(): Promise<AsyncDisposable> {
  if (programIo()) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const deno = denoNamespace();
  const writeBytes = deno ? (bytes: Uint8Array) => writeAll(deno.stderr, bytes) : await errorWriter();
  let pending = 0;
  let last = Promise.resolve();
  writeErrorsBy((text) => {
    const bytes = new TextEncoder().encode(text);
    if (pending + bytes.length > MAX_PENDING_BYTES) return;
    pending += bytes.length;
    last = last.then(() => writeBytes(bytes)).catch(() => {}) // nobody reads, or the disk is full
      .then(() => {
        pending -= bytes.length;
      });
  });
  return {
    async [Symbol.asyncDispose]() {
      // Where a write is stuck, another one would be as well.
      if (await withinTime(last.then(() => true), LAST_LINES_MS)) writeErrorsBy(undefined);
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

/** Reads a line of standard input, without its end. At the end of the input it waits for the signal, and throws its reason. */
export async function readLine(signal: AbortSignal): Promise<string> {
  return await readLineOrEnd(signal) ?? await untilAborted(new Promise<never>(() => {}), signal);
}

/** Reads a line of standard input, without its end; `undefined` at the end of the input. */
export async function readLineOrEnd(signal: AbortSignal | undefined): Promise<string | undefined> {
  signal?.throwIfAborted();
  const line = Promise.withResolvers<string | undefined>();
  const decoder = new TextDecoder();
  let text = "";
  const end = () => line.resolve(text || undefined); // the last line may have no end
  const take = (chunk: Uint8Array): boolean => {
    text += decoder.decode(chunk, { stream: true });
    const end = text.indexOf("\n");
    if (end !== -1) line.resolve(text.slice(0, end));
    return end !== -1;
  };
  const input = programIo()?.input ?? denoNamespace()?.stdin.readable;
  const stop = input ? readByStream(input, { take, end }) : readByNode(take, end);
  try {
    return await untilAborted(line.promise, signal);
  } finally {
    stop();
  }
}

/** A read under way cannot be called off; the program does not wait for it when it exits. */
function readByStream(
  input: ByteStream,
  { take, end }: { readonly take: (chunk: Uint8Array) => boolean; readonly end: () => void },
): () => void {
  const reader = input.getReader();
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || value === undefined) return end();
      if (take(value)) return;
    }
  };
  read().catch(end); // nobody can type anything
  return () => reader.releaseLock();
}

function readByNode(take: (chunk: Uint8Array) => boolean, end: () => void): () => void {
  const { stdin } = globalThis.process;
  if (stdin.readableEnded) end();
  stdin.on("data", take).on("error", end).on("end", end).resume();
  return () => {
    // A stream that is paused keeps no program.
    stdin.off("data", take).off("error", end).off("end", end).pause();
  };
}

interface InputOptions {
  /** Limit in bytes. A little more may be read, to detect that there is more. */
  readonly maxBytes: number;
  /** Returns true if the bytes so far are complete. Those before `from` were checked before. @default at the end of the input */
  readonly isComplete?: (bytes: Uint8Array, from: number) => boolean;
  /** Reads no further. */
  readonly signal?: AbortSignal | undefined;
}

/** Reads standard input to its end, or as far as it is wanted: more than `maxBytes` if there is more. */
export async function readStandardInput({ maxBytes, isComplete, signal }: InputOptions): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const chunks = standardInput()[Symbol.asyncIterator]();
  let bytes = new Uint8Array(0);
  let length = 0;
  for (;;) {
    const next = await untilAborted(chunks.next(), signal);
    const from = length;
    if (next.done) return bytes.subarray(0, length);
    length += next.value.length;
    if (length > bytes.length) bytes = new Uint8Array(bytes.buffer.transfer(Math.max(length, bytes.length * 2)));
    bytes.set(next.value, from);
    const read = bytes.subarray(0, length);
    if (length > maxBytes || isComplete?.(read, from)) return read;
  }
}

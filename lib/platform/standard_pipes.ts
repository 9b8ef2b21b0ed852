/**
 * Standard input and output as another program speaks through them: bytes, and neither side waits for the other.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { writeErrorsBy } from "./program.ts";

/** What comes in on standard input, until its end. */
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

/** How much may wait to be written to standard error, in bytes. */
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

/** How long the end of a program waits for its last lines to be read, in milliseconds. */
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

/**
 * Standard input, output and error: terminals, pipes and files.
 *
 * @module
 */
import { untilAborted, withinTime } from "../async.ts";
import { type ByteStream, denoNamespace, operatingSystem, programIo, type StreamName } from "./host.ts";

/** Takes what goes to standard error, while {@linkcode dropUnreadErrors} is in effect. */
let writeErrors: ((text: string) => void) | undefined;

/**
 * Writes to standard output or standard error, all of it before it returns. Throws an error that {@linkcode isBrokenPipe} knows
 * if the reader has gone: a stream of Node's would end the program with a stack trace.
 */
export function write(stream: "stdout" | "stderr", text: string): void {
  if (stream === "stderr" && writeErrors) return writeErrors(text);
  const own = programIo();
  if (own) return own.write(stream, new TextEncoder().encode(text));
  if (isWindowsConsole(stream)) return void globalThis.process[stream].write(text);
  const writeSome = writer(stream);
  for (let bytes = new TextEncoder().encode(text); bytes.length > 0;) bytes = bytes.subarray(writeSome(bytes));
}

/**
 * Returns true for a console of Windows on Node or Bun. It takes bytes in its own code page, and their streams write to it in
 * Unicode, before they return. Deno converts the bytes itself.
 */
function isWindowsConsole(stream: "stdout" | "stderr"): boolean {
  if (denoNamespace() || operatingSystem() !== "win32") return false;
  return globalThis.process.getBuiltinModule("node:tty").isatty(stream === "stdout" ? 1 : 2);
}

/** Returns a function that writes some of its bytes and returns their number. */
function writer(stream: "stdout" | "stderr"): (bytes: Uint8Array) => number {
  const deno = denoNamespace();
  if (deno) return (bytes) => deno[stream].writeSync(bytes);
  const { writeSync } = globalThis.process.getBuiltinModule("node:fs");
  const fd = stream === "stdout" ? 1 : 2;
  return (bytes) => {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      // Another program that shares the pipe can have set it not to wait, and its reader can be slow.
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      return 0;
    }
  };
}

/** Major numbers of Linux' devices (Documentation/admin-guide/devices.txt): `/dev/null` and its like, pseudoterminals. */
const MEMORY_MAJOR = 1;
const PTY_MAJORS = { first: 136, last: 143 };

let isMsysTerminal: typeof isTerminal | undefined;

/** Sets a function that recognizes terminals that the system does not, such as those of Git Bash. */
export function recognizeTerminalsBy(check: typeof isTerminal): void {
  isMsysTerminal = check;
}

/** Returns true if the stream is a terminal. */
export function isTerminal(stream: StreamName): boolean {
  const own = programIo();
  if (own) return own.terminals.includes(stream);
  return isSystemTerminal(stream) || (isMsysTerminal?.(stream) ?? false);
}

/** Returns true if a user can be asked: standard input and standard error are terminals. Output may be a pipe. */
export function canAsk(): boolean {
  return isTerminal("stdin") && isTerminal("stderr");
}

function isSystemTerminal(stream: StreamName): boolean {
  const deno = denoNamespace();
  if (deno) return deno[stream].isTerminal();
  // To read process.stdin takes Bun as long as the rest of a silent token.
  const { fstatSync } = globalThis.process.getBuiltinModule("node:fs");
  try {
    const facts = fstatSync(["stdin", "stdout", "stderr"].indexOf(stream));
    const major = facts.rdev >> 8 & 0xfff;
    if (!facts.isCharacterDevice()) return false;
    if (operatingSystem() === "linux") {
      if (major === MEMORY_MAJOR) return false;
      if (major >= PTY_MAJORS.first && major <= PTY_MAJORS.last) return true;
    }
  } catch {
    return false; // it is closed
  }
  return globalThis.process[stream].isTTY ?? false;
}

/** S_IFMT, S_IFIFO */
const TYPE_BITS = 0o170000;
const FIFO = 0o010000;

/** Returns true if standard output is a pipe or a socket, not a terminal or a file. */
export async function isPiped(): Promise<boolean> {
  if (programIo()) return !isTerminal("stdout");
  if (isMsysTerminal?.("stdout")) return false;
  const { fstatSync } = await import("node:fs");
  try {
    const facts = fstatSync(1);
    const isFifo = (facts.mode & TYPE_BITS) === FIFO; // on Windows Node's isFIFO() is always false
    return isFifo || facts.isSocket();
  } catch (error) {
    // Deno for Windows knows the facts about files only.
    const deno = denoNamespace();
    if (deno?.build.os !== "windows") throw error;
    return !deno.stdout.isTerminal();
  }
}

/** Returns true if an error says that the reader of a pipe has gone. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && (error.name === "BrokenPipe" || "code" in error && error.code === "EPIPE");
}

/** Returns true if an error says that no space is left where something was written. */
export function isDeviceFull(error: unknown): boolean {
  return error instanceof Error &&
    ("code" in error && error.code === "ENOSPC" || error.message.includes("(os error 28)"));
}

/** Reads standard input until its end. */
export function standardInput(): AsyncIterable<Uint8Array> {
  return programIo()?.input ?? denoNamespace()?.stdin.readable ?? globalThis.process.stdin;
}

/**
 * Returns a function that writes to standard output in the order of its calls, without holding up the program if the reader is
 * slow. It fails with an error that {@linkcode isBrokenPipe} knows if the reader has gone.
 */
export function standardOutput(): (bytes: Uint8Array) => Promise<void> {
  const own = programIo();
  if (own) return (bytes) => Promise.resolve(own.write("stdout", bytes));
  const deno = denoNamespace();
  if (!deno) return writeByNode;
  let before = Promise.resolve();
  return (bytes) => {
    before = before.then(() => writeAll(deno.stdout, bytes));
    return before;
  };
}

async function writeAll(stream: Pick<typeof Deno.stdout, "write">, bytes: Uint8Array): Promise<void> {
  for (let left = bytes; left.length > 0;) left = left.subarray(await stream.write(left));
}

/** Writes by the stream: Node does not end before a write of its file functions does, and a reader that stands still keeps that from ending. */
function writeByNode(bytes: Uint8Array): Promise<void> {
  const { stdout } = globalThis.process;
  // The caller is told of a failure; without a listener it would end the program.
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => {});
  return new Promise((resolve, reject) => stdout.write(bytes, (error) => error ? reject(error) : resolve()));
}

/** Limit of pending bytes for standard error. */
const MAX_PENDING_BYTES = 64 * 1024;
/** Time in milliseconds that a program waits at its end for its last lines to be read. */
const LAST_LINES_MS = 500;

/**
 * Makes {@linkcode write} drop what goes to standard error and cannot be written, until the result is disposed of. It neither
 * throws nor waits for a reader: a program that serves others does not end or stand still because of its log.
 */
export async function dropUnreadErrors(): Promise<AsyncDisposable> {
  if (programIo()) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const deno = denoNamespace();
  const writeBytes = deno ? (bytes: Uint8Array) => writeAll(deno.stderr, bytes) : await errorWriter();
  let pending = 0;
  let last = Promise.resolve();
  writeErrors = (text) => {
    const bytes = new TextEncoder().encode(text);
    if (pending + bytes.length > MAX_PENDING_BYTES) return;
    pending += bytes.length;
    last = last.then(() => writeBytes(bytes)).catch(() => {}) // the reader has gone, or the disk is full
      .then(() => {
        pending -= bytes.length;
      });
  };
  return {
    async [Symbol.asyncDispose]() {
      // Where a write is stuck, another one would be as well.
      if (await withinTime(last.then(() => true), LAST_LINES_MS)) writeErrors = undefined;
    },
  };
}

/**
 * Returns a function that writes to standard error without waiting. A pipe or terminal is opened once more for that: not to wait
 * is set for all programs that share standard error itself, and a command that we run could fail to write. A socket cannot be
 * opened.
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

/** Reads by a stream. A read under way cannot be canceled; the program does not wait for it when it exits. */
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
  read().catch(end); // standard input is closed
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

/**
 * Programs of the machine: run for what they print, or started and let go.
 *
 * Deno needs `--allow-run=PROGRAM`; with `--allow-run` alone, what a program started is killed with it as well.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { type RunningProcess, StartError, startProcess } from "./start_process.ts";
import { startTimer } from "./start_timer.ts";

/** How a program is run. */
export interface CommandOptions {
  /** Text for its standard input. @default none */
  readonly input?: string | undefined;
  /** Variables to set beside those of this program. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** How much it may print, in bytes, on standard output and standard error each. @default 1,048,576 */
  readonly maxOutputBytes?: number | undefined;
  /** How long it may take, in milliseconds. @default no limit */
  readonly timeoutMs?: number | undefined;
  /** Ends it, and the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a program printed, and how it ended. */
export interface CommandResult {
  /** Exit code; 128 and the signal's number when a signal ended it. */
  readonly code: number;
  /** Standard output as UTF-8, without a byte order mark. */
  readonly stdout: string;
  /** Standard error likewise. */
  readonly stderr: string;
}

const MAX_OUTPUT_BYTES = 1024 * 1024;
/** How long output may come after the exit: what the program started can hold the pipes open for as long as it lives. */
const OUTPUT_GRACE_MS = 500;
/** How long a program has to say that it failed before it counts as started. */
const START_GRACE_MS = 1000;

/**
 * Runs a program without a shell. When it has to be ended, it is killed with all of its process group and not waited for:
 * WSL's `wslinfo` is known to hang where no signal reaches it (microsoft/WSL issue 12714).
 *
 * @param command The program, by path or by name, and its arguments.
 * @param options How it is run.
 * @returns What it printed, whatever its exit code.
 * @throws {StartError} when it is not there or cannot be run.
 * @throws {LatchkeyError} `timed_out`; `invalid_response` when it printed too much; `missing_dependency` when Deno does not permit to run it.
 */
export async function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { input = "", environment, maxOutputBytes = MAX_OUTPUT_BYTES, timeoutMs, signal } = options;
  signal?.throwIfAborted();
  const running = await startProcess(command, { piped: true, environment });
  const stop = Promise.withResolvers<never>();
  const timer = timeoutMs === undefined ? undefined : startTimer(() => {
    stop.reject(new LatchkeyError("timed_out", `${command[0]} did not end within ${timeoutMs} ms`));
  }, timeoutMs);
  const abort = () => stop.reject(signal!.reason);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();

  const tooMuch = new LatchkeyError("invalid_response", `${command[0]} printed more than ${maxOutputBytes} bytes`);
  const outputs = running.outputs.map((stream) => gather(stream, { maxOutputBytes, tooMuch }));
  try {
    running.write(input);
    const code = await Promise.race([stop.promise, untilEnd(running, outputs)]);
    const [stdout = "", stderr = ""] = outputs.map((output) => output.text());
    return { code, stdout, stderr };
  } catch (error) {
    running.kill();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    for (const output of outputs) output.leave();
    running.letGo();
  }
}

/** How a program is started. */
export interface StartOptions {
  /** Whether its exit code says nothing: `explorer.exe` fails with 1 when all is well. @default false */
  readonly ignoreCode?: boolean | undefined;
}

/**
 * Starts a program that goes on by itself, without a terminal, when this one has ended.
 *
 * @param command The program, by path or by name, and its arguments.
 * @param options How.
 * @returns Whether it started, and did not fail within a second.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run it.
 */
export async function startDetached(command: readonly string[], options: StartOptions = {}): Promise<boolean> {
  let running;
  try {
    running = await startProcess(command, { piped: false });
  } catch (error) {
    if (error instanceof StartError) return false;
    throw error;
  }
  running.letGo();
  const code = await withinMs(running.exited, START_GRACE_MS);
  return code === undefined || code === 0 || options.ignoreCode === true;
}

interface Output {
  /** Resolves at the end of the stream. */
  readonly ended: Promise<void>;
  /** What came so far. */
  text(): string;
  /** Reads no further. */
  leave(): void;
}

interface Limit {
  readonly maxOutputBytes: number;
  /** What to fail with beyond it. */
  readonly tooMuch: Error;
}

function gather(stream: ReadableStream<Uint8Array>, { maxOutputBytes, tooMuch }: Limit): Output {
  const reader = stream.getReader(), chunks: Uint8Array[] = [];
  const readAll = async (): Promise<void> => {
    let size = 0;
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > maxOutputBytes) throw tooMuch;
      chunks.push(next.value);
    }
  };
  return {
    ended: readAll(),
    text() {
      const decoder = new TextDecoder();
      return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
    },
    leave: () => void reader.cancel().catch(() => {}),
  };
}

async function untilEnd(running: RunningProcess, outputs: readonly Output[]): Promise<number> {
  const ended = Promise.all(outputs.map((output) => output.ended));
  // A failure to read ends the call at once, as too much output does.
  const code = await Promise.race([running.exited, ended.then(() => running.exited)]);
  await withinMs(ended, OUTPUT_GRACE_MS);
  return code;
}

/** What a promise resolves to, or `undefined` when that takes longer. */
async function withinMs<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

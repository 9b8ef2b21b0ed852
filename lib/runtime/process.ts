/**
 * Starts programs without a shell, in a process group of their own. A program that is given by name is searched in PATH, but
 * never in the current folder, which can be a stranger's clone. Deno has code of its own: there, `node:child_process` would
 * need `--allow-env` for every variable and cost 20 ms.
 *
 * @module
 */
import { startTimer } from "../async.ts";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, mayReadEnvironment, operatingSystem, readEnvironment, requirePermission } from "./host.ts";
import { onSignals, type SignalName } from "./program.ts";

/** Options of starting a program. */
interface ProcessOptions {
  /** True if the caller writes its input and reads its output. */
  readonly piped: boolean;
  /** Variables to set beside those of this program. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

/** A program that runs. */
interface RunningProcess {
  /** Standard output and standard error, when they are piped. */
  readonly outputs: readonly ReadableStream<Uint8Array>[];
  /** Its exit code; 128 plus the signal's number, as a shell has it, when a signal ended it. */
  readonly exited: Promise<number>;
  /** Writes to its standard input and closes it. What it does not read is lost without an error. */
  write(text: string): void;
  /** Kills it with all that it started, as far as these stayed in its process group. */
  kill(): void;
  /** Stops writing, and lets this program exit while that one still runs. */
  letGo(): void;
}

/** Thrown when a program cannot be started. Without a cause: Node's has the arguments in it. */
export class StartError extends Error {
  /** Always `StartError`. */
  override readonly name = "StartError";
  /** True if there is no such program; false if there is one that cannot be run. */
  readonly isMissing: boolean;
  /** The system's code, such as `EACCES`, or text for what went wrong. */
  readonly reason: string;

  /** Takes the program, and the system's code or text for what went wrong. */
  constructor(program: string, reason: string) {
    const isMissing = reason === "ENOENT";
    super(`Cannot run ${program}: ${isMissing ? "there is no such program" : reason}`);
    this.isMissing = isMissing;
    this.reason = reason;
  }
}

/**
 * Starts a program.
 *
 * @param command The program, by path or by name, and its arguments.
 * @param options How.
 * @returns The running program.
 * @throws {StartError} when it is not there or cannot be run.
 * @throws {LatchkeyError} `missing_dependency` if Deno does not permit running it.
 */
async function startProcess(command: readonly string[], options: ProcessOptions): Promise<RunningProcess> {
  const [program = "", ...args] = command;
  requirePermission({ name: "run", command: program });
  const deno = denoNamespace(), environment = { ...withoutCurrentFolder(), ...options.environment };
  try {
    if (deno) return startOnDeno(deno, [program, args], { ...options, environment });
    const found = operatingSystem() === "win32" ? await lookUpOnWindows(program) : program;
    if (found === undefined) throw new StartError(program, "ENOENT");
    return await startOnNode([found, args], { ...options, environment });
  } catch (error) {
    if (error instanceof StartError) throw error;
    const { code, message } = error as { code?: string; message: string };
    throw new StartError(program, code ?? message);
  }
}

/** PATH for the program, and to find it in, if ours has entries that depend on the current folder. */
function withoutCurrentFolder(): Readonly<Record<string, string>> {
  if (!mayReadEnvironment("PATH")) return {};
  const path = readEnvironment("PATH") ?? "", isWindows = operatingSystem() === "win32";
  const safe = absoluteEntries(path, isWindows).join(isWindows ? ";" : ":") || (isWindows ? "" : USUAL_PATH);
  return safe === path ? {} : { PATH: safe };
}

/** Folders to search if nothing of PATH remains: an empty PATH means the current folder. */
const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin";

/** Entries of a PATH that are the same from everywhere. Pure. */
export function absoluteEntries(path: string, isWindows: boolean): readonly string[] {
  const isAbsolute = isWindows ? /^([A-Za-z]:[\\/]|\\\\)/ : /^\//;
  return path.split(isWindows ? ";" : ":").filter((entry) => isAbsolute.test(entry));
}

async function lookUpOnWindows(program: string): Promise<string | undefined> {
  const { isThere } = await import("./program.ts");
  return findOnWindows(program, readEnvironment("PATH"), isThere);
}

/**
 * Finds a program that is given by its name: Windows itself would look into the current folder first.
 *
 * @param program A name or a path.
 * @param path The PATH.
 * @param isThere Whether there is a file.
 * @returns The program's path; `undefined` if it is nowhere.
 */
export function findOnWindows(
  program: string,
  path = "",
  isThere: (path: string) => boolean,
): string | undefined {
  if (/[\\/:]/.test(program)) return program;
  const names = /\.(exe|com)$/i.test(program) ? [program] : [`${program}.exe`, `${program}.com`];
  return absoluteEntries(path, true).flatMap((entry) => names.map((name) => `${entry.replace(/[\\/]+$/, "")}\\${name}`))
    .find(isThere);
}

type Program = readonly [program: string, args: readonly string[]];

function startOnDeno(deno: typeof Deno, [program, args]: Program, options: ProcessOptions): RunningProcess {
  const stdio = options.piped ? "piped" : "null", unread = new AbortController();
  const child = new deno.Command(program, {
    args: [...args],
    env: { ...options.environment },
    detached: deno.build.os !== "windows", // there it would open a console
    stdin: stdio,
    stdout: stdio,
    stderr: stdio,
  }).spawn();
  return {
    outputs: options.piped ? [child.stdout, child.stderr] : [],
    exited: child.status.then(({ code }) => code),
    write: (text) => {
      new Blob([text]).stream().pipeTo(child.stdin, { signal: unread.signal }).catch(() => {});
    },
    // Deno lets a whole group be killed only where any program may be run.
    kill: () => attempt(() => deno.kill(-child.pid, "SIGKILL")) || attempt(() => child.kill("SIGKILL")),
    letGo: () => {
      unread.abort();
      child.unref();
    },
  };
}

async function startOnNode([program, args]: Program, options: ProcessOptions): Promise<RunningProcess> {
  const [{ spawn }, { Readable }, { constants }] = await Promise.all([
    import("node:child_process"),
    import("node:stream"),
    import("node:os"),
  ]);
  const child = spawn(program, args, {
    env: { ...globalThis.process.env, ...options.environment },
    detached: globalThis.process.platform !== "win32",
    windowsHide: true,
    stdio: options.piped ? "pipe" : "ignore",
  });
  const exited = new Promise<number>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]))
  );
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  child.stdin?.on("error", () => {});
  return {
    outputs: [child.stdout, child.stderr].flatMap((stream) =>
      stream ? [Readable.toWeb(stream) as unknown as ReadableStream<Uint8Array>] : []
    ),
    exited,
    write: (text) => child.stdin?.end(text),
    kill: () => attempt(() => globalThis.process.kill(-child.pid!, "SIGKILL")) || attempt(() => child.kill("SIGKILL")),
    letGo: () => {
      child.stdin?.destroy();
      child.unref();
    },
  };
}

/** Returns true if the action succeeds. It fails if the process has already ended, for example. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

/** Options of running a program. */
export interface CommandOptions {
  /** Text for its standard input. @default none */
  readonly input?: string | undefined;
  /** Variables to set beside those of this program. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Limit of standard output and of standard error, each in bytes. @default 1,048,576 */
  readonly maxOutputBytes?: number | undefined;
  /** Time limit in milliseconds. @default no limit */
  readonly timeoutMs?: number | undefined;
  /** Ends it, and the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Output and exit code of a program. */
export interface CommandResult {
  /** Exit code; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  /** Standard output as UTF-8, without a byte order mark. */
  readonly stdout: string;
  /** Standard error likewise. */
  readonly stderr: string;
}

const MAX_OUTPUT_BYTES = 1024 * 1024;
/** Time for output after the exit: a child of the program can hold the pipes open for as long as it lives. */
const OUTPUT_GRACE_MS = 500;
/** Time after which a program that has not failed counts as started. */
const START_GRACE_MS = 1000;

/**
 * Runs a program without a shell. When it has to be ended, it is killed with all of its process group and not waited for:
 * WSL's `wslinfo` is known to hang where no signal reaches it (microsoft/WSL issue 12714).
 *
 * @param command The program, by path or by name, and its arguments.
 * @param options How it is run.
 * @returns What it printed, whatever its exit code.
 * @throws {StartError} when it is not there or cannot be run.
 * @throws {LatchkeyError} `timed_out`; `invalid_response` when it printed too much; `missing_dependency` if Deno does not permit running it.
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

/** Options of starting a program. */
export interface StartOptions {
  /** True if its exit code means nothing: `explorer.exe` fails with 1 when all is well. @default false */
  readonly ignoreCode?: boolean | undefined;
}

/**
 * Starts a program that goes on by itself, without a terminal, when this one has ended.
 *
 * @param command The program, by path or by name, and its arguments.
 * @param options How.
 * @returns Whether it started, and did not fail within a second.
 * @throws {LatchkeyError} `missing_dependency` if Deno does not permit running it.
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
  /** Returns the text so far. */
  text(): string;
  /** Reads no further. */
  leave(): void;
}

interface Limit {
  readonly maxOutputBytes: number;
  /** Error above the limit. */
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

/** Returns the value of the promise, or `undefined` if it takes longer. */
async function withinMs<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

const PASSED_ON: readonly SignalName[] = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"];
/** Signals that a terminal sends to all programs in its foreground, and so to that one as well. */
const OF_TERMINAL: ReadonlySet<SignalName> = new Set(["SIGINT", "SIGQUIT"]);

/** A program that runs. */
interface Child {
  readonly exited: Promise<number>;
  kill(signal: SignalName): void;
}

/**
 * Runs a program to its end.
 *
 * @param command The program, by path or by name, and its arguments.
 * @param environment Variables to set beside those of this program.
 * @returns Its exit code; 128 plus the signal's number, as a shell has it, when a signal ended it.
 * @throws {StartError} when it is not there or cannot be run.
 * @throws {LatchkeyError} `missing_dependency` if Deno does not permit running it.
 */
export async function runInForeground(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<number> {
  const [program = "", ...args] = command;
  requirePermission({ name: "run", command: program });
  const isAtTerminal = await isTerminalInput(), early: SignalName[] = [];
  let child: Child | undefined;
  const listening = onSignals(PASSED_ON, (signal) => {
    if (isAtTerminal && OF_TERMINAL.has(signal)) return;
    if (child) child.kill(signal);
    else early.push(signal);
  });
  try {
    try {
      child = denoNamespace()
        ? startForegroundOnDeno(program, args, environment)
        : await startForegroundOnNode(program, args, environment);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      throw new StartError(program, code ?? message);
    }
    for (const signal of early) child.kill(signal);
    return await child.exited;
  } finally {
    listening[Symbol.dispose]();
  }
}

/** Not by `process.stdin`, which sets a pipe not to wait: the program that shares it would fail to read. */
async function isTerminalInput(): Promise<boolean> {
  return denoNamespace()?.stdin.isTerminal() ?? (await import("node:tty")).isatty(0);
}

function startForegroundOnDeno(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Child {
  const stdio = "inherit";
  const child = new (denoNamespace()!).Command(program, {
    args: [...args],
    env: { ...environment },
    stdin: stdio,
    stdout: stdio,
    stderr: stdio,
  }).spawn();
  return {
    exited: child.status.then(({ code }) => code),
    kill(signal) {
      try {
        child.kill(signal);
      } catch {
        // It has just ended; Node ignores that case, too.
      }
    },
  };
}

async function startForegroundOnNode(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Child> {
  const [{ spawn }, { constants }] = await Promise.all([import("node:child_process"), import("node:os")]);
  const child = spawn(program, args, { env: { ...globalThis.process.env, ...environment }, stdio: "inherit" });
  const exited = new Promise<number>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]))
  );
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  return { exited, kill: (signal) => void child.kill(signal) };
}

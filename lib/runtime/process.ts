/**
 * Starts programs without a shell. In the background, a program that is given by name is searched in PATH, but never in the
 * current folder, which can be a stranger's clone. Deno has code of its own: there, `node:child_process` would need
 * `--allow-env` for every variable and cost 20 ms. If Deno does not permit to run a program, `missing_dependency` is thrown.
 *
 * @module
 */
import { withinTime } from "../async.ts";
import { LatchkeyError } from "../errors.ts";
import {
  denoNamespace,
  mayReadEnvironment,
  operatingSystem,
  programIo,
  readEnvironment,
  requirePermission,
  type SignalName,
} from "./host.ts";
import { onSignals } from "./lifecycle.ts";
import { isThere } from "./path.ts";
import { isTerminal } from "./terminal.ts";

interface ProcessOptions {
  /** `inherit`: in the foreground. Otherwise the program gets a process group of its own. */
  readonly streams: "piped" | "null" | "inherit";
  /** Variables to set beside those of this program. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

interface RunningProcess {
  /** Standard output and standard error, if they are piped. */
  readonly outputs: readonly ReadableStream<Uint8Array>[];
  /** Its exit code; 128 plus the signal's number if a signal ended it, as in a shell. */
  readonly exited: Promise<number>;
  /** Writes to its standard input and closes it. What it does not read is lost without an error. */
  write(text: string): void;
  /** Sends a signal to it; in the background also to all that it started, as far as these stayed in its process group. */
  kill(signal: SignalName | "SIGKILL"): void;
  /** Stops writing, and lets this program exit while that one still runs. */
  letGo(): void;
}

/** A program cannot be started. Without a cause: Node's has the arguments in it. */
export class StartError extends Error {
  override readonly name = "StartError";
  /** True if there is no such program; false if there is one that cannot be run. */
  readonly isMissing: boolean;
  /** The system's code, such as `EACCES`, or text for what went wrong. */
  readonly reason: string;

  constructor(program: string, reason: string) {
    const isMissing = reason === "ENOENT";
    super(`Cannot run ${program}: ${isMissing ? "there is no such program" : reason}`);
    this.isMissing = isMissing;
    this.reason = reason;
  }
}

async function startProcess(command: readonly string[], options: ProcessOptions): Promise<RunningProcess> {
  const [name = "", ...args] = command;
  const deno = denoNamespace();
  requirePermission({ name: "run", command: name });
  // In the foreground the user has chosen PATH as well.
  const isForeground = options.streams === "inherit";
  const environment = { ...(isForeground ? {} : withoutCurrentFolder()), ...options.environment };
  try {
    if (deno) return startOnDeno(deno, command, { ...options, environment });
    const program = programOnNode(name, { system: operatingSystem(), path: readEnvironment("PATH"), isThere });
    return await startOnNode([program, ...args], { ...options, environment });
  } catch (error) {
    if (error instanceof StartError) throw error;
    const { name: kind, code, message } = error as { name: string; code?: string; message: string };
    // Deno 2.6 has no code for a batch file that is missing.
    throw new StartError(name, kind === "NotFound" || /: File not found$/.test(message) ? "ENOENT" : code ?? message);
  }
}

/** PATH for the program, and to find it in, if ours has entries that depend on the current folder. */
function withoutCurrentFolder(): Readonly<Record<string, string>> {
  if (!mayReadEnvironment("PATH")) return {};
  const path = readEnvironment("PATH") ?? "";
  const system = operatingSystem();
  const isWindows = system === "win32";
  const safe = absoluteEntries(path, system).join(isWindows ? ";" : ":") || (isWindows ? "" : USUAL_PATH);
  return safe === path ? {} : { PATH: safe };
}

/** Folders to search if nothing of PATH remains: an empty PATH means the current folder. */
const USUAL_PATH = "/usr/local/bin:/usr/bin:/bin";

/** Returns the entries of a PATH that are the same from everywhere, on an operating system that is named as by Node. */
export function absoluteEntries(path: string, system: string): readonly string[] {
  if (system !== "win32") return path.split(":").filter((entry) => entry.startsWith("/"));
  // On Windows an entry can be in quotation marks, and then contain a semicolon.
  const entries = path.match(/(?:"[^"]*"|[^;"])+/g) ?? [];
  return entries.filter((entry) => /^"?([A-Za-z]:[\\/]|\\\\)/.test(entry));
}

/** The machine that a program is started on. */
interface ProgramPlace {
  readonly system: string;
  readonly path: string | undefined;
  readonly isThere: (path: string) => boolean;
}

/**
 * Returns the program that Node and Bun are to start. On Windows a name becomes a path, in the foreground too: Windows, and cmd.exe
 * for a batch file, would look into the current folder first, which can be another person's clone.
 *
 * @throws {StartError} if there is no such program.
 */
export function programOnNode(name: string, { system, path, isThere }: ProgramPlace): string {
  if (system !== "win32") return name;
  const program = /[\\/:]/.test(name) ? name : findOnWindows(name, path, isThere);
  // cmd.exe would say so itself, in a code page and a language of its own, and exit with 1.
  if (program === undefined || isBatch(program) && !isThere(program)) throw new StartError(name, "ENOENT");
  return program;
}

/** Finds a program by its name in the folders of a PATH that are the same from everywhere. */
export function findOnWindows(name: string, path = "", isThere: (path: string) => boolean): string | undefined {
  // Windows ignores dots and spaces at the end of a name.
  const names = /\.(exe|com|cmd|bat)[. ]*$/i.test(name) ? [name] : [`${name}.exe`, `${name}.com`];
  const folders = absoluteEntries(path, "win32").map((entry) => entry.replaceAll('"', "").replace(/[\\/]+$/, ""));
  return folders.flatMap((folder) => names.map((each) => `${folder}\\${each}`)).find(isThere);
}

function isBatch(program: string): boolean {
  return /\.(cmd|bat)[. ]*$/i.test(program);
}

function startOnDeno(
  deno: typeof Deno,
  [program = "", ...args]: readonly string[],
  { streams, environment }: ProcessOptions,
): RunningProcess {
  const unread = new AbortController();
  const isGroup = streams !== "inherit" && deno.build.os !== "windows"; // there it would open a console
  const child = new deno.Command(program, {
    args,
    env: { ...programIo()?.environment, ...environment },
    clearEnv: programIo() !== undefined,
    detached: isGroup,
    stdin: streams,
    stdout: streams,
    stderr: streams,
  }).spawn();
  return {
    outputs: streams === "piped" ? [child.stdout, child.stderr] : [],
    exited: child.status.then(({ code }) => code),
    write: (text) => {
      new Blob([text]).stream().pipeTo(child.stdin, { signal: unread.signal }).catch(() => {});
    },
    kill: (signal) => {
      // Deno lets a whole group be killed only where any program may be run.
      if (!isGroup || !attempt(() => deno.kill(-child.pid, signal))) attempt(() => child.kill(signal));
    },
    letGo: () => {
      unread.abort();
      child.unref();
    },
  };
}

/**
 * Returns cmd.exe's arguments to run a batch file, which Node and Bun refuse to start. They are quoted as by Rust's standard
 * library, and so by Deno. cmd.exe expands `%` even between quotes: a substring of nothing between two of them prevents it.
 */
export function batchArguments(program: string, args: readonly string[]): readonly string[] {
  const words = [program, ...args];
  if (words.some((word) => /[\r\n\0]/.test(word))) throw new StartError(program, "an argument has a line break or NUL");
  const quoted = words.map((word, index) =>
    index > 0 && /^[\w#$*+\-./:?@\\]*[\w#$*+\-./:?@]$/.test(word) ? word : batchWord(word)
  );
  return ["/e:ON", "/v:OFF", "/d", "/c", `"${quoted.join(" ")}"`];
}

function batchWord(word: string): string {
  const twice = (_: string, slashes: string, quote: string) => slashes + slashes + quote + quote;
  return `"${word.replaceAll("%", "%%cd:~,%").replace(/(\\*)("|$)/g, twice)}"`;
}

async function startOnNode(
  [program = "", ...args]: readonly string[],
  { streams, environment }: ProcessOptions,
): Promise<RunningProcess> {
  const [{ spawn }, { Readable }, { constants }] = await Promise.all([
    import("node:child_process"),
    import("node:stream"),
    import("node:os"),
  ]);
  const { env, platform } = globalThis.process;
  const isForeground = streams === "inherit";
  const isGroup = !isForeground && platform !== "win32";
  const needsShell = platform === "win32" && isBatch(program);
  const cmd = `${env["SystemRoot"] ?? "C:\\Windows"}\\System32\\cmd.exe`;
  const child = spawn(needsShell ? cmd : program, needsShell ? batchArguments(program, args) : args, {
    windowsVerbatimArguments: needsShell,
    env: { ...(programIo()?.environment ?? env), ...environment },
    detached: isGroup,
    windowsHide: !isForeground,
    stdio: ({ piped: "pipe", null: "ignore", inherit: "inherit" } as const)[streams],
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
    kill: (signal) => {
      if (!isGroup || !attempt(() => globalThis.process.kill(-child.pid!, signal))) attempt(() => child.kill(signal));
    },
    letGo: () => {
      child.stdin?.destroy();
      child.unref();
    },
  };
}

/** Returns true if an action succeeds. It fails if the process has already ended, for example. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

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
  /** Exit code; 128 plus the signal's number if a signal ended it. */
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
 * Runs a program and returns what it printed, whatever its exit code. A program that has to be ended is killed with all of its
 * process group and not waited for: WSL's `wslinfo` is known to hang where no signal reaches it (microsoft/WSL issue 12714).
 *
 * @throws {StartError} if it is not there or cannot be run.
 * @throws {LatchkeyError} `timed_out`; `invalid_response` if it printed too much.
 */
export async function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { input = "", environment, maxOutputBytes = MAX_OUTPUT_BYTES, timeoutMs = Infinity, signal } = options;
  signal?.throwIfAborted();
  const running = await startProcess(command, { streams: "piped", environment });
  const tooMuch = new LatchkeyError("invalid_response", `${command[0]} printed more than ${maxOutputBytes} bytes`);
  const outputs = running.outputs.map((stream) => gather(stream, maxOutputBytes, tooMuch));
  try {
    running.write(input);
    const ended = Promise.all(outputs.map((output) => output.ended));
    const code = await withinTime(untilEnd(running, ended), timeoutMs, signal);
    if (code === undefined) throw new LatchkeyError("timed_out", `${command[0]} did not end within ${timeoutMs} ms`);
    const [stdout = "", stderr = ""] = outputs.map((output) => output.text());
    return { code, stdout, stderr };
  } catch (error) {
    running.kill("SIGKILL");
    throw error;
  } finally {
    for (const output of outputs) output.leave();
    running.letGo();
  }
}

export interface StartOptions {
  /** True if its exit code means nothing: `explorer.exe` fails with 1 when all is well. @default false */
  readonly ignoreCode?: boolean | undefined;
}

/**
 * Starts a program that goes on by itself, without a terminal, when this one has ended. Returns true if it started, and did not
 * fail within a second.
 */
export async function startDetached(command: readonly string[], options: StartOptions = {}): Promise<boolean> {
  let running;
  try {
    running = await startProcess(command, { streams: "null" });
  } catch (error) {
    if (error instanceof StartError) return false;
    throw error;
  }
  running.letGo();
  const code = await withinTime(running.exited, START_GRACE_MS);
  return code === undefined || code === 0 || options.ignoreCode === true;
}

/** Gathers what a stream gives. `ended` resolves at its end; `leave` reads no further. */
function gather(stream: ReadableStream<Uint8Array>, maxBytes: number, tooMuch: Error) {
  const reader = stream.getReader();
  const chunks: Uint8Array[] = [];
  const readAll = async (): Promise<void> => {
    let size = 0;
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > maxBytes) throw tooMuch;
      chunks.push(next.value);
    }
  };
  return {
    ended: readAll(),
    text(): string {
      const decoder = new TextDecoder();
      return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
    },
    leave: () => void reader.cancel().catch(() => {}),
  };
}

async function untilEnd({ exited }: RunningProcess, ended: Promise<unknown>): Promise<number> {
  // A failure to read ends the call at once, as too much output does.
  const code = await Promise.race([exited, ended.then(() => exited)]);
  await withinTime(ended, OUTPUT_GRACE_MS);
  return code;
}

const PASSED_ON: readonly SignalName[] = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"];
/** Signals that a terminal sends to all programs in its foreground, and so to that one as well. */
const OF_TERMINAL: ReadonlySet<SignalName> = new Set(["SIGINT", "SIGQUIT"]);

/**
 * Runs a program to its end at this program's terminal, with more variables, passes signals on to it, and returns its exit code.
 *
 * @throws {StartError} if it is not there or cannot be run.
 */
export async function runInForeground(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<number> {
  const isAtTerminal = isTerminal("stdin");
  const early: SignalName[] = [];
  let running: RunningProcess | undefined;
  const listening = onSignals(PASSED_ON, (signal) => {
    if (isAtTerminal && OF_TERMINAL.has(signal)) return;
    if (running) running.kill(signal);
    else early.push(signal);
  });
  try {
    running = await startProcess(command, { streams: "inherit", environment });
    for (const signal of early) running.kill(signal);
    return await running.exited;
  } finally {
    listening[Symbol.dispose]();
  }
}

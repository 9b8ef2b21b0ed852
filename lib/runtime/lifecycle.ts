/**
 * The program's arguments, standard streams, signals and exit code.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import {
  currentRuntime,
  denoNamespace,
  isPermitted,
  operatingSystem,
  processor,
  programIo,
  readEnvironment,
  requirePermission,
  type SignalName,
  type StreamName,
} from "./host.ts";

/** Returns the arguments that the program was started with. */
export function programArguments(): readonly string[] {
  return denoNamespace()?.args ?? globalThis.process.argv.slice(2);
}

/**
 * Ends the program: all is written by then, since {@linkcode write} does not return before. What still runs is not waited
 * for: a call of MSALRuntime that was given up keeps Node from ending by itself.
 */
export function exit(code: number): never {
  return denoNamespace()?.exit(code) ?? globalThis.process.exit(code);
}

/** Signals that Windows knows: Ctrl-C, and a console that is closed. */
const ON_WINDOWS: ReadonlySet<SignalName> = new Set(["SIGINT", "SIGHUP"]);

/** Calls a function at signals instead of what they do otherwise, until the result is disposed of. Ignores unknown signals. */
export function onSignals(names: readonly SignalName[], listener: (name: SignalName) => void): Disposable {
  const own = programIo();
  if (own) return own.onSignals(names, listener);
  const deno = denoNamespace();
  const known = operatingSystem() === "win32" ? names.filter((name) => ON_WINDOWS.has(name)) : names;
  const listeners = known.map((name) => [name, () => listener(name)] as const);
  for (const [name, listen] of listeners) {
    deno ? deno.addSignalListener(name, listen) : globalThis.process.on(name, listen);
  }
  return {
    [Symbol.dispose]() {
      for (const [name, listen] of listeners) {
        deno ? deno.removeSignalListener(name, listen) : globalThis.process.off(name, listen);
      }
    },
  };
}

/** Returns the error of a call that a signal ended. */
export function endedBy(name: SignalName): LatchkeyError {
  return new LatchkeyError("user_canceled", name === "SIGINT" ? "Given up (Ctrl-C)" : `Ended (${name})`);
}

/** Time in milliseconds for pending work after a command was cancelled: a broker is told to close its window. */
const GRACE_MS = 500;

/** Ends the program as soon as nothing is under way any more, and in any case soon. */
export function exitSoon(code: number): void {
  const deno = denoNamespace();
  const timer = setTimeout(() => exit(code), GRACE_MS);
  if (deno) {
    deno.exitCode = code;
    deno.unrefTimer(Number(timer));
  } else {
    globalThis.process.exitCode = code;
    timer.unref();
  }
}

/**
 * Writes to standard output or standard error, all of it before it returns. Throws an error that {@linkcode isBrokenPipe} knows
 * once nobody reads any more: a stream of Node's would end the program with a stack trace.
 */
export function write(stream: "stdout" | "stderr", text: string): void {
  if (stream === "stderr" && writeErrors) return writeErrors(text);
  const own = programIo();
  if (own) return own.write(stream, new TextEncoder().encode(text));
  if (isConsoleOfNode(stream)) return void globalThis.process[stream].write(text);
  const writeSome = writer(stream);
  for (let bytes = new TextEncoder().encode(text); bytes.length > 0;) bytes = bytes.subarray(writeSome(bytes));
}

/** A console takes bytes in its code page, and Node's stream writes to it in Unicode. Deno and Bun set the code page to UTF-8. */
function isConsoleOfNode(stream: "stdout" | "stderr"): boolean {
  if (operatingSystem() !== "win32" || currentRuntime().name !== "Node") return false;
  return globalThis.process.getBuiltinModule("node:tty").isatty(stream === "stdout" ? 1 : 2);
}

let writeErrors: ((text: string) => void) | undefined;

/** Sets the writer for standard error; `undefined`: the usual one. */
export function writeErrorsBy(writer: ((text: string) => void) | undefined): void {
  writeErrors = writer;
}

/** Returns a function that writes some of its bytes and returns their number. */
function writer(stream: "stdout" | "stderr"): (bytes: Uint8Array) => number {
  const deno = denoNamespace();
  if (deno) return (bytes) => deno[stream].writeSync(bytes);
  const { writeSync } = globalThis.process.getBuiltinModule("node:fs");
  const fd = stream === "stdout" ? 1 : 2;
  if (operatingSystem() === "win32" && globalThis.process[stream].isTTY) {
    // A console takes bytes in a code page of its own. Node's stream gives it UTF-16, before it returns.
    return (bytes) => {
      globalThis.process[stream].write(bytes);
      return bytes.length;
    };
  }
  return (bytes) => {
    try {
      return writeSync(fd, bytes);
    } catch (error) {
      // Whoever shares the pipe can have set it not to wait, and its reader can be slow.
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

/** Sets a function that knows terminals that the system does not, such as those of Git Bash. */
export function recogniseTerminalsBy(check: typeof isTerminal): void {
  isMsysTerminal = check;
}

/** Returns true if the stream is a terminal. */
export function isTerminal(stream: StreamName): boolean {
  const own = programIo();
  if (own) return own.terminals.includes(stream);
  return isSystemTerminal(stream) || (isMsysTerminal?.(stream) ?? false);
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

/**
 * Returns the text of a file in UTF-8 or, as Windows PowerShell's `>` writes it, in UTF-16, without a byte order mark.
 *
 * @throws {LatchkeyError} `missing_dependency`, without a prompt, if Deno may not read it.
 */
export async function readTextFile(path: string): Promise<string> {
  requirePermission({ name: "read", path });
  const deno = denoNamespace();
  const bytes = deno ? await deno.readFile(path) : await (await import("node:fs/promises")).readFile(path);
  return new TextDecoder(bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : "utf-8").decode(bytes);
}

/** Returns true if the path exists; a link is not followed. `ifUnknown` is for a path that cannot be looked at. */
export function isThere(path: string, { ifUnknown = true }: { readonly ifUnknown?: boolean } = {}): boolean {
  const deno = denoNamespace();
  try {
    if (deno) deno.lstatSync(path);
    else globalThis.process.getBuiltinModule("node:fs").lstatSync(path);
    return true;
  } catch (error) {
    // It may exist: the next call mostly reports why it cannot be looked at.
    return ifUnknown && !(error instanceof Error && "code" in error && error.code === "ENOENT");
  }
}

/** Returns a path as it is from everywhere. A relative one begins at the folder that the program was started in. */
export function absolutePath(path: string): string {
  const isWindows = operatingSystem() === "win32";
  if (isWindows ? /^([A-Za-z]:)?[\\/]/.test(path) : path.startsWith("/")) return path;
  return `${denoNamespace()?.cwd() ?? globalThis.process.cwd()}${isWindows ? "\\" : "/"}${
    path.replace(/^(\.[\\/]+)+/, "")
  }`;
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

/** The release of the Linux kernel. Deno reads this file for `osRelease()`; programs need `--allow-all` to read it. */
const OS_RELEASE_FILE = "/proc/sys/kernel/osrelease";

/**
 * Returns true on WSL, by the kernel's release. If that cannot be read, the name of the distribution in the environment
 * counts, which sudo and services remove. Returns `undefined` if neither can be read: Deno needs `--allow-sys=osRelease`.
 */
export function isWsl(): boolean | undefined {
  if (operatingSystem() !== "linux") return false;
  const release = linuxRelease();
  if (release !== undefined) return /microsoft/i.test(release);
  return readEnvironment("WSL_DISTRO_NAME") === undefined ? undefined : true;
}

function linuxRelease(): string | undefined {
  const deno = denoNamespace();
  if (deno) return isPermitted({ name: "sys", kind: "osRelease" }) ? deno.osRelease() : undefined;
  try {
    return globalThis.process.getBuiltinModule("node:fs").readFileSync(OS_RELEASE_FILE, "utf8");
  } catch {
    return undefined; // not every container has it
  }
}

/** A machine. A field is `undefined` if it may not be read, or is missing. */
interface Machine {
  readonly system: string;
  readonly arch: string;
  /** Release of the kernel. */
  readonly release: string | undefined;
  /** Linux distribution, as it calls itself. */
  readonly distribution: string | undefined;
  readonly isWsl: boolean | undefined;
  /** Deno's flags that would let more be seen. */
  readonly missingFlags: readonly string[];
}

/** A file of freedesktop's standard. */
const OS_RELEASE = "/etc/os-release";

/** Reads the facts of the machine. Never makes Deno prompt. */
export async function readMachine(): Promise<Machine> {
  const system = operatingSystem();
  const isLinux = system === "linux";
  const mayRead = isPermitted({ name: "read", path: OS_RELEASE });
  const mayAsk = isPermitted({ name: "sys", kind: "osRelease" });
  const text = isLinux && mayRead ? await readTextFile(OS_RELEASE).catch(() => "") : ""; // not every distribution has it
  return {
    system,
    arch: processor(),
    release: mayAsk ? denoNamespace()?.osRelease() ?? (await import("node:os")).release() : undefined,
    distribution: /^PRETTY_NAME=(["']?)(.*)\1\s*$/m.exec(text)?.[2],
    isWsl: isWsl(),
    missingFlags: [
      ...(isLinux && !mayRead ? [`--allow-read=${OS_RELEASE}`] : []),
      ...(mayAsk ? [] : ["--allow-sys=osRelease"]),
    ],
  };
}

/**
 * The runtime, its permissions and environment, and the quoting of its shells. Deno is asked first: reading
 * `globalThis.process` there costs as much as the rest of a silent token.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";

/** Returns Deno's namespace, on Deno. */
export function denoNamespace(): typeof Deno | undefined {
  return (globalThis as { Deno?: typeof Deno }).Deno;
}

/** A standard stream. */
export type StreamName = "stdin" | "stdout" | "stderr";

export type SignalName = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2";

/** The part of a `ReadableStream` that is used here: its own type is not there for programs without `dom` or Node's types. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
    releaseLock(): void;
  };
}

/** Environment, streams and signals of a program that runs inside another one, in place of those of the process. */
export interface ProgramIo {
  readonly environment: Readonly<Record<string, string>>;
  readonly input: ByteStream;
  /** The streams that are terminals. */
  readonly terminals: readonly StreamName[];
  /** Takes what the program writes. Throws if the stream cannot be written. */
  readonly write: (stream: "stdout" | "stderr", bytes: Uint8Array) => void;
  /** Calls the listener at signals until the result is disposed of. */
  readonly onSignals: (names: readonly SignalName[], listener: (name: SignalName) => void) => Disposable;
}

let replacedIo: ProgramIo | undefined;

/** Returns what {@linkcode replaceProgramIo} has put in the place of the process's own; `undefined` for nothing. */
export function programIo(): ProgramIo | undefined {
  return replacedIo;
}

/**
 * Puts an environment, streams and signals in the place of the process's until the result is disposed of.
 *
 * @throws {Error} if others are in place: a process runs one program at a time.
 */
export function replaceProgramIo(io: ProgramIo): Disposable {
  if (replacedIo) throw new Error("A program of this process is still running");
  replacedIo = io;
  return {
    [Symbol.dispose]() {
      replacedIo = undefined;
    },
  };
}

/** Returns the pid of this process. */
export function ownPid(): number {
  return denoNamespace()?.pid ?? globalThis.process.pid;
}

/**
 * Returns true if no process of this machine, or of this container, has a pid; `undefined` if that is unknown: Deno tells it only
 * with `--allow-run`.
 */
export function isProcessGone(pid: number): boolean | undefined {
  const deno = denoNamespace();
  if (!isPermitted({ name: "run" })) return undefined;
  try {
    // Signal 0 asks, and sends nothing. Deno has no name for it, and takes the number.
    if (deno) deno.kill(pid, 0 as unknown as Deno.Signal);
    else globalThis.process.kill(pid, 0);
    return false;
  } catch (error) {
    const { code, name } = error as { readonly code?: string; readonly name?: string };
    if (code === "ESRCH" || name === "NotFound") return true;
    return code === "EPERM" || name === "PermissionDenied" ? false : undefined; // not permitted: it is somebody else's
  }
}

/** Returns the operating system in Node's words: `linux`, `darwin`, `win32` …; empty on an edge runtime. */
export function operatingSystem(): string {
  const deno = denoNamespace();
  if (deno) return deno.build.os === "windows" ? "win32" : deno.build.os;
  return globalThis.process?.platform ?? "";
}

/** Returns the processor in the kernel's words: `x86_64`, `aarch64` …; empty on an edge runtime. */
export function processor(): string {
  const arch = denoNamespace()?.build.arch ?? globalThis.process?.arch ?? "";
  return { x64: "x86_64", arm64: "aarch64" }[arch as string] ?? arch;
}

/** Returns true if an environment variable may be read. Never makes Deno prompt. */
export function mayReadEnvironment(name: string): boolean {
  return replacedIo !== undefined || isPermitted({ name: "env", variable: name });
}

/** Returns an environment variable; `undefined` if it is not set, is empty, or may not be read. */
export function readEnvironment(name: string): string | undefined {
  return mayReadEnvironment(name) ? getVariable(name) : undefined;
}

/** Returns {@linkcode readEnvironment} for many variables at once: a Deno that permits all of them is asked once. */
export function environmentReader(): typeof readEnvironment {
  return isPermitted({ name: "env" }) ? getVariable : readEnvironment;
}

function getVariable(name: string): string | undefined {
  if (replacedIo) return replacedIo.environment[name] || undefined;
  const deno = denoNamespace();
  return (deno ? deno.env.get(name) : globalThis.process?.env[name]) || undefined;
}

/**
 * Quotes a command that a person is to paste. Whoever wrote a part of it (a server, a repository) runs nothing by it. On Windows
 * the shell can be cmd.exe or PowerShell: a part that cannot be quoted for both is left out. A part can have several words that
 * only make sense together, such as an option and its value.
 */
export function quoteCommand(
  parts: readonly (string | readonly string[])[],
  system: string = operatingSystem(),
): string {
  const quote = system === "win32" ? windowsWord : shellWord;
  return parts.map((part) => typeof part === "string" ? [part] : joinedByEquals(part))
    .map((words) => words.map(quote)).filter((words) => !words.includes(undefined)).flat().join(" ");
}

/** A command line takes what begins with a dash for the next option. */
function joinedByEquals(words: readonly string[]): readonly string[] {
  const [option = "", value = ""] = words;
  return words.length === 2 && option.startsWith("--") && value.startsWith("-") ? [`${option}=${value}`] : words;
}

/**
 * Quotes a word for sh, bash, zsh and fish, if it needs that. In fish a backslash escapes between apostrophes, too, and zsh
 * looks for a program behind an `=` at the start, or after a colon of an assignment.
 */
export function shellWord(word: string): string {
  return /^[\w./@%+=:,-]+$/.test(word) && !/(^|:)=/.test(word) ? word : `'${word.replaceAll(/['\\]/g, "'\\$&'")}'`;
}

/** Quotes a word for PowerShell, which takes curly apostrophes for straight ones. One that is doubled stands for itself. */
export function powershellWord(word: string): string {
  return `'${word.replaceAll(/['\u2018-\u201B]/g, "$&$&")}'`;
}

/** Quotes a word for both cmd.exe and PowerShell; `undefined` if no quotation marks make it safe in both. */
function windowsWord(word: string): string | undefined {
  if (/^([\w./\\:][\w./\\:@=+-]*|--?[\w-]+)$/.test(word)) return word;
  // What either expands between quotation marks is not among these, nor what a code page can turn into a quotation mark.
  return /^[\p{L}\p{N}\p{M} \w./\\:@=+,;~#&()[\]{}<>|'^*?-]*$/u.test(word) && !word.endsWith("\\")
    ? `"${word}"`
    : undefined;
}

interface Runtime {
  readonly name: "Deno" | "Bun" | "Node";
  /** Its version, such as `2.6.10`. */
  readonly version: string;
  /** The oldest version that latchkey is for. */
  readonly oldest: string;
}

/** Returns the runtime of this program. */
export function currentRuntime(): Runtime {
  const deno = denoNamespace();
  if (deno) return { name: "Deno", version: deno.version.deno, oldest: "2.6" };
  const { bun, node } = globalThis.process.versions;
  return bun ? { name: "Bun", version: bun, oldest: "1.3" } : { name: "Node", version: node, oldest: "22.18" };
}

/** Returns true if a version is at least as new as another one. A suffix after a dash does not count. */
export function isAtLeast(version: string, oldest: string): boolean {
  const parts = (text: string) => text.split("-")[0]!.split(".").map(Number);
  const has = parts(version);
  const wanted = parts(oldest);
  const different = wanted.findIndex((part, index) => part !== (has[index] ?? 0));
  return different === -1 || (has[different] ?? 0) > wanted[different]!;
}

type Permission =
  | { readonly name: "net"; readonly host: string }
  | { readonly name: "run"; readonly command: string }
  | { readonly name: "read" | "write"; readonly path: string };

/** Returns true if Deno permits it. Other runtimes permit everything. */
export function isPermitted(permission: Deno.PermissionDescriptor): boolean {
  const deno = denoNamespace();
  return !deno || deno.permissions.querySync(permission).state === "granted";
}

/**
 * Checks that Deno permits something, or throws `missing_dependency` with the flag that permits it, or one with the value
 * `grant`, quoted for a shell, if more is of use.
 */
export function requirePermission(permission: Permission, grant?: string): void {
  if (isPermitted(permission)) return;
  const { name } = permission;
  const object = objectOf(permission);
  const doing = name === "net" ? "use the network address" : name;
  throw notPermitted(
    `${doing} ${object}`,
    grant === undefined ? quoteCommand([`--allow-${name}=${object}`]) : `--allow-${name}=${grant}`,
  );
}

function objectOf(permission: Permission): string {
  switch (permission.name) {
    case "net":
      return permission.host;
    case "run":
      return permission.command;
    case "read":
    case "write":
      return permission.path;
  }
}

/** Returns the flags that Deno lacks for the files of a folder. */
export function missingFlags(path: string, access: "read" | "write"): readonly string[] {
  return [
    ...(isPermitted({ name: "read", path }) ? [] : [`--allow-read=${path}`]),
    ...(access === "read" || isPermitted({ name: "write", path }) ? [] : [`--allow-write=${path}`]),
    // To compare the owner of a file with this user.
    ...(operatingSystem() === "win32" || isPermitted({ name: "sys", kind: "uid" }) ? [] : ["--allow-sys=uid"]),
  ];
}

/** Checks that Deno lacks no flags, or throws `missing_dependency` with those that it lacks. */
export function requireFlags(missing: readonly string[], doing: string): void {
  if (missing.length > 0) throw notPermitted(doing, quoteCommand(missing));
}

function notPermitted(doing: string, flags: string): LatchkeyError {
  return new LatchkeyError("missing_dependency", `Deno may not ${doing}`, { remedy: { kind: "run_deno_with", flags } });
}

/**
 * The runtime, its permissions and environment, and the quoting of its shells. Deno is asked first: reading
 * `globalThis.process` there costs as much as the rest of a silent token.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";

/** Deno's namespace, on Deno. */
export function denoNamespace(): typeof Deno | undefined {
  return (globalThis as { Deno?: typeof Deno }).Deno;
}

/** The pid of this process. */
export function ownPid(): number {
  return denoNamespace()?.pid ?? globalThis.process.pid;
}

/**
 * Returns true if no process of this machine, or of this container, has a pid.
 *
 * @returns `undefined` if that cannot be known: Deno tells it only with `--allow-run`.
 */
export function isProcessGone(pid: number): boolean | undefined {
  const deno = denoNamespace();
  if (deno && deno.permissions.querySync({ name: "run" }).state !== "granted") return undefined;
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

/** Operating system, in Node's words: `linux`, `darwin`, `win32` …; empty on an edge runtime. */
export function operatingSystem(): string {
  const deno = denoNamespace();
  if (deno) return deno.build.os === "windows" ? "win32" : deno.build.os;
  return globalThis.process?.platform ?? "";
}

/** Processor, in the kernel's words: `x86_64`, `aarch64` …; empty on an edge runtime. */
export function processor(): string {
  const arch = denoNamespace()?.build.arch ?? globalThis.process?.arch ?? "";
  return { x64: "x86_64", arm64: "aarch64" }[arch as string] ?? arch;
}

/** Returns true if an environment variable may be read. Never makes Deno prompt. */
export function mayReadEnvironment(name: string): boolean {
  const deno = denoNamespace();
  return !deno || deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
}

/** An environment variable; `undefined` when it is not set, is empty, or may not be read. */
export function readEnvironment(name: string): string | undefined {
  if (!mayReadEnvironment(name)) return undefined;
  const deno = denoNamespace();
  return (deno ? deno.env.get(name) : globalThis.process?.env[name]) || undefined;
}

/** A part of a command: a word, or words that only make sense together, such as an option and its value. */
type CommandPart = string | readonly string[];

/**
 * Quotes a command that a person is to paste. Whoever wrote a part of it (a server, a repository) runs nothing by it.
 *
 * On Windows the shell can be cmd.exe or PowerShell: a part that not both take as it is, is left out.
 *
 * @param parts The command's words. A value that looks like an option is joined to its option by `=`.
 * @param system Operating system, in Node's words.
 */
export function quoteCommand(parts: readonly CommandPart[], system: string = operatingSystem()): string {
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

/** Quotes a word for both cmd.exe and PowerShell; `undefined` if no quotation marks make it safe in both. */
function windowsWord(word: string): string | undefined {
  if (/^([\w./\\:][\w./\\:@=+-]*|--?[\w-]+)$/.test(word)) return word;
  // What either expands between quotation marks is not among these, nor what a code page can turn into a quotation mark.
  return /^[\p{L}\p{N}\p{M} \w./\\:@=+,;~#&()[\]{}<>|'^*?-]*$/u.test(word) && !word.endsWith("\\")
    ? `"${word}"`
    : undefined;
}

/** A runtime, and how old it is. */
interface Runtime {
  /** Its name. */
  readonly name: "Deno" | "Bun" | "Node";
  /** Its version, such as `2.6.10`. */
  readonly version: string;
  /** The oldest version that latchkey is for. */
  readonly oldest: string;
}

/** The runtime of this program. */
export function currentRuntime(): Runtime {
  const deno = denoNamespace();
  if (deno) return { name: "Deno", version: deno.version.deno, oldest: "2.6" };
  const { bun, node } = globalThis.process.versions;
  return bun ? { name: "Bun", version: bun, oldest: "1.3" } : { name: "Node", version: node, oldest: "22.18" };
}

/** Returns true if a version is at least as new as another one. A suffix after a dash does not count. */
export function isAtLeast(version: string, oldest: string): boolean {
  const parts = (text: string) => text.split("-")[0]!.split(".").map(Number);
  const has = parts(version), wanted = parts(oldest);
  const different = wanted.findIndex((part, index) => part !== (has[index] ?? 0));
  return different === -1 || (has[different] ?? 0) > wanted[different]!;
}

/** Something that Deno permits or not, by the flag's name, and for what. */
type Permission =
  | { readonly name: "net"; readonly host: string }
  | { readonly name: "run"; readonly command: string }
  | { readonly name: "read"; readonly path: string }
  | { readonly name: "write"; readonly path: string };

/** Returns true if Deno permits it. Other runtimes permit everything. */
export function isPermitted(permission: Deno.PermissionDescriptor): boolean {
  const deno = denoNamespace();
  return !deno || deno.permissions.querySync(permission).state === "granted";
}

/**
 * Makes sure that it is permitted.
 *
 * @param permission What is needed.
 * @param grant What to name behind the flag, where more is of use, as a shell takes it. @default what is needed
 * @throws {LatchkeyError} `missing_dependency` with the flag that permits it.
 */
export function requirePermission(permission: Permission, grant?: string): void {
  if (isPermitted(permission)) return;
  const { doing, object } = wordsOf(permission);
  throw new LatchkeyError("missing_dependency", `Deno may not ${doing} ${object}`, {
    hint: `Run deno with ${
      grant === undefined
        ? quoteCommand([`--allow-${permission.name}=${object}`])
        : `--allow-${permission.name}=${grant}`
    }`,
  });
}

function wordsOf(permission: Permission): { readonly doing: string; readonly object: string } {
  switch (permission.name) {
    case "net":
      return { doing: "use the network address", object: permission.host };
    case "run":
      return { doing: "run", object: permission.command };
    case "read":
    case "write":
      return { doing: permission.name, object: permission.path };
  }
}

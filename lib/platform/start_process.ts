/**
 * Starts a program without a shell, in a process group of its own. One that is given by its name is looked for in PATH, but
 * never in the current folder, which can be a stranger's clone. Deno has its own way: `node:child_process` would take
 * `--allow-env` for every variable there, and 20 ms.
 *
 * @module
 */
import { denoNamespace, mayReadEnvironment, operatingSystem, readEnvironment } from "./host.ts";
import { requirePermission } from "./permission.ts";

/** How a program is started. */
export interface ProcessOptions {
  /** Whether its input and output are ours to write and read, rather than nobody's. */
  readonly piped: boolean;
  /** Variables to set beside those of this program. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

/** A program that runs. */
export interface RunningProcess {
  /** Standard output and standard error, when they are piped. */
  readonly outputs: readonly ReadableStream<Uint8Array>[];
  /** Its exit code; 128 and the signal's number, as a shell has it, when a signal ended it. */
  readonly exited: Promise<number>;
  /** Writes to its standard input and closes it. What it does not read is lost without an error. */
  write(text: string): void;
  /** Kills it with all that it started, as far as these stayed in its process group. */
  kill(): void;
  /** Writes no further, and lets this program end before it. */
  letGo(): void;
}

/** Thrown when a program cannot be started. Without a cause: Node's has the arguments in it. */
export class StartError extends Error {
  /** Always `StartError`. */
  override readonly name = "StartError";
  /** Whether there is no such program, as opposed to one that cannot be run. */
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
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run it.
 */
export async function startProcess(command: readonly string[], options: ProcessOptions): Promise<RunningProcess> {
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

/** What is looked through where nothing of PATH remains: an empty one is the current folder. */
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

/** Whether something could be done. That a process is gone is no failure of killing it. */
function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

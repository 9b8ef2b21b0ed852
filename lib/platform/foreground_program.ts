/**
 * A program that takes the place of this one for the person or program that started it: it has this one's standard streams,
 * untouched, and the signals that are sent here.
 *
 * On Deno it needs `--allow-run=PROGRAM`.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { requirePermission } from "./permission.ts";
import { onSignals, type SignalName } from "./program.ts";
import { StartError } from "./start_process.ts";

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
 * @returns Its exit code; 128 and the signal's number, as a shell has it, when a signal ended it.
 * @throws {StartError} when it is not there or cannot be run.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to run it.
 */
export async function runInForeground(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<number> {
  const [program = "", ...args] = command;
  requirePermission({ name: "run", command: program });
  const isAtTerminal = await isTerminalInput(), early: SignalName[] = [];
  let child: Child | undefined;
  using _ = onSignals(PASSED_ON, (signal) => {
    if (isAtTerminal && OF_TERMINAL.has(signal)) return;
    if (child) child.kill(signal);
    else early.push(signal);
  });
  try {
    child = denoNamespace() ? startOnDeno(program, args, environment) : await startOnNode(program, args, environment);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    throw new StartError(program, code ?? message);
  }
  for (const signal of early) child.kill(signal);
  return await child.exited;
}

/** Not by `process.stdin`, which sets a pipe not to wait: the program that shares it would fail to read. */
async function isTerminalInput(): Promise<boolean> {
  return denoNamespace()?.stdin.isTerminal() ?? (await import("node:tty")).isatty(0);
}

function startOnDeno(program: string, args: readonly string[], environment: Readonly<Record<string, string>>): Child {
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
        // It has ended in this moment, as Node takes for granted.
      }
    },
  };
}

async function startOnNode(
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

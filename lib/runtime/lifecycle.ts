/**
 * The program's arguments, signals and end.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, operatingSystem, programIo, type SignalName } from "./host.ts";

/** Returns the arguments that the program was started with. */
export function programArguments(): readonly string[] {
  return denoNamespace()?.args ?? globalThis.process.argv.slice(2);
}

/**
 * Ends the program, and does not wait for what still runs: a call of MSALRuntime that was given up keeps Node from ending by
 * itself. All is written by then, since `write` does not return before.
 */
export function exit(code: number): never {
  return denoNamespace()?.exit(code) ?? globalThis.process.exit(code);
}

/** Signals that Windows knows: Ctrl-C, and a console that is closed. */
const ON_WINDOWS: ReadonlySet<SignalName> = new Set(["SIGINT", "SIGHUP"]);

/** Calls a function at signals, in place of their default action, until the result is disposed of. Ignores unknown signals. */
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

/** Ends the program as soon as nothing is under way, and at the latest after {@linkcode GRACE_MS}. */
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

/**
 * Signals of the system to this program.
 *
 * @module
 */
import { denoNamespace, operatingSystem } from "./host.ts";

/** A signal that can be listened for. */
export type SignalName = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2";

/** Those that Windows knows of: Ctrl-C, and a console that is closed. */
const ON_WINDOWS: ReadonlySet<SignalName> = new Set(["SIGINT", "SIGHUP"]);

/**
 * Calls a function at signals, in place of what they do to a program otherwise, until what is returned is disposed of.
 *
 * @param names The signals; those that the system does not know are left out.
 * @param listener Told which one came.
 */
export function onSignals(names: readonly SignalName[], listener: (name: SignalName) => void): Disposable {
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

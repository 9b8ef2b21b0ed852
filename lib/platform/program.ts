/**
 * The program's arguments, standard streams and exit code.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace } from "./host.ts";

/** The arguments that the program was started with. */
export function programArguments(): readonly string[] {
  return denoNamespace()?.args ?? globalThis.process.argv.slice(2);
}

/**
 * Ends the program. Deno wrote all by then, and saves a millisecond by not taking its engine down; elsewhere what is still
 * to be written holds the program for as long as it takes.
 */
export function exit(code: number): void {
  const deno = denoNamespace();
  if (deno) deno.exit(code);
  else globalThis.process.exitCode = code;
}

/** Writes to standard output or standard error. */
export function write(stream: "stdout" | "stderr", text: string): void {
  const deno = denoNamespace();
  if (!deno) return void globalThis.process[stream].write(text);
  for (let bytes = new TextEncoder().encode(text); bytes.length > 0;) {
    bytes = bytes.subarray(deno[stream].writeSync(bytes));
  }
}

/** Whether a person sits at the other end of a standard stream. */
export function isTerminal(stream: "stdin" | "stderr"): boolean {
  return denoNamespace()?.[stream].isTerminal() ?? globalThis.process[stream].isTTY ?? false;
}

/** Calls `listener` at Ctrl-C, instead of ending the program, until what is returned is disposed of. */
export function onInterrupt(listener: () => void): Disposable {
  const deno = denoNamespace();
  if (deno) deno.addSignalListener("SIGINT", listener);
  else globalThis.process.on("SIGINT", listener);
  return {
    [Symbol.dispose]: () => {
      if (deno) deno.removeSignalListener("SIGINT", listener);
      else globalThis.process.off("SIGINT", listener);
    },
  };
}

/**
 * The text of a file.
 *
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to read it: it is not prompted for.
 */
export async function readTextFile(path: string): Promise<string> {
  const deno = denoNamespace();
  if (!deno) return await (await import("node:fs/promises")).readFile(path, "utf8");
  if (deno.permissions.querySync({ name: "read", path }).state !== "granted") {
    throw new LatchkeyError("missing_dependency", `Deno may not read ${path}`, {
      hint: `Run deno with --allow-read=${path}`,
    });
  }
  return await deno.readTextFile(path);
}

/** Whether an error says that nobody reads what is written any more. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && (error.name === "BrokenPipe" || "code" in error && error.code === "EPIPE");
}

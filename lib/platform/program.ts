/**
 * The program's arguments, standard streams and exit code.
 *
 * @module
 */
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

/** The text of a file. */
export async function readTextFile(path: string): Promise<string> {
  const deno = denoNamespace();
  if (deno) return await deno.readTextFile(path);
  const { readFile } = await import("node:fs/promises");
  return await readFile(path, "utf8");
}

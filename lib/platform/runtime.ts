/**
 * Which runtime runs the program.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";

/** A runtime, and how old it is. */
export interface Runtime {
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

/** Whether a version is as new as another one. What follows a dash is not looked at. */
export function isAtLeast(version: string, oldest: string): boolean {
  const parts = (text: string) => text.split("-")[0]!.split(".").map(Number);
  const has = parts(version), wanted = parts(oldest);
  const different = wanted.findIndex((part, index) => part !== (has[index] ?? 0));
  return different === -1 || (has[different] ?? 0) > wanted[different]!;
}

/**
 * Whether another process lives.
 *
 * @module
 */
import { denoNamespace } from "./host.ts";
import { errorNameOf } from "./local_files.ts";
import { isPermitted } from "./permission.ts";

/** The number of this process. */
export function ownPid(): number {
  return denoNamespace()?.pid ?? globalThis.process.pid;
}

/**
 * Whether no process has a number.
 *
 * @returns `undefined` when that cannot be known: Deno tells it with `--allow-run` alone.
 */
export function isProcessGone(pid: number): boolean | undefined {
  const deno = denoNamespace();
  if (deno && !isPermitted({ name: "run" })) return undefined;
  try {
    // Signal 0 asks, and sends nothing. Deno has no name for it, and takes the number.
    if (deno) deno.kill(pid, 0 as unknown as Deno.Signal);
    else globalThis.process.kill(pid, 0);
    return false;
  } catch (error) {
    if (errorNameOf(error) === "ESRCH" || (error as Error).name === "NotFound") return true;
    // EPERM: it is somebody else's.
    return errorNameOf(error) === "EPERM" || (error as Error).name === "PermissionDenied" ? false : undefined;
  }
}

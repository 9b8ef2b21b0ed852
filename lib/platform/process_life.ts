/**
 * Whether another process lives.
 *
 * @module
 */
import { denoNamespace, operatingSystem } from "./host.ts";
import { errorNameOf, isNotThere } from "./local_files.ts";
import { isPermitted } from "./permission.ts";

/** The number of this process. */
export function ownPid(): number {
  return denoNamespace()?.pid ?? globalThis.process.pid;
}

/**
 * Whether no process has a number.
 *
 * @returns `undefined` when that cannot be known: Deno tells on Linux alone, with `--allow-all`.
 */
export function isProcessGone(pid: number): boolean | undefined {
  const deno = denoNamespace();
  return deno ? isGoneByDeno(deno, pid) : isGoneBySignal(pid);
}

function isGoneByDeno(deno: typeof Deno, pid: number): boolean | undefined {
  const path = `/proc/${pid}`;
  if (operatingSystem() !== "linux" || !isPermitted({ name: "read", path })) return undefined;
  try {
    deno.lstatSync(path);
    return false;
  } catch (error) {
    // Deno shows /proc to nobody who has fewer permissions than all, and it may not be mounted.
    return isNotThere(error) && isProcMounted(deno) ? true : undefined;
  }
}

function isProcMounted(deno: typeof Deno): boolean {
  try {
    return deno.lstatSync(`/proc/${deno.pid}`).isDirectory;
  } catch {
    return false;
  }
}

function isGoneBySignal(pid: number): boolean {
  try {
    globalThis.process.kill(pid, 0); // asks, and sends nothing
    return false;
  } catch (error) {
    return errorNameOf(error) === "ESRCH"; // else it is somebody else's
  }
}

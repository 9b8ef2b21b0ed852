// WSL, played: a mount namespace in which the kernel says that it is Microsoft's and /usr/bin has a wslinfo. The machine
// stays as it is.
import process from "node:process";
import { fileURLToPath } from "node:url";

const stage = fileURLToPath(new URL("../fakes/wsl/", import.meta.url));

/** The stand-in for the program that takes requests to Windows' broker; its path has a space in it, as on Windows. */
export const MSAL_PROXY = `${stage}Program Files/WSL/msal.wsl.proxy.exe`;

/** An overlay has the names of both folders and none of its own, so that nothing is written to either. */
const SCRIPT = 'mount --bind "$0osrelease" /proc/sys/kernel/osrelease && ' +
  'mount -t overlay overlay -o "lowerdir=$0bin:/usr/bin" /usr/bin && ' +
  "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 777 /run/WSL && " +
  'exec "$@"';
const namespace = ["unshare", "--mount", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])];

/** A command on such a machine. */
export function inWsl(command: readonly string[]): string[] {
  return [...namespace, "env", `MSAL_PROXY=${MSAL_PROXY}`, "sh", "-c", SCRIPT, stage, ...command];
}

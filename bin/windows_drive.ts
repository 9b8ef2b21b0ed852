/**
 * Windows' drives as WSL has them.
 *
 * @module
 */
import { isWsl } from "../lib/platform/wsl.ts";

/** What is wrong with files there. */
export const WINDOWS_DRIVE = {
  detail: "it is on a drive of Windows', which is slow from WSL, and where locks do not hold",
  fix: "Keep it in Linux' own file system: XDG_STATE_HOME, or --cache-file, below your Linux home folder",
};

/** Whether a path leads to one, where WSL mounts them unless it is told otherwise. */
export function isOnWindowsDrive(path: string): boolean {
  return isWsl() === true && /^\/mnt\/[a-z](\/|$)/i.test(path);
}

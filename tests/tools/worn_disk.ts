// A disk that is full, or that is read-only: a file system of its own in a mount namespace. Where this user may have none,
// the nearest that there is: a limit on the size of files, and a folder without write permission.
import { spawnSync } from "node:child_process";
import process from "node:process";

/** A command on such a disk, and what is wrong there. */
export interface WornDisk {
  /** Runs a command with the folder on that disk. */
  command(folder: string, command: readonly string[]): string[];
  /** What an error says is wrong. */
  readonly reason: string;
}

const namespace = ["unshare", "--mount", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])];
const canMount =
  spawnSync(namespace[0]!, [...namespace.slice(1), "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;

/**
 * Runs a command where a file is empty, and so no library; `undefined` where this user may have no mount namespace.
 *
 * @param file Its path.
 */
export const withEmptyFile: ((file: string, command: readonly string[]) => string[]) | undefined = canMount
  ? (file, rest) => [...namespace, "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', file, ...rest]
  : undefined;

/** Nothing more can be written. */
export const FULL_DISK: WornDisk = canMount
  ? mounted(
    'mount -t tmpfs -o size=64k,mode=700 tmpfs "$PWD" && cd "$PWD"; head -c 1000000 /dev/zero >full 2>/dev/null',
    "the disk is full",
  )
  : prepared("trap '' XFSZ; ulimit -f 0", "it would exceed the limit for the size of a file");

/** A megabyte is free, so that a program can fill it; `undefined` where this user may have no mount namespace. */
export const SMALL_DISK: WornDisk | undefined = canMount
  ? mounted('mount -t tmpfs -o size=1m,mode=700 tmpfs "$PWD" && cd "$PWD"', "the disk is full")
  : undefined;

/** What is there can be read. */
export const READ_ONLY_DISK: WornDisk = canMount
  ? mounted('mount --bind "$PWD" "$PWD" && mount -o remount,bind,ro "$PWD"', "its file system is read-only")
  : prepared("chmod u-w .", "permission denied");

function mounted(script: string, reason: string): WornDisk {
  const { command } = prepared(script, reason);
  return { reason, command: (folder, rest) => [...namespace, ...command(folder, rest)] };
}

function prepared(script: string, reason: string): WornDisk {
  return {
    reason,
    command: (
      folder,
      rest,
    ) => ["sh", "-c", `before=$PWD; cd "$0" && ${script}; cd "$before" && exec "$@"`, folder, ...rest],
  };
}

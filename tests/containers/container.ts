// A container, played: a mount and a network namespace. It has no network but its own loopback, one folder of the machine's
// that is mounted in for reading, and folders of the machine's that it must not see are hidden from it.
import process from "node:process";

/** Where the folder is mounted. */
export const MOUNTED = "/run/latchkey";

/** The words are: the folder that is mounted in, what is hidden, `--`, and the command. */
const SCRIPT = `ip link set lo up && mount -t tmpfs -o mode=755 tmpfs /run && mkdir ${MOUNTED} &&` +
  ` mount --bind "$1" ${MOUNTED} && mount -o remount,bind,ro ${MOUNTED} && shift &&` +
  ' while [ "$1" != -- ]; do mount -t tmpfs -o mode=755 tmpfs "$1" && shift || exit 1; done && shift && exec "$@"';
const namespace = ["unshare", "--mount", "--net", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])];

/**
 * A command in a container.
 *
 * @param command The command.
 * @param options `mount`: the folder that is mounted in; `hide`: folders that are empty there.
 */
export function inContainer(
  command: readonly string[],
  { mount, hide }: { readonly mount: string; readonly hide: readonly string[] },
): string[] {
  return [...namespace, "sh", "-c", SCRIPT, "sh", mount, ...hide, "--", ...command];
}

/**
 * Whether this is Linux on Windows (WSL).
 *
 * @module
 */
import { denoNamespace, operatingSystem, readEnvironment } from "./host.ts";
import { isPermitted } from "./permission.ts";

/** Where Linux has the release of its kernel. Deno reads it for `osRelease()`, and lets nobody else without `--allow-all`. */
const OS_RELEASE = "/proc/sys/kernel/osrelease";

/**
 * Whether this is WSL: Microsoft's kernel says whose it is. Where its release cannot be read, the name of the distribution in
 * the environment counts, which sudo and services take away.
 *
 * @returns `undefined` where neither is to be seen: on Deno `--allow-sys=osRelease` is missing.
 */
export function isWsl(): boolean | undefined {
  if (operatingSystem() !== "linux") return false;
  const release = linuxRelease();
  if (release !== undefined) return /microsoft/i.test(release);
  return readEnvironment("WSL_DISTRO_NAME") === undefined ? undefined : true;
}

function linuxRelease(): string | undefined {
  const deno = denoNamespace();
  if (deno) return isPermitted({ name: "sys", kind: "osRelease" }) ? deno.osRelease() : undefined;
  try {
    return globalThis.process.getBuiltinModule("node:fs").readFileSync(OS_RELEASE, "utf8");
  } catch {
    return undefined; // not every container has it
  }
}

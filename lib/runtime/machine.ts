/**
 * The machine: its kernel, its distribution, and whether it is WSL.
 *
 * @module
 */
import { denoNamespace, isPermitted, operatingSystem, processor, readEnvironment } from "./host.ts";

/** The file with the kernel's release. On Deno only programs with `--allow-all` may read it, and `osRelease()` does. */
const KERNEL_RELEASE = "/proc/sys/kernel/osrelease";

/**
 * Returns true on WSL, by the kernel's release. If that cannot be read, the name of the distribution in the environment
 * counts, which sudo and services remove. Returns `undefined` if neither can be read: Deno needs `--allow-sys=osRelease`.
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
    return globalThis.process.getBuiltinModule("node:fs").readFileSync(KERNEL_RELEASE, "utf8");
  } catch {
    return undefined; // not every container has it
  }
}

/** The facts of a machine. What may not be read, or is missing, is `undefined`. */
interface Machine {
  readonly system: string;
  readonly arch: string;
  /** Release of the kernel. */
  readonly release: string | undefined;
  /** Linux distribution, as it names itself. */
  readonly distribution: string | undefined;
  readonly isWsl: boolean | undefined;
  /** Flags with which Deno would permit to read what is missing. */
  readonly missingFlags: readonly string[];
}

/** The distribution's own description: os-release(5). */
const OS_RELEASE = "/etc/os-release";

/** Returns the content of os-release(5); `undefined` if the system has none, or Deno may not read it. */
export async function readOsRelease(): Promise<string | undefined> {
  if (operatingSystem() !== "linux" || !isPermitted({ name: "read", path: OS_RELEASE })) return undefined;
  try {
    const deno = denoNamespace();
    if (deno) return await deno.readTextFile(OS_RELEASE);
    return await (await import("node:fs/promises")).readFile(OS_RELEASE, "utf8");
  } catch {
    return undefined; // not every distribution has it
  }
}

/** Reads the facts of the machine. Never makes Deno prompt. */
export async function readMachine(): Promise<Machine> {
  const system = operatingSystem();
  const mayRead = system !== "linux" || isPermitted({ name: "read", path: OS_RELEASE });
  const mayAsk = isPermitted({ name: "sys", kind: "osRelease" });
  return {
    system,
    arch: processor(),
    release: mayAsk ? denoNamespace()?.osRelease() ?? (await import("node:os")).release() : undefined,
    distribution: /^PRETTY_NAME=(["']?)(.*)\1\s*$/m.exec(await readOsRelease() ?? "")?.[2],
    isWsl: isWsl(),
    missingFlags: [
      ...(mayRead ? [] : [`--allow-read=${OS_RELEASE}`]),
      ...(mayAsk ? [] : ["--allow-sys=osRelease"]),
    ],
  };
}

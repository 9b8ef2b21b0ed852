/**
 * What the machine is: looked up as far as it may be, for people who seek what is wrong.
 *
 * @module
 */
import { denoNamespace, operatingSystem, processor } from "./host.ts";
import { isPermitted } from "./permission.ts";
import { readTextFile } from "./program.ts";
import { isWsl } from "./wsl.ts";

/** A machine. What is `undefined` may not be looked at, or is not told. */
export interface Machine {
  /** Operating system, in Node's words. */
  readonly system: string;
  /** Processor, in the kernel's words: `x86_64`, `aarch64` … */
  readonly arch: string;
  /** Release of the operating system's kernel. */
  readonly release: string | undefined;
  /** Linux distribution, as it calls itself. */
  readonly distribution: string | undefined;
  /** Whether it is Linux on Windows. */
  readonly isWsl: boolean | undefined;
  /** Deno's flags that would let more be seen. */
  readonly missingFlags: readonly string[];
}

/** Where a distribution says what it is (freedesktop's os-release). */
const OS_RELEASE = "/etc/os-release";

/** Reads what the machine is. Asks for no permission. */
export async function readMachine(): Promise<Machine> {
  const system = operatingSystem(), isLinux = system === "linux";
  const mayRead = isPermitted({ name: "read", path: OS_RELEASE }),
    mayAsk = isPermitted({ name: "sys", kind: "osRelease" });
  const release = mayAsk ? await kernelRelease() : undefined;
  return {
    system,
    arch: processor(),
    release,
    distribution: isLinux && mayRead ? await distribution() : undefined,
    isWsl: isWsl(),
    missingFlags: [
      ...(isLinux && !mayRead ? [`--allow-read=${OS_RELEASE}`] : []),
      ...(mayAsk ? [] : ["--allow-sys=osRelease"]),
    ],
  };
}

async function kernelRelease(): Promise<string> {
  return denoNamespace()?.osRelease() ?? (await import("node:os")).release();
}

async function distribution(): Promise<string | undefined> {
  try {
    const text = await readTextFile(OS_RELEASE);
    return /^PRETTY_NAME=(["']?)(.*)\1\s*$/m.exec(text)?.[2];
  } catch {
    return undefined; // not every distribution has it
  }
}

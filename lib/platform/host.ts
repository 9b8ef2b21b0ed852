/**
 * What the program runs on, and what it may read of its surroundings. Deno is asked first and by itself: reading
 * `globalThis.process` there costs as much as the whole rest of a silent token.
 *
 * @module
 */

/** Deno's namespace, on Deno. */
export function denoNamespace(): typeof Deno | undefined {
  return (globalThis as { Deno?: typeof Deno }).Deno;
}

/** The pid of this process. */
export function ownPid(): number {
  return denoNamespace()?.pid ?? globalThis.process.pid;
}

/**
 * Returns true if no process of this machine, or of this container, has a pid.
 *
 * @returns `undefined` if that cannot be known: Deno tells it only with `--allow-run`.
 */
export function isProcessGone(pid: number): boolean | undefined {
  const deno = denoNamespace();
  if (deno && deno.permissions.querySync({ name: "run" }).state !== "granted") return undefined;
  try {
    // Signal 0 asks, and sends nothing. Deno has no name for it, and takes the number.
    if (deno) deno.kill(pid, 0 as unknown as Deno.Signal);
    else globalThis.process.kill(pid, 0);
    return false;
  } catch (error) {
    const { code, name } = error as { readonly code?: string; readonly name?: string };
    if (code === "ESRCH" || name === "NotFound") return true;
    return code === "EPERM" || name === "PermissionDenied" ? false : undefined; // not permitted: it is somebody else's
  }
}

/** Operating system, in Node's words: `linux`, `darwin`, `win32` …; empty on an edge runtime. */
export function operatingSystem(): string {
  const deno = denoNamespace();
  if (deno) return deno.build.os === "windows" ? "win32" : deno.build.os;
  return globalThis.process?.platform ?? "";
}

/** Processor, in the kernel's words: `x86_64`, `aarch64` …; empty on an edge runtime. */
export function processor(): string {
  const arch = denoNamespace()?.build.arch ?? globalThis.process?.arch ?? "";
  return { x64: "x86_64", arm64: "aarch64" }[arch as string] ?? arch;
}

/**
 * Whether an environment variable may be read. On Deno this asks for nothing that was not granted, so that no prompt
 * stands between a person and an optional setting.
 */
export function mayReadEnvironment(name: string): boolean {
  const deno = denoNamespace();
  return !deno || deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
}

/** An environment variable; `undefined` when it is not set, is empty, or may not be read. */
export function readEnvironment(name: string): string | undefined {
  if (!mayReadEnvironment(name)) return undefined;
  const deno = denoNamespace();
  return (deno ? deno.env.get(name) : globalThis.process?.env[name]) || undefined;
}

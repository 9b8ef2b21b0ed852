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

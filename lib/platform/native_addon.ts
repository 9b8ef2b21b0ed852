/**
 * Addons: native code with Node's interface (Node-API), which Deno, Bun and Node run alike.
 *
 * @module
 */
import { isPermitted } from "./permission.ts";
import { isThere } from "./program.ts";

/** Whether there is an addon; `undefined` where Deno does not let anybody look. */
export function isAddonThere(path: string): boolean | undefined {
  return isPermitted({ name: "read", path }) ? isThere(path) : undefined;
}

/** Whether Deno lets an addon be opened. To open one that it does not permit would make it ask the person. */
export function mayOpenAddon(path: string): boolean {
  return isPermitted({ name: "ffi", path });
}

/**
 * Opens an addon. `require` would do the same, and need the permission to read what stands around the file.
 *
 * @param path Absolute path of the file.
 * @returns What it exports.
 * @throws {Error} when it cannot be loaded, in the words of the system.
 */
export function openAddon(path: string): unknown {
  const made = { exports: {} as unknown };
  globalThis.process.dlopen(made, path);
  return made.exports;
}

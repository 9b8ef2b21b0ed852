/**
 * Addons: native code with Node's interface (Node-API), which Deno, Bun and Node run alike.
 *
 * @module
 */
import { denoLooks, type PlaceLooks, placeOpenToOthers } from "./find_libdbus.ts";
import { denoNamespace, operatingSystem } from "./host.ts";
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

/** Whether an addon may be run, as far as it matters who can change it. */
export type AddonTrust =
  /** Only root and we can change it; on Windows, which has no modes, nobody looks. */
  | { readonly kind: "trusted" }
  /** Somebody else can change what is at this place, on the way to the file. */
  | { readonly kind: "exposed"; readonly place: string }
  /** Deno does not let anybody look, and permits more addons than this one. */
  | { readonly kind: "unknown" };

/**
 * Looks at whose the addon and every folder on the way to it are, over all links: native code may do all that we may.
 *
 * If Deno may not look, an `--allow-ffi=PATH` that names this addon counts as the person's own word for it.
 *
 * @param path Absolute path of the file.
 * @throws {Error} the file system's own, if a link leads nowhere.
 */
export function addonTrust(path: string): AddonTrust {
  if (operatingSystem() === "win32") return { kind: "trusted" };
  const deno = denoNamespace();
  if (deno && !(isPermitted({ name: "read" }) && isPermitted({ name: "sys", kind: "uid" }))) {
    return { kind: isPermitted({ name: "ffi" }) ? "unknown" : "trusted" };
  }
  const place = placeOpenToOthers(path, deno ? denoLooks(deno) : nodeLooks());
  return place === undefined ? { kind: "trusted" } : { kind: "exposed", place };
}

function nodeLooks(): PlaceLooks {
  const { getBuiltinModule, getuid } = globalThis.process, { lstatSync, readlinkSync } = getBuiltinModule("node:fs");
  return {
    ownUser: getuid!(),
    look(path) {
      const facts = lstatSync(path), { mode, uid } = facts;
      return { mode, uid, kind: facts.isSymbolicLink() ? "link" : facts.isDirectory() ? "folder" : "other" };
    },
    readLink: (path) => readlinkSync(path),
  };
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

/**
 * Paths: their parts, and what is there.
 *
 * @module
 */
import { ArgumentError } from "../errors.ts";
import { denoNamespace, operatingSystem, requirePermission } from "./host.ts";

/**
 * Returns the text of a file in UTF-8 or, as Windows PowerShell's `>` writes it, in UTF-16, without a byte order mark.
 *
 * @throws {LatchkeyError} `missing_dependency`, without a prompt, if Deno may not read it.
 */
export async function readTextFile(path: string): Promise<string> {
  requirePermission({ name: "read", path });
  const deno = denoNamespace();
  const bytes = deno ? await deno.readFile(path) : await (await import("node:fs/promises")).readFile(path);
  return new TextDecoder(bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : "utf-8").decode(bytes);
}

/** Returns true if the path exists; a link is not followed. `ifUnknown` is for a path that cannot be looked at. */
export function isThere(path: string, { ifUnknown = true }: { readonly ifUnknown?: boolean } = {}): boolean {
  const deno = denoNamespace();
  try {
    if (deno) deno.lstatSync(path);
    else globalThis.process.getBuiltinModule("node:fs").lstatSync(path);
    return true;
  } catch (error) {
    // It may exist: the next call mostly reports why it cannot be looked at.
    return ifUnknown && !(error instanceof Error && "code" in error && error.code === "ENOENT");
  }
}

/** Returns true if a path is the same from everywhere; on Windows it begins with a drive and a separator, or is a UNC path. */
export function isAbsolutePath(path: string): boolean {
  return (operatingSystem() === "win32" ? /^([A-Za-z]:[\\/]|\\\\)/ : /^\//).test(path);
}

/** Returns a path as it is from everywhere. A relative one begins at the folder that the program was started in. */
export function absolutePath(path: string): string {
  const isWindows = operatingSystem() === "win32";
  if (isWindows ? /^([A-Za-z]:)?[\\/]/.test(path) : path.startsWith("/")) return path;
  return `${denoNamespace()?.cwd() ?? globalThis.process.cwd()}${isWindows ? "\\" : "/"}${
    path.replace(/^(\.[\\/]+)+/, "")
  }`;
}

/** Returns the path of a file or folder below another folder, with the system's own separator. */
export function pathIn(folder: string, below: string): string {
  return operatingSystem() === "win32"
    ? `${folder.replace(/[\\/]+$/, "")}\\${below.replaceAll("/", "\\")}`
    : `${folder.replace(/\/$/, "")}/${below}`;
}

/** Returns the folder of a file. @throws {TypeError} if `path` is not the path of a file. */
export function folderOf(path: string): string {
  const pattern = operatingSystem() === "win32"
    ? /^(.*[\\/]|[A-Za-z]:)?(?!\.{1,2}$)([^\\/:]+)$/s
    : /^(.*\/)?(?!\.{1,2}$)([^/]+)$/s;
  const [, folder, name] = pattern.exec(path) ?? [];
  if (!name || path.includes("\0")) throw new ArgumentError(`${JSON.stringify(path)} is not the path of a file`);
  return folder === undefined ? "." : withoutSlashes(folder);
}

/** Removes the slashes at the end of a path. With them, the system would follow a link. */
export function withoutSlashes(folder: string): string {
  return folder.replace(operatingSystem() === "win32" ? /(?<=[^:\\/])[\\/]+$/ : /(?<=[^/])\/+$/, "");
}

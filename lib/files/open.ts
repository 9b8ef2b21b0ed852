/**
 * Which functions reach the file system, and whether Deno permits them.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { denoNamespace, isPermitted, operatingSystem, quoteCommand } from "../runtime/host.ts";
import type { LocalFiles } from "./files.ts";

/**
 * The file system, for the files of one folder.
 *
 * @param folder The folder.
 * @param access What is to be done there.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit it.
 */
export async function openLocalFiles(folder: string, access: "read" | "write"): Promise<LocalFiles> {
  if (!denoNamespace()) return (await import("./node.ts")).nodeFiles();
  const flags = missingFlags(folder, access);
  if (flags.length > 0) {
    throw new LatchkeyError("missing_dependency", `Deno may not ${access} private files in ${folder}`, {
      hint: `Run deno with ${quoteCommand(flags)}`,
    });
  }
  return (await import("./deno.ts")).denoFiles();
}

/**
 * The flags of Deno that are missing for the files of a folder.
 *
 * @param path The folder.
 * @param access What is to be done there.
 * @returns The flags; none where all is permitted.
 */
export function missingFlags(path: string, access: "read" | "write"): readonly string[] {
  return [
    ...(isPermitted({ name: "read", path }) ? [] : [`--allow-read=${path}`]),
    ...(access === "read" || isPermitted({ name: "write", path }) ? [] : [`--allow-write=${path}`]),
    // To see whose the files are.
    ...(operatingSystem() === "win32" || isPermitted({ name: "sys", kind: "uid" }) ? [] : ["--allow-sys=uid"]),
  ];
}

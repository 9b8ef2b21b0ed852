/**
 * Deno's runtime for executables. `deno compile` downloads it once, in Deno's own version, into Deno's cache, and does not compare it
 * with anything. So we do.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "./bundle.ts";
import { type Target, targetNamed } from "./targets.ts";

/** The file with the checksums of the runtimes, as `sha256sum` writes them; below the root. */
export const CHECKSUMS = "build/deno_runtimes.sha256";

/** A runtime that goes into executables for a target. */
export interface DenoRuntime {
  /** Path of the file: what a variable names, otherwise the archive in Deno's cache, which may not be there yet. */
  readonly path: string;
  /** The environment variable that names the file; `undefined` if Deno downloads it. */
  readonly variable: string | undefined;
  /** Name of the download, with its version; as in {@linkcode CHECKSUMS}. */
  readonly download: string;
  /** Version of the Deno that compiles. */
  readonly version: string;
}

/** Returns the environment variable with the path of a runtime for a target. */
export function runtimeVariable(prefix: "DENORT_BIN" | "BUN_RUNTIME", { name }: Target): string {
  return `${prefix}_${name.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Returns the runtime that a Deno puts into executables for a target.
 *
 * @param deno Path of the Deno that compiles.
 * @throws {Error} if Deno does not start.
 */
export function denoRuntime(deno: string, target: Target): DenoRuntime {
  const version = /^deno (\d+\.\d+\.\d+)/.exec(outputOf(deno, ["--version"]))?.[1] ?? "";
  const { denoDir } = JSON.parse(outputOf(deno, ["info", "--json", "--no-config"]));
  const download = `v${version}/denort-${target.deno}.zip`;
  // DENORT_BIN is the runtime of this machine, and must not get into the executable of another target.
  const variables = [runtimeVariable("DENORT_BIN", target), ...(target === targetNamed() ? ["DENORT_BIN"] : [])];
  const variable = variables.find((name) => process.env[name]);
  const path = variable === undefined ? join(denoDir, "dl/release", download) : process.env[variable]!;
  return { path, variable, download, version };
}

/**
 * Compares a downloaded runtime with its checksum in {@linkcode CHECKSUMS}. One without a checksum, one that is not downloaded yet, and
 * one that a variable names pass.
 *
 * @param checksums @default those of {@linkcode CHECKSUMS}
 * @throws {Error} if it differs.
 */
export function requireSameRuntime(
  { path, variable, download }: DenoRuntime,
  checksums: ReadonlyMap<string, string> = readChecksums(),
): void {
  const wanted = checksums.get(download);
  const actual = variable === undefined ? sha256Of(path) : undefined;
  if (wanted === undefined || actual === undefined || actual === wanted) return;
  throw new Error(
    `${path} has the SHA-256 ${actual}, and ${CHECKSUMS} has ${wanted} for ${download}: remove the file and try again`,
  );
}

/** Returns the SHA-256 of a file in hexadecimal digits; `undefined` if there is no file. */
export function sha256Of(path: string): string | undefined {
  return existsSync(path) ? createHash("sha256").update(readFileSync(path)).digest("hex") : undefined;
}

/**
 * Returns the checksums of the runtimes, by the names of their downloads.
 *
 * @param text As `sha256sum` writes it, with comments. @default that of {@linkcode CHECKSUMS}
 * @throws {Error} if a line is neither a checksum with a name nor a comment.
 */
export function readChecksums(text: string = readFileSync(join(ROOT, CHECKSUMS), "utf8")): ReadonlyMap<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const [, sum, name] = /^([0-9a-f]{64}) [ *](v\d+\.\d+\.\d+\/denort-[\w.-]+\.zip)$/.exec(line) ?? [];
    if (sum === undefined || name === undefined) {
      throw new Error(`${CHECKSUMS} has a line that is no checksum: ${line}`);
    }
    return [name, sum];
  }));
}

function outputOf(deno: string, words: readonly string[]): string {
  const env = { ...process.env, DENO_NO_PACKAGE_JSON: "1", NO_COLOR: "1" };
  const { status, stdout, stderr, error } = spawnSync(deno, words, { cwd: ROOT, env, encoding: "utf8" });
  if (status === 0) return stdout;
  throw new Error(`${deno} ${words.join(" ")} failed: ${stderr || error?.message}`);
}

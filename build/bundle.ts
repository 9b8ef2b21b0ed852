/** Bundles our sources, and what they import, into as few files as their late imports allow. */
import type { BunPlugin } from "bun";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { BuildFacts } from "../bin/cli/help.ts";

/** The folder of the checkout. */
export const ROOT = fileURLToPath(new URL("../", import.meta.url));

export interface BundleOptions {
  /** The folder that gets the files. */
  readonly folder: string;
  /** Facts that `--version --format json` prints. */
  readonly facts: BuildFacts;
  /** Packages that stay imports. @default only Node's */
  readonly external?: readonly string[];
  /** True to shorten names. @default false, so that the names in a stack trace can be found in the sources */
  readonly shortNames?: boolean;
  /** True to keep imports of which no name is used. @default false, since importing does nothing */
  readonly keepImports?: boolean;
  readonly plugins?: BunPlugin[];
}

/**
 * Bundles entries, each to a file of its own name below the folder: `lib/web.ts` to `lib/web.js`.
 *
 * @param entries Their paths below the root.
 * @throws {AggregateError} with all errors of the bundler.
 */
export async function bundle(
  entries: readonly string[],
  { folder, facts, external = ["node:*"], shortNames = false, keepImports = false, plugins = [] }: BundleOptions,
): Promise<void> {
  await Bun.build({
    entrypoints: entries.map((entry) => `${ROOT}${entry}`),
    root: ROOT,
    outdir: folder,
    format: "esm",
    // For Node it would load node:module at once, which costs Deno as much as the rest of a silent token.
    target: "browser",
    external: [...external],
    conditions: ["latchkey-source"],
    splitting: true,
    naming: { entry: "[dir]/[name].[ext]", chunk: "chunks/[name]-[hash].[ext]" },
    minify: { whitespace: true, syntax: true, identifiers: shortNames },
    ignoreDCEAnnotations: keepImports,
    define: { LATCHKEY_BUILD: JSON.stringify(facts) },
    plugins,
  });
}

/** Returns the commit that is checked out, with `-dirty` at the end if files were changed; `null` outside of a repository. */
export function currentCommit(): string | null {
  const args = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
  const { status, stdout } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

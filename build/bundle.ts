/** Sources of ours, and what they import, in as few files as their late imports allow. */
import type { BunPlugin } from "bun";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { BuildFacts } from "../bin/cli/help.ts";

/** The folder of the checkout. */
export const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** How something is bundled. */
export interface BundleOptions {
  /** The folder that gets the files. */
  readonly folder: string;
  /** What `--version --format json` tells of the build. */
  readonly facts: BuildFacts;
  /** Packages that stay imports. @default none but Node's */
  readonly external?: readonly string[];
  /** Whether names are shortened, too. @default false, so that what a stack trace says can be found in the sources */
  readonly shortNames?: boolean;
  /** Whether an import stays of which no name is used. @default false, since importing does nothing */
  readonly keepImports?: boolean;
  /** What changes the sources on their way. @default nothing */
  readonly plugins?: BunPlugin[];
}

/**
 * Bundles entries, each to a file of its own name below the folder: `lib/web.ts` to `lib/web.js`.
 *
 * @param entries Their paths below the root.
 * @throws {AggregateError} all that the bundler complains of.
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

/** The commit that is checked out, with `-dirty` behind it where files were changed; `null` outside of a repository. */
export function currentCommit(): string | null {
  const args = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
  const { status, stdout } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

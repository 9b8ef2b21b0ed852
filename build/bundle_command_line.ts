/** Bundles the command line, for executables. */
import type { BunPlugin } from "bun";
import { readFile } from "node:fs/promises";
import { bundle, type BundleOptions, ROOT } from "./bundle.ts";

/** Path of the entry below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** Modules that a silent token needs, and the entry imports late. */
const HOT = ["bin/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts"];
const HOT_PATH = "latchkey:hot-path";

/**
 * Puts all modules of a silent token into one file, which starts sooner than two dozen. Bun puts into one file the sources
 * that the same entries and late imports need. So every source imports the hot path, after its own imports, so that the order of
 * evaluation stays.
 */
const hotPath: BunPlugin = {
  name: "hot path",
  setup(build) {
    build.onResolve({ filter: new RegExp(`^${HOT_PATH}$`) }, () => ({ path: "hot_path", namespace: "latchkey" }));
    build.onLoad({ filter: /^hot_path$/, namespace: "latchkey" }, () => ({
      contents: HOT.map((source) => `import ${JSON.stringify(ROOT + source)};\n`).join(""),
      loader: "js",
    }));
    build.onLoad({ filter: /\.ts$/ }, async ({ path }) => ({
      contents: `${await readFile(path, "utf8")}\nimport ${JSON.stringify(HOT_PATH)};\n`,
      loader: "ts",
    }));
  },
};

/**
 * Bundles the command line.
 *
 * @throws {AggregateError} with all errors of the bundler.
 */
export async function bundleCommandLine(options: Pick<BundleOptions, "folder" | "facts">): Promise<void> {
  // The messages of errors suffice: names in stack traces would cost every start a millisecond.
  await bundle([COMMAND_LINE], { ...options, shortNames: true, keepImports: true, plugins: [hotPath] });
}

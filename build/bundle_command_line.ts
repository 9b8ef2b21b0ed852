/** The command line by itself, as an executable has it. */
import type { BunPlugin } from "bun";
import { readFile } from "node:fs/promises";
import { bundle, type BundleOptions, ROOT } from "./bundle.ts";

/** The command line's entry, below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** What a silent token takes beside the entry, and the entry would load late. */
const HOT = ["bin/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts"];
const HOT_PATH = "latchkey:hot-path";

/**
 * Puts all that a silent token takes into one file, which starts sooner than the two dozen that it would be. Bun makes a file of
 * the sources that the same entries and late imports need, so each source is made to need the hot path; after its own
 * imports, so that nothing is run in another order.
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
 * @throws {AggregateError} all that the bundler complains of.
 */
export async function bundleCommandLine(options: Pick<BundleOptions, "folder" | "facts">): Promise<void> {
  // Errors tell by their messages what went wrong; the names in stack traces would cost every start a millisecond.
  await bundle([COMMAND_LINE], { ...options, shortNames: true, keepImports: true, plugins: [hotPath] });
}

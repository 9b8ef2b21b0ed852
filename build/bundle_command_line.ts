/** Bundles the command line, for executables. */
import { bundle, type BundleOptions, ROOT } from "./bundle.ts";

/** Path of the entry below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** Modules that a silent token needs, and the entry imports late. With what they import they are one file, which starts sooner. */
const HOT = ["bin/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts"].map((path) => ROOT + path);

/**
 * Bundles the command line.
 *
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundleCommandLine(options: Pick<BundleOptions, "folder" | "facts">): Promise<void> {
  await bundle([COMMAND_LINE], { ...options, groups: [{ name: "hot", test: (path) => HOT.includes(path) }] });
}

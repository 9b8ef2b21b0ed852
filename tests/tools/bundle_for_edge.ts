import { basename } from "node:path";
import { fileURLToPath } from "node:url";

/** An ES module. */
export interface BundledModule {
  /** Its name, by which others import it. */
  readonly path: string;
  readonly contents: string;
}

const root = new URL("../../", import.meta.url);

/**
 * A source of ours and all that it imports, for runtimes that have Web APIs alone.
 *
 * @param path Its path below the root.
 * @param options `external`: what is left to be found when it is loaded, such as `node:*`; then what is imported late has
 * modules of its own, so that it is not looked for before.
 * @returns The entry, and such modules behind it.
 * @throws {Error} when something that it imports is not there.
 */
export async function bundleForEdge(
  path: string,
  { external = [] }: { readonly external?: readonly string[] } = {},
): Promise<readonly BundledModule[]> {
  const { outputs } = await Bun.build({
    entrypoints: [fileURLToPath(new URL(path, root))],
    target: "browser",
    format: "esm",
    minify: true,
    conditions: ["latchkey-source"],
    external: [...external],
    splitting: external.length > 0,
  });
  const entryFirst = outputs.toSorted((one, other) =>
    Number(other.kind === "entry-point") - Number(one.kind === "entry-point")
  );
  return await Promise.all(
    entryFirst.map(async (output) => ({ path: basename(output.path), contents: await output.text() })),
  );
}

/** Adapts the sources to runtimes that have only Web APIs. */
import type { BunPlugin } from "bun";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const DETECT = fileURLToPath(new URL("../../lib/broker/detect.ts", import.meta.url));
const NO_BROKER = fileURLToPath(new URL("detect.ts", import.meta.url));

/**
 * Removes the brokers and Node's modules: bundlers for the edge refuse a module that they cannot find, even in a late import. The
 * code that needs one fails when it is called, as the sources do on the edge.
 */
export const forTheEdge: BunPlugin = {
  name: "for the edge",
  setup(build) {
    build.onResolve(
      { filter: /\/detect\.ts$/ },
      ({ path, importer }) => resolve(dirname(importer), path) === DETECT ? { path: NO_BROKER } : undefined,
    );
    build.onResolve({ filter: /^node:|^dbus-next$/ }, ({ path }) => ({
      path: path.replace(":", "-"), // it becomes part of a file's name
      namespace: "absent",
    }));
    build.onLoad({ filter: /.*/, namespace: "absent" }, ({ path }) => ({
      contents: `module.exports = {}; throw new Error(${JSON.stringify(`There is no ${path} on the edge`)});`,
      loader: "js",
    }));
  },
};

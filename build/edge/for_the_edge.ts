/** What becomes of the sources where there are Web APIs alone. */
import type { BunPlugin } from "bun";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const FIND_BROKER = fileURLToPath(new URL("../../lib/broker/detect.ts", import.meta.url));
const NO_BROKER = fileURLToPath(new URL("find_broker.ts", import.meta.url));

/**
 * Leaves the brokers out, and what there is of Node's: bundlers for the edge refuse to bundle what they cannot find, however
 * late it is imported. What takes it fails when it is called, as it does on the edge from the sources.
 */
export const forTheEdge: BunPlugin = {
  name: "for the edge",
  setup(build) {
    build.onResolve(
      { filter: /\/detect\.ts$/ },
      ({ path, importer }) => resolve(dirname(importer), path) === FIND_BROKER ? { path: NO_BROKER } : undefined,
    );
    build.onResolve({ filter: /^node:|^dbus-next$/ }, ({ path }) => ({
      path: path.replace(":", "-"), // it becomes a part of a file's name
      namespace: "absent",
    }));
    build.onLoad({ filter: /.*/, namespace: "absent" }, ({ path }) => ({
      contents: `module.exports = {}; throw new Error(${JSON.stringify(`There is no ${path} on the edge`)});`,
      loader: "js",
    }));
  },
};

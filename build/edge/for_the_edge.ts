/** Adapts the sources to runtimes that have only Web APIs. */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "rolldown";

const DETECT = fileURLToPath(new URL("../../lib/broker/detect.ts", import.meta.url));
const NO_BROKER = fileURLToPath(new URL("detect.ts", import.meta.url));
const ABSENT = "\0absent:";

/**
 * Removes the brokers and Node's modules: bundlers for the edge refuse a module that they cannot find, even in a late import. The
 * code that needs one fails when it is called, as the sources do on the edge.
 */
export const forTheEdge: Plugin = {
  name: "for the edge",
  resolveId: {
    filter: { id: /\/detect\.ts$|^node:|^dbus-next$/ },
    handler(id, importer) {
      if (!id.endsWith(".ts")) return ABSENT + id;
      return importer && resolve(dirname(importer), id) === DETECT ? NO_BROKER : null;
    },
  },
  load: {
    filter: { id: /^\0absent:/ },
    handler(id) {
      const message = `There is no ${id.slice(ABSENT.length).replace(":", "-")} on the edge`;
      return `module.exports = {}; throw new Error(${JSON.stringify(message)});`;
    },
  },
};

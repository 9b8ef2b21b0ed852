// Where the tools that npm brought are. Plain JavaScript, for Node 20 and later: it runs before any of them is there.
// `npm ci --ignore-scripts` leaves `.bin/bun` and `.bin/deno` unusable, so the platform packages are looked into instead.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = new URL("../../node_modules/", import.meta.url);
const windows = process.platform === "win32";
const exe = windows ? ".exe" : "";
const musl = process.platform === "linux" &&
  existsSync(`/lib/ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`);

/** The npm package that has Node for this machine. */
export const NODE_PACKAGE = `node-${windows ? "win" : process.platform}-${process.arch}`;

/** What the tests bring for themselves: in no list of dependencies, as users and most who work on this need none of it. */
export const TOOLS_FOLDER = fileURLToPath(new URL("../../.latchkey-tools/", import.meta.url));

/** The folder that has MSAL for Python and its extensions, for `PYTHONPATH`. */
export const MSAL_PYTHON = join(TOOLS_FOLDER, "python");

/** The folder that has what MSAL for Python reaches the broker with, for `PYTHONPATH` beside the former. */
export const PYMSALRUNTIME = join(TOOLS_FOLDER, "python_broker");

/** The folder of MSAL for Node's extensions. As a whole they do not load: their broker and keyring are native. */
export const MSAL_NODE_EXTENSIONS = join(TOOLS_FOLDER, "node_modules/@azure/msal-node-extensions");

const places = {
  bun: () => {
    const name = `@oven/bun-${windows ? "windows" : process.platform}-${process.arch === "arm64" ? "aarch64" : "x64"}${
      musl ? "-musl" : ""
    }`;
    return [`${name}/bin/bun${exe}`, `${name}-baseline/bin/bun${exe}`];
  },
  deno: () => [`@deno/${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}/deno${exe}`],
  // Not among the packages of package.json: set_up.js installs it by itself.
  node: () => [`../.latchkey-tools/node_modules/${NODE_PACKAGE}/bin/node${exe}`, `${NODE_PACKAGE}/bin/node${exe}`],
  tsc: () => ["typescript/bin/tsc"],
};

/**
 * The absolute path of a tool that `npm ci` has installed.
 * @param {"bun" | "deno" | "node" | "tsc"} name
 * @returns {string}
 * @throws {Error} when it is not there
 */
export function findTool(name) {
  // What is for Windows stands with the tools where Wine runs it: node_modules is this machine's.
  const folders = windows ? [modules, new URL("../.latchkey-tools/windows/node_modules/", modules)] : [modules];
  const candidates = folders.flatMap((folder) => places[name]().map((place) => fileURLToPath(new URL(place, folder))));
  const found = candidates.find((path) => existsSync(path));
  if (!found) throw new Error(`${name} is not installed (looked for ${candidates.join(", ")}): run npm test`);
  return found;
}

// Where the tools that npm brought are. Plain JavaScript, for Node 20 and later: it runs before any of them is there.
// `npm ci --ignore-scripts` leaves `.bin/bun` and `.bin/deno` unusable, so the platform packages are looked into instead.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const windows = process.platform === "win32";
const exe = windows ? ".exe" : "";
const musl = process.platform === "linux" &&
  existsSync(`/lib/ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`);

/** What the tests bring for themselves: in no list of dependencies, as users and most who work on this need none of it. */
export const TOOLS_FOLDER = fileURLToPath(new URL("../../.latchkey-tools/", import.meta.url));

/** The folder that has MSAL for Python and its extensions, for `PYTHONPATH`. */
export const MSAL_PYTHON = join(TOOLS_FOLDER, "python");

/** The folder that has what MSAL for Python reaches the broker with, for `PYTHONPATH` beside the former. */
export const PYMSALRUNTIME = join(TOOLS_FOLDER, "python_broker");

/** The folder of MSAL for Node's extensions. As a whole they do not load: their broker and keyring are native. */
export const MSAL_NODE_EXTENSIONS = join(TOOLS_FOLDER, "node_modules/@azure/msal-node-extensions");

/** The folder with the oldest supported runtimes. */
export const OLDEST_FOLDER = join(TOOLS_FOLDER, "oldest");

/** The folder with the supported versions of TypeScript, each under a name of its own. */
export const TYPESCRIPT_FOLDER = join(TOOLS_FOLDER, "typescript");

/** The folder with the runtimes for arm64, and the libraries that they need. */
export const ARM64_FOLDER = join(TOOLS_FOLDER, "arm64");

/** Debian's libraries for arm64, where they would be on such a machine. */
export const ARM64_ROOT = join(ARM64_FOLDER, "root");

/** What runs a program for arm64 on an x64 machine. */
export const ARM64_EMULATOR = ["qemu-aarch64-static", "-L", ARM64_ROOT];

/** Environment variable by which suites start other runtimes than the newest: `oldest` or `arm64`. */
export const TESTED_RUNTIMES = "TESTED_RUNTIMES";

/** Where npm's packages for a kind of processor have a runtime, the usual place first. */
const programs = {
  bun: (arch) => {
    const name = `@oven/bun-${windows ? "windows" : process.platform}-${arch === "arm64" ? "aarch64" : "x64"}${
      musl ? "-musl" : ""
    }`;
    return [`${name}/bin/bun${exe}`, `${name}-baseline/bin/bun${exe}`];
  },
  deno: (arch) => [`@deno/${process.platform}-${arch}${process.platform === "linux" ? "-glibc" : ""}/deno${exe}`],
  node: (arch) => [`${nodePackage(arch)}/bin/node${exe}`],
};

function nodePackage(arch) {
  return `node-${windows ? "win" : process.platform}-${arch}`;
}

/**
 * The npm package that has a runtime for this system.
 * @param {"bun" | "deno" | "node"} runtime
 * @returns {string}
 */
export function runtimePackage(runtime, arch = process.arch) {
  return /^(@[^/]+\/)?[^/]+/.exec(programs[runtime](arch)[0])[0];
}

/** Tools that are scripts, which a runtime runs. */
const SCRIPTS = { biome: ["@biomejs/biome/bin/biome"], tsc: ["typescript/bin/tsc"] };

/**
 * The absolute path of a tool that `npm ci` has installed, or set_up.js: Node, which is in no list of dependencies.
 * @param {"biome" | "bun" | "deno" | "node" | "tsc"} name
 * @returns {string}
 * @throws {Error} when it is not there
 */
export function findTool(name) {
  const usual = name === "node" ? join(TOOLS_FOLDER, "node_modules") : modules;
  // What is for Windows stands with the tools where Wine runs it: node_modules is this machine's.
  const folders = windows ? [usual, join(TOOLS_FOLDER, "windows/node_modules")] : [usual];
  return findIn(folders, name, SCRIPTS[name] ?? programs[name](process.arch));
}

/**
 * What starts a runtime on which programs of ours are tested: the one of `findTool`, or what `TESTED_RUNTIMES` says.
 * @param {"bun" | "deno" | "node"} runtime
 * @returns {string[]}
 * @throws {Error} when it is not there
 */
export function findRuntime(runtime, tested = process.env[TESTED_RUNTIMES]) {
  if (tested === "oldest") {
    return [findIn([join(OLDEST_FOLDER, "node_modules")], runtime, programs[runtime](process.arch))];
  }
  if (tested === "arm64") {
    return [...ARM64_EMULATOR, findIn([join(ARM64_FOLDER, "node_modules")], runtime, programs[runtime]("arm64"))];
  }
  return [findTool(runtime)];
}

function findIn(folders, name, places) {
  const candidates = folders.flatMap((folder) => places.map((place) => join(folder, place)));
  const found = candidates.find((path) => existsSync(path));
  if (!found) {
    throw new Error(
      `${name} is not installed (looked for ${candidates.join(", ")}): start the script by npm run, which installs it`,
    );
  }
  return found;
}

/** Bundles our sources, with the packages that users do not install. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CodeSplittingGroup, type RenderedChunk, rolldown, type RolldownPlugin } from "rolldown";
import { esmExternalRequirePlugin } from "rolldown/plugins";
import type { BuildFacts } from "../bin/cli/help.ts";

/** The folder of the checkout. */
export const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** Keeps imports of Node's modules, under the names that Deno wants: older packages leave `node:` out, or call `require`. */
export const NODE_MODULES: readonly RolldownPlugin[] = [
  {
    name: "node modules",
    resolveId: {
      filter: { id: /^[a-z_/]+$/ },
      handler: (id) => isBuiltin(id) ? { id: `node:${id}`, external: true } : null,
    },
  },
  esmExternalRequirePlugin({ external: [/^node:/] }),
];

/** Files in place of those that packages have for Node. */
const ALIASES = {
  // Node's is CommonJS.
  yaml: `${ROOT}node_modules/yaml/browser/index.js`,
  // Node's imports a validator of JSON Schema, 150 KB that the relay does not use. The browser's expects failures of CORS.
  "@modelcontextprotocol/client/_shims": `${ROOT}node_modules/@modelcontextprotocol/client/dist/shimsWorkerd.mjs`,
};

export interface BundleOptions {
  /** The folder that gets the files. */
  readonly folder: string;
  /** Facts that `--version --format json` prints. */
  readonly facts: BuildFacts;
  /** Packages that stay imports, beside Node's modules. */
  readonly external?: readonly string[];
  /** Modules that get into one file. @default each late import gets files of its own, and shares others */
  readonly groups?: CodeSplittingGroup[];
  /** @default Node's modules stay imports */
  readonly plugins?: readonly RolldownPlugin[];
}

/**
 * Bundles entries, each to a file of its own name below the folder: `lib/web.ts` to `lib/web.js`. The messages of errors
 * suffice: names in stack traces would cost every start a millisecond.
 *
 * @param entries Their paths below the root.
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundle(
  entries: readonly string[],
  { folder, facts, external = [], groups = [], plugins = NODE_MODULES }: BundleOptions,
): Promise<void> {
  const bundler = await rolldown({
    input: Object.fromEntries(entries.map((entry) => [entry.replace(/^\.\/|\.ts$/g, ""), join(ROOT, entry)])),
    cwd: ROOT,
    // For Node it would make a `require` by node:module, which costs Deno as much as the rest of a silent token.
    platform: "neutral",
    resolve: {
      conditionNames: ["latchkey-source", "import", "node", "default"],
      mainFields: ["module", "main"],
      alias: ALIASES,
    },
    external: [...external],
    // Importing does nothing, in our sources and in the packages.
    treeshake: { moduleSideEffects: false },
    transform: { define: { LATCHKEY_BUILD: JSON.stringify(facts) } },
    tsconfig: false,
    plugins: [...plugins, writeForEngines],
    checks: { ineffectiveDynamicImport: false, bundlerTimings: false },
    onLog: (_, { message }) => {
      throw new Error(message);
    },
  });
  try {
    await bundler.write({
      dir: folder,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "chunks/[name]-[hash].js",
      codeSplitting: { groups },
      minify: true,
      comments: false,
    });
  } finally {
    await bundler.close();
  }
}

/**
 * Lets engines read files sooner. Without the pragma Bun transpiles each file that it loads. One character beyond ASCII makes an
 * engine keep the whole file in two bytes a character; the minifier turns escapes into such characters.
 */
const writeForEngines: RolldownPlugin = {
  name: "write for engines",
  generateBundle(_, files) {
    for (const file of Object.values(files)) {
      if (file.type === "chunk") file.code = `// @bun\n${licencesOf(file)}${escapeNonAscii(file.code)}`;
    }
  },
};

/** Writes characters of strings, templates and regular expressions as escapes. */
function escapeNonAscii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Returns the licences of the packages in a file, as a comment: most of them ask for that. */
function licencesOf({ modules }: RenderedChunk): string {
  const folders = Object.keys(modules).flatMap((path) =>
    /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []
  );
  return [...new Set(folders)].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e\b/i.test(each));
    const text = file ? `\n${readFileSync(join(folder, file), "utf8").trim().replaceAll("*/", "* /")}\n` : " ";
    return `/*! ${name} ${version} (${license})${text}*/\n`;
  }).join("");
}

/** Returns the commit that is checked out, with `-dirty` at the end if files were changed; `null` outside of a repository. */
export function currentCommit(): string | null {
  const args = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
  const { status, stdout } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

/** Bundles our sources, with the packages that users do not install. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { type Plugin, type RenderedChunk, rolldown, type RolldownPlugin } from "rolldown";
import { esmExternalRequirePlugin } from "rolldown/plugins";
import { type ESTree, parseSync } from "rolldown/utils";
import type { BuildFacts } from "../bin/cli/help.ts";

/** The folder of the checkout. */
export const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** Path of the command line's entry below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** Prefix of the name of the file with all that a silent token needs; a hash follows. */
export const HOT_FILE = "hot";

/**
 * Modules that are imported late since not every command or runtime needs them, and that a silent token needs. Bun takes longer to
 * load the small last one than Deno to parse it.
 */
const LATE = ["bin/commands/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts", "lib/dbus/socket.ts"];

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
  /** Writes short names and long lines, which stack traces show. It saves Bun and Node 1 or 2 ms a start. @default false */
  readonly minify?: boolean;
  /** Sources that get into one file. @default none */
  readonly hot?: ReadonlySet<string>;
  /** @default Node's modules stay imports */
  readonly plugins?: readonly RolldownPlugin[];
}

/**
 * Bundles entries, each to a file of its own name below the folder: `lib/web.ts` to `lib/web.js`.
 *
 * @param entries Their paths below the root.
 * @returns the packages whose code the files contain, as package-lock.json names them: `node_modules/yaml`.
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundle(
  entries: readonly string[],
  { folder, facts, external = [], minify = false, hot = new Set(), plugins = NODE_MODULES }: BundleOptions,
): Promise<readonly string[]> {
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
    plugins: [...plugins],
    checks: { ineffectiveDynamicImport: false, bundlerTimings: false },
    onLog: (_, { message }) => {
      throw new Error(message);
    },
  });
  try {
    const { output } = await bundler.write({
      dir: folder,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "chunks/[name]-[hash].js",
      codeSplitting: { groups: [{ name: HOT_FILE, test: (id) => hot.has(id) }] },
      minify,
      comments: false,
      postBanner: licencesOf,
    });
    const packages = output.flatMap((file) => file.type === "chunk" ? packageFoldersOf(file) : []);
    return [...new Set(packages.map(lockedPath))].sort();
  } finally {
    await bundler.close();
  }
}

/**
 * Bundles the command line: everything that a silent token needs is in one file, which starts sooner than two dozen. The
 * entry stays in a file of its own: it awaits the command, so nothing may import it. What other commands import late is in
 * files of its own, too: evaluating all of it at once would make each of them start slower.
 *
 * @returns the packages whose code the files contain, as {@linkcode bundle} does.
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundleCommandLine(
  options: Pick<BundleOptions, "folder" | "facts" | "external">,
): Promise<readonly string[]> {
  const hot = early([COMMAND_LINE, ...LATE]);
  hot.delete(join(ROOT, COMMAND_LINE));
  return await bundle([COMMAND_LINE], {
    ...options,
    minify: true, // the messages of errors suffice
    hot,
    plugins: [importEarly(hot), ...NODE_MODULES, isTranspiled],
  });
}

/** Returns sources, given by their paths below the root, with all that they do not import late. */
function early(paths: readonly string[]): Set<string> {
  const all = new Set(paths.map((path) => join(ROOT, path)));
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const path of all) { // a Set visits what is added meanwhile
    for (const { kind, path: other } of transpiler.scanImports(readFileSync(path, "utf8"))) {
      if (kind === "import-statement" && /^\..*\.ts$/.test(other)) all.add(join(dirname(path), other));
    }
  }
  return all;
}

/**
 * Makes late imports of sources early ones, or each would get a file of its own. They get an object of what the source exports:
 * for a namespace the bundler needs helpers, which would be another file.
 */
function importEarly(sources: ReadonlySet<string>): Plugin {
  return {
    name: "import early",
    transform: {
      filter: { id: /\.ts$/, code: /\bimport\(/ },
      handler(code, id) {
        let text = code;
        for (const { start, end, source } of dynamicImports(this.parse(code, { lang: "ts" })).toReversed()) {
          const path = source.type === "Literal" ? String(source.value) : "";
          const module = join(dirname(id), path);
          if (!sources.has(module)) continue;
          const names = constantsExportedBy(module);
          const own = (name: string) => `early_${start}_${name}`;
          text = `${text.slice(0, start)}Promise.resolve({${names.map((name) => `${name}: ${own(name)}`)}})${
            text.slice(end)
          }\nimport { ${names.map((name) => `${name} as ${own(name)}`)} } from "${path}";`;
        }
        return text;
      },
    },
  };
}

/** Returns the names of the values that a source declares and exports, none of which may change later. */
function constantsExportedBy(source: string): readonly string[] {
  const { body } = parseSync(source, readFileSync(source, "utf8")).program;
  return body.filter((node) => node.type.startsWith("Export")).flatMap((node) => {
    const declared = node.type === "ExportNamedDeclaration" ? node.declaration : null;
    if (declared?.type.startsWith("TS") || node.type === "ExportNamedDeclaration" && node.exportKind === "type") {
      return [];
    }
    const names = declared ? constantsOf(declared) : [];
    if (names.length > 0) return names;
    throw new Error(`${source} would be imported early, and exports what may change, or what it does not declare`);
  });
}

/** Returns the names that a statement declares for good. The bundler writes classes and namespaces as `var` with a value. */
export function constantsOf(node: ESTree.Statement | ESTree.Directive): readonly string[] {
  if (node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") return node.id ? [node.id.name] : [];
  if (node.type !== "VariableDeclaration") return [];
  return node.declarations.flatMap(({ id, init }) =>
    id.type === "Identifier" && node.kind !== "let" && init ? id.name : []
  );
}

/** Returns the dynamic imports below a node of the syntax tree, in order. */
export function dynamicImports(node: unknown): readonly ESTree.ImportExpression[] {
  if (typeof node !== "object" || node === null) return [];
  if ((node as ESTree.Node).type === "ImportExpression") return [node as ESTree.ImportExpression];
  return Object.values(node).flatMap(dynamicImports);
}

/**
 * Tells Bun that the files need no transpiling. The library's files do not say so: Bun would add notes about source maps to the
 * stack traces of users' programs.
 */
const isTranspiled: RolldownPlugin = {
  name: "is transpiled",
  generateBundle(_, files) {
    for (const file of Object.values(files)) if (file.type === "chunk") file.code = `// @bun\n${file.code}`;
  },
};

/** Returns the folders of the packages whose code is in a file. */
function packageFoldersOf({ modules }: Pick<RenderedChunk, "modules">): readonly string[] {
  const folders = Object.keys(modules).flatMap((path) =>
    /^(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)[\\/]/.exec(path)?.[1] ?? []
  );
  return [...new Set(folders)];
}

/** Returns the folder of a package as package-lock.json names it. The bundler follows the link where `node_modules` is one. */
function lockedPath(folder: string): string {
  return `node_modules/${relative(realpathSync(join(ROOT, "node_modules")), folder).replaceAll(sep, "/")}`;
}

/** Returns the licences of the packages in a file, as a comment: most of them ask for that. */
function licencesOf(chunk: RenderedChunk): string {
  return packageFoldersOf(chunk).map((folder) => {
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

/** Bundles the command line, for executables and the npm package. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plugin } from "rolldown";
import { type ESTree, parseSync } from "rolldown/utils";
import { bundle, type BundleOptions, NODE_MODULES, ROOT } from "./bundle.ts";

/** Path of the entry below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** Prefix of the name of the file with all that a silent token needs; a hash follows. */
export const HOT_FILE = "hot";

/**
 * Modules that a silent token needs on some runtime, and that are imported late since other commands or runtimes do not need them.
 * Bun takes longer to load a small file than Deno to parse the code in it.
 */
const HOT = ["bin/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts", "lib/dbus/socket.ts"];

/**
 * Bundles the command line: everything that a silent token needs is in one file, which starts sooner than two dozen. The
 * entry stays in a file of its own: it awaits the command, so nothing may import it. What other commands import late is in
 * files of its own, too: evaluating all of it at once would make each of them start slower.
 *
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundleCommandLine(options: Pick<BundleOptions, "folder" | "facts" | "external">): Promise<void> {
  const hot = early([COMMAND_LINE, ...HOT].map((path) => join(ROOT, path)));
  const isHot = (id: string) => hot.has(id) && id !== join(ROOT, COMMAND_LINE);
  await bundle([COMMAND_LINE], {
    ...options,
    groups: [{ name: HOT_FILE, test: isHot }],
    plugins: [importHotEarly(isHot), ...NODE_MODULES],
  });
}

/** Returns sources with all that they do not import late. */
function early(paths: readonly string[]): ReadonlySet<string> {
  const all = new Set(paths), transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const path of all) { // a Set visits what is added meanwhile
    for (const { kind, path: other } of transpiler.scanImports(readFileSync(path, "utf8"))) {
      if (kind === "import-statement" && /^\..*\.ts$/.test(other)) all.add(join(dirname(path), other));
    }
  }
  return all;
}

/**
 * Makes late imports of hot modules early ones, or each would get a file of its own. They get an object of what the module
 * exports: for a namespace the bundler needs helpers, which would be another file.
 */
function importHotEarly(isHot: (path: string) => boolean): Plugin {
  return {
    name: "import hot modules early",
    transform: {
      filter: { id: /\.ts$/, code: /\bimport\(/ },
      handler(code, id) {
        let text = code;
        for (const { start, end, source } of dynamicImports(this.parse(code, { lang: "ts" })).toReversed()) {
          const path = source.type === "Literal" ? String(source.value) : "", module = join(dirname(id), path);
          if (!isHot(module)) continue;
          const names = valuesExportedBy(module), own = (name: string) => `hot_${start}_${name}`;
          text = `${text.slice(0, start)}Promise.resolve({${names.map((name) => `${name}: ${own(name)}`)}})${
            text.slice(end)
          }\nimport { ${names.map((name) => `${name} as ${own(name)}`)} } from "${path}";`;
        }
        return text;
      },
    },
  };
}

function valuesExportedBy(module: string): readonly string[] {
  const { staticExports } = parseSync(module, readFileSync(module, "utf8")).module;
  return staticExports.flatMap(({ entries }) => entries).filter(({ isType }) => !isType).map(({ exportName }) => {
    if (exportName.name === null) {
      throw new Error(`${module} exports what another module exports: it cannot be in ${HOT_FILE}`);
    }
    return exportName.name;
  });
}

/** Returns the dynamic imports below a node of the syntax tree, in order. */
export function dynamicImports(node: unknown): readonly ESTree.ImportExpression[] {
  if (typeof node !== "object" || node === null) return [];
  if ((node as ESTree.Node).type === "ImportExpression") return [node as ESTree.ImportExpression];
  return Object.values(node).flatMap(dynamicImports);
}

/** Bundles the command line, for executables. */
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type Plugin, RUNTIME_MODULE_ID } from "rolldown";
import { bundle, type BundleOptions, NODE_MODULES, ROOT } from "./bundle.ts";

/** Path of the entry below the root. */
export const COMMAND_LINE = "bin/latchkey.ts";

/** Modules that a silent token needs, and that are imported late since other commands do not need them. */
const HOT = ["bin/token.ts", "bin/cli/token_cache.ts", "lib/broker/linux.ts"];

/** Packages that most commands need once they go online. Those that import others stay in files of their own. */
const COMMON_PACKAGES = ["@std/cli/parse-args", "@panva/oauth4webapi"];

/**
 * Bundles the command line into few files, since Deno reads each one that may be imported before the first line: `hot`, with
 * everything that a silent token needs; `late`, with what may be needed otherwise; `late_node`, with what imports Node's modules,
 * which take time of their own. The entry stays in a file of its own: it awaits the command, so nothing may import it.
 *
 * @throws {Error} with all errors and warnings of the bundler.
 */
export async function bundleCommandLine(options: Pick<BundleOptions, "folder" | "facts">): Promise<void> {
  const sources = readSources(), hot = withImports([COMMAND_LINE, ...HOT], sources), late = new Map<string, string>();
  const hotIds = new Set([
    RUNTIME_MODULE_ID,
    ...[...hot].filter((path) => path !== COMMAND_LINE).map((path) => join(ROOT, path)),
  ]);
  for (const path of [...sources.values()].flatMap((source) => source.late)) {
    const needed = [...withImports([path], sources)].filter((each) => !hot.has(each)).map((each) => sources.get(each)!);
    if (needed.some((source) => source.packages.some((name) => !COMMON_PACKAGES.includes(name)))) continue;
    if (!hot.has(path)) late.set(path, needed.some((source) => source.needsNode) ? "late_node" : "late");
  }
  await bundle([COMMAND_LINE], {
    ...options,
    groups: [{ name: "hot", test: (id) => hotIds.has(id) }],
    plugins: [lateImports(hot, late), ...NODE_MODULES],
  });
}

/** The imports of a source, as paths below the root. */
interface Source {
  readonly early: readonly string[];
  readonly late: readonly string[];
  readonly packages: readonly string[];
  readonly needsNode: boolean;
}

function readSources(): ReadonlyMap<string, Source> {
  const sources = new Map<string, Source>(), transpiler = new Bun.Transpiler({ loader: "ts" });
  const read = (path: string): void => {
    if (sources.has(path)) return;
    const all = transpiler.scanImports(readFileSync(join(ROOT, path), "utf8"));
    const early = all.filter(({ kind }) => kind === "import-statement").map((each) => each.path);
    const own = (paths: readonly string[]) =>
      paths.filter((each) => /^\..*\.ts$/.test(each)).map((each) => join(dirname(path), each));
    const source = {
      early: own(early),
      late: own(all.filter(({ kind }) => kind === "dynamic-import").map((each) => each.path)),
      packages: early.filter((each) => !/^\.|^node:/.test(each)),
      needsNode: early.some((each) => each.startsWith("node:")),
    };
    sources.set(path, source);
    [...source.early, ...source.late].forEach(read);
  };
  read(COMMAND_LINE);
  return sources;
}

/** Returns sources with all that they import early. */
function withImports(paths: readonly string[], sources: ReadonlyMap<string, Source>): ReadonlySet<string> {
  const all = new Set(paths); // a Set visits what is added meanwhile
  for (const path of all) sources.get(path)!.early.forEach((each) => all.add(each));
  return all;
}

const LATE_FILE = "latchkey:";

/** Makes a late import an early one if it is hot, or one of the file that it is in. The bundler would make a file for each. */
function lateImports(hot: ReadonlySet<string>, late: ReadonlyMap<string, string>): Plugin {
  const nameOf = (path: string) => path.replaceAll(/\W/g, "_");
  return {
    name: "late imports",
    resolveId: { filter: { id: /^latchkey:/ }, handler: (id) => `${ROOT}${id.slice(LATE_FILE.length)}.js` },
    load: {
      filter: { id: /\/late(_node)?\.js$/ },
      handler: (id) =>
        [...late].filter(([, file]) => id === `${ROOT}${file}.js`)
          .map(([path]) => `export * as ${nameOf(path)} from ${JSON.stringify(ROOT + path)};\n`).join(""),
    },
    transform: {
      filter: { id: /\.ts$/, code: /\bimport\(/ },
      handler(code, id) {
        let text = code;
        for (const { start, end, path } of importExpressions(this.parse(code, { lang: "ts" })).toReversed()) {
          const target = relative(ROOT, join(dirname(id), path)), file = late.get(target), name = nameOf(target);
          const put = (expression: string) => text.slice(0, start) + expression + text.slice(end);
          if (file) text = put(`import("${LATE_FILE}${file}").then(({ ${name} }) => ${name})`);
          else if (hot.has(target)) {
            const unique = `${name}_${start}`;
            text = `${put(`Promise.resolve(${unique})`)}\nimport * as ${unique} from ${JSON.stringify(path)};`;
          }
        }
        return text;
      },
    },
  };
}

/** Returns where a module imports others late, in order. */
function importExpressions(node: unknown): { readonly start: number; readonly end: number; readonly path: string }[] {
  if (typeof node !== "object" || node === null) return [];
  const { type, source, start, end } = node as {
    type?: string;
    source?: { value?: string };
    start: number;
    end: number;
  };
  if (type === "ImportExpression" && source?.value) return [{ start, end, path: source.value }];
  return Object.values(node).flatMap(importExpressions);
}

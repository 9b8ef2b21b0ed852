/**
 * V8's code cache inside an executable of Deno. Deno's own would be a file of `/tmp`, which others can put there first. Without one
 * V8 compiles at every start what a silent token needs.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ESTree, parseSync } from "rolldown/utils";
import { constantsOf, dynamicImports, HOT_FILE } from "./bundle.ts";

/** Names of the files that the executable includes: a script, and V8's code cache of it. */
const SCRIPT = "hot.script";
const CACHE = "hot.cache";
/** Compiles every function at once. This flag decides when a function is compiled, not what bytecode comes out. */
const EAGER = "--no-lazy";
/** Where a code cache has the hash of V8's flags: `SerializedCodeData::kFlagHashOffset` in V8's sources. */
const FLAG_HASH = { start: 12, end: 16 };
/** Path of the program that makes and checks code caches. */
export const MAKER = fileURLToPath(new URL("make_code_cache.js", import.meta.url));

/**
 * Replaces the bundle's file {@linkcode HOT_FILE} by a script with a code cache, and a module that loads the script and has the same
 * exports. If V8 rejects the code cache, which another build of V8 or other flags make it do, it compiles the script.
 *
 * @param folder The bundle's.
 * @param flags V8's flags in the executable.
 * @param run Runs a program by a Deno with the executable's V8, which may read and write files; throws if the program fails.
 * @returns the files that the executable has to include.
 */
export function addCodeCache(
  folder: string,
  flags: readonly string[],
  run: (program: string, words: readonly string[], flags: readonly string[]) => void,
): readonly string[] {
  const chunks = join(folder, "chunks");
  const file = readdirSync(chunks).find((name) => name.startsWith(`${HOT_FILE}-`));
  if (!file) throw new Error(`the bundle has no file ${HOT_FILE}`);
  const script = join(chunks, SCRIPT);
  const cache = join(chunks, CACHE);
  const lazy = join(chunks, "lazy.cache");
  const { code, loader } = asScript(readFileSync(join(chunks, file), "utf8"));
  writeFileSync(script, code);
  writeFileSync(join(chunks, file), loader);
  run(MAKER, ["make", script, cache], [...flags, EAGER]);
  run(MAKER, ["make", script, lazy], flags);
  const bytes = readFileSync(cache);
  const { start, end } = FLAG_HASH;
  readFileSync(lazy).copy(bytes, start, start, end); // the executable's V8 is not eager
  writeFileSync(cache, bytes);
  run(MAKER, ["check", script, cache], flags);
  return [script, cache];
}

/** Turns a module into a script, since only scripts take a code cache from a program, and a module that loads the script. */
function asScript(code: string): { readonly code: string; readonly loader: string } {
  const { body } = parseSync("file.js", code).program;
  const own = unusedName(code);
  const late: string[] = [];
  const imports: string[] = [];
  const parameters: string[] = [own];
  const exported: { local: string; name: string }[] = [];
  const edits: { start: number; end: number; text: string }[] = [];
  for (const node of body) {
    const { type, start, end } = node;
    const text = code.slice(start, end);
    if (type === "ImportDeclaration") {
      imports.push(text);
      parameters.push(...node.specifiers.map(({ local }) => local.name));
      edits.push({ start, end, text: "" });
    } else if (type === "ExportNamedDeclaration" && !node.declaration && !node.source) {
      exported.push(
        ...node.specifiers.map(({ local, exported }) => ({ local: nameOf(local), name: nameOf(exported) })),
      );
      edits.push({ start, end, text: "" });
    } else if (type.startsWith("Export")) throw new Error(`a script cannot export as a module does: ${text}`);
  }
  // A script imports nothing: the module that loads it does.
  for (const { start, end, source } of dynamicImports(body)) {
    const text = code.slice(start, end);
    const isPlain = source.type === "Literal" || source.type === "TemplateLiteral" && source.expressions.length === 0;
    if (!isPlain) throw new Error(`a script cannot import what is only known when it runs: ${text}`);
    edits.push({ start, end, text: `${own}[${late.push(text) - 1}]()` });
  }
  const locals = [...new Set(exported.map(({ local }) => local))];
  const constants = new Set(body.flatMap(constantsOf));
  const variable = locals.find((name) => !constants.has(name));
  if (variable) throw new Error(`a script cannot export ${variable}, which may change`);
  let rest = "";
  let at = 0;
  for (const { start, end, text } of edits.toSorted((one, other) => one.start - other.start)) {
    rest += code.slice(at, start) + text;
    at = end;
  }
  const read = (file: string) => `\`\${import.meta.dirname}/${file}\``;
  return {
    code: `((${parameters})=>{"use strict";${rest}${code.slice(at)}\nreturn[${locals}]})`,
    // Deno loads node:vm in 0.2 ms, and saves 6.
    loader: `${imports.join("\n")}
import { Script as ${own} } from "node:vm";
const [${locals}] = new ${own}(Deno.readTextFileSync(${read(SCRIPT)}), { cachedData: Deno.readFileSync(${
      read(CACHE)
    }) })
  .runInThisContext()([${late.map((each) => `() => ${each}`)}], ${parameters.slice(1)});
export { ${exported.map(({ local, name }) => `${local} as ${name}`)} };
`,
  };
}

function nameOf(node: ESTree.ModuleExportName): string {
  return node.type === "Literal" ? JSON.stringify(node.value) : node.name;
}

function unusedName(code: string): string {
  let name = "$script";
  while (code.includes(name)) name += "$";
  return name;
}

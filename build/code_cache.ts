/**
 * V8's code cache inside an executable of Deno. Deno itself would keep it in a file of `/tmp` that others can put there first, and
 * without one V8 compiles at every start what a silent token needs: a third of its time.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ESTree, parseSync } from "rolldown/utils";
import { HOT_FILE } from "./bundle_command_line.ts";

/** Names of the files that the executable contains: a script, and what V8 compiled of it. */
const SCRIPT = "hot.script", CACHE = "hot.cache";
/** What comes out does not depend on when a function is compiled: the cache has all of them. */
const ALL_AT_ONCE = "--no-lazy";

/**
 * Makes a script with a code cache of the bundle's file {@linkcode HOT_FILE}. The file loads the script, and exports what the
 * script returns. Should V8 reject the cache, since it is not the V8 that made it, or has other flags, it compiles the script.
 *
 * @param folder The bundle's.
 * @param deno Path of a Deno with the same V8 as the executable's.
 * @param flags V8's flags in the executable.
 * @returns the files that the executable has to include.
 * @throws {Error} with Deno's messages.
 */
export function addCodeCache(folder: string, deno: string, flags: readonly string[]): readonly string[] {
  const chunks = join(folder, "chunks"), file = readdirSync(chunks).find((name) => name.startsWith(`${HOT_FILE}-`));
  if (!file) throw new Error(`the bundle has no file ${HOT_FILE}`);
  const path = join(chunks, file), script = join(chunks, SCRIPT), cache = join(chunks, CACHE);
  const { code, loader } = asScript(readFileSync(path, "utf8"));
  writeFileSync(script, code);
  writeFileSync(path, loader);
  compile([...flags, ALL_AT_ONCE], [script, cache]);
  compile(flags, [script, cache, cache]);
  return [script, cache];

  function compile(flags: readonly string[], paths: readonly string[]): void {
    const program = fileURLToPath(new URL("make_code_cache.js", import.meta.url));
    const options = ["--quiet", "--no-config", "--allow-read", "--allow-write", `--v8-flags=${flags.join(",")}`];
    const { status, error, stderr } = spawnSync(deno, ["run", ...options, program, ...paths], {
      cwd: folder,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${deno} cannot make a code cache: ${stderr || error?.message}`);
  }
}

/**
 * Turns a module into a script, which is a function of what the module imports, and a module that loads the script. Modules have
 * no code cache that a program can choose.
 */
function asScript(code: string): { readonly code: string; readonly loader: string } {
  const { body } = parseSync("file.js", code).program;
  const edits: [start: number, end: number, text: string][] = [], late: string[] = [];
  const imports: string[] = [], parameters: string[] = ["late"], exported: string[] = [];
  for (const node of body) {
    const { type, start, end } = node;
    if (type === "ImportDeclaration") {
      imports.push(code.slice(start, end));
      parameters.push(...node.specifiers.map(({ local }) => local.name));
    } else if (type === "ExportNamedDeclaration" && !node.declaration) {
      exported.push(...node.specifiers.map(({ local, exported }) => `${nameOf(local)} as ${nameOf(exported)}`));
    } else if (type.startsWith("Export")) throw new Error(`cannot turn this into a script: ${code.slice(start, end)}`);
    else continue;
    edits.push([start, end, ""]);
  }
  visit(body);
  const variables = [...new Set(exported.map((each) => each.split(" ")[0]!))];
  const changing = body.flatMap((node) =>
    node.type === "VariableDeclaration" && node.kind === "let" ? node.declarations : []
  )
    .flatMap(({ id }) => id.type === "Identifier" && variables.includes(id.name) ? id.name : []);
  if (changing.length > 0) throw new Error(`exports change, which a script cannot show: ${changing}`);
  let rest = "", at = 0;
  for (const [start, end, text] of edits.toSorted(([one], [other]) => one - other)) {
    rest += code.slice(at, start) + text;
    at = end;
  }
  return {
    code: `((${parameters.join()})=>{"use strict";${rest}${code.slice(at)}\nreturn[${variables.join()}]})`,
    loader: `${imports.join("")}
import { Script } from "node:vm";
const late = [${late.map((each) => `() => ${each}`).join()}];
const folder = import.meta.dirname, cachedData = Deno.readFileSync(\`\${folder}/${CACHE}\`);
const script = new Script(Deno.readTextFileSync(\`\${folder}/${SCRIPT}\`), { cachedData });
const [${variables.join()}] = script.runInThisContext()(${parameters.join()});
export { ${exported.join(", ")} };
`,
  };

  function visit(node: unknown): void {
    if (typeof node !== "object" || node === null) return;
    const { type, start, end } = node as ESTree.Node;
    if (type === "ImportExpression") edits.push([start, end, `late[${late.push(code.slice(start, end)) - 1}]()`]);
    else Object.values(node).forEach(visit);
  }
}

function nameOf(node: ESTree.ModuleExportName): string {
  return node.type === "Literal" ? JSON.stringify(node.value) : node.name;
}

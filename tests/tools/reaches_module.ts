import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** Returns true if a module imports another one, or one that does. Type imports do not count. Paths are below the folder `root`. */
export function reachesModule(from: string, to: string, root: string): boolean {
  return modulesReachedBy([from], root).includes(to);
}

/** Imports the parts of a stage when it is opened: they count if a module names one. */
const FIXTURE = "tests/fixture.ts";
const NAMES_PARTS = /\b(?:use|open)Stage\(\{[^})]*\b(?:bus|broker|keyring)\b/;

/** Returns modules with all that they import, also through others. Type imports do not count. Paths are below the folder `root`. */
export function modulesReachedBy(from: readonly string[], root: string): readonly string[] {
  const reached = new Set(from);
  let namesParts = false;
  for (const path of reached) { // a Set visits what is added meanwhile
    if (path !== FIXTURE) namesParts = visit(path) || namesParts;
  }
  if (!reached.has(FIXTURE)) return [...reached];
  const others = new Set(reached);
  visit(FIXTURE);
  for (const path of reached) if (!others.has(path)) visit(path);
  return [...reached];

  /** Adds what a module imports; returns true if it names parts of a stage. */
  function visit(path: string): boolean {
    if (!existsSync(join(root, path))) return false;
    const text = readFileSync(join(root, path), "utf8");
    for (const { path: specifier, kind } of transpiler.scanImports(text)) {
      if (path === FIXTURE && kind === "dynamic-import" && !namesParts) continue;
      if (specifier.startsWith(".") && !specifier.endsWith(".json")) reached.add(join(path, "..", specifier));
    }
    return NAMES_PARTS.test(text);
  }
}

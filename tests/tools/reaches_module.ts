import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** Returns true if a module imports another one, or one that does. Type imports do not count. Paths are below the folder `root`. */
export function reachesModule(from: string, to: string, root: string): boolean {
  return modulesReachedBy([from], root).includes(to);
}

/** Returns modules with all that they import, also through others. Type imports do not count. Paths are below the folder `root`. */
export function modulesReachedBy(from: readonly string[], root: string): readonly string[] {
  const reached = new Set(from);
  for (const path of reached) { // a Set visits what is added meanwhile
    if (!existsSync(join(root, path))) continue;
    for (const { path: specifier } of transpiler.scanImports(readFileSync(join(root, path), "utf8"))) {
      if (specifier.startsWith(".") && !specifier.endsWith(".json")) reached.add(join(path, "..", specifier));
    }
  }
  return [...reached];
}

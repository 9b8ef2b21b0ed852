import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** Returns true if a module imports another one, or one that does. Type imports do not count. Paths are below the folder `root`. */
export function reachesModule(from: string, to: string, root: string): boolean {
  const seen = new Set<string>(), left = [from];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (path === to) return true;
    if (seen.has(path) || !existsSync(join(root, path))) continue;
    seen.add(path);
    for (const { path: specifier } of transpiler.scanImports(readFileSync(join(root, path), "utf8"))) {
      if (specifier.startsWith(".") && !specifier.endsWith(".json")) left.push(join(path, "..", specifier));
    }
  }
  return false;
}

// Holds the layers of the sources.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { commitableFiles } from "../tools/commitable_files.ts";
import { findTool } from "../tools/find_tool.js";

/** A layer, and the layers that it may import. A file in no layer may be imported by nobody. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  bin: [
    "bin",
    "application",
    "sources",
    "broker",
    "oauth",
    "cache",
    "dbus",
    "keyring",
    "http",
    "files",
    "runtime",
    "words",
    "deno.json",
  ],
  mod: ["application", "sources", "broker", "oauth", "cache", "redis", "words"],
  azure: ["azure", "application", "words"],
  redis: ["cache", "words"],
  web: ["sources", "oauth", "cache", "redis", "words"],
  application: ["sources", "broker", "oauth", "cache", "words"],
  sources: ["sources", "broker", "oauth", "cache", "http", "words"],
  broker: ["broker", "dbus", "files", "runtime", "words"],
  oauth: ["oauth", "http", "runtime", "words"],
  cache: ["cache", "keyring", "files", "runtime", "words"],
  keyring: ["keyring", "dbus", "runtime", "words"],
  dbus: ["dbus", "files", "runtime", "words"],
  http: ["http", "files", "runtime", "words"],
  files: ["files", "runtime", "words"],
  runtime: ["runtime", "words"],
  words: ["words"],
};
const WORDS = ["account", "token", "authority", "request", "errors", "aadsts", "encoding", "async"];

/** The layer of a file: `lib/broker/wire.ts` is in `broker`, `lib/account.ts` in `words`, `mod.ts` in `mod`. */
function layerOf(path: string): string {
  const [top, next] = path.replace(/\.ts$/, "").split("/");
  const layer = top === "lib" ? next! : top!;
  return WORDS.includes(layer) ? "words" : layer;
}

interface Import {
  readonly from: string;
  readonly to: string;
}

/** A module in the output of `deno info --json`. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: Resolved; readonly type?: Resolved }[];
}

interface Resolved {
  readonly specifier?: string;
}

const root = new URL("../../", import.meta.url), rootFolder = fileURLToPath(root);
const sources = commitableFiles().filter((file) => /^(lib|bin)\/(?!std_cli\/).*\.ts$/.test(file));

/** Every import between files that the entries reach, with type imports and `import()`. */
const imports = [...new Map(entries().flatMap(modulesBelow).map((each) => [each.specifier, each])).values()]
  .flatMap(importsOf);

function entries(): readonly string[] {
  return Object.values(JSON.parse(readFileSync(new URL("deno.json", root), "utf8")).exports);
}

function modulesBelow(entry: string): readonly Module[] {
  // By the names of package.json: those of deno.json are looked up at JSR, which may be out of reach.
  const args = ["info", "--json", "--no-config", "--node-modules-dir=manual", entry];
  return JSON.parse(execFileSync(findTool("deno"), args, { cwd: rootFolder, encoding: "utf8" })).modules;
}

function importsOf({ specifier, dependencies = [] }: Module): readonly Import[] {
  return dependencies.flatMap(({ code, type }) => {
    const from = ownPath(specifier), to = ownPath(code?.specifier ?? type?.specifier);
    return from && to ? [{ from, to }] : [];
  });
}

/** The path below the root of one of our files. The stand-in for `@std/cli` counts as a package. */
function ownPath(url = ""): string | undefined {
  const path = url.startsWith(root.href) ? url.slice(root.href.length) : undefined;
  return path && /^(node_modules|bin\/std_cli)\//.test(path) ? undefined : path;
}

test("an import goes only to a layer below", () => {
  const wrong = imports.filter(({ from, to }) => !MAY_IMPORT[layerOf(from)]?.includes(layerOf(to)));
  expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
});

test("no file imports itself through others", () => {
  const next = Map.groupBy(imports, ({ from }) => from);
  const done = new Set<string>(), cycles: string[] = [];
  const visit = (file: string, above: readonly string[]): void => {
    if (above.includes(file)) cycles.push([...above.slice(above.indexOf(file)), file].join(" -> "));
    if (done.has(file) || above.includes(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...above, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  expect(cycles).toEqual([]);
});

test("every file is reached from an entry, so that the rules hold for it", () => {
  const reached = new Set([...entries().map((entry) => entry.replace("./", "")), ...imports.map(({ to }) => to)]);
  expect(sources.filter((file) => !reached.has(file))).toEqual([]);
});

test("lib/web.ts reaches no platform code, not even through import()", () => {
  const modules = modulesBelow("lib/web.ts").map(({ specifier }) => specifier);
  expect(modules.map(ownPath)).toContain("lib/sources/provider.ts");
  expect(
    modules.filter((url) =>
      /^node:|^npm:.*dbus|\/lib\/(broker|dbus|files|http|keyring|runtime|application)\b/.test(url)
    ),
  ).toEqual([]);
});

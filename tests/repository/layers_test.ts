// The house's arrows: an import goes to a layer on its right, type imports counted.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findTool } from "../tools/find_tool.js";

/** A layer, and the layers that it may import. What is not listed is in no layer, and may be imported by nobody. */
const rightOf: Readonly<Record<string, readonly string[]>> = {
  bin: ["bin", "mod", "platform", "words", "deno.json"],
  mod: ["application", "sources", "broker", "oauth", "cache", "words", "errors"],
  azure: ["azure", "application", "words", "errors"],
  web: ["sources", "oauth", "cache", "words", "errors"],
  application: ["sources", "broker", "oauth", "cache", "words", "errors"],
  sources: ["sources", "broker", "oauth", "cache", "platform", "words", "errors"],
  broker: ["broker", "platform", "words", "errors"],
  oauth: ["oauth", "platform", "words", "errors"],
  cache: ["cache", "platform", "words", "errors"],
  platform: ["platform", "errors"],
  words: ["words", "errors"],
  errors: [],
};
const words = [
  "account",
  "token",
  "authority",
  "logger",
  "request",
  "window_handle",
  "aadsts",
  "claims",
  "json_values",
  "redirect_uris",
  "until_aborted",
];

/** The layer of a file: `lib/broker/x.ts` is in `broker`, `lib/account.ts` among the words, `mod.ts` is `mod`. */
function layerOf(path: string): string {
  const [top, next] = path.replace(/\.ts$/, "").split("/");
  const layer = top === "lib" ? next : top;
  return words.includes(layer!) ? "words" : layer!;
}

interface Import {
  readonly from: string;
  readonly to: string;
}

const root = new URL("../../", import.meta.url);

/** Every import between files of ours that the entries reach, type imports and `import()` included. */
const imports = [...new Map(entries().flatMap(modulesBelow).map((each) => [each.specifier, each])).values()]
  .flatMap(importsOf);

function entries(): readonly string[] {
  return Object.values(JSON.parse(readFileSync(new URL("deno.json", root), "utf8")).exports);
}

function modulesBelow(entry: string): readonly Module[] {
  // By package.json's names: those of deno.json are looked up at JSR, which may be out of reach.
  const args = ["info", "--json", "--no-config", "--node-modules-dir=manual", entry];
  return JSON.parse(execFileSync(findTool("deno"), args, { cwd: fileURLToPath(root), encoding: "utf8" })).modules;
}

function importsOf({ specifier, dependencies = [] }: Module): readonly Import[] {
  return dependencies.flatMap(({ code, type }) => {
    const from = ownPath(specifier), to = ownPath(code?.specifier ?? type?.specifier);
    return from && to ? [{ from, to }] : [];
  });
}

/** A module in what `deno info --json` prints. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: Resolved; readonly type?: Resolved }[];
}

interface Resolved {
  readonly specifier?: string;
}

/** The path below the root of a file of ours. The stand-in for `@std/cli` is a package like any other. */
function ownPath(url = ""): string | undefined {
  const path = url.startsWith(root.href) ? url.slice(root.href.length) : undefined;
  return path && /^(node_modules|tests\/std_cli)\//.test(path) ? undefined : path;
}

test("an import goes to a layer on its right", () => {
  const wrong = imports.filter(({ from, to }) => !rightOf[layerOf(from)]?.includes(layerOf(to)));
  expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
});

test("no file imports itself through others", () => {
  const next = Map.groupBy(imports, ({ from }) => from);
  const done = new Set<string>(), circles: string[] = [];
  const visit = (file: string, above: readonly string[]): void => {
    if (above.includes(file)) circles.push([...above.slice(above.indexOf(file)), file].join(" -> "));
    if (done.has(file) || above.includes(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...above, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  expect(circles).toEqual([]);
});

test("every file is reached from an entry, so that the rules hold for it", () => {
  const reached = new Set([...entries().map((entry) => entry.replace("./", "")), ...imports.map(({ to }) => to)]);
  const files = ["bin", "lib"].flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`)
  );
  expect(files.filter((file) => file.endsWith(".ts") && !reached.has(file))).toEqual([]);
});

test("lib/web.ts reaches nothing of a platform's, however late", () => {
  const modules = modulesBelow("lib/web.ts").map(({ specifier }) => specifier);
  expect(modules.map(ownPath)).toContain("lib/sources/provider_source.ts");
  expect(modules.filter((url) => /^node:|^npm:.*dbus|\/lib\/(platform|broker|application)\b/.test(url))).toEqual([]);
});

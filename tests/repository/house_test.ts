// Holds the structure of the sources: layers, sizes, how much a silent token evaluates, and the words that comments avoid.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStage } from "../fixture.ts";
import { commitableFiles } from "../tools/commitable_files.ts";
import { denoCommand } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";

const MAX_FILES_IN_FOLDER = 18;
const MAX_LINES_IN_FILE = 500;
/** Modules of ours that `latchkey token` evaluates on Deno when the broker answers silently. */
const MAX_MODULES = 42;

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
  mod: ["application", "sources", "broker", "oauth", "cache", "words"],
  azure: ["azure", "application", "oauth", "words"],
  redis: ["cache", "words"],
  web: ["sources", "oauth", "cache", "words"],
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
const WORDS = [
  ...["account", "token", "authority", "redirect_uris", "request", "claims", "scopes"],
  ...["errors", "remedies", "aadsts", "encoding", "control_characters", "line_of_mistake", "async"],
];

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
const texts = new Map(sources.map((file) => [file, readFileSync(join(rootFolder, file), "utf8")]));

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

/** The command that a file is of: `bin/commands/az` for `bin/commands/az/shim.ts`; `undefined` for other files. */
const commandOf = (path: string) => /^bin\/commands\/[^/.]+/.exec(path)?.[0];

test("a command imports no other command", () => {
  const wrong = imports.filter(({ from, to }) => commandOf(from) && commandOf(to) && commandOf(from) !== commandOf(to));
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

/** Policies as they look in the sources, and the only files that may have them. */
const POLICIES: readonly (readonly [policy: string, pattern: RegExp, homes: readonly string[]])[] = [
  ["the form of a scope", /\\x21\\x23-\\x5B/, ["lib/scopes.ts"]],
  ["the scope of all of a resource", /\}\/\.default`|endsWith\("\/\.default/, ["lib/scopes.ts"]],
  ["the margin before a token's expiry", /EXPIRY_MARGIN_MS: number =|expiresOn\)?(\.getTime\(\))? - now(\(\))? [<>]/i, [
    "lib/token.ts",
  ]],
  ["who can be asked", /isTerminal\("stdin"\) && isTerminal\("stderr"\)/, ["lib/runtime/terminal.ts"]],
  ["the words of a failure", /errorDescription \|\| /, ["lib/errors.ts"]],
  ["the short name of a failure", /error \?\? (\w+\.)?code\b/, ["lib/errors.ts"]],
  ["the name of an account", /username \|\| (\w+\.)?homeAccountId/, ["lib/account.ts"]],
];

test.each(POLICIES)("%s has one home", (_, pattern, homes) => {
  const found = new Set(linesLike(pattern).map((line) => line.slice(0, line.indexOf(":"))));
  expect([...found].sort()).toEqual(homes.toSorted());
});

test("lib and bin stay small", () => {
  const lines = (file: string) => texts.get(file)!.split("\n").length - 1;
  expect(sources.filter((file) => lines(file) > MAX_LINES_IN_FILE)).toEqual([]);
  const folders = Map.groupBy(sources, (file) => dirname(file));
  expect([...folders].filter(([, files]) => files.length > MAX_FILES_IN_FOLDER).map(([folder]) => folder)).toEqual([]);
});

/** Deno loads what is behind these when they are first read: `process` takes 3 ms, a timer 4 ms. */
const LATE_GLOBALS = ["process", "Buffer", "setTimeout", "clearTimeout", "setInterval", "clearInterval"];

test(`a silent token evaluates at most ${MAX_MODULES} modules on Deno, and reads no global that costs time`, async () => {
  await using stage = await openStage({ broker: {} });
  const coverage = stage.folder;
  const command = denoCommand("bin/latchkey.ts");
  const preload = join(coverage, "preload.js");
  writeFileSync(
    preload,
    `for (const name of ${JSON.stringify(LATE_GLOBALS)}) {
      Object.defineProperty(globalThis, name, { get() { throw new Error(name + " was read"); } });
    }`,
  );
  command.splice(command.indexOf("run") + 1, 0, `--coverage=${coverage}`, `--preload=${preload}`);
  const words = ["token", "--client-id", "azure-cli", "--resource", "https://graph.microsoft.com"];
  const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: stage.bus.address, HOME: coverage };
  execFileSync(command[0]!, [...command.slice(1), ...words, "--broker", "require"], { cwd: rootFolder, env });
  const evaluated = readdirSync(coverage).filter((file) => file.endsWith(".json"))
    .map((file) => JSON.parse(readFileSync(join(coverage, file), "utf8")))
    .filter(({ functions }) =>
      functions.some(({ ranges: [range] }: { ranges: { count: number }[] }) => range!.count > 0)
    )
    .flatMap(({ url }) => ownPath(url) ?? []);
  expect(evaluated).toContain("bin/latchkey.ts");
  expect(evaluated.sort().slice(MAX_MODULES)).toEqual([]);
});

/** Lines of sources that match, as `file:number: line`. */
function linesLike(pattern: RegExp): readonly string[] {
  return [...texts].flatMap(([file, text]) =>
    text.split("\n").flatMap((line, index) => pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])
  );
}

test("a JSDoc summary begins with a verb or a noun", () => {
  const wrong = [...texts].flatMap(([file, text]) =>
    [...text.matchAll(/\/\*\*\s+(?:\* )?((?:What|Who|Whether|How|Where|When|Which|Whose)\b.*)/g)].map(([, line]) =>
      `${file}: ${line}`
    )
  );
  expect(wrong).toEqual([]);
});

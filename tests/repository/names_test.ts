// What is said in two places is the same in both, and files are named, and end, as the house's are.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { exportsOfCheckout } from "../../build/npm_package.ts";
import { commitableFiles } from "../tools/commitable_files.ts";

const MAX_LINES = 650;
/** Names under which a heap of things that do not belong together grows. */
const HEAPS = ["utils", "util", "helpers", "helper", "common", "shared", "types", "constants", "index"];

const root = fileURLToPath(new URL("../../", import.meta.url));
const denoJson = JSON.parse(read("deno.json"));
const packageJson = JSON.parse(read("package.json"));
const files = commitableFiles();
const sources = files.filter((file) => /^(mod\.ts$|bin\/(?!std_cli\/)|lib\/|examples\/)/.test(file));

test("deno.json and package.json give the same name, version and licence", () => {
  const { name, version, license } = packageJson;
  expect({ name, version, license }).toEqual({
    name: denoJson.name,
    version: denoJson.version,
    license: denoJson.license,
  });
});

test("deno.json and package.json give the same entries", () => {
  expect(packageJson.exports).toEqual(exportsOfCheckout(denoJson.exports));
  // The first condition that holds is taken.
  expect(Object.values<object>(packageJson.exports).map((conditions) => Object.keys(conditions)[0]))
    .toEqual(Object.keys(packageJson.exports).map(() => "latchkey-source"));
});

test("deno.json and package.json give the same scripts", () => {
  const scripts = Object.keys(packageJson.scripts).filter((name) => !/^(pre|post)pack$/.test(name)); // npm's own
  expect(scripts).toEqual(Object.keys(denoJson.tasks));
});

test("deno.json and package.json import the same packages", () => {
  const dependencies = { ...packageJson.devDependencies, ...packageJson.dependencies };
  const imports: Readonly<Record<string, string>> = denoJson.imports, names = Object.keys(imports);
  const different = Object.entries(imports)
    .filter(([name, specifier]) => {
      const whole = names.find((other) => name.startsWith(`${other}/`));
      if (whole) return specifier !== packageOf(imports[whole]!) + name.slice(whole.length);
      return !isSamePackage(packageOf(specifier), dependencies[name], name);
    })
    .map(([name, specifier]) => `${name}: ${specifier}, ${dependencies[name]}`);
  expect(different).toEqual([]);
  const only = Object.keys(packageJson.dependencies ?? {}).filter((name) => !(name in denoJson.imports));
  expect(only).toEqual([]);
});

/** Returns the package that deno.json names, or that a file of lib/npm which it names loads, and has the types of. */
function packageOf(specifier: string): string {
  if (!specifier.startsWith("./lib/npm/")) return specifier;
  const [types, code] = read(specifier.slice(2)).match(/"npm:[^"]+"/g) ?? [];
  return types === code ? types!.slice(1, -1) : `${types} or ${code}`;
}

/**
 * Returns true if npm brings what deno.json names. What is at JSR alone has a stand-in, which has no version to compare; what npm
 * carries under another name has the same version there. For a package of npm deno.json names the oldest version that package.json
 * takes, and no range: dependencies_test.ts compares it with the lock file.
 */
function isSamePackage(specifier: string, npm: string | undefined, own: string): boolean {
  const [, name, version] = /^jsr:@[\w-]+\/([\w-]+)@(.+)$/.exec(specifier) ?? [];
  return name
    ? npm?.startsWith("file:") || npm === `npm:${name}@${version}`
    : [npm, `npm:${own}@${npm}`].map((each) => each?.replace("@^", "@")).includes(specifier);
}

test("no file names a machine's folders or a registry's host", () => {
  // Put together so that this file does not name them itself.
  const forbidden = [
    ...["work", "root"].map((folder) => `(?<![\\w./-])/${folder}/`),
    ...["registry.npmjs", "registry.yarnpkg", "pypi", "pythonhosted"].map((host) => `${host}\\.(org|com)`),
  ];
  const pattern = new RegExp(forbidden.join("|"));
  expect(findLines(files, (line) => pattern.test(line))).toEqual([]);
});

test("no source but README.md and deno.json names JSR's host", () => {
  const places = files.filter((file) => !["README.md", "deno.json"].includes(file));
  expect(findLines(places, (line) => line.includes(["jsr", "io"].join(".")))).toEqual([]);
});

test("no file is named for a heap of things", () => {
  expect(files.filter((file) => HEAPS.includes(basename(file).replace(/\..*$/, "")))).toEqual([]);
  expect(files.filter((file) => file.split("/").slice(0, -1).some((folder) => HEAPS.includes(folder)))).toEqual([]);
});

test("every source's name is in snake_case", () => {
  expect(sources.filter((file) => !/^([a-z0-9]+(_[a-z0-9]+)*[/.])+(ts|js)$/.test(file))).toEqual([]);
});

test(`no source has more than ${MAX_LINES} lines`, () => {
  const lengths = sources.map((file) => ({ file, lines: read(file).split("\n").length - 1 }));
  expect(lengths.filter(({ lines }) => lines > MAX_LINES)).toEqual([]);
});

// Type stripping in Node 22.18 leaves `using` as it is, and V8 there does not parse it.
test("no source declares anything with using", () => {
  expect(findLines(sources, (line) => /^\s*(for\b.*\()?\s*(await\s+)?using\s+\w/.test(line))).toEqual([]);
});

/** Lines, as `file:number: line`. What is not text has none. */
function findLines(among: readonly string[], isWanted: (line: string) => boolean): readonly string[] {
  return among.map((file) => [file, read(file)] as const).filter(([, text]) => !text.includes("\0"))
    .flatMap(([file, text]) =>
      text.split("\n").flatMap((line, index) => isWanted(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])
    );
}

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

test("no document has a place that is still to be filled", () => {
  const placeholders = files.filter((file) =>
    file.endsWith(".md") && /^[A-Z]+(_[A-Z]+)+$|\b(TODO|TBD|FIXME)\b/m.test(read(file))
  );
  expect(placeholders).toEqual([]);
});

// The package as JSR gets it, tested where JSR cannot be reached: a copy of the checkout in which `links` lead the
// imports of deno.json to packages beside it that carry the true names.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, normalize, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { commitableFiles } from "../tools/commitable_files.ts";
import { findTool } from "../tools/find_tool.js";

/** Discards: a test that wants something of a registry fails, wherever it runs. */
const NOWHERE = "http://127.0.0.1:9";

const root = fileURLToPath(new URL("../../", import.meta.url));
const config = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
const entries = Object.values<string>(config.exports);
let folder: string, copy: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-jsr-"));
  copy = join(folder, "latchkey");
  for (const file of commitableFiles()) cpSync(join(root, file), join(copy, file));
  // npm's packages are where `deno install` would put them.
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  // Deno would take `types` from it, and JSR's users have not got it.
  rmSync(join(copy, "tsconfig.json"));
  const { compilerOptions, publish } = config;
  writeJson(join(copy, "deno.json"), {
    ...config,
    links: ["../std_cli", "../oauth4webapi"],
    nodeModulesDir: "manual",
    // Deno puts imports of all exports before an example, and an example uses a few of them.
    compilerOptions: { ...compilerOptions, noUnusedLocals: false },
    publish: { ...publish, exclude: [...publish.exclude, "node_modules"] },
  });
  makeStdCli(join(folder, "std_cli"));
  makeOauth4webapi(join(folder, "oauth4webapi"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("deno check finds nothing wrong in the entries, in examples of the documentation, and in programs of documents", async () => {
  const pages = readdirSync(join(copy, "docs")).filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`);
  await expectDone("check", "--doc", ...entries, "lib", "README.md", ...pages);
});

test("deno doc --lint finds nothing wrong in what programs import", async () => {
  await expectDone("doc", "--lint", "mod.ts", "lib/web.ts", "lib/azure.ts", "lib/redis.ts");
});

test("the command line tells its version", async () => {
  const { stdout } = await expectDone("run", "--no-prompt", "bin/latchkey.ts", "--version");
  expect(stdout).toBe(`latchkey ${config.version}\n`);
});

test("the command line tells its commands", async () => {
  const { stdout } = await expectDone("run", "--no-prompt", "bin/latchkey.ts", "--help");
  expect(stdout).toContain("\n  token ");
});

test("Deno looks up no package of npm before one is needed", async () => {
  const { stdout } = await expectDone("info", "--json", "bin/latchkey.ts");
  const { modules } = JSON.parse(stdout) as { modules: readonly GraphModule[] };
  const own = modules.filter(({ specifier }) => specifier.startsWith(pathToFileURL(`${copy}/`).href));
  expect(own.length).toBeGreaterThan(100);
  const looked = own.flatMap(({ dependencies = [] }) => dependencies.map(({ code }) => code?.specifier ?? ""));
  expect(looked.filter((specifier) => specifier.startsWith("npm:"))).toEqual([]);
});

test("the packages of lib/npm are loaded, with what is imported from them", async () => {
  const names = Object.entries<string>(config.imports).flatMap(([name, path]) =>
    path.startsWith("./lib/npm/") ? name : []
  );
  expect(names.length).toBeGreaterThan(0);
  const values = names.map((name) => `Object.values(await import("${name}"))`);
  const { stdout } = await expectDone("eval", `console.log([${values}].flat().map((value) => typeof value).join());`);
  expect(stdout).toMatch(/^((function|object),)+(function|object)\n$/);
});

test("a package that cannot be loaded is told with what to do", async () => {
  const { stdout } = await expectDone(
    "eval",
    `const { loadPackage } = await import("./lib/runtime/installation.ts");
    await loadPackage("npm:latchkey-none@1").catch(({ code, hint }) => console.log(code, hint));`,
  );
  expect(stdout).toBe("missing_dependency Where its registry can be reached, run deno cache npm:latchkey-none@1\n");
});

test("deno publish finds nothing wrong, and would publish what is needed alone", async () => {
  const { stderr } = await expectDone("publish", "--dry-run", "--allow-dirty", "--no-check"); // types are checked above
  // That import is of npm's packages, and what is published needs no import map for them.
  const warnings = [...stderr.matchAll(/^warning\[(.*)\].*\n.*latchkey\/(.*?):/gm)].map((
    [, kind, file],
  ) => [kind, file]);
  expect(warnings).toEqual([["unanalyzable-dynamic-import", "lib/runtime/installation.ts"]]);
  expect(stderr.match(/warning/g)).toHaveLength(warnings.length);
  const files = [...stderr.matchAll(/^ +(file:.*) \(/gm)].map(([, url]) => relative(copy, fileURLToPath(url!)));
  const needed = ["LICENSE", "deno.json", ...entries.map(normalize)];
  expect(files).toEqual(expect.arrayContaining(needed));
  expect(
    files.filter((file) =>
      !/^(bin|lib|examples)\/|^docs\/(images\/)?\w+\.(md|svg)$|^[A-Z]+\.md$/.test(file) && !needed.includes(file)
    ),
  ).toEqual(
    [],
  );
});

/** A module as `deno info` has it. */
interface GraphModule {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: { readonly specifier?: string } }[];
}

/** What deno.json names a package as, in the oldest version that will do. */
function atJsr(alias: string): { name: string; version: string } {
  const [, name, version] = /^jsr:(.+)@\^(.+)$/.exec(config.imports[alias])!;
  return { name: name!, version: version! };
}

/** Our stand-in as the package that deno.json names. */
function makeStdCli(target: string): void {
  const source = join(root, "bin/std_cli");
  mkdirSync(target);
  writeJson(join(target, "deno.json"), { ...atJsr("@std/cli"), exports: { "./parse-args": "./parse_args.js" } });
  cpSync(join(source, "parse_args.d.ts"), join(target, "parse_args.d.ts"));
  const code = readFileSync(join(source, "parse_args.js"), "utf8");
  writeFileSync(join(target, "parse_args.js"), `// @ts-self-types="./parse_args.d.ts"\n${code}`);
}

/** npm's package under the name that it has at JSR. */
function makeOauth4webapi(target: string): void {
  const there = atJsr("@panva/oauth4webapi");
  mkdirSync(target);
  writeJson(join(target, "deno.json"), { ...there, exports: "./mod.ts" });
  writeFileSync(join(target, "mod.ts"), `export * from "npm:oauth4webapi@^${there.version}";\n`);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value));
}

/** Runs Deno in the copy; fails with all that it said unless it is content. */
async function expectDone(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const child = Bun.spawn([findTool("deno"), ...args], {
    cwd: copy,
    env: {
      ...process.env,
      NO_COLOR: "1",
      DENO_DIR: join(folder, "deno"),
      JSR_URL: NOWHERE,
      NPM_CONFIG_REGISTRY: NOWHERE,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect(status, `deno ${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
  return { stdout, stderr };
}

// npm's package: what is in it, and what it is to those who install it in an empty folder.
import { describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exportsOf } from "../../build/npm_package.ts";
import { type Bill, PACKAGE_BILL } from "../../build/sbom.ts";
import { runProgram } from "../bin/run_latchkey.ts";
import { LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { findTool, TYPESCRIPT_FOLDER } from "../tools/find_tool.js";
import { useStage } from "../fixture.ts";
import { artifacts } from "./artifacts.ts";

const TIMEOUT_MS = 60_000;
/** Of it, the packages that a few commands import take up to 200 KB: the MCP SDK with zod the most. */
const MAX_BYTES = 550_000;
const PACKAGE = "node_modules/@latchkey/latchkey";

const { tarball, npmFolder, bunFolder } = artifacts(), root = fileURLToPath(new URL("../../", import.meta.url));
const denoJson = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
const manifest = JSON.parse(readFileSync(join(npmFolder, PACKAGE, "package.json"), "utf8"));
const entries = Object.keys(denoJson.exports).map((entry) => entry.replace(".", "@latchkey/latchkey"));

const stage = useStage({ broker: {} });
const onBus = () => ({ DBUS_SESSION_BUS_ADDRESS: stage.bus.address });

const filesIn = async () => {
  const { code, stdout } = await runProgram(["tar", "--list", "--gzip", "--file", tarball], {});
  expect(code).toBe(0);
  return stdout.trim().split("\n").map((file) => file.replace(/^package\//, ""));
};
const checkedBy = (...words: string[]) =>
  runProgram([findTool("node"), ...words], { PATH: process.env.PATH!, HOME: stage.folder });

describe("npm's package", () => {
  test(`has at most ${MAX_BYTES / 1000} KB`, () => {
    expect(statSync(tarball).size).toBeLessThanOrEqual(MAX_BYTES);
  });

  test("has modules, declarations and what npm always packs, under names that every system has", async () => {
    const files = await filesIn();
    const always = ["package.json", "README.md", "LICENSE", "dist/esm/mod.js", PACKAGE_BILL];
    expect(files).toEqual(expect.arrayContaining(always));
    const rest = files.filter((file) => !always.includes(file));
    expect(rest.filter((file) => !/^([A-Z]+(\.md)?|dist\/(esm|edge)\/[\w./-]+\.(js|d\.ts))$/.test(file))).toEqual([]);
  });

  test("lists the packages that it contains: those whose licenses its files state", () => {
    const installed = join(npmFolder, PACKAGE);
    const { metadata, components }: Bill = JSON.parse(readFileSync(join(installed, PACKAGE_BILL), "utf8"));
    expect(metadata.component).toMatchObject({ name: "@latchkey/latchkey", version: manifest.version });
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"));
    const stated = files.flatMap((file) => {
      const text = readFileSync(join(installed, file), "utf8");
      return [...text.matchAll(/^\/\*! (\S+ \S+) \(/gm)].map(([, each]) => each!);
    });
    const listed = components.map(({ group, name, version }) => `${group ? `${group}/` : ""}${name} ${version}`);
    expect(listed.toSorted()).toEqual([...new Set(stated)].toSorted());
    expect(listed.length).toBeGreaterThan(0);
  });

  test("lists them with the hashes and package URLs that npm lists", async () => {
    const words = ["npm", "sbom", "--prefix", root, "--sbom-format", "cyclonedx", "--package-lock-only"];
    const { code, stdout } = await runProgram(words, { PATH: process.env.PATH!, HOME: stage.folder });
    expect(code).toBe(0);
    const npm: Bill = JSON.parse(stdout);
    const own: Bill = JSON.parse(readFileSync(join(npmFolder, PACKAGE, PACKAGE_BILL), "utf8"));
    expect(own.bomFormat).toBe(npm.bomFormat);
    const hashesByUrl = (bill: Bill) => new Map(bill.components.map(({ purl, hashes }) => [purl, hashes]));
    const byNpm = hashesByUrl(npm);
    const wrong = [...hashesByUrl(own)].filter(([purl, hashes]) => !Bun.deepEquals(byNpm.get(purl), hashes));
    expect(wrong).toEqual([]);
  }, TIMEOUT_MS);

  test("has each entry of deno.json, and runs nothing when it is installed", () => {
    expect(manifest.exports).toEqual(exportsOf(denoJson.exports));
    expect(Object.keys(manifest)).not.toContain("private");
    expect(Object.keys(manifest)).not.toContain("scripts");
    expect(Object.keys(manifest)).not.toContain("devDependencies");
    const installed = JSON.parse(readFileSync(join(npmFolder, "package-lock.json"), "utf8")).packages;
    const withScripts = Object.entries<{ hasInstallScript?: boolean }>(installed)
      .filter(([, { hasInstallScript }]) => hasInstallScript);
    expect(withScripts).toEqual([]);
  });

  test("says so where Node is too old to tell the program from a module, and fails", async () => {
    const copy = join(stage.folder, "old_node");
    cpSync(join(npmFolder, PACKAGE), copy, { recursive: true });
    const program = join(copy, manifest.bin.latchkey), code = readFileSync(program, "utf8");
    expect(code).toContain("import.meta.main");
    writeFileSync(program, code.replaceAll("import.meta.main", "undefined"));
    expect(await checkedBy(program, "--version")).toEqual({
      ...{ code: 1, stdout: "", stderr: "latchkey: needs Node 22.18 or later, Bun 1.3 or Deno 2.6\n" },
    });
  }, TIMEOUT_MS);

  test("leaves the checkout's package.json as it was", () => {
    const { scripts, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(scripts.prepack).toBeString();
    expect(exports["."]["latchkey-source"]).toBe("./mod.ts");
  });

  test("is one that publint finds nothing wrong with", async () => {
    const run = await checkedBy(join(root, "node_modules/publint/src/cli.js"), tarball, "--strict");
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining("All good!") });
  }, TIMEOUT_MS);

  test("is one whose types are right for ES modules", async () => {
    const attw = join(root, "node_modules/@arethetypeswrong/cli/dist/index.js");
    const { code, stdout } = await checkedBy(attw, tarball, "--profile", "esm-only", "--format", "json");
    const { analysis } = JSON.parse(stdout);
    expect(Object.keys(analysis.entrypoints)).toEqual(Object.keys(manifest.exports));
    expect(code).toBe(0);
  }, TIMEOUT_MS);
});

// TypeScript 7 has neither `AsyncDisposable` nor the types of @types/node unless a program asks for them, so that our declarations
// did not compile.
describe.each(["typescript-5.9", "typescript-6", "typescript-7"])("npm's package with %s", (typescript) => {
  test.each([
    ["no setting of libraries and types", {}],
    ["the libraries of 2022, without dom or types", { lib: ["es2022"], types: [] }],
    ["the libraries of 2022 and dom, without types", { lib: ["es2022", "dom"], types: [] }],
    ["the libraries of 2022 and Node's types", { lib: ["es2022"], types: ["node"] }],
  ])("compiles with %s", async (_, settings) => {
    const folder = consumerFolder(), config = join(folder, "tsconfig.json");
    const compilerOptions = {
      ...{ target: "es2022", module: "nodenext", strict: true, noEmit: true, skipLibCheck: false },
      ...{ exactOptionalPropertyTypes: true, ...settings },
    };
    writeFileSync(config, JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    const compiler = join(TYPESCRIPT_FOLDER, "node_modules", typescript, "bin/tsc");
    expect(await checkedBy(compiler, "--project", config)).toMatchObject({ code: 0, stdout: "" });
  }, TIMEOUT_MS);
});

/** Returns a folder with a program, our package as npm installed it, and Node's types. */
function consumerFolder(): string {
  const folder = mkdtempSync(join(stage.folder, "consumer-")), modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@types"), { recursive: true });
  symlinkSync(join(npmFolder, "node_modules/@latchkey"), join(modules, "@latchkey"));
  symlinkSync(join(root, "node_modules/@types/node"), join(modules, "@types/node"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(
    join(folder, "program.ts"),
    `${entries.map((entry, index) => `import * as entry${index} from "${entry}";`).join("\n")}
export const entries = [${entries.map((_, index) => `entry${index}`)}];
const app = new entry0.PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555" });
export const token: Promise<string> = app.acquireToken({ scopes: ["User.Read"] }).then(({ accessToken }) => accessToken);
// @ts-expect-error: the types are there, and no any
new entry0.PublicClientApplication({ clientId: 1 });
`,
  );
  return folder;
}

describe.each([
  ["Node", [findTool("node")], npmFolder],
  ["Bun", [findTool("bun"), "run"], bunFolder],
  ["Deno", [findTool("deno"), "run", "--no-prompt", "--node-modules-dir=manual", ...LEAST_PERMISSIONS], npmFolder],
])("npm's package in an empty folder on %s", (_, runtime, installed) => {
  test("gives a program a token", async () => {
    const program = join(installed, "program.js");
    writeFileSync(
      program,
      `import { PublicClientApplication } from "@latchkey/latchkey";
const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", enableBrokerOnLinux: true });
const { source, account } = await app.acquireToken({ scopes: ["User.Read"], interactive: "never" });
console.log(source, account.username);
`,
    );
    expect(await runProgram([...runtime, program], onBus())).toEqual({
      ...{ code: 0, stdout: "broker jane@contoso.com\n", stderr: "" },
    });
  }, TIMEOUT_MS);

  test("is imported without doing anything", async () => {
    const program = join(installed, "imports.js");
    writeFileSync(program, `${entries.map((entry) => `import "${entry}";`).join("\n")}\nconsole.log("done");\n`);
    expect(await runProgram([...runtime, program], {})).toEqual({ code: 0, stdout: "done\n", stderr: "" });
  }, TIMEOUT_MS);
});

test.each([["npm", npmFolder], ["Bun", bunFolder]])("%s brings the command latchkey", async (_, installed) => {
  // The shell's way: by its name on the path, the first line saying what runs it.
  const path = `${join(installed, "node_modules/.bin")}:${join(findTool("node"), "..")}:${process.env.PATH}`;
  const { code, stdout } = await runProgram(["sh", "-c", "latchkey --version --format json"], { PATH: path });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    version: denoJson.version,
    runtime: { name: "Node" },
    build: { kind: "bundle", target: null },
  });
  expect(existsSync(join(installed, "node_modules/@std"))).toBe(false);
});

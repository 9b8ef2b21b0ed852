import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommandLine } from "../../build/bundle.ts";
import { addCodeCache, MAKER } from "../../build/code_cache.ts";
import { V8_FLAGS } from "../../build/executable.ts";
import { openStage } from "../fixture.ts";
import { denoRun } from "../tools/deno_command.ts";

interface RunOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latchkey-code-cache-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a program by Deno, by default with the flags of a code cache. */
function run(program: string, words: readonly string[] = [], { flags = V8_FLAGS, env = {} }: RunOptions = {}): string {
  const [deno = "", verb = "", ...options] = denoRun();
  const command = [deno, verb, `--v8-flags=${flags}`, "--allow-all", ...options, program, ...words];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { env: { ...process.env, ...env } });
  if (exitCode !== 0) throw new Error(String(stderr));
  return String(stdout);
}

function addHere(folder: string): readonly string[] {
  return addCodeCache(folder, V8_FLAGS, (program, words, flags) => run(program, words, { flags }));
}

/** Makes a bundle of one module, and a program that imports it. */
async function bundleOf(name: string, module: string, program: string): Promise<string> {
  const own = join(folder, name);
  await mkdir(join(own, "chunks"), { recursive: true });
  await writeFile(join(own, "chunks/hot-x.js"), module);
  await writeFile(join(own, "late.js"), "export const late = 'late';");
  await writeFile(join(own, "main.js"), program);
  return own;
}

describe("addCodeCache", () => {
  test("lets the command line work as before", async () => {
    await using stage = await openStage({ broker: {} });
    await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
    const program = join(folder, "bin/latchkey.js"),
      env = { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, HOME: folder };
    const words = ["accounts", "--client-id", "azure-cli", "--broker", "require"],
      accounts = run(program, words, { env });
    addHere(folder);
    expect(run(program, words, { env })).toBe(accounts);
    expect(run(program, ["--help"])).toContain("Usage: latchkey COMMAND");
  });

  test("keeps what a module imports, imports late and exports", async () => {
    const module =
      `import { sep as separator } from "node:path"; import * as path from "node:path"; import os from "node:os";
      class Thing { #late = () => import("../late.js"); get late() { return this.#late(); } }
      function names() { return [separator, path.sep, typeof os.platform]; }
      export { Thing, names as default, names as "a name" };`;
    const own = await bundleOf(
      "kept",
      module,
      `import names, { Thing, "a name" as same } from "./chunks/hot-x.js";
      console.log(names === same, names().join(), (await new Thing().late).late);`,
    );
    addHere(own);
    expect(run(join(own, "main.js"))).toBe("true /,/,function late\n");
  });

  test("makes a code cache that V8 accepts, and may reject", async () => {
    const own = await bundleOf("rejected", "const one = 1; export { one };", PRINT_ONE);
    const [script = "", cache = ""] = addHere(own), check = () => run(MAKER, ["check", script, cache]);
    expect(check()).toBe("");
    await writeFile(cache, (await readFile(cache)).fill(0, 4, 8)); // as if of another version
    expect(check).toThrow("V8 rejects the code cache");
    expect(run(join(own, "main.js"))).toBe("1\n");
  });

  test.each([
    ["let one = 1; export { one };", "change"],
    ["var one; function set() { one = 1; } export { one, set };", "change"],
    ["let [one] = [1]; const set = () => { one = 2; }; export { one, set };", "change"],
    ['import { sep } from "node:path"; export { sep };', "change"],
    ["export const one = 1;", "export"],
    ['export * from "node:path";', "export"],
    ['export { sep } from "node:path";', "export"],
    ["const load = (name) => import(name); export { load };", "import"],
    ["const load = (name) => import(`./${name}.js`); export { load };", "import"],
  ])("refuses %s", async (module, why) => {
    const own = await bundleOf("refused", module, "");
    expect(() => addHere(own)).toThrow(
      new RegExp(`a script cannot ${why === "change" ? "export .* may change" : why}`),
    );
  });

  test("does not take a name of the module", async () => {
    const own = await bundleOf(
      "named",
      "function $script() { return import('../late.js'); } const late = 1, script = 2; export { $script, late, script };",
      'import { $script, late, script } from "./chunks/hot-x.js"; console.log((await $script()).late, late, script);',
    );
    addHere(own);
    expect(run(join(own, "main.js"))).toBe("late 1 2\n");
  });
});

const PRINT_ONE = 'import { one } from "./chunks/hot-x.js"; console.log(one);';

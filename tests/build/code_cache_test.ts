import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommandLine } from "../../build/bundle_command_line.ts";
import { addCodeCache } from "../../build/code_cache.ts";
import { startPrivateBus } from "../fakes/private_bus.ts";
import { startFakeBroker } from "../fakes/start_fake_broker.ts";
import { denoRun } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";

const FLAGS = ["--no-sparkplug"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latchkey-code-cache-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a program with the flags that its code cache was made for. */
function run(program: string, words: readonly string[] = [], env: Record<string, string> = {}): string {
  const [deno = "", verb = "", ...options] = denoRun();
  const command = [deno, verb, `--v8-flags=${FLAGS}`, "--allow-all", ...options, program, ...words];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { env: { ...process.env, ...env } });
  if (exitCode !== 0) throw new Error(String(stderr));
  return String(stdout);
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
    const bus = await startPrivateBus();
    try {
      await startFakeBroker(bus);
      await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
      const program = join(folder, "bin/latchkey.js"), env = { DBUS_SESSION_BUS_ADDRESS: bus.address, HOME: folder };
      const words = ["accounts", "--client-id", "azure-cli", "--broker", "require"],
        accounts = run(program, words, env);
      addCodeCache(folder, findTool("deno"), FLAGS);
      expect(run(program, words, env)).toBe(accounts);
      expect(run(program, ["--help"])).toContain("Usage: latchkey COMMAND");
    } finally {
      await bus.stop();
    }
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
    addCodeCache(own, findTool("deno"), FLAGS);
    expect(run(join(own, "main.js"))).toBe("true /,/,function late\n");
  });

  test("makes a cache that V8 may reject", async () => {
    const own = await bundleOf(
      "rejected",
      "const one = 1; export { one };",
      'import { one } from "./chunks/hot-x.js"; console.log(one);',
    );
    const [, cache = ""] = addCodeCache(own, findTool("deno"), FLAGS), bytes = await readFile(cache);
    await writeFile(cache, bytes.fill(0, 4, 8)); // as another version
    expect(run(join(own, "main.js"))).toBe("1\n");
  });

  test.each(["let one = 1; export { one };", "export const one = 1;", 'export * from "node:path";'])(
    "refuses %s, which a script cannot export",
    async (module) => {
      const own = await bundleOf("refused", module, "");
      expect(() => addCodeCache(own, findTool("deno"), FLAGS)).toThrow(/script/);
    },
  );
});

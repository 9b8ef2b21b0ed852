import { expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommandLine } from "../../build/bundle_command_line.ts";

test("bundleCommandLine has all that a silent token takes in one file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bundle-"));
  try {
    await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
    const early = await earlyImports(join(folder, "bin/latchkey.js"));
    expect(early).toHaveLength(1);
    for (const late of ["token", "token_cache", "linux"]) {
      const file = (await readdir(join(folder, "chunks"))).find((name) => name.startsWith(`${late}-`))!;
      expect(await earlyImports(join(folder, "chunks", file)), late).toEqual(early);
    }
    expect(await earlyImports(join(folder, "chunks", early[0]!)), "nothing more").toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
}, 60_000);

/** Names of the files that are loaded with a file. */
async function earlyImports(file: string): Promise<readonly string[]> {
  const imports = new Bun.Transpiler({ loader: "js" }).scanImports(await readFile(file, "utf8"));
  return imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path.split("/").at(-1)!);
}

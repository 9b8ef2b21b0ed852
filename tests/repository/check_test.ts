import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checks, complaintOf } from "../tools/checks.ts";
import { findTool } from "../tools/find_tool.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

for (const check of checks) {
  test(`${check.name} finds nothing wrong`, async () => {
    expect(await complaintOf(check)).toBeUndefined();
  });
}

// biome.json names files that still break a rule, each for that rule alone. The lists only get shorter.
test("biome.json excuses no file that keeps the rules", async () => {
  const { linter, overrides, ...rest } = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
  const folder = mkdtempSync(join(tmpdir(), "latchkey-lint-"));
  writeFileSync(join(folder, "biome.json"), JSON.stringify({ ...rest, linter }));
  for (const name of ["mod.ts", "lib", "bin", "build", "examples"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  const command = ["lint", "--reporter=json", "--max-diagnostics=2000"];
  const child = Bun.spawn([findTool("bun"), findTool("biome"), ...command], { cwd: folder, stderr: "ignore" });
  const { diagnostics } = JSON.parse(await new Response(child.stdout).text()) as Report;
  rmSync(folder, { recursive: true });
  const broken = new Set(
    diagnostics.map(({ category, location }) => `${category.replace("lint/", "")} ${location.path}`),
  );
  const excused = (overrides as readonly Override[]).flatMap(({ includes, linter: { rules } }) =>
    Object.entries(rules).flatMap(([group, names]) =>
      Object.keys(names).flatMap((name) => includes.map((path) => `${group}/${name} ${path}`))
    )
  );
  expect(excused.filter((each) => !broken.has(each))).toEqual([]);
});

/** What biome reports. */
interface Report {
  readonly diagnostics: readonly { readonly category: string; readonly location: { readonly path: string } }[];
}

interface Override {
  readonly includes: readonly string[];
  readonly linter: { readonly rules: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
}

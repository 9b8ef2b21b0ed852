// npm run test:artifacts [-- PATTERN…]: builds what users get, and tests that: the suites of the command line with each built
// command, and those of this folder. It compiles by the Deno that DENO_FOR_COMPILE and DENORT_BIN name, else by one that fetches
// its runtime. The last line is the sum.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BUILT_LATCHKEY, type BuiltLatchkey } from "../bin/tested_latchkey.ts";
import { findTool } from "../tools/find_tool.js";
import { printSum } from "../tools/print_sum.ts";
import { Tally } from "../tools/tally.ts";
import { ARTIFACTS, type Artifacts } from "./artifacts.ts";
import { buildArtifacts } from "./build_artifacts.ts";

const LIMIT_MS = 600_000;
const COMMAND = "node_modules/.bin/latchkey";

/** Suites for those built commands that have the same code as another one, on another runtime. */
const RUNTIME_SUITES = ["tests/bin/latchkey_test.ts", "tests/bin/runtimes_test.ts"];
/** What the doctor says depends on what the sources may look at. */
const OF_SOURCES = ["tests/bin/doctor_test.ts"];

const root = fileURLToPath(new URL("../../", import.meta.url)), patterns = process.argv.slice(2);
const tally = new Tally(), folder = mkdtempSync(join(tmpdir(), "latchkey-artifacts-"));
try {
  const artifacts = buildArtifacts(folder, (what) => tally.lose(what));
  const all = filesOf("tests/bin/*_test.ts").filter((file) =>
    /"\.\/(tested|run)_latchkey\.ts"/.test(readFileSync(join(root, file), "utf8")) && !OF_SOURCES.includes(file)
  );
  for (const { suites, ...built } of commandsOf(artifacts)) {
    // What could not be built has been counted.
    if (!built.command.every((word) => existsSync(word))) continue;
    await test(built.name, suites ?? all, { [BUILT_LATCHKEY]: JSON.stringify(built) });
  }
  await test("Bun", filesOf("tests/artifacts/*_test.ts"), { [ARTIFACTS]: JSON.stringify(artifacts) });
} finally {
  rmSync(folder, { recursive: true });
}
const { passed, failed, skipped } = tally.sum;
if (passed + failed + skipped === 0) tally.lose("nothing ran");
printSum(tally.sum, tally.losses);

/** The built commands, and their suites where those are not all. */
function commandsOf(
  { byDeno, byBun, npmFolder, bunFolder }: Artifacts,
): readonly (BuiltLatchkey & { readonly suites?: readonly string[] })[] {
  return [
    { name: "Deno, compiled", client: "libdbus", command: [byDeno] },
    { name: "Bun, compiled", client: "dbus-next", command: [byBun], suites: RUNTIME_SUITES },
    {
      name: "Node, npm's package",
      client: "dbus-next",
      command: [findTool("node"), join(npmFolder, COMMAND)],
      suites: RUNTIME_SUITES,
    },
    {
      name: "Bun, npm's package",
      client: "dbus-next",
      command: [findTool("bun"), join(bunFolder, COMMAND)],
      suites: RUNTIME_SUITES,
    },
  ];
}

async function test(name: string, files: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const chosen = files.filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)));
  if (chosen.length === 0) return;
  await tally.run({
    name,
    files: chosen,
    command: (report) => [
      ...[findTool("bun"), "test", "--conditions", "latchkey-source"],
      ...["--reporter=junit", `--reporter-outfile=${report}`, ...chosen.map((file) => `./${file}`)],
    ],
    env: { ...process.env, NO_COLOR: "1", ...env },
    limitMs: LIMIT_MS,
  });
}

function filesOf(glob: string): readonly string[] {
  return [...new Bun.Glob(glob).scanSync({ cwd: root })].sort();
}

// npm run test:artifacts [-- [--repeat N] PATTERN…]: builds what users get, and tests that: the suites of the command line with each
// built command, and those of this folder. It compiles by the Deno that DENO_FOR_COMPILE and DENORT_BIN name, else by one that
// fetches its runtime. The last line is the sum.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BUILT_LATCHKEY, type BuiltLatchkey } from "../bin/tested_latchkey.ts";
import { UNITS } from "../runtimes/runtime_paths.ts";
import { findTool } from "../tools/find_tool.js";
import { printSum } from "../tools/print_sum.ts";
import { reachesModule } from "../tools/reaches_module.ts";
import { batchOn, type BatchRun, type Loss } from "../tools/run_batch.ts";
import { runBatches } from "../tools/run_batches.ts";
import { sumUp } from "../tools/sum_up.ts";
import { isWanted, readTestArguments } from "../tools/test_arguments.ts";
import { ARTIFACTS, type Artifacts } from "./artifacts.ts";
import { buildArtifacts } from "./build_artifacts.ts";

/** Longer than any takes, several times. */
const BATCH_LIMIT_MS = 300_000;
const COMMAND = "node_modules/.bin/latchkey";
/** What a suite imports that starts what was built, where something was. */
const TESTED_LATCHKEY = "tests/bin/tested_latchkey.ts";

/** Suites for those built commands that have the same code as another one, on another runtime. */
const RUNTIME_SUITES = ["tests/bin/latchkey_test.ts", "tests/bin/runtimes_test.ts"];
/** What a suite says that starts the sources itself, mostly since it is about what Deno permits them. */
const STARTS_SOURCES = 'bin/latchkey.ts"';

const root = fileURLToPath(new URL("../../", import.meta.url)), asked = readTestArguments();
const folder = mkdtempSync(join(tmpdir(), "latchkey-artifacts-"));
const runs: BatchRun[] = [], unsteady: Loss[] = [], others: Loss[] = [];
try {
  const artifacts = buildArtifacts(folder, (what, why) => others.push({ what, why }));
  const all = filesOf("tests/bin/**/*_test.ts")
    .filter((file) => reachesModule(file, TESTED_LATCHKEY, root) && !startsSources(file));
  for (const { suites = all, ...built } of commandsOf(artifacts)) {
    // What could not be built has been counted.
    if (!built.command.every((word) => existsSync(word))) continue;
    await test(built.name, suites, { [BUILT_LATCHKEY]: JSON.stringify(built) });
  }
  await test("Bun", filesOf("tests/artifacts/*_artifact.ts"), { [ARTIFACTS]: JSON.stringify(artifacts) });
} finally {
  rmSync(folder, { recursive: true });
}
if (runs.length + others.length === 0) others.push({ what: "nothing ran", why: "" });
const { sum, losses, unsteady: told } = sumUp({ runs, unsteady }, others);
printSum(sum, losses, told);

/** The built commands, and their suites where those are not all. */
function commandsOf(
  { byDeno, byBun, npmFolder, bunFolder }: Artifacts,
): readonly (BuiltLatchkey & { readonly suites?: readonly string[] })[] {
  return [
    { name: "Deno, compiled", client: "libdbus", command: [byDeno] },
    { name: "Bun, compiled", client: "bun", command: [byBun], suites: RUNTIME_SUITES },
    {
      name: "Node, npm's package",
      client: "node",
      command: [findTool("node"), join(npmFolder, COMMAND)],
      suites: RUNTIME_SUITES,
    },
    {
      name: "Bun, npm's package",
      client: "bun",
      command: [findTool("bun"), join(bunFolder, COMMAND)],
      suites: RUNTIME_SUITES,
    },
  ];
}

async function test(name: string, files: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const batches = files.filter((file) => isWanted(file, asked)).map((file) => batchOn({ ...UNITS, name }, file));
  const environment = { ...process.env, NO_COLOR: "1", ...env };
  const run = await runBatches(batches, { repeat: asked.repeat, limitMs: BATCH_LIMIT_MS, environment });
  runs.push(...run.runs);
  unsteady.push(...run.unsteady);
}

function startsSources(file: string): boolean {
  return readFileSync(join(root, file), "utf8").includes(STARTS_SOURCES);
}

function filesOf(glob: string): readonly string[] {
  return [...new Bun.Glob(glob).scanSync({ cwd: root })].sort();
}

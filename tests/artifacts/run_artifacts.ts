// npm run test:artifacts [-- [--repeat N] PATTERN…]: builds what users get, and tests that: the suites of the command line with each
// built command, and those of this folder. It compiles by the Deno that DENO_FOR_COMPILE and DENORT_BIN name, else by one that
// fetches its runtime. The last line is the sum.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BUILT_LATCHKEY, type BuiltLatchkey } from "../bin/tested_latchkey.ts";
import { BUN } from "../runtimes/runtime_paths.ts";
import { findTool } from "../tools/find_tool.js";
import { reachesModule } from "../tools/reaches_module.ts";
import { batchOf, TestRun } from "../tools/test_run.ts";
import { ARTIFACTS, type Artifacts, buildArtifacts } from "./artifacts.ts";

/** Longer than all suites take with one command, several times. */
const LIMIT_MS = 900_000;
const COMMAND = "node_modules/.bin/latchkey";
/** What a suite imports that starts what was built, where something was. */
const TESTED_LATCHKEY = "tests/bin/tested_latchkey.ts";

/** Suites for those built commands that have the same code as another one, on another runtime. */
const RUNTIME_SUITES = ["tests/bin/latchkey_test.ts", "tests/bin/runtimes_test.ts", "tests/bin/commands/token_test.ts"];
/** What a suite says that starts the sources itself, mostly since it is about what Deno permits them. */
const STARTS_SOURCES = 'bin/latchkey.ts"';

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = new TestRun({ environment: { ...process.env, NO_COLOR: "1" }, limitMs: LIMIT_MS });
const folder = mkdtempSync(join(tmpdir(), "latchkey-artifacts-"));
try {
  const artifacts = buildArtifacts(folder, (what, why) => run.lose(what, why));
  const all = run.find("tests/bin/**/*_test.ts")
    .filter((file) => reachesModule(file, TESTED_LATCHKEY, root) && !startsSources(file));
  for (const { suites = all, ...built } of commandsOf(artifacts)) {
    // What could not be built has been counted.
    if (!built.command.every((word) => existsSync(word))) continue;
    const environment = { [BUILT_LATCHKEY]: JSON.stringify(built) };
    await run.run([{ ...batchOf({ ...BUN, name: built.name }, suites), environment }]);
  }
  const environment = { [ARTIFACTS]: JSON.stringify(artifacts) };
  await run.run([{ ...batchOf(BUN, run.find("tests/artifacts/*_artifact.ts")), environment }]);
} finally {
  rmSync(folder, { recursive: true });
}
run.end();

/** The built commands, and their suites where those are not all. */
function commandsOf(
  { byDeno, byBun, npmFolder, bunFolder }: Artifacts,
): readonly (BuiltLatchkey & { readonly suites?: readonly string[] })[] {
  return [
    { name: "Deno, compiled", client: "libdbus", command: [byDeno] },
    { name: "Bun, compiled", client: "bun", command: [byBun], suites: run.wanted(RUNTIME_SUITES) },
    {
      name: "Node, npm's package",
      client: "node",
      command: [findTool("node"), join(npmFolder, COMMAND)],
      suites: run.wanted(RUNTIME_SUITES),
    },
    {
      name: "Bun, npm's package",
      client: "bun",
      command: [findTool("bun"), join(bunFolder, COMMAND)],
      suites: run.wanted(RUNTIME_SUITES),
    },
  ];
}

function startsSources(file: string): boolean {
  return readFileSync(join(root, file), "utf8").includes(STARTS_SOURCES);
}

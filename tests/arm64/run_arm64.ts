// npm run test:arm64 [-- [--repeat N]]: the command line for arm64 on an x64 machine, under qemu: compiled by Deno, and from its
// sources on Deno, Bun and Node. It compiles as build/executable.ts does. The last line is the sum.
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { compileByDeno } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { BUILT_LATCHKEY, type BuiltLatchkey } from "../bin/tested_latchkey.ts";
import { BUN, RUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { ARM64_EMULATOR, TESTED_RUNTIMES } from "../tools/find_tool.js";
import { type Batch, batchOf, TestRun } from "../tools/test_run.ts";

const SUITE = "tests/arm64/command_line_arm64.ts";
/** Its calls take seconds under qemu, and the broker has five to answer the first. */
const SLOWEST = "Deno + dbus-next";
/** Longer than any takes, several times. */
const LIMIT_MS = 900_000;

const run = new TestRun({
  environment: { ...process.env, NO_COLOR: "1", [TESTED_RUNTIMES]: "arm64" },
  limitMs: LIMIT_MS,
  // Nothing waits much under qemu, and the time limits of calls hold there, too.
  atOnce: availableParallelism(),
});
const suites = run.wanted([SUITE]);
const folder = mkdtempSync(join(tmpdir(), "latchkey-arm64-"));
try {
  const batches = RUNTIME_PATHS.map(({ name }) => batchOf({ ...BUN, name }, suites));
  try {
    batches.unshift(await executableBatch(join(folder, "latchkey")));
  } catch (error) {
    run.lose("Building the executable", error instanceof Error ? error.message : String(error));
  }
  await run.run(batches.filter(({ name }) => name !== SLOWEST));
  await run.run(batches.filter(({ name }) => name === SLOWEST));
  run.end();
} finally {
  rmSync(folder, { recursive: true });
}

async function executableBatch(output: string): Promise<Batch> {
  await compileByDeno({ target: targetNamed("linux-arm64"), output });
  const built: BuiltLatchkey = { name: "Deno, compiled", client: "libdbus", command: [...ARM64_EMULATOR, output] };
  return { ...batchOf({ ...BUN, name: built.name }, suites), environment: { [BUILT_LATCHKEY]: JSON.stringify(built) } };
}

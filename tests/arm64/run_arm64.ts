// npm run test:arm64 [-- [--repeat N]]: the command line for arm64 on an x64 machine, under qemu: compiled by Deno, and from its
// sources on Deno, Bun and Node. It compiles as build/executable.ts does. The last line is the sum.
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { compileByDeno } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { BUILT_LATCHKEY, type BuiltLatchkey } from "../bin/tested_latchkey.ts";
import { RUNTIME_PATHS, UNITS } from "../runtimes/runtime_paths.ts";
import { ARM64_EMULATOR, TESTED_RUNTIMES } from "../tools/find_tool.js";
import { printSum } from "../tools/print_sum.ts";
import { type Batch, batchOn, type Loss } from "../tools/run_batch.ts";
import { runBatches } from "../tools/run_batches.ts";
import { sumUp } from "../tools/sum_up.ts";
import { readTestArguments } from "../tools/test_arguments.ts";

const SUITE = "tests/arm64/command_line_arm64.ts";
/** Its calls take seconds under qemu, and the broker has five to answer the first. */
const SLOWEST = "Deno + dbus-next";
/** Longer than any takes, several times. */
const BATCH_LIMIT_MS = 900_000;

const { repeat } = readTestArguments(), others: Loss[] = [];
const folder = mkdtempSync(join(tmpdir(), "latchkey-arm64-"));
try {
  const batches = RUNTIME_PATHS.map(({ name }): Batch => ({
    ...batchOn({ name, suite: UNITS.suite }, SUITE),
    isAlone: name === SLOWEST,
  }));
  try {
    batches.unshift(await executableBatch(join(folder, "latchkey")));
  } catch (error) {
    others.push({ what: "Building the executable", why: error instanceof Error ? error.message : String(error) });
  }
  // No more at a time than there are processors: nothing waits much, and the time limits of calls hold here, too.
  const atOnce = availableParallelism();
  const environment = { ...process.env, NO_COLOR: "1", [TESTED_RUNTIMES]: "arm64" };
  const { sum, losses, unsteady } = sumUp(
    await runBatches(batches, { repeat, limitMs: BATCH_LIMIT_MS, environment, atOnce }),
    others,
  );
  printSum(sum, losses, unsteady);
} finally {
  rmSync(folder, { recursive: true });
}

async function executableBatch(output: string): Promise<Batch> {
  await compileByDeno({ target: targetNamed("linux-arm64"), output });
  const built: BuiltLatchkey = { name: "Deno, compiled", client: "libdbus", command: [...ARM64_EMULATOR, output] };
  const suite = (file: string, report: string): string[] => [
    ...["env", `${BUILT_LATCHKEY}=${JSON.stringify(built)}`, ...UNITS.suite(file, report)],
  ];
  return batchOn({ name: built.name, suite }, SUITE);
}

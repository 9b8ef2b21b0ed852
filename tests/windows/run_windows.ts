// npm run test:windows [-- PATTERN…]: the suites that are for Windows too, on Windows' Bun, Node and Deno. On Windows it runs them
// as they are; on Linux, as root, under Wine.
import { fileURLToPath } from "node:url";
import { RUNTIME_PATHS, type RuntimePath, UNITS } from "../runtimes/runtime_paths.ts";
import { printSum } from "../tools/print_sum.ts";
import { type Batch, batchOn } from "../tools/run_batch.ts";
import { runBatches } from "../tools/run_batches.ts";
import { isWanted, readTestArguments } from "../tools/test_arguments.ts";
import { sumUp } from "../tools/sum_up.ts";
import { enterNamespace, inWine, mountWine, WINE_ENVIRONMENT, wineTool } from "./wine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const BATCH_LIMIT_MS = Number(process.env.LIM ?? 120_000);
const isWine = process.platform !== "win32";
const asked = readTestArguments();

if (isWine) {
  enterNamespace();
  mountWine();
}
const run = await runBatches(batches(), {
  repeat: asked.repeat,
  limitMs: BATCH_LIMIT_MS,
  environment: isWine ? WINE_ENVIRONMENT : process.env,
});
const { sum, losses, unsteady } = sumUp(run);
printSum(sum, losses, unsteady);

function batches(): readonly Batch[] {
  const all = [...new Bun.Glob("tests/**/*_test.ts").scanSync({ cwd: root })].sort().filter((file) => isWanted(file, asked));
  return all.map((file) => batchOn(onWindows("bun", UNITS), file));
}

/** Runs a runtime's suites on its program for Windows. */
function onWindows(tool: "bun" | "deno" | "node", { name, suite }: Pick<RuntimePath, "name" | "suite">): Pick<RuntimePath, "name" | "suite"> {
  if (!isWine) return { name, suite };
  return { name, suite: (file, report) => inWine([wineTool(tool), ...suite(file, `Z:${report.replaceAll("/", "\\")}`).slice(1)]) };
}

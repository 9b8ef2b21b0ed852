// npm test [-- [--repeat N] PATTERN…]: every suite, or those whose path contains a pattern, on each runtime that it is for.
// The last line is the sum. Whatever did not run counts as failed, and a skipped test makes the run fail.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATHS, type RuntimePath, UNITS, WSL_PATHS } from "./runtimes/runtime_paths.ts";
import { matrixOf } from "./tools/matrix.ts";
import { printSum } from "./tools/print_sum.ts";
import { reachesModule } from "./tools/reaches_module.ts";
import { type Batch, batchOn, type BatchRun, type Loss } from "./tools/run_batch.ts";
import { runBatches } from "./tools/run_batches.ts";
import { isWanted, readTestArguments, unknownPatterns } from "./tools/test_arguments.ts";
import { sumUp } from "./tools/sum_up.ts";

interface Runner extends Pick<RuntimePath, "name" | "suite"> {
  /** Its suites, as globs below `tests`. */
  readonly suites: readonly string[];
  /** Which of them it leaves out. */
  readonly isNeedless?: (file: string) => boolean;
}

/** Starts many processes at once: what they wait for each other is about all that a machine with others on it could take. */
const CROWDED_SUITE = "tests/lib/cache/many_processes_test.ts";

/** What a suite imports that meets a bus. */
const BUS = "tests/fakes/private_bus.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/**
 * Most suites run under Bun alone. Contracts are about code that differs by runtime, and run on each; on Deno once where they
 * never meet a bus. The one of applications, and those of WSL itself, run on WSL as well.
 */
const runners: readonly Runner[] = [
  { ...UNITS, suites: ["**/*_test.ts"] },
  ...RUNTIME_PATHS.map((path, index) => ({
    ...path,
    suites: ["**/*_contract.ts"],
    isNeedless: (file: string) => index === 1 && !reachesModule(file, BUS, root),
  })),
  ...WSL_PATHS.map((path) => ({ ...path, suites: ["**/*_on_wsl.ts", "lib/application_contract.ts"] })),
];

/** The first of the suites that have groups of tests for each broker's shape. */
const SHAPES_SUITE = "tests/lib/application_contract.ts";

/** Longer than any takes, several times. */
const BATCH_LIMIT_MS = 300_000;

const asked = readTestArguments(), others: Loss[] = [];
const batches = runners.flatMap(batchesOf);
others.push(...unknownPatterns(batches.map(({ file }) => file), asked));
const run = await runBatches(batches, {
  repeat: asked.repeat,
  limitMs: BATCH_LIMIT_MS,
  environment: ownEnvironment(),
});
if (isWanted(SHAPES_SUITE, asked)) printMatrices(run.runs);
const { sum, losses, unsteady } = sumUp(run, others);
printSum(sum, losses, unsteady);

function batchesOf(runner: Runner): readonly Batch[] {
  const { name, suites, isNeedless = () => false } = runner;
  const files = suites.flatMap((glob) => [...new Bun.Glob(`tests/${glob}`).scanSync({ cwd: root })]).sort();
  if (files.length === 0) lose(`${name}: there are no suites`);
  return files.filter((file) => isWanted(file, asked) && !isNeedless(file))
    .map((file) => ({ ...batchOn(runner, file), isAlone: file === CROWDED_SUITE }));
}

/** The brokers' shapes are the folders of captures; Windows' broker has Microsoft's. */
function printMatrices(runs: readonly BatchRun[]): void {
  const wire = readdirSync(join(root, "tests/wire"), { withFileTypes: true });
  const shapes = wire.filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
  for (
    const [rows, paths] of [
      [shapes, RUNTIME_PATHS],
      [shapes.filter((shape) => shape.startsWith("microsoft")), WSL_PATHS],
    ] as const
  ) {
    const casesOf = (path: string) => runs.filter(({ batch }) => batch.name === path).flatMap(({ cases }) => cases);
    const { text, missing } = matrixOf(rows, new Map(paths.map(({ name }) => [name, casesOf(name)])));
    process.stdout.write(`\n${text}\n`);
    for (const cell of missing) lose(`no test of ${cell} ran`);
  }
}

function lose(what: string): void {
  others.push({ what, why: "" });
}

/** The environment less what would lead a test to the developer's own session, and to settings of theirs. */
function ownEnvironment(): Record<string, string | undefined> {
  const theirs = /^(DBUS_SESSION_BUS_ADDRESS$|XDG_RUNTIME_DIR$|WSL|LATCHKEY_)/;
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !theirs.test(name))), NO_COLOR: "1" };
}

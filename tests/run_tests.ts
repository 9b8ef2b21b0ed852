// npm test [-- PATTERN…]: every suite, or those whose path contains a pattern, on each runtime that it is for.
// The last line is the sum. Whatever did not run counts as failed, and a skipped test makes the run fail.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATH, RUNTIME_PATHS, type RuntimePath, WSL_PATHS } from "./runtimes/runtime_paths.ts";
import { findTool } from "./tools/find_tool.js";
import type { TestCase } from "./tools/junit_report.ts";
import { matrixOf } from "./tools/matrix.ts";
import { printSum } from "./tools/print_sum.ts";
import { Tally } from "./tools/tally.ts";

interface Runner {
  readonly name: string;
  /** Its suites, as globs below `tests`. */
  readonly suites: readonly string[];
  /** Whether one process runs all suites, which is quicker, instead of one each. */
  readonly together: boolean;
  /** What runs `files` and writes a JUnit report. */
  command(files: readonly string[], report: string): readonly string[];
}

/** Suites of what an application makes of a broker, however that is reached. */
const BROKER_SUITES = [
  "lib/application_contract.ts",
  "lib/acquire_token_contract.ts",
  "lib/sign_in_contract.ts",
  "lib/sign_out_contract.ts",
  "lib/account_source_contract.ts",
  "lib/proof_of_possession_contract.ts",
  "lib/failures_contract.ts",
];

/**
 * The unit tests run under Bun; the contracts of what is made for each path to the bus run on each; those of brokers, and of
 * WSL itself, on WSL as well.
 */
const runners: readonly Runner[] = [
  {
    name: "Bun, unit tests",
    suites: ["**/*_test.ts"],
    together: true,
    command: (files, report) => [
      ...[findTool("bun"), "test", "--conditions", "latchkey-source"],
      ...["--reporter=junit", `--reporter-outfile=${report}`, ...files],
    ],
  },
  ...RUNTIME_PATHS.map((path) => runnerOn(path, ["**/*_contract.ts"])),
  ...WSL_PATHS.map((path) => runnerOn(path, ["**/*_on_wsl.ts", ...BROKER_SUITES])),
];

function runnerOn(path: RuntimePath, suites: readonly string[]): Runner {
  return { name: path.name, suites, together: false, command: ([file = ""], report) => path.suite(file, report) };
}

/** The first of the suites that have groups of tests for each broker's shape. */
const SHAPES_SUITE = "tests/lib/application_contract.ts";

/** Node does not end while a suite has left something open. */
const BATCH_LIMIT_MS = 600_000;

const root = fileURLToPath(new URL("../", import.meta.url));
const patterns = process.argv.slice(2);
const tally = new Tally();
const casesByPath = new Map<string, TestCase[]>([...RUNTIME_PATHS, ...WSL_PATHS].map(({ name }) => [name, []]));

for (const runner of runners) {
  const files = runner.suites.flatMap((glob) => [...new Bun.Glob(`tests/${glob}`).scanSync({ cwd: root })]).sort()
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)));
  if (files.length === 0) {
    if (patterns.length === 0) tally.lose(`${runner.name}: there are no suites`);
  } else if (runner.together) await runBatch(runner, files);
  else for (const file of files) await runBatch(runner, [file]);
}
const { passed, failed, skipped } = tally.sum;
if (passed + failed + skipped === 0) tally.lose(`No suite's path contains ${patterns.join(" or ")}`);
if (patterns.length === 0 || patterns.some((pattern) => SHAPES_SUITE.includes(pattern))) printMatrices();
printSum(tally.sum, tally.losses);

async function runBatch(runner: Runner, files: readonly string[]): Promise<void> {
  const cases = await tally.run({
    name: runner.name,
    files,
    command: (report) => runner.command(files.map((file) => `./${file}`), report),
    env: { ...ownEnvironment(), [RUNTIME_PATH]: runner.name },
    limitMs: BATCH_LIMIT_MS,
  });
  casesByPath.get(runner.name)?.push(...cases);
}

/** The brokers' shapes are the folders of captures; Windows' broker has Microsoft's. */
function printMatrices(): void {
  const wire = readdirSync(join(root, "tests/wire"), { withFileTypes: true });
  const shapes = wire.filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
  printMatrix(shapes, RUNTIME_PATHS);
  printMatrix(shapes.filter((shape) => shape.startsWith("microsoft")), WSL_PATHS);
}

function printMatrix(shapes: readonly string[], paths: readonly RuntimePath[]): void {
  const { text, missing } = matrixOf(shapes, new Map(paths.map(({ name }) => [name, casesByPath.get(name)!])));
  process.stdout.write(`\n${text}\n`);
  for (const cell of missing) tally.lose(`no test of ${cell} ran`);
}

/** The environment less what would lead a test to the developer's own session, and to settings of theirs. */
function ownEnvironment(): Record<string, string | undefined> {
  const theirs = /^(DBUS_SESSION_BUS_ADDRESS$|XDG_RUNTIME_DIR$|WSL|LATCHKEY_)/;
  const plain = process.stdout.isTTY ? {} : { NO_COLOR: "1" };
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !theirs.test(name))), ...plain };
}

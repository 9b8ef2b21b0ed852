// npm test [-- PATTERN…]: every suite, or those whose path contains a pattern, on each runtime that it is for.
// The last line is the sum. Whatever did not run counts as failed, and a skipped test makes the run fail.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATH, RUNTIME_PATHS, type RuntimePath, WSL_PATHS } from "./runtimes/runtime_paths.ts";
import { findTool } from "./tools/find_tool.js";
import { readJunitReport, type TestCase } from "./tools/junit_report.ts";
import { matrixOf } from "./tools/matrix.ts";
import { printSum } from "./tools/print_sum.ts";

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
const sum = { passed: 0, failed: 0, skipped: 0 };
/** What failed, said again before the sum, where it is found in a long log. */
const losses: string[] = [];
const casesByPath = new Map<string, TestCase[]>([...RUNTIME_PATHS, ...WSL_PATHS].map(({ name }) => [name, []]));

for (const runner of runners) {
  const files = runner.suites.flatMap((glob) => [...new Bun.Glob(`tests/${glob}`).scanSync({ cwd: root })]).sort()
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)));
  if (files.length === 0) {
    if (patterns.length === 0) lose(runner, "there are no suites");
  } else if (runner.together) await runBatch(runner, files);
  else for (const file of files) await runBatch(runner, [file]);
}
if (sum.passed + sum.failed + sum.skipped === 0) {
  losses.push(`No suite's path contains ${patterns.join(" or ")}`);
  sum.failed += 1;
}
if (patterns.length === 0 || patterns.some((pattern) => SHAPES_SUITE.includes(pattern))) printMatrices();
printSum(sum, losses);

async function runBatch(runner: Runner, files: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-tests-"));
  try {
    const report = join(folder, "report.xml");
    process.stdout.write(`\n${runner.name}: ${files.length === 1 ? files[0] : `${files.length} suites`}\n`);
    const command = runner.command(files.map((file) => `./${file}`), report);
    const child = Bun.spawn([...command], {
      cwd: root,
      env: { ...ownEnvironment(), [RUNTIME_PATH]: runner.name },
      stdio: ["ignore", "inherit", "inherit"],
      timeout: BATCH_LIMIT_MS,
    });
    const status = await child.exited;
    const cases = readJunitReport(readIfThere(report));
    for (const { outcome, group, name, file } of cases) {
      sum[outcome] += 1;
      if (outcome !== "passed") {
        losses.push(`${runner.name}: ${file ?? files[0]}: ${[group, name].join(" ")} (${outcome})`);
      }
    }
    casesByPath.get(runner.name)?.push(...cases);

    const ran = new Set(files.length === 1 && cases.length > 0 ? files : cases.map(({ file }) => file));
    for (const file of files.filter((file) => !ran.has(file))) lose(runner, `no test of ${file} ran`);
    // A suite that broke outside its tests has no failed test to show.
    if (status !== 0 && !cases.some(({ outcome }) => outcome === "failed")) {
      lose(runner, `exited with ${child.signalCode ?? status}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
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
  losses.push(...missing.map((cell) => `no test of ${cell} ran`));
  sum.failed += missing.length;
}

function lose({ name }: Runner, what: string): void {
  process.stdout.write(`${name}: ${what}\n`);
  losses.push(`${name}: ${what}`);
  sum.failed += 1;
}

/** The environment less what would lead a test to the developer's own session, and to settings of theirs. */
function ownEnvironment(): Record<string, string | undefined> {
  const theirs = /^(DBUS_SESSION_BUS_ADDRESS$|XDG_RUNTIME_DIR$|WSL|LATCHKEY_)/;
  const plain = process.stdout.isTTY ? {} : { NO_COLOR: "1" };
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !theirs.test(name))), ...plain };
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

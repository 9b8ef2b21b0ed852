// npm test [-- PATTERN…]: every suite, or those whose path contains a pattern, on each runtime that it is for.
// The last line is the sum. Whatever did not run counts as failed, and a skipped test makes the run fail.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findTool } from "./tools/find_tool.js";
import { readJunitReport } from "./tools/junit_report.ts";

interface Runner {
  readonly name: string;
  /** How the names of its suites end. */
  readonly suites: "_test.ts" | "_contract.ts";
  /** Whether one process runs all suites, which is quicker, instead of one each. */
  readonly together: boolean;
  /** What runs `files` and writes a JUnit report. */
  command(files: readonly string[], report: string): readonly string[];
}

const runners: readonly Runner[] = [
  {
    name: "Bun",
    suites: "_test.ts",
    together: true,
    command: (files, report) => [
      ...[findTool("bun"), "test", "--conditions", "latchkey-source"],
      ...["--reporter=junit", `--reporter-outfile=${report}`, ...files],
    ],
  },
  {
    name: "Deno + libdbus",
    suites: "_contract.ts",
    together: false,
    command: (files, report) => [
      ...[findTool("deno"), "test", "--no-config", "--node-modules-dir=manual", "--conditions=latchkey-source"],
      ...["--import-map=tests/runtimes/import_map.json", "--allow-all", "--no-check"],
      ...[`--junit-path=${report}`, ...files],
    ],
  },
];

const root = fileURLToPath(new URL("../", import.meta.url));
const patterns = process.argv.slice(2);
const sum = { passed: 0, failed: 0, skipped: 0 };

for (const runner of runners) {
  const files = [...new Bun.Glob(`tests/**/*${runner.suites}`).scanSync({ cwd: root })].sort()
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)));
  if (files.length === 0) {
    if (patterns.length === 0) lose(runner, "there are no suites");
  } else if (runner.together) await runBatch(runner, files);
  else for (const file of files) await runBatch(runner, [file]);
}
if (sum.passed + sum.failed + sum.skipped === 0) {
  process.stdout.write(`No suite's path contains ${patterns.join(" or ")}\n`);
  sum.failed += 1;
}
process.stdout.write(
  `${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}\n`,
);
process.exitCode = sum.failed + sum.skipped > 0 ? 1 : 0;

async function runBatch(runner: Runner, files: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-tests-"));
  try {
    const report = join(folder, "report.xml");
    process.stdout.write(`\n${runner.name}: ${files.length === 1 ? files[0] : `${files.length} suites`}\n`);
    const command = runner.command(files.map((file) => `./${file}`), report);
    const child = Bun.spawn([...command], {
      cwd: root,
      env: ownEnvironment(),
      stdio: ["ignore", "inherit", "inherit"],
    });
    const status = await child.exited;
    const cases = readJunitReport(readIfThere(report));
    for (const { outcome } of cases) sum[outcome] += 1;

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

function lose({ name }: Runner, what: string): void {
  process.stdout.write(`${name}: ${what}\n`);
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

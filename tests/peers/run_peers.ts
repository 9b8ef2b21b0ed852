// npm run test:peers [-- PATTERN…]: with Microsoft's own client, which is downloaded for it. Our fake broker is held to what it
// sends and takes; and it is the way to the broker for the suites of brokers, on each runtime. The last line is the sum.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MSALRUNTIME_PATHS, RUNTIME_PATH } from "../runtimes/runtime_paths.ts";
import { readJunitReport } from "../tools/junit_report.ts";
import { printSum } from "../tools/print_sum.ts";
import { LIMITS } from "./limits_of_msalruntime.ts";

/** A run of some suites in a process of their own. */
interface Batch {
  readonly name: string;
  readonly files: readonly string[];
  command(report: string): readonly string[];
}

/** Longer than any takes: a library that waits for ever is seen. */
const BATCH_LIMIT_MS = 120_000;

const root = fileURLToPath(new URL("../../", import.meta.url));
const client = fileURLToPath(new URL("msalruntime/", import.meta.url));
const patterns = process.argv.slice(2);
const sum = { passed: 0, failed: 0 };
/** What failed, said again before the sum, where it is found in a long log. */
const losses: string[] = [];

installClient();
for (const batch of batches()) await run(batch);
if (sum.passed + sum.failed === 0) lose("", "nothing ran");
process.stdout.write(
  `\nOver MSALRuntime ${LIMITS.length} tests of the suites of brokers are not run, since on Linux\n`,
);
for (const why of new Set(LIMITS.map(({ why }) => why))) process.stdout.write(`  ${why}\n`);
printSum(sum, losses);

function* batches(): Generator<Batch> {
  const peers = filesOf("tests/peers/*_peer.ts");
  if (peers.length > 0) {
    const command = (report: string) => [
      ...[process.execPath, "test", "--reporter=junit", `--reporter-outfile=${report}`],
      ...peers.map((file) => `./${file}`),
    ];
    yield { name: "Bun, peers", files: peers, command };
  }
  for (const { name, suite } of MSALRUNTIME_PATHS) {
    for (
      const file of [...filesOf("tests/**/*_on_msalruntime.ts"), ...filesOf("tests/lib/*_contract.ts", isOfBrokers)]
    ) {
      yield { name, files: [file], command: (report) => suite(`./${file}`, report) };
    }
  }
}

/** A suite that knows of limits is one of those that every way to a broker passes. */
function isOfBrokers(file: string): boolean {
  return readFileSync(join(root, file), "utf8").includes("limitedTest(");
}

function filesOf(glob: string, isWanted: (file: string) => boolean = () => true): readonly string[] {
  return [...new Bun.Glob(glob).scanSync({ cwd: root })].sort()
    .filter((file) => isWanted(file) && (patterns.length === 0 || patterns.some((pattern) => file.includes(pattern))));
}

async function run({ name, files, command }: Batch): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-peers-")), report = join(folder, "report.xml");
  try {
    process.stdout.write(`\n${name}: ${files.length === 1 ? files[0] : `${files.length} suites`}\n`);
    const child = Bun.spawn([...command(report)], {
      cwd: root,
      env: { ...process.env, [RUNTIME_PATH]: name },
      stdio: ["ignore", "inherit", "inherit"],
      timeout: BATCH_LIMIT_MS,
    });
    const status = await child.exited, cases = readJunitReport(existsSync(report) ? readFileSync(report, "utf8") : "");
    for (const { outcome, group, name: test } of cases) {
      if (outcome === "passed") sum.passed += 1;
      else lose(name, `${files[0]}: ${[group, test].join(" ")} (${outcome})`);
    }
    // A suite that broke outside its tests has no failed test to show.
    if (cases.length === 0) lose(name, `no test of ${files[0]} ran`);
    else if (status !== 0 && cases.every(({ outcome }) => outcome === "passed")) lose(name, `exited with ${status}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function lose(name: string, what: string): void {
  losses.push(`${name}: ${what}`);
  sum.failed += 1;
}

/** Installs the version that is locked, unless it is there. */
function installClient(): void {
  const { "@azure/msal-node-runtime": wanted } = readJson("package.json")!.dependencies;
  if (readJson("node_modules/@azure/msal-node-runtime/package.json")?.version === wanted) return;
  process.stderr.write("Setting up: npm ci --ignore-scripts, for Microsoft's client\n");
  const { success } = Bun.spawnSync(["npm", "ci", "--ignore-scripts"], {
    cwd: client,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (!success) process.exit(1);
}

// deno-lint-ignore no-explicit-any -- a package.json
function readJson(file: string): any {
  try {
    return JSON.parse(readFileSync(join(client, file), "utf8"));
  } catch {
    return undefined;
  }
}

// Suites in a process of their own, and what became of each test in them.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readJunitReport, type TestCase } from "./junit_report.ts";
import type { TestSum } from "./print_sum.ts";

/** Suites that one process runs. */
export interface Batch {
  /** What they run on. */
  readonly name: string;
  /** Their paths below the root. */
  readonly files: readonly string[];
  /** What runs them and writes a JUnit report. */
  command(report: string): readonly string[];
  /** The environment. @default that of this process */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** How long they may take. */
  readonly limitMs: number;
}

/** What batches came to. */
export class Tally {
  #passed = 0;
  #failed = 0;
  #skipped = 0;
  readonly #losses: string[] = [];

  /** How many tests there were. */
  get sum(): Required<TestSum> {
    return { passed: this.#passed, failed: this.#failed, skipped: this.#skipped };
  }

  /** What failed, a line each. */
  get losses(): readonly string[] {
    return this.#losses;
  }

  /** Counts something that failed and is no test. */
  lose(what: string): void {
    this.#losses.push(what);
    this.#failed += 1;
  }

  /** Runs a batch; what it prints goes to this process's output. */
  async run({ name, files, command, env = process.env, limitMs }: Batch): Promise<readonly TestCase[]> {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-tests-")), report = join(folder, "report.xml");
    try {
      process.stdout.write(`\n${name}: ${files.length === 1 ? files[0] : `${files.length} suites`}\n`);
      const child = Bun.spawn([...command(report)], {
        cwd: fileURLToPath(new URL("../../", import.meta.url)),
        env: { ...env },
        stdio: ["ignore", "inherit", "inherit"],
        timeout: limitMs,
      });
      const status = await child.exited,
        cases = readJunitReport(existsSync(report) ? readFileSync(report, "utf8") : "");
      for (const { outcome, group, name: test, file } of cases) {
        if (outcome === "passed") this.#passed += 1;
        else if (outcome === "skipped") this.#skipped += 1;
        else this.#failed += 1;
        if (outcome !== "passed") {
          this.#losses.push(`${name}: ${file ?? files[0]}: ${[group, test].join(" ")} (${outcome})`);
        }
      }
      const ran = new Set(files.length === 1 && cases.length > 0 ? files : cases.map(({ file }) => file));
      for (const file of files.filter((file) => !ran.has(file))) this.lose(`${name}: no test of ${file} ran`);
      // A suite that broke outside its tests has no failed test to show.
      if (status !== 0 && !cases.some(({ outcome }) => outcome === "failed")) {
        this.lose(`${name}: exited with ${child.signalCode ?? status}`);
      }
      return cases;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { AT_ONCE, RUNTIME_PATH, type RuntimePath } from "../runtimes/runtime_paths.ts";
import { readJunitReport, type TestCase } from "./junit_report.ts";

/** Suites that one process of a runtime's own test runner runs. */
export interface Batch {
  /** The runtime's name, which the suites find in their environment. */
  readonly name: string;
  /** The suites' paths below the root. */
  readonly files: readonly string[];
  /** Runs them and writes a JUnit report. */
  command(report: string): readonly string[];
  /** Variables for it alone. @default none */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface TestRunOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Time in milliseconds after which a batch is ended: Node does not end while a suite has left something open. @default 300,000 */
  readonly limitMs?: number;
  /** How many batches run at the same time. @default one more than there are processors */
  readonly atOnce?: number;
  /** Returns true for a test that may be skipped, by its group and name; it does not count. @default none may */
  readonly isExcepted?: (batch: Batch, test: string) => boolean;
}

export interface TestOutcome {
  readonly passed: number;
  readonly losses: readonly string[];
}

/** The line before what failed. CI looks for it, to repeat that at the end of a log that has several scripts. */
const FAILURES_FOLLOW = "What failed:";

const LIMIT_MS = 300_000;

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The batch of several suites in one process, or of one. */
export function batchOf({ name, suites }: Pick<RuntimePath, "name" | "suites">, files: readonly string[]): Batch {
  return { name, files, command: (report) => suites(files.map((file) => `./${file}`), report) };
}

/** A script's run of tests: `[--repeat N] [PATTERN…]`, where a suite runs if its path contains a pattern, or if there are none. */
export class TestRun {
  readonly #options: TestRunOptions;
  readonly #patterns: readonly string[];
  readonly #unmatched: Set<string>;
  readonly #repeat: number;
  readonly #losses: string[] = [];
  /** Folder of what Node has compiled: with that it starts from sources four times as quickly. */
  #compiled = "";
  #passed = 0;

  constructor(options: TestRunOptions, args: readonly string[] = process.argv.slice(2)) {
    this.#options = options;
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { repeat: { type: "string", default: "1" } },
      allowPositionals: true,
    });
    this.#patterns = positionals;
    this.#unmatched = new Set(positionals);
    this.#repeat = Number(values.repeat);
    if (!Number.isSafeInteger(this.#repeat) || this.#repeat < 1) throw new TypeError("--repeat takes a whole number");
  }

  /** Returns the suites that a glob finds and the user wants, sorted. */
  find(glob: string): readonly string[] {
    const files = [...new Bun.Glob(glob).scanSync({ cwd: root })];
    return this.wanted(files.map((file) => file.replaceAll("\\", "/")).sort());
  }

  /** Returns those of some suites that the user wants. */
  wanted(files: readonly string[]): readonly string[] {
    const matched = this.#patterns.filter((pattern) => files.some((file) => file.includes(pattern)));
    for (const pattern of matched) this.#unmatched.delete(pattern);
    return files.filter((file) => this.#patterns.length === 0 || matched.some((pattern) => file.includes(pattern)));
  }

  /** Runs batches, some at the same time, and prints what each has written. Nothing runs again because it failed. */
  async run(batches: readonly Batch[]): Promise<void> {
    const { atOnce = AT_ONCE } = this.#options;
    using compiled = temporaryFolder();
    this.#compiled = compiled.path;
    const all = Array<readonly Batch[]>(this.#repeat).fill(batches).flat();
    const left = all.filter(({ files }) => files.length > 0).values();
    const isAlone = batches.length === 1;
    const work = async (): Promise<void> => {
      for (const batch of left) await (isAlone ? this.#runShown(batch) : this.#runCaptured(batch));
    };
    await Promise.all(Array.from({ length: isAlone ? 1 : atOnce }, work));
  }

  /** Counts a failure. */
  lose(what: string, why = ""): void {
    this.#losses.push([what, ...why.split("\n").filter(Boolean).map((line) => `    ${line}`)].join("\n"));
  }

  /** Returns how many tests have passed, and what has failed, with the message below. */
  outcome(): TestOutcome {
    const unmatched = [...this.#unmatched].map((pattern) => `No suite's path contains ${pattern}`);
    const losses = [...unmatched, ...this.#losses];
    return { passed: this.#passed, losses: this.#passed + losses.length > 0 ? losses : ["Nothing ran"] };
  }

  /** Prints what has failed, then the sum. */
  end(): void {
    printSum(this.outcome());
  }

  async #runCaptured(batch: Batch): Promise<void> {
    using folder = temporaryFolder();
    const path = join(folder.path, "output");
    const output = openSync(path, "a"); // one file for both, so that what was written stays in order
    const began = performance.now();
    const running = this.#runIn(folder.path, batch, output);
    closeSync(output);
    await running;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    process.stdout.write(`\n${batch.name}: ${batch.files.join(" ")} (${seconds} s)\n${readFileSync(path, "utf8")}`);
  }

  async #runShown(batch: Batch): Promise<void> {
    using folder = temporaryFolder();
    await this.#runIn(folder.path, batch, "inherit");
  }

  async #runIn(folder: string, batch: Batch, output: number | "inherit"): Promise<void> {
    const report = join(folder, "report.xml");
    const child = Bun.spawn([...batch.command(report)], {
      cwd: root,
      env: {
        ...this.#options.environment,
        NODE_COMPILE_CACHE: this.#compiled,
        ...batch.environment,
        [RUNTIME_PATH]: batch.name,
      },
      stdio: ["ignore", output, output],
      timeout: this.#options.limitMs ?? LIMIT_MS,
    });
    const status = await child.exited;
    const cases = existsSync(report) ? readJunitReport(readFileSync(report, "utf8")) : [];
    this.#count(batch, cases, child.signalCode ?? status);
  }

  #count(batch: Batch, cases: readonly TestCase[], end: string | number): void {
    const { name: runtime, files } = batch;
    const fileOf = ({ file = "" }: TestCase): string => files.length === 1 ? files[0]! : file;
    for (const each of cases) {
      const test = [each.group, each.name].filter(Boolean).join(" ");
      if (each.outcome === "passed") this.#passed++;
      else if (each.outcome === "failed") this.lose(`${runtime}: ${fileOf(each)}: ${test}`, each.failure);
      else if (!this.#options.isExcepted?.(batch, test)) this.lose(`${runtime}: ${fileOf(each)}: ${test} (skipped)`);
    }
    const reported = new Set(cases.map(fileOf));
    for (const file of files) if (!reported.has(file)) this.lose(`${runtime}: ${file}: no test ran`);
    // A suite that broke outside its tests has no failed test to show.
    const hasFailed = cases.some(({ outcome }) => outcome === "failed");
    if (end !== 0 && !hasFailed) this.lose(`${runtime}: ${files.length === 1 ? `${files[0]}: ` : ""}ended with ${end}`);
  }
}

/** Ends a script's output: what failed, where it is found in a long log, then the sum as the last line. */
export function printSum({ passed, losses }: TestOutcome): void {
  const failures = losses.length > 0 ? ["", FAILURES_FOLLOW, ...losses] : [];
  process.stdout.write([...failures, `${passed} passed, ${losses.length} failed`, ""].join("\n"));
  process.exitCode = Number(losses.length > 0);
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "latchkey-tests-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

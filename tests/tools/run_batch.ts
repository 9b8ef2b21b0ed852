import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RUNTIME_PATH, type RuntimePath } from "../runtimes/runtime_paths.ts";
import { readJunitReport, type TestCase } from "./junit_report.ts";

/** A suite on a runtime. */
export interface Batch {
  /** The runtime's name, which the suite finds in its environment. */
  readonly name: string;
  /** The suite's path below the root. */
  readonly file: string;
  /** Whether it takes the whole machine, and runs when no other does. @default false */
  readonly isAlone?: boolean;
  /** What runs it and writes a JUnit report. */
  command(report: string): readonly string[];
  /** Variables for it alone. @default none */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A suite on a path to a broker, or on what has its name. */
export function batchOn({ name, suite }: Pick<RuntimePath, "name" | "suite">, file: string): Batch {
  return { name, file, command: (report) => suite(`./${file}`, report) };
}

/** A test that did not pass, or a suite that broke outside its tests. */
export interface Loss {
  /** Where and which. */
  readonly what: string;
  /** What the runner said of it. */
  readonly why: string;
}

/** What came of a batch. */
export interface BatchRun {
  readonly batch: Batch;
  /** All that it wrote. */
  readonly output: string;
  readonly ms: number;
  readonly cases: readonly TestCase[];
  readonly losses: readonly Loss[];
}

export interface BatchOptions {
  /** After how many milliseconds a batch is ended: Node does not end while a suite has left something open. */
  readonly limitMs: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Runs a suite in a process of its own. What did not run counts as lost. */
export async function runBatch(batch: Batch, { limitMs, environment }: BatchOptions): Promise<BatchRun> {
  const { name, file } = batch, folder = mkdtempSync(join(tmpdir(), "latchkey-tests-"));
  try {
    const report = join(folder, "report.xml"), written = join(folder, "output"), output = openSync(written, "a");
    const began = performance.now();
    const child = Bun.spawn([...batch.command(report)], {
      cwd: root,
      env: { ...environment, ...batch.environment, [RUNTIME_PATH]: name },
      // One file for both, so that what was written stays in order.
      stdio: ["ignore", output, output],
      timeout: limitMs,
    });
    closeSync(output);
    const status = await child.exited, ms = performance.now() - began;
    const cases = readJunitReport(readIfThere(report));
    const losses = cases.filter(({ outcome }) => outcome !== "passed").map((
      { group, name: test, outcome, failure },
    ) => ({
      what: `${name}: ${file}: ${[group, test].filter(Boolean).join(" ")} (${outcome})`,
      why: failure ?? "",
    }));
    const broke = (what: string): number => losses.push({ what: `${name}: ${file}: ${what}`, why: "" });
    if (cases.length === 0) broke("no test ran");
    // A suite that broke outside its tests has no failed test to show.
    if (status !== 0 && !cases.some(({ outcome }) => outcome === "failed")) {
      broke(`exited with ${child.signalCode ?? status}`);
    }
    return { batch, output: readIfThere(written), ms, cases, losses };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

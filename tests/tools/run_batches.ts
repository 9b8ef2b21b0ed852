import { availableParallelism } from "node:os";
import process from "node:process";
import { type Batch, type BatchOptions, type BatchRun, type Loss, runBatch } from "./run_batch.ts";

export interface BatchesOptions extends BatchOptions {
  /** How many run at a time. @default one more than there are processors, as most wait for processes most of the time */
  readonly atOnce?: number;
  /** How often each runs. What failed has a second chance, alone on the machine, but not when it was to run more than once. */
  readonly repeat: number;
  /** A run that has lost more than this has failed: a second chance is for the odd one alone. @default 3 */
  readonly maxUnsteady?: number;
  /** Returns a run without what does not count. @default all of it counts */
  readonly counted?: (run: BatchRun) => BatchRun;
  /** Takes what is printed as each batch ends. @default standard output */
  readonly print?: (text: string) => void;
}

/** What came of all batches. */
export interface BatchesRun {
  /** The last run of each batch. */
  readonly runs: readonly BatchRun[];
  /** What was lost, and passed when its suite was run again. */
  readonly unsteady: readonly Loss[];
}

export const MAX_UNSTEADY = 3;

/** Runs suites, some at a time, and prints what each wrote when it ends. */
export async function runBatches(batches: readonly Batch[], options: BatchesOptions): Promise<BatchesRun> {
  const { atOnce = availableParallelism() + 1, repeat, maxUnsteady = MAX_UNSTEADY } = options;
  const { counted = (run) => run, print = (text) => process.stdout.write(text) } = options;
  const all = batches.flatMap((batch) => Array<Batch>(repeat).fill(batch)), runs: BatchRun[] = [];
  for (const isAlone of [false, true]) {
    const left = all.entries().filter(([, batch]) => (batch.isAlone ?? false) === isAlone);
    const work = async (): Promise<void> => {
      for (const [index, batch] of left) runs[index] = await printed(batch);
    };
    await Promise.all(Array.from({ length: isAlone ? 1 : atOnce }, work));
  }

  const unsteady: Loss[] = [], lost = runs.flatMap(({ losses }) => losses);
  if (repeat > 1 || lost.length > maxUnsteady) return { runs, unsteady };
  for (const [index, { batch, losses }] of runs.entries()) {
    if (losses.length === 0) continue;
    print("\nOnce more, alone:");
    const second = await printed(batch), remain = new Set(second.losses.map(({ what }) => what));
    unsteady.push(...losses.filter(({ what }) => !remain.has(what)));
    runs[index] = second;
  }
  return { runs, unsteady };

  async function printed(batch: Batch): Promise<BatchRun> {
    const run = await runBatch(batch, options);
    print(`\n${batch.name}: ${batch.file} (${(run.ms / 1000).toFixed(1)} s)\n${run.output}`);
    return counted(run);
  }
}

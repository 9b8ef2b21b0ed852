import type { TestSum } from "./print_sum.ts";
import type { Loss } from "./run_batch.ts";
import type { BatchesRun } from "./run_batches.ts";

/** What a run came to, for its last lines. */
export interface RunSum {
  readonly sum: Required<TestSum>;
  /** What failed, and below each what was said of it. */
  readonly losses: readonly string[];
  /** Likewise what failed once, and then passed. */
  readonly unsteady: readonly string[];
}

/**
 * Counts what passed and what did not.
 *
 * @param others What was lost outside the suites.
 */
export function sumUp({ runs, unsteady }: BatchesRun, others: readonly Loss[] = []): RunSum {
  const outcomes = runs.flatMap(({ cases }) => cases.map(({ outcome }) => outcome));
  const count = (wanted: string): number => outcomes.filter((outcome) => outcome === wanted).length;
  const lost = [...others, ...runs.flatMap(({ losses }) => losses)], skipped = count("skipped");
  return {
    sum: { passed: count("passed"), failed: lost.length - skipped, skipped },
    losses: lost.flatMap(linesOf),
    unsteady: unsteady.flatMap(linesOf),
  };
}

function linesOf({ what, why }: Loss): readonly string[] {
  return [what, ...why.split("\n").filter(Boolean).map((line) => `    ${line}`)];
}

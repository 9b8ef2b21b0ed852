import type { Loss } from "./run_batch.ts";
import type { BatchesRun } from "./run_batches.ts";

/** How a run of tests ends. */
export interface TestSum {
  /** What was lost and why, and the sum in the last line. */
  readonly text: string;
  readonly isGood: boolean;
}

/**
 * The end of a run's output: all that failed is said again, since it is found there in a long log.
 *
 * @param others What was lost outside the suites.
 */
export function sumUp({ runs, unsteady }: BatchesRun, others: readonly Loss[] = []): TestSum {
  const lost = [...others, ...runs.flatMap(({ losses }) => losses)];
  const outcomes = runs.flatMap(({ cases }) => cases.map(({ outcome }) => outcome));
  const count = (wanted: string): number => outcomes.filter((outcome) => outcome === wanted).length;
  const skipped = count("skipped"), failed = lost.length - skipped;
  const text = [
    ...headed("lost", lost),
    ...headed("unsteady: failed, and passed when the suite was run again alone", unsteady),
    `${count("passed")} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
  ];
  return { text: text.map((line) => `${line}\n`).join(""), isGood: lost.length === 0 };
}

function headed(heading: string, losses: readonly Loss[]): readonly string[] {
  if (losses.length === 0) return [];
  return ["", heading, ...losses.flatMap(({ what, why }) => [what, ...(why ? [why.replace(/^/gm, "    ")] : [])]), ""];
}

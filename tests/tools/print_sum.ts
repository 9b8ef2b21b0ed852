import process from "node:process";

/** What a script's tests came to. */
export interface TestSum {
  readonly passed: number;
  readonly failed: number;
  readonly skipped?: number;
}

/** The line before what failed. CI looks for it, to say that again at the end of a log that has several scripts. */
export const FAILURES_FOLLOW = "What failed:";

/**
 * Ends a script's output: what failed, where it is found in a long log, then the sum as the last line. The exit code says
 * whether all is well.
 *
 * @param unsteady What failed, and passed when it was run again.
 */
export function printSum(
  { passed, failed, skipped = 0 }: TestSum,
  losses: readonly string[],
  unsteady: readonly string[] = [],
): void {
  const lines = unsteady.length > 0 ? ["", "Unsteady, passed when run again alone:", ...unsteady] : [];
  if (losses.length > 0) lines.push("", FAILURES_FOLLOW, ...losses);
  lines.push(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
  process.exitCode = Number(failed + skipped > 0);
}

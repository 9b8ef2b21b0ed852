// How fuzzing suites run: a few inputs, always the same, among the other tests; new ones for as long as `npm run fuzz` says.
import process from "node:process";
import type * as fc from "fast-check";

/** For how long each property is tried, in seconds; `undefined` in `npm test`. */
const seconds = process.env.FUZZ_SECONDS === undefined ? undefined : Number(process.env.FUZZ_SECONDS);

/** Time limit of a test, in milliseconds. */
export const FUZZ_TIMEOUT_MS: number = seconds === undefined ? 60_000 : (seconds + 60) * 1000;

/** How a property is tried. @param numRuns With how many inputs in `npm test`. */
export function fuzzing(numRuns: number): fc.Parameters<unknown> {
  if (seconds === undefined) return { numRuns, seed: 6 };
  return { numRuns: Infinity, interruptAfterTimeLimit: seconds * 1000 };
}

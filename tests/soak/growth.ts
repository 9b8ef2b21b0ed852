/** Whether what is measured again and again still grows. */
import { median } from "../bench/report.ts";

/** The share of the samples that is for warming up: code is compiled, and tables get the size that they keep. */
const WARM_UP = 1 / 3;
const QUARTERS = 4;

/** The medians of the quarters of the samples, in order, without those of the warm-up. */
export function quarterMedians(samples: readonly number[]): number[] {
  const measured = samples.slice(Math.ceil(samples.length * WARM_UP)), length = measured.length / QUARTERS;
  return Array.from(
    { length: QUARTERS },
    (_, quarter) => median(measured.slice(Math.round(quarter * length), Math.round((quarter + 1) * length))),
  );
}

/** The least rise from a quarter to the next. A leak rises in each of them; what grew once, or comes and goes, does not. */
export function steadyRise(medians: readonly number[]): number {
  return Math.min(...medians.slice(1).map((value, index) => value - medians[index]!));
}

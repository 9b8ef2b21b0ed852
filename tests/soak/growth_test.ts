// What `npm run soak` counts as growth: a leak is found under noise, and what V8 does once is none.
import { expect, test } from "bun:test";
import { quarterMedians, steadyRise } from "./growth.ts";

const SAMPLES = 48;

/** Samples with noise that comes and goes, as garbage collection leaves it. */
function samples(valueAt: (index: number) => number): number[] {
  return Array.from({ length: SAMPLES }, (_, index) => valueAt(index) + [0, 3, -2, 5, -4, 90][index % 6]!);
}

function riseOf(valueAt: (index: number) => number): number {
  return steadyRise(quarterMedians(samples(valueAt)));
}

test("quarterMedians() leaves out the warm-up, and takes the rest in four parts", () => {
  expect(quarterMedians([900, 900, 900, 900, 1, 2, 3, 4, 5, 6, 7, 8])).toEqual([1.5, 3.5, 5.5, 7.5]);
});

test("steadyRise() is what a leak grows by from a quarter to the next", () => {
  expect(riseOf((index) => 1000 + 10 * index)).toBeGreaterThan(60);
});

test.each([
  ["what stays", () => 1000],
  ["what grows while it warms up", (index: number) => 100 * Math.min(index, 16)],
  ["a table that doubled once", (index: number) => index < 30 ? 1000 : 2000],
  ["what grew and then stays", (index: number) => 100 * Math.min(index, 36)],
  ["what shrinks", (index: number) => 9000 - 10 * index],
])("steadyRise() of %s is next to nothing", (_, valueAt) => {
  expect(riseOf(valueAt)).toBeLessThan(10);
});

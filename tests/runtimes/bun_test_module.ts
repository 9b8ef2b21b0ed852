// `bun:test` for Deno and Node: the parts that our suites use, over node:test and the `expect` that Bun's is modelled on.
// Suites are type-checked against Bun's own declarations, not these.
import process from "node:process";
import * as node from "node:test";
import { inspect } from "node:util";
export { expect } from "expect";
import { TEST_LIMIT_MS } from "./test_limit.ts";

type Run = () => unknown;

/** Tests that do not run, as Bun's `--test-name-pattern` leaves them out: a regular expression for groups and name. */
const { LEFT_OUT_TESTS } = process.env, leftOut = LEFT_OUT_TESTS ? new RegExp(LEFT_OUT_TESTS) : undefined;
/** The groups that are being defined, the outer one first. */
const groups: string[] = [];

function defineTest(name: string, run: Run, timeoutMs = TEST_LIMIT_MS): void {
  if (leftOut?.test([...groups, name].join(" "))) return;
  // Node would take a first parameter of `run` for its context, or a second one for a callback.
  node.test(name, () => withinLimit(run, timeoutMs));
}

export const test = Object.assign(defineTest, {
  each: (rows: readonly unknown[]) => (name: string, run: (...row: unknown[]) => unknown, timeoutMs?: number): void => {
    for (const [index, row] of rows.entries()) {
      const values: readonly unknown[] = Array.isArray(row) ? row : [row];
      defineTest(titleOf(name, values, index), () => run(...values), timeoutMs);
    }
  },
});
export const it = test;

export function describe(name: string, define: () => void): void {
  node.describe(name, () => {
    groups.push(name);
    define();
    groups.pop();
  });
}

/** The hooks before: Node starts those outside of groups as they are defined, without waiting for one another. */
let earlier: Promise<unknown> = Promise.resolve();

export const beforeAll = (run: Run): void =>
  node.before(() => {
    const done = earlier.then(run);
    earlier = done.catch(() => {});
    return done;
  });
export const afterAll = (run: Run): void => node.after(() => run());
export const beforeEach = (run: Run): void => node.beforeEach(() => run());
export const afterEach = (run: Run): void => node.afterEach(() => run());

/** A row's values in place of `%s` and its like, as printf has them. */
function titleOf(name: string, values: readonly unknown[], index: number): string {
  const rest = [...values];
  return name.replace(/%[spdifjo#%]/g, (place) => {
    if (place === "%%") return "%";
    if (place === "%#") return String(index);
    if (rest.length === 0) return place;
    const value = rest.shift();
    return typeof value === "string" ? value : inspect(value, { breakLength: Infinity });
  });
}

/** Deno's node:test knows no `timeout`. */
async function withinLimit(run: Run, timeoutMs: number): Promise<void> {
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(new Error(`The test took more than ${timeoutMs} ms`)), timeoutMs);
  try {
    await Promise.race([run(), limit.promise]);
  } finally {
    clearTimeout(timer);
  }
}

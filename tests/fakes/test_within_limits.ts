/** `test` of bun:test for the suites of brokers, less what Microsoft's library is known not to do where it is the way to the broker. */
import { afterAll, expect, test as bunTest } from "bun:test";
import { inspect } from "node:util";
import { BROKER } from "./tested_broker.ts";
import { type Limit, limitsOf } from "../peers/limits_of_msalruntime.ts";

/**
 * The suite's own `test`.
 *
 * @param suite Address of the suite's module.
 */
export function limitedTest(suite: string): typeof bunTest {
  if (BROKER !== "msalruntime") return bunTest;
  const limits = limitsOf(suite), used = new Set<Limit>();
  const isLimited = (name: string, row?: unknown): boolean => {
    const limit = limits.find(({ test, row: ofRow }) =>
      test === name && (ofRow === undefined || ofRow.test(inspect(row)))
    );
    if (limit) used.add(limit);
    return limit !== undefined;
  };
  // A limit that is none any more would hide that.
  afterAll(() => expect(limits.filter((limit) => !used.has(limit))).toEqual([]));

  const limited = (name: string, ...rest: unknown[]) => {
    if (!isLimited(name)) (bunTest as (...all: unknown[]) => void)(name, ...rest);
  };
  const each = (rows: readonly unknown[]) => (name: string, ...rest: unknown[]) => {
    const left = rows.filter((row) => !isLimited(name, row));
    if (left.length > 0) (bunTest.each(left) as (...all: unknown[]) => void)(name, ...rest);
  };
  return Object.assign(limited, { each }) as unknown as typeof bunTest;
}

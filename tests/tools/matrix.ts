import type { TestCase } from "./junit_report.ts";

/** What is said of the brokers' shapes on each path to the bus. */
export interface Matrix {
  /** A table, a line each. */
  readonly text: string;
  /** Cells without a test, as `row on column`. */
  readonly missing: readonly string[];
}

/**
 * Shapes × paths: how many of the tests in groups "… with SHAPE" passed, and of how many.
 *
 * @param shapes The rows.
 * @param columns The tests that ran on each path.
 */
export function matrixOf(shapes: readonly string[], columns: ReadonlyMap<string, readonly TestCase[]>): Matrix {
  const missing: string[] = [];
  const rows = shapes.map((shape) => [
    shape,
    ...[...columns].map(([path, cases]) => {
      const own = cases.filter(({ group }) => ` ${group}`.endsWith(` with ${shape}`));
      if (own.length === 0) missing.push(`${shape} on ${path}`);
      return `${own.filter(({ outcome }) => outcome === "passed").length}/${own.length}`;
    }),
  ]);
  return { text: aligned([["", ...columns.keys()], ...rows]), missing };
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()}\n`).join(
    "",
  );
}

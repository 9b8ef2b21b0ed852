/**
 * What the doctor says, for people and for programs.
 *
 * @module
 */
import type { CheckResult, Finding } from "./doctor_check.ts";
import { visible, visibleJson } from "./visible.ts";

/** Marks that say it without colour, too. */
const MARKS: Readonly<Record<Finding["state"], string>> = { ok: "ok", failed: "FAIL", blocked: "--", unknown: "--" };

/** Whether nothing was found that is wrong. What need not be looked at is not. */
export function isWell(results: readonly CheckResult[]): boolean {
  return results.every(isFine);
}

function isFine({ state }: Finding): boolean {
  return state === "ok" || state === "unknown";
}

/** The report as `--format json` prints it. */
export function reportJson(results: readonly CheckResult[]): string {
  const checks = results.map((result) => ({
    ...{ id: result.id, ok: isFine(result), detail: result.detail, fix: result.fix },
  }));
  return `${visibleJson({ ok: isWell(results), checks })}\n`;
}

/** The report as people read it: a line a check, then what to do, what several checks advise being said once. */
export function reportText(results: readonly CheckResult[]): string {
  const width = Math.max(...results.map(({ id }) => id.length));
  const lines = results.map(({ id, state, detail }) => `${MARKS[state].padEnd(4)}  ${id.padEnd(width)}  ${detail}`);
  return [
    ...lines,
    ...advice("To mend it:", results.filter(({ state }) => state === "failed")),
    ...advice("Beside that:", results.filter(isFine)),
  ].map((line) => `${visible(line)}\n`).join("");
}

function advice(title: string, results: readonly CheckResult[]): readonly string[] {
  const byFix = Map.groupBy(results.filter(({ fix }) => fix), ({ fix }) => fix);
  const lines = [...byFix].map(([fix, of]) => `  ${of.map(({ id }) => id).join(", ")}: ${fix}`);
  return lines.length > 0 ? ["", title, ...lines] : [];
}

/** The documentation's table of what was measured. Pure. */
import type { Figures } from "../bench/figures.ts";
import { markdownTable } from "../bench/report.ts";

/** What stands before and behind the table in its document. */
const BEGIN = "<!-- npm run pictures writes this table -->\n\n", END = "\n<!-- so far -->";

/**
 * A document with the table of what was kept in the place of the one that it has.
 *
 * @throws {Error} when it has no place for one
 */
export function withFiguresTable(document: string, { silentToken }: Figures): string {
  const begin = document.indexOf(BEGIN), end = document.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error("The document has no place for the table");
  const nothing = silentToken.find(({ name }) => name === "empty Deno")!.medianMs;
  const rows = silentToken.map(({ name, medianMs, cpuMs, peakMiB }) => [
    ...[name, medianMs.toFixed(1), (medianMs / nothing).toFixed(2), cpuMs.toFixed(0), String(peakMiB)],
  ]);
  const head = ["whole process, one silent token", "median ms", "× empty Deno", "processor ms", "peak MiB"];
  return document.slice(0, begin + BEGIN.length) + markdownTable(head, rows) + document.slice(end);
}

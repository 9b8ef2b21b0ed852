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
  const nothing = silentToken.find(({ name }) => name === "empty Deno")!.cpuMs;
  const rows = silentToken.map(({ name, cpuMs, peakMiB }) => [
    ...[name, String(cpuMs), (cpuMs / nothing).toFixed(1), String(peakMiB)],
  ]);
  const head = ["whole process, one silent token", "processor ms", "× empty Deno", "peak MiB"];
  return document.slice(0, begin + BEGIN.length) + markdownTable(head, rows) + document.slice(end);
}

/** What was measured, kept in a file: the documentation's table and picture are made of it. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** What a whole process took that got one silent token. */
export interface Figure {
  readonly name: string;
  readonly isOurs: boolean;
  /** Processor time of all its threads, the median: what else the machine does matters less to it than to the time by the clock. */
  readonly cpuMs: number;
  readonly peakMiB: number;
}

/** A run of the benchmark. */
export interface Figures {
  readonly rounds: number;
  readonly processors: number;
  /** How many programs wanted a processor when it began, on average. */
  readonly load: number;
  readonly silentToken: readonly Figure[];
}

const file = fileURLToPath(new URL("figures.json", import.meta.url));

/** What was kept last. */
export function readFigures(): Figures {
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Keeps a run: `npm run bench -- --keep`. */
export function keepFigures(figures: Figures): void {
  writeFileSync(file, `${JSON.stringify(figures, undefined, 2)}\n`);
}

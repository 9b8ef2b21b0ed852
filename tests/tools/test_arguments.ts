import process from "node:process";
import { parseArgs } from "node:util";
import type { Loss } from "./run_batch.ts";

/** What a run of tests is asked for. */
export interface TestArguments {
  /** Parts of paths: a suite runs when its own has one of them, or when there are none. */
  readonly patterns: readonly string[];
  /** How often each suite runs. Above 1 nothing has a second chance: the question is how steady they are. */
  readonly repeat: number;
}

/** Reads `[--repeat N] [PATTERN…]`; ends the process when it is anything else. */
export function readTestArguments(args: readonly string[] = process.argv.slice(2)): TestArguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { repeat: { type: "string", default: "1" } },
      allowPositionals: true,
    });
    const repeat = Number(values.repeat);
    if (Number.isSafeInteger(repeat) && repeat > 0) return { patterns: positionals, repeat };
    process.stderr.write("--repeat takes a whole number above 0\n");
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
  }
  process.exit(2);
}

/** Returns a loss for each pattern that is in the path of no suite. */
export function unknownPatterns(files: readonly string[], { patterns }: TestArguments): readonly Loss[] {
  return patterns.filter((pattern) => !files.some((file) => file.includes(pattern)))
    .map((pattern) => ({ what: `No suite's path contains ${pattern}`, why: "" }));
}

/** Whether a suite is asked for. */
export function isWanted(file: string, { patterns }: TestArguments): boolean {
  return patterns.length === 0 || patterns.some((pattern) => file.includes(pattern));
}

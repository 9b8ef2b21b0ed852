/** What the suites of Windows learn from their runner. */
import { test } from "bun:test";
import process from "node:process";

/** Environment variable with the executables, as JSON: names and paths. */
export const EXECUTABLES_VARIABLE = "WINDOWS_EXECUTABLES";
/** Environment variable that is set under Wine. */
export const WINE_VARIABLE = "WINDOWS_IS_WINE";

/** The executables that were built, each as its compiler and what starts it. */
export const EXECUTABLES: readonly (readonly [string, readonly string[]])[] = Object
  .entries(JSON.parse(process.env[EXECUTABLES_VARIABLE] ?? "{}") as Record<string, string>)
  .map(([name, path]) => [`the executable by ${name}`, [path]]);

/** A test of what Wine alone has, or of what would change a person's Windows. */
export const whenWine: typeof test = (process.env[WINE_VARIABLE] ? test : () => {}) as typeof test;
/** A test of what Wine lacks. */
export const whenWindows: typeof test = (process.env[WINE_VARIABLE] ? () => {} : test) as typeof test;

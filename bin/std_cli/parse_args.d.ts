/** The options of `parseArgs` that this project uses. Never wider than the true types, so that what compiles here does there. */
export interface ParseOptions {
  /** Options with a text, `_` for the positionals. Given without one, it is `""`. */
  string?: string | readonly string[];
  /** Options without a value, `false` when absent. `=false`, `=true` and a following `true` or `false` count. */
  boolean?: string | readonly string[];
  /** Options that may be repeated: a list of all their values, `[]` when absent. */
  collect?: string | readonly string[];
  /** Other names of an option. The result has it under each. */
  alias?: Record<string, string | readonly string[]>;
  /** Options that `--no-NAME` sets to `false`. */
  negatable?: string | readonly string[];
  /** What an absent option is. */
  default?: Record<string, unknown>;
  /** `true`: everything after the first positional is one too. @default false */
  stopEarly?: boolean;
  /** `true`: what follows `--` is listed apart, instead of among the positionals. @default false */
  "--"?: boolean;
}

/** Only the stand-in has this name. */
export const STAND_IN: true;

/** Returns the options in `args` by name, undeclared ones included, and the positionals as `_`. */
export function parseArgs(
  args: string[],
  options?: ParseOptions,
): { [name: string]: unknown; _: (string | number)[]; "--"?: string[] };

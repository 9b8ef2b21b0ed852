// npm run test:oldest [-- [--repeat N] PATTERN…]: suites of the command line, with the oldest Deno, Bun and Node that are supported
// as the runtimes that they start. The last line is the sum.
import process from "node:process";
import { UNITS } from "./runtimes/runtime_paths.ts";
import { TESTED_RUNTIMES } from "./tools/find_tool.js";
import { printSum } from "./tools/print_sum.ts";
import { batchOn } from "./tools/run_batch.ts";
import { runBatches } from "./tools/run_batches.ts";
import { sumUp } from "./tools/sum_up.ts";
import { isWanted, readTestArguments } from "./tools/test_arguments.ts";

/** Sign-ins, tokens and servers; each suite starts more than one runtime. */
const SUITES = [
  "tests/bin/kept_sign_in_test.ts",
  "tests/bin/latchkey_test.ts",
  "tests/bin/commands/login_test.ts",
  "tests/bin/renewal_test.ts",
  "tests/bin/runtimes_test.ts",
  "tests/bin/sign_in_test.ts",
  "tests/bin/commands/serve/forward_test.ts",
  "tests/bin/commands/serve/serve_log_test.ts",
  "tests/bin/commands/serve/serve_test.ts",
];
/** Longer than any takes, several times. */
const BATCH_LIMIT_MS = 300_000;

const asked = readTestArguments();
const batches = SUITES.filter((file) => isWanted(file, asked))
  .map((file) => batchOn({ ...UNITS, name: "Oldest runtimes" }, file));
const environment = { ...process.env, NO_COLOR: "1", [TESTED_RUNTIMES]: "oldest" };
const run = await runBatches(batches, { repeat: asked.repeat, limitMs: BATCH_LIMIT_MS, environment });
const { sum, losses, unsteady } = sumUp(run, batches.length > 0 ? [] : [{ what: "nothing ran", why: "" }]);
printSum(sum, losses, unsteady);

// npm run test:oldest [-- [--repeat N] PATTERN…]: suites of the command line, with the oldest Deno, Bun and Node that are supported
// as the runtimes that they start. The last line is the sum.
import process from "node:process";
import { BUN } from "./runtimes/runtime_paths.ts";
import { TESTED_RUNTIMES } from "./tools/find_tool.js";
import { batchOf, TestRun } from "./tools/test_run.ts";

/** Sign-ins, tokens and servers; each suite starts more than one runtime. */
const SUITES = [
  "tests/bin/cli/token_cache_test.ts",
  "tests/bin/latchkey_test.ts",
  "tests/bin/commands/token_test.ts",
  "tests/bin/commands/login_test.ts",
  "tests/bin/renewal_test.ts",
  "tests/bin/runtimes_test.ts",
  "tests/bin/commands/serve/forward_test.ts",
  "tests/bin/commands/serve/serve_test.ts",
];
/** Longer than all of them take, several times. */
const LIMIT_MS = 900_000;

const run = new TestRun({
  environment: { ...process.env, NO_COLOR: "1", [TESTED_RUNTIMES]: "oldest" },
  limitMs: LIMIT_MS,
});
await run.run([batchOf({ ...BUN, name: "Oldest runtimes" }, run.wanted(SUITES))]);
run.end();

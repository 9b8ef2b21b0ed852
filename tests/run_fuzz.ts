// npm run fuzz [-- SECONDS]: the fuzzing suites with other inputs than ever before, each test for so long. What fails is
// shown with the seed and the path by which it is had again.
import { BUN } from "./runtimes/runtime_paths.ts";
import { batchOf, TestRun } from "./tools/test_run.ts";

const [seconds = "60"] = process.argv.slice(2);
if (!(Number(seconds) > 0)) {
  process.stderr.write("usage: npm run fuzz [-- SECONDS]\n");
  process.exit(2);
}
/** A test takes a minute longer at most; a day is for so many that no one has asked for them. */
const LIMIT_MS = 86_400_000;

const environment = { ...process.env, NO_COLOR: "1", FUZZ_SECONDS: seconds };
const run = new TestRun({ environment, limitMs: LIMIT_MS }, []);
await run.run([batchOf(BUN, run.find("tests/**/*_fuzz_test.ts"))]);
run.end();

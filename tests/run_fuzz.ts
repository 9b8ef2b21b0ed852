// npm run fuzz [-- SECONDS]: the fuzzing suites with other inputs than ever before, each test for so long. What fails is
// shown with the seed and the path by which it is had again.
import { fileURLToPath } from "node:url";
import { TEST_LIMIT_MS } from "./runtimes/test_limit.ts";
import { findTool } from "./tools/find_tool.js";

const [seconds = "60"] = process.argv.slice(2);
if (!(Number(seconds) > 0)) {
  process.stderr.write("usage: npm run fuzz [-- SECONDS]\n");
  process.exit(2);
}
const root = fileURLToPath(new URL("../", import.meta.url));
const suites = [...new Bun.Glob("tests/**/*_fuzz_test.ts").scanSync({ cwd: root })].sort();
const child = Bun.spawn([
  findTool("bun"),
  "test",
  "--conditions",
  "latchkey-source",
  `--timeout=${TEST_LIMIT_MS}`,
  ...suites.map((file) => `./${file}`),
], {
  cwd: root,
  env: { ...process.env, FUZZ_SECONDS: seconds },
  stdio: ["ignore", "inherit", "inherit"],
});
process.exitCode = await child.exited;

// npm test [-- [--repeat N] PATTERN…]: every suite, or those whose path contains a pattern, on each runtime that it is for.
// The last line is the sum. Whatever did not run counts as failed, and so does a skipped test.
import { fileURLToPath } from "node:url";
import { BUN, RUNTIME_PATHS, type RuntimePath, WSL_PATHS } from "./runtimes/runtime_paths.ts";
import { reachesModule } from "./tools/reaches_module.ts";
import { type Batch, batchOf, TestRun } from "./tools/test_run.ts";

/** Longer than all suites on Bun take, several times. */
const LIMIT_MS = 1_800_000;

/** What a suite imports that meets a bus. */
const BUS = "tests/fakes/private_bus.ts";

/** What runs on each runtime in WSL; other suites of WSL run on Deno alone, which may permit less. */
const WSL_CONTRACTS = ["tests/lib/application_contract.ts", "tests/lib/broker/wsl_broker_on_wsl.ts"];

const root = fileURLToPath(new URL("../", import.meta.url));
const run = new TestRun({ environment: ownEnvironment(), limitMs: LIMIT_MS });
const contracts = run.find("tests/**/*_contract.ts");

// Most suites run on Bun alone. A contract is about code that differs by runtime.
await run.run([batchOf(BUN, [...run.find("tests/**/*_test.ts"), ...contracts])]);
await run.run([
  ...RUNTIME_PATHS.filter((path) => path !== BUN).flatMap((path) => eachOf(path, contracts.filter(isFor(path)))),
  ...WSL_PATHS.flatMap((path) => eachOf(path, run.wanted(WSL_CONTRACTS))),
  ...eachOf(WSL_PATHS[0]!, run.find("tests/**/*_on_wsl.ts").filter((file) => !WSL_CONTRACTS.includes(file))),
]);
run.end();

function eachOf(path: RuntimePath, files: readonly string[]): readonly Batch[] {
  return files.map((file) => batchOf(path, [file]));
}

/** Deno runs a contract twice only if it meets a bus. */
function isFor({ client }: RuntimePath): (file: string) => boolean {
  return (file) => client !== "dbus-next" || reachesModule(file, BUS, root);
}

/** The environment less what would lead a test to the developer's own session, and to settings of theirs. */
function ownEnvironment(): Record<string, string | undefined> {
  const theirs = /^(DBUS_SESSION_BUS_ADDRESS$|XDG_RUNTIME_DIR$|WSL|LATCHKEY_)/;
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !theirs.test(name))), NO_COLOR: "1" };
}

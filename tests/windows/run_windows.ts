// npm run test:windows [-- PATTERN…]: the suites that are for Windows too, on Bun, Node and Deno for Windows, and the suites of
// Windows' own. On Windows it runs them as they are; on Linux, as root, under Wine. The last line is the sum.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { compileByBun, compileByDeno } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { BUN, RUNTIME_PATHS, type RuntimePath } from "../runtimes/runtime_paths.ts";
import { reachesModule } from "../tools/reaches_module.ts";
import { type Batch, batchOf, TestRun } from "../tools/test_run.ts";
import { type Exception, EXCEPTIONS, NEEDS } from "./exceptions.ts";
import { EXECUTABLES_VARIABLE, WINE_VARIABLE } from "./tested_executables.ts";
import { bunForWindows, enterNamespace, inWine, mountWine, onDriveZ, WINE_ENVIRONMENT, wineTool } from "./wine.ts";

type Runner = Pick<RuntimePath, "name" | "suites">;

/** Longer than any takes, several times. */
const LIMIT_MS = 400_000;

/** Of the command line; it runs on Node, which has the fewest faults under Wine. */
const COMMAND_LINE_SUITE = "tests/windows/windows_on_windows.ts";
/** Of a console; it runs on Linux, which has the other end of Wine's. */
const CONSOLE_SUITE = "tests/windows/console_on_wine.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const isWine = process.platform !== "win32";
if (isWine) {
  enterNamespace();
  mountWine();
}

/** What {@linkcode needOf} has found: it reads many files. */
const needs = new Map<string, string | undefined>();
/** The ways to a session bus are one on Windows, where there is none. */
const onNode = RUNTIME_PATHS.find(({ name }) => name === "Node")!;
const onDeno = RUNTIME_PATHS.find(({ name }) => name.startsWith("Deno"))!;
const run = new TestRun({
  limitMs: LIMIT_MS,
  environment: isWine ? { ...WINE_ENVIRONMENT, [WINE_VARIABLE]: "1" } : { ...process.env, NO_COLOR: "1" },
  // Bun reports as skipped what a pattern of names leaves out.
  isExcepted: (batch, test) => exceptionsOf(batch, batch.files[0]!).some((exception) => exception.test?.test(test)),
});
const units = filesOf("tests/**/*_test.ts"), contracts = filesOf("tests/**/*_contract.ts");
/** Of what the library calls on Windows alone. */
const own = filesOf("tests/lib/**/*_on_windows.ts");
const batches = [
  ...batchesOf("node", { ...onNode, name: "Node, Windows' own" }, [...filesOf(COMMAND_LINE_SUITE), ...own]),
  ...(isWine ? filesOf(CONSOLE_SUITE).map((file) => batchOf({ ...BUN, name: "A console of Wine" }, [file])) : []),
  ...batchesOf("bun", { ...BUN, name: "Bun, Windows' own" }, own),
  ...batchesOf("deno", { ...onDeno, name: "Deno, Windows' own" }, own),
  ...batchesOf("bun", { ...BUN, name: "Bun, unit tests" }, units),
  ...batchesOf("node", onNode, contracts),
  ...batchesOf("deno", onDeno, contracts),
];
const tested = batches.some(({ files }) => [COMMAND_LINE_SUITE, CONSOLE_SUITE].includes(files[0]!));
const environment = { [EXECUTABLES_VARIABLE]: JSON.stringify(tested ? await executables() : {}) };
await run.run(batches.map((batch) => ({ ...batch, environment: { ...batch.environment, ...environment } })));
tellExceptions();
run.end();

/** The command line as executables: by Bun, and by Deno where its runtime for Windows is at hand. */
async function executables(): Promise<Readonly<Record<string, string>>> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-executables-")), target = targetNamed("windows-x64");
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const byBun = join(folder, "by_bun.exe"), byDeno = join(folder, "by_deno.exe");
  if (isWine) process.env["BUN_RUNTIME_WINDOWS_X64"] = bunForWindows();
  await compileByBun({ target, output: byBun });
  const isDenoThere = !isWine || process.env["DENORT_BIN_WINDOWS_X64"];
  if (isDenoThere) await compileByDeno({ target, output: byDeno });
  const paths = { Bun: byBun, ...(isDenoThere && { Deno: byDeno }) };
  return Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, isWine ? onDriveZ(path) : path]));
}

function filesOf(glob: string): readonly string[] {
  return run.find(glob).filter((file) => !needOf(file));
}

/** The module that a suite reaches and Windows has nothing for. */
function needOf(file: string): string | undefined {
  if (!needs.has(file)) needs.set(file, Object.keys(NEEDS).find((module) => reachesModule(file, module, root)));
  return needs.get(file);
}

function batchesOf(tool: "bun" | "deno" | "node", runner: Runner, files: readonly string[]): readonly Batch[] {
  const played = isWine ? { ...runner, suites: suitesInWine } : runner;
  return files.filter((file) => !exceptionsOf(runner, file).some(({ test }) => test === undefined)).map((file) => {
    // They do not even run: whatever is wrong with the rest then shows in the exit code.
    const leftOut = exceptionsOf(runner, file).flatMap(({ test }) => test ?? []).map(({ source }) => source).join("|");
    const batch = batchOf(played, [file]);
    if (!leftOut) return batch;
    const command = (report: string) => [...batch.command(report), `--test-name-pattern=^(?!.*(?:${leftOut}))`];
    return tool === "bun" ? { ...batch, command } : { ...batch, environment: { LEFT_OUT_TESTS: leftOut } };
  });

  function suitesInWine(files: readonly string[], report: string): string[] {
    return inWine([wineTool(tool), ...runner.suites(files, onDriveZ(report)).slice(1)]);
  }
}

function exceptionsOf({ name }: Pick<Runner, "name">, file: string): readonly Exception[] {
  return EXCEPTIONS.filter(({ suites, runtimes, isWineOnly }) =>
    suites.some((suite) => file.startsWith(`tests/${suite}`)) && (isWine || !isWineOnly) &&
    (runtimes === undefined || runtimes.some((runtime) => name.startsWith(runtime)))
  );
}

function tellExceptions(): void {
  process.stdout.write(`\nNot for Windows${isWine ? ", or not under Wine" : ""}:\n`);
  const all = [...new Bun.Glob("tests/**/*_{test,contract}.ts").scanSync({ cwd: root })].map((file) =>
    file.replaceAll("\\", "/")
  );
  for (const [module, why] of Object.entries(NEEDS)) {
    const files = all.filter((file) => needOf(file) === module);
    process.stdout.write(`  ${files.length} suites: ${why}\n`);
  }
  for (const { suites, test, runtimes, isWineOnly, why } of EXCEPTIONS) {
    if (isWineOnly && !isWine) continue;
    const where = runtimes ? ` on ${runtimes.join(" and ")}` : "";
    process.stdout.write(`  ${suites.join(", ")}${test ? `, ${test}` : ""}${where}: ${why}\n`);
  }
}

// In a fresh clone `npm run test:peers` failed: only the set-up of other scripts installed Node.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modulesReachedBy } from "./reaches_module.ts";
import { NODE_SCRIPTS, PYTHON_SCRIPTS } from "./set_up.js";

/** Start no suite on Node; one of them starts the programs under test on the runtimes for arm64. */
const WITHOUT_NODE = ["tests/arm64/run_arm64.ts", "tests/run_fuzz.ts", "tests/tools/check.ts"];
/** Names suites of others, to say which it leaves out. */
const WITHOUT_PYTHON = ["tests/windows/run_windows.ts"];

const root = fileURLToPath(new URL("../../", import.meta.url));
const commands: Readonly<Record<string, string>> = JSON.parse(read("package.json")).scripts;
const scripts = Object.values(commands).map((command) => command.split(" ").find((word) => word.endsWith(".ts"))!);

test.each(scripts)("%s has what it looks for installed", (script) => {
  const modules = modulesReachedBy([script, ...suitesOf(script)], root)
    .filter((path) => existsSync(join(root, path)) && path !== "tests/tools/find_tool.js");
  const isLookedFor = (what: RegExp) => modules.some((path) => what.test(read(path)));
  const needsNode = isLookedFor(/findTool\("node"\)|\bMSAL_NODE_EXTENSIONS\b/) && !WITHOUT_NODE.includes(script);
  const needsPython = isLookedFor(/\bMSAL_PYTHON\b/) && !WITHOUT_PYTHON.includes(script);
  if (needsNode) expect(NODE_SCRIPTS).toContain(script);
  if (needsPython) expect(PYTHON_SCRIPTS).toContain(script);
});

test("what a script has installed is for one that there is", () => {
  expect([...NODE_SCRIPTS, ...PYTHON_SCRIPTS].filter((script) => !scripts.includes(script))).toEqual([]);
});

/** Returns the suites that a script names, or finds by a pattern. `npm test` leaves out the folder that all are in. */
function suitesOf(script: string): readonly string[] {
  const named = [...read(script).matchAll(/"((?:tests\/|\*\*\/)[^"]+\.ts)"/g)].map(([, path]) => path!);
  const paths = named.map((path) => path.startsWith("**/") ? `tests/${path}` : path);
  return paths.flatMap((path) => path.includes("*") ? [...new Bun.Glob(path).scanSync({ cwd: root })] : path);
}

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

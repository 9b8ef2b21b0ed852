/** Clients that are written in Java, built for the tests by the machine's Maven; libraries come from its repository. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

/** Longer than it takes on a machine that has none of it yet and is busy. */
const BUILD_LIMIT_MS = 600_000;

const folderOf = (name: string) => join(TOOLS_FOLDER, `${name}_client`);

/** Begins a command line of the program that a folder beside this file has the sources of. */
export function javaClient(name: string, main: string, ...args: readonly string[]): readonly string[] {
  const folder = folderOf(name), libraries = readFileSync(join(folder, "classpath.txt"), "utf8").trim();
  return ["java", "-cp", [join(folder, "classes"), libraries].join(delimiter), main, ...args];
}

/**
 * Builds the program, unless it is there as its sources are.
 *
 * @throws {Error} when it cannot be built
 */
export function buildJavaClient(name: string): void {
  const sources = fileURLToPath(new URL(`${name}/`, import.meta.url)), folder = folderOf(name);
  const stamp = join(folder, "sources.txt");
  const text = [...new Bun.Glob("**/*.{xml,java}").scanSync({ cwd: sources })].sort()
    .map((file) => readFileSync(join(sources, file), "utf8")).join("");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === text) return;
  mkdirSync(folder, { recursive: true });
  const goals = ["compile", "dependency:build-classpath", `-Dmdep.outputFile=${join(folder, "classpath.txt")}`];
  process.stderr.write(`Setting up: mvn ${goals.join(" ")}\n`);
  const { success } = Bun.spawnSync(["mvn", "--batch-mode", "--quiet", ...goals, `-DbuildFolder=${folder}`], {
    cwd: sources,
    stdio: ["ignore", "ignore", "inherit"],
    timeout: BUILD_LIMIT_MS,
  });
  if (!success) throw new Error(`The client of ${name} was not built: see what Maven said`);
  writeFileSync(stamp, text);
}

/** The peers' clients, which are installed or built for the tests; what was there before serves again. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

/** Longer than any takes on a machine that has none of it yet and is busy. */
const LIMIT_MS = 1_200_000;
const AZURE_CLI_FOLDER = join(TOOLS_FOLDER, "azure_cli"), AZURE_CLI_VERSION = "2.91.0";

/** Python with the real Azure CLI from PyPI in it, in an environment of its own: some 700 MB. */
export const AZURE_CLI_PYTHON: string = join(AZURE_CLI_FOLDER, "bin/python3");
/** Begins a command line of `az`. */
export const AZURE_CLI: readonly string[] = [AZURE_CLI_PYTHON, "-m", "azure.cli"];

/** Where the program in Go is that a folder beside this file has the sources of. */
export function goClient(folder: string): string {
  return built(folder);
}

/** Begins a command line of the program in Java that a folder beside this file has the sources of. */
export function javaClient(name: string, main: string, ...args: readonly string[]): readonly string[] {
  const folder = built(name), libraries = readFileSync(join(folder, "classpath.txt"), "utf8").trim();
  return ["java", "-cp", [join(folder, "classes"), libraries].join(delimiter), main, ...args];
}

/** Builds a program by the machine's Go, whose caches have the modules, and what was built before. */
export function buildGoClient(folder: string): void {
  setUp(["go", "build", "-trimpath", "-o", built(folder), "."], folder, {
    // The Go that is there will do: another one need not be fetched, but for the library of Terraform, which takes a new one.
    GOTOOLCHAIN: folder === "terraform" ? "auto" : "local",
    GOFLAGS: "-mod=readonly -buildvcs=false",
  });
}

/** Builds a program by the machine's Maven, unless it is there as its sources are. */
export function buildJavaClient(name: string): void {
  const folder = built(name), stamp = join(folder, "sources.txt"), sources = here(name);
  const text = [...new Bun.Glob("**/*.{xml,java}").scanSync({ cwd: sources })].sort()
    .map((file) => readFileSync(join(sources, file), "utf8")).join("");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === text) return;
  mkdirSync(folder, { recursive: true });
  const goals = ["compile", "dependency:build-classpath", `-Dmdep.outputFile=${join(folder, "classpath.txt")}`];
  setUp(["mvn", "--batch-mode", "--quiet", ...goals, `-DbuildFolder=${folder}`], name);
  writeFileSync(stamp, text);
}

/** Installs Azure CLI, unless it is there. */
export function installAzureCli(): void {
  const version = "import importlib.metadata as m; print(m.version('azure-cli'))";
  const { stdout } = existsSync(AZURE_CLI_PYTHON) ? Bun.spawnSync([AZURE_CLI_PYTHON, "-c", version]) : { stdout: "" };
  if (stdout.toString().trim() === AZURE_CLI_VERSION) return;
  setUp(["python3", "-m", "venv", AZURE_CLI_FOLDER]);
  setUp([AZURE_CLI_PYTHON, "-m", "pip", "install", "--quiet", "--no-cache-dir", `azure-cli==${AZURE_CLI_VERSION}`]);
}

/** Installs npm's packages that a folder beside this file locks, of which one is named, unless they are there. */
export function installPackages(folder: string, witness: string): void {
  const wanted = readJson(join(here(folder), "package.json")).dependencies[witness];
  const installed = join(here(folder), "node_modules", witness, "package.json");
  if (existsSync(installed) && readJson(installed).version === wanted) return;
  setUp(["npm", "ci", "--ignore-scripts"], folder);
}

// deno-lint-ignore no-explicit-any -- a package.json
function readJson(file: string): any {
  return JSON.parse(readFileSync(file, "utf8"));
}

function built(folder: string): string {
  return join(TOOLS_FOLDER, `${folder}_client`);
}

function here(folder: string): string {
  return fileURLToPath(new URL(`${folder}/`, import.meta.url));
}

/** Runs a command in a folder beside this file. */
function setUp(command: readonly string[], folder = ".", env: Readonly<Record<string, string>> = {}): void {
  process.stderr.write(`Setting up: ${command.join(" ")}, in tests/peers/${folder}\n`);
  const { success } = Bun.spawnSync([...command], {
    cwd: here(folder),
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit"],
    timeout: LIMIT_MS,
  });
  if (!success) throw new Error(`${command[0]} failed: see what it said`);
}

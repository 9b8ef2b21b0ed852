/** The real Azure CLI, from PyPI, in an environment of its own. It takes some 700 MB, and a few minutes. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

const FOLDER = join(TOOLS_FOLDER, "azure_cli"), VERSION = "2.91.0";
const INSTALL_LIMIT_MS = 1_200_000;

/** Python with Azure CLI in it. */
export const AZURE_CLI_PYTHON: string = join(FOLDER, "bin/python3");
/** Begins a command line of `az`. */
export const AZURE_CLI: readonly string[] = [AZURE_CLI_PYTHON, "-m", "azure.cli"];

/**
 * Installs it, unless it is there.
 *
 * @throws {Error} when it cannot be installed
 */
export function installAzureCli(): void {
  const run = (command: readonly string[]) => {
    process.stderr.write(`Setting up: ${command.join(" ")}\n`);
    const { success } = Bun.spawnSync([...command], {
      stdio: ["ignore", "ignore", "inherit"],
      timeout: INSTALL_LIMIT_MS,
    });
    if (!success) throw new Error(`${command[0]} failed: see what it said`);
  };
  if (isInstalled()) return;
  run(["python3", "-m", "venv", FOLDER]);
  run([AZURE_CLI_PYTHON, "-m", "pip", "install", "--quiet", "--no-cache-dir", `azure-cli==${VERSION}`]);
}

function isInstalled(): boolean {
  const { stdout } = existsSync(AZURE_CLI_PYTHON)
    ? Bun.spawnSync([AZURE_CLI_PYTHON, "-c", "import importlib.metadata as m; print(m.version('azure-cli'))"])
    : { stdout: "" };
  return stdout.toString().trim() === VERSION;
}

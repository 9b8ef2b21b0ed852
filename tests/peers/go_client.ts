/** Clients that are written in Go, built for the tests by the machine's Go; modules and what was built before come from its caches. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

/** Longer than it takes on a machine that has none of it yet and is busy. */
const BUILD_LIMIT_MS = 600_000;

/** Where the program is that a folder beside this file has the sources of. */
export function goClient(folder: string): string {
  return join(TOOLS_FOLDER, `${folder}_client`);
}

/**
 * Builds the program, unless it is there as its sources are.
 *
 * @throws {Error} when it cannot be built
 */
export function buildGoClient(folder: string): void {
  process.stderr.write(`Setting up: go build, for the client of ${folder}\n`);
  const { success } = Bun.spawnSync(["go", "build", "-trimpath", "-o", goClient(folder), "."], {
    cwd: fileURLToPath(new URL(`${folder}/`, import.meta.url)),
    // The Go that is there will do: another one need not be fetched, but for the library of Terraform, which takes a new one.
    env: {
      ...process.env,
      GOTOOLCHAIN: folder === "terraform" ? "auto" : "local",
      GOFLAGS: "-mod=readonly -buildvcs=false",
    },
    stdio: ["ignore", "ignore", "inherit"],
    timeout: BUILD_LIMIT_MS,
  });
  if (!success) throw new Error(`The client of ${folder} was not built: see what Go said`);
}

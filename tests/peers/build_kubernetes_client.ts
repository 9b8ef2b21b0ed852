/** Kubernetes' own client, built for the tests by the machine's Go; modules and what was built before come from its caches. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TOOLS_FOLDER } from "../tools/find_tool.js";

/** Where the program is. */
export const KUBERNETES_CLIENT: string = join(TOOLS_FOLDER, "kubernetes_client");

/** Longer than it takes on a machine that has none of it yet and is busy. */
const BUILD_LIMIT_MS = 600_000;

/**
 * Builds the program, unless it is there as its sources are.
 *
 * @throws {Error} when it cannot be built
 */
export function buildKubernetesClient(): void {
  process.stderr.write("Setting up: go build, for Kubernetes' own client\n");
  const { success } = Bun.spawnSync(["go", "build", "-trimpath", "-o", KUBERNETES_CLIENT, "."], {
    cwd: fileURLToPath(new URL("kubernetes/", import.meta.url)),
    // The Go that is there will do: another one need not be fetched.
    env: { ...process.env, GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly -buildvcs=false" },
    stdio: ["ignore", "ignore", "inherit"],
    timeout: BUILD_LIMIT_MS,
  });
  if (!success) throw new Error("Kubernetes' client was not built: see what Go said");
}

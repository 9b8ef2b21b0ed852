// npm run test:peers: our fake broker is held to Microsoft's own client, which is downloaded for it. The last line is the sum.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readJunitReport } from "../tools/junit_report.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const client = fileURLToPath(new URL("msalruntime/", import.meta.url));

installClient();
const folder = mkdtempSync(join(tmpdir(), "latchkey-peers-"));
try {
  const report = join(folder, "report.xml");
  const suites = [...new Bun.Glob("tests/peers/*_peer.ts").scanSync({ cwd: root })].sort().map((file) => `./${file}`);
  const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
  const { exitCode } = Bun.spawnSync([process.execPath, "test", ...reporter, ...suites], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const cases = readJunitReport(existsSync(report) ? readFileSync(report, "utf8") : "");
  const passed = cases.filter(({ outcome }) => outcome === "passed").length;
  // A suite that broke outside its tests has no failed test to show.
  const failed = cases.length - passed || Number(exitCode !== 0 || passed === 0);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  process.exitCode = Number(failed > 0);
} finally {
  rmSync(folder, { recursive: true });
}

/** Installs the version that is locked, unless it is there. */
function installClient(): void {
  const { "@azure/msal-node-runtime": wanted } = readJson("package.json")!.dependencies;
  if (readJson("node_modules/@azure/msal-node-runtime/package.json")?.version === wanted) return;
  process.stderr.write("Setting up: npm ci --ignore-scripts, for Microsoft's client\n");
  const { success } = Bun.spawnSync(["npm", "ci", "--ignore-scripts"], {
    cwd: client,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (!success) process.exit(1);
}

// deno-lint-ignore no-explicit-any -- a package.json
function readJson(file: string): any {
  try {
    return JSON.parse(readFileSync(join(client, file), "utf8"));
  } catch {
    return undefined;
  }
}

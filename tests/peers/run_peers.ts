// npm run test:peers [-- [--repeat N] PATTERN…]: with others' own clients, which are downloaded for it. Our fake broker is held
// to what Microsoft's sends and takes; and that is the way to the broker for the suites of brokers, on each runtime. Kubernetes'
// in Go and Java, Azure's in Go, and the real Azure CLI call latchkey. The last line is the sum.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BUN, MSALRUNTIME_PATHS } from "../runtimes/runtime_paths.ts";
import { batchOf, TestRun } from "../tools/test_run.ts";
import { buildGoClient, buildJavaClient, installAzureCli, installPackages } from "./clients.ts";
import { LIMITS } from "./limits_of_msalruntime.ts";

/** Those that are called by a program in Go, by the folders of its sources. */
const GO_PEERS: Readonly<Record<string, readonly string[]>> = {
  "tests/peers/az_shim_peer.ts": ["azure_cli", "terraform"],
  // Distributions have no package of kubectl, and to build it takes some minutes.
  "tests/peers/kubernetes_peer.ts": ["kubernetes", ...(Bun.which("kubectl") ? [] : ["kubectl"])],
};
/** Those that a program in Java calls as well, by the folder of its sources. */
const JAVA_PEERS: Readonly<Record<string, string>> = { "tests/peers/kubernetes_peer.ts": "kubernetes_java" };
/** Those that run the real Azure CLI. */
const AZURE_CLI_PEERS = ["tests/peers/azure_cli_answers_peer.ts", "tests/peers/azure_cli_login_peer.ts"];
/** Longer than any takes, several times: a library that waits for ever is seen. */
const LIMIT_MS = 900_000;

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Folder of the packages of a suite, and one of these; Microsoft's client is that of all others. */
const MCP_SUITE = "tests/peers/mcp_peer.ts", MCP = ["mcp", "@modelcontextprotocol/conformance"] as const;
const MSALRUNTIME = ["msalruntime", "@azure/msal-node-runtime"] as const;
const run = new TestRun({ environment: { ...process.env, NO_COLOR: "1" }, limitMs: LIMIT_MS });

const peers = run.find("tests/peers/*_peer.ts");
const ofBrokers = run.find("tests/lib/*_test.ts").filter(isOfBrokers);
const onEach = [...run.find("tests/**/*_on_msalruntime.ts"), ...run.wanted(["tests/lib/application_contract.ts"])];
const batches = [
  ...peers.map((file) => batchOf({ ...BUN, name: "Bun, peers" }, [file])),
  ...MSALRUNTIME_PATHS.flatMap((path) =>
    [...onEach, ...(path.client === "bun" ? ofBrokers : [])].map((file) => batchOf(path, [file]))
  ),
];
const files = [...new Set(batches.flatMap(({ files }) => files))];
for (const file of files) GO_PEERS[file]?.forEach(buildGoClient);
for (const file of files) if (JAVA_PEERS[file]) buildJavaClient(JAVA_PEERS[file]);
if (files.some((file) => AZURE_CLI_PEERS.includes(file))) installAzureCli();
if (files.includes(MCP_SUITE)) installPackages(...MCP);
const ownClients = [...Object.keys(GO_PEERS), ...AZURE_CLI_PEERS, MCP_SUITE];
if (files.some((file) => !ownClients.includes(file))) installPackages(...MSALRUNTIME);
await run.run(batches);
process.stdout.write(
  `\nOver MSALRuntime ${LIMITS.length} tests of the suites of brokers are not run, since on Linux\n`,
);
for (const why of new Set(LIMITS.map(({ why }) => why))) process.stdout.write(`  ${why}\n`);
run.end();

/** A suite that knows of limits is one of those that every way to a broker passes. */
function isOfBrokers(file: string): boolean {
  return readFileSync(join(root, file), "utf8").includes("limitedTest(");
}

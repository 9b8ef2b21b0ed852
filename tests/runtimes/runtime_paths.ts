/** The ways to a broker that users have: each a runtime, and what it reaches the broker by. */
import { availableParallelism } from "node:os";
import process from "node:process";
import type { BrokerKind } from "../../lib/broker/broker.ts";
import type { SessionBusClient } from "../../lib/dbus/bus.ts";
import { denoRun } from "../tools/deno_command.ts";
import { findRuntime, findTool } from "../tools/find_tool.js";
import { inWsl } from "../tools/wsl_machine.ts";
import { TEST_LIMIT_MS } from "./test_limit.ts";

/** A runtime, the D-Bus client that it has, and the broker that its suites are about. */
export interface RuntimePath {
  readonly name: string;
  readonly client: SessionBusClient;
  readonly broker: BrokerKind;
  /** Runs the program that follows, from its sources. */
  program(): string[];
  /** Runs suites and writes a JUnit report. On Deno they share one environment: it takes one at a time. */
  suites(files: readonly string[], report: string): string[];
}

/** Where suites run that are for no path to a broker, in addition to the contracts. */
export const BUN: RuntimePath = {
  name: "Bun",
  client: "bun",
  broker: "linux",
  program: () => [...findRuntime("bun"), "--conditions", "latchkey-source"],
  suites: bunSuites,
};

/** The ways to the session bus; every contract suite runs on each. */
export const RUNTIME_PATHS: readonly RuntimePath[] = [
  onDeno("Deno + libdbus", "libdbus", ["--allow-all"]),
  onDeno("Deno + dbus-next", "dbus-next", ["--allow-all", "--deny-ffi"]),
  BUN,
  {
    name: "Node",
    client: "node",
    broker: "linux",
    program: () => [...findRuntime("node"), "--conditions=latchkey-source"],
    suites: (files, report) => [
      ...[findTool("node"), "--conditions=latchkey-source", "--import=./tests/runtimes/node_bun_test.mjs"],
      ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
      ...["--test-reporter=junit", `--test-reporter-destination=${report}`, ...files],
    ],
  },
];

/** The ways to Windows' broker from WSL; the suites of brokers run on each. */
export const WSL_PATHS: readonly RuntimePath[] = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next")
  .map((path) => ({
    ...path,
    name: `WSL, ${path.name.split(" ")[0]}`,
    broker: "wsl",
    suites: (files, report) => inWsl(path.suites(files, report)),
  }));

/** The ways to a broker through Microsoft's library; the suites of brokers run on each, among the peers. */
export const MSALRUNTIME_PATHS: readonly RuntimePath[] = RUNTIME_PATHS.filter(({ name }) => name !== "Deno + dbus-next")
  .map((path) => ({
    ...path,
    name: `MSALRuntime, ${path.name.split(" ")[0]}`,
    broker: "msalruntime",
    suites: (files, report) => [findTool("bun"), "tests/peers/msalruntime_stage.ts", ...path.suites(files, report)],
  }));

/** Environment variable by which a suite learns on which path it runs. */
export const RUNTIME_PATH = "RUNTIME_PATH";

/** Returns the path that this process runs on; Bun's on the session bus for a suite that is for no path. */
export function ownRuntimePath(): RuntimePath {
  const paths = [...RUNTIME_PATHS, ...WSL_PATHS, ...MSALRUNTIME_PATHS];
  return paths.find(({ name }) => name === process.env[RUNTIME_PATH]) ?? BUN;
}

/** How many processes run suites at the same time: one more than there are processors, since suites wait for what they start. */
export const AT_ONCE: number = availableParallelism() + 1;

/** Each of several suites has a global object and an environment of its own. */
function bunSuites(files: readonly string[], report: string): string[] {
  return [
    ...[findTool("bun"), "test", "--conditions", "latchkey-source", `--timeout=${TEST_LIMIT_MS}`],
    ...(files.length > 1 ? [`--parallel=${AT_ONCE}`] : []),
    ...["--reporter=junit", `--reporter-outfile=${report}`, ...files],
  ];
}

function onDeno(name: string, client: SessionBusClient, permissions: readonly string[]): RuntimePath {
  return {
    name,
    client,
    broker: "linux",
    program: () => [...denoRun(), ...permissions],
    suites: (files, report) => [
      ...[findTool("deno"), "test", "--no-config", "--node-modules-dir=manual", "--conditions=latchkey-source"],
      ...[
        "--import-map=tests/runtimes/import_map.json",
        ...permissions,
        "--no-check",
        `--junit-path=${report}`,
        ...files,
      ],
    ],
  };
}

/** The ways to the session bus that users have, each a runtime and a D-Bus client; every contract suite runs on each. */
import process from "node:process";
import type { SessionBusClient } from "../../lib/platform/session_bus.ts";
import { denoRun } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";

/** A runtime and the D-Bus client that it has. */
export interface RuntimePath {
  readonly name: string;
  readonly client: SessionBusClient;
  /** Runs the program that follows, from its sources. */
  program(): string[];
  /** Runs a suite and writes a JUnit report. */
  suite(file: string, report: string): string[];
}

export const RUNTIME_PATHS: readonly RuntimePath[] = [
  onDeno("Deno + libdbus", "libdbus", ["--allow-all"]),
  onDeno("Deno + dbus-next", "dbus-next", ["--allow-all", "--deny-ffi"]),
  {
    name: "Bun",
    client: "dbus-next",
    program: () => [findTool("bun"), "--conditions", "latchkey-source"],
    suite: (file, report) => [
      ...[findTool("bun"), "test", "--conditions", "latchkey-source"],
      ...["--reporter=junit", `--reporter-outfile=${report}`, file],
    ],
  },
  {
    name: "Node",
    client: "dbus-next",
    program: () => [findTool("node"), "--conditions=latchkey-source"],
    suite: (file, report) => [
      ...[findTool("node"), "--conditions=latchkey-source", "--import=./tests/runtimes/node_bun_test.mjs"],
      ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
      ...["--test-reporter=junit", `--test-reporter-destination=${report}`, file],
    ],
  },
];

/** Environment variable by which a suite learns on which path it runs. */
export const RUNTIME_PATH = "RUNTIME_PATH";

/**
 * The path that this process runs on.
 *
 * @throws {Error} when the suite was not started by run_tests.ts
 */
export function ownRuntimePath(): RuntimePath {
  const own = RUNTIME_PATHS.find(({ name }) => name === process.env[RUNTIME_PATH]);
  if (!own) throw new Error(`${RUNTIME_PATH} names none of ${RUNTIME_PATHS.map(({ name }) => name).join(", ")}`);
  return own;
}

function onDeno(name: string, client: SessionBusClient, permissions: readonly string[]): RuntimePath {
  return {
    name,
    client,
    program: () => [...denoRun(), ...permissions],
    suite: (file, report) => [
      ...[findTool("deno"), "test", "--no-config", "--node-modules-dir=manual", "--conditions=latchkey-source"],
      ...["--import-map=tests/runtimes/import_map.json", ...permissions, "--no-check", `--junit-path=${report}`, file],
    ],
  };
}

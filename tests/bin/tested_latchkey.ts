/** What the suites of the command line start: the sources, or what was built of them. */
import { test } from "bun:test";
import process from "node:process";
import type { SessionBusClient } from "../../lib/dbus/bus.ts";
import { RUNTIME_PATHS, type RuntimePath } from "../runtimes/runtime_paths.ts";

/** A command line that was built. */
export interface BuiltLatchkey {
  readonly name: string;
  /** How it reaches the session bus. */
  readonly client: SessionBusClient;
  /** What starts it. */
  readonly command: readonly string[];
}

/** Environment variable by which a suite learns, in JSON, what was built. Without it suites start the sources. */
export const BUILT_LATCHKEY = "BUILT_LATCHKEY";

const built: BuiltLatchkey | undefined = JSON.parse(process.env[BUILT_LATCHKEY] ?? "null") ?? undefined;

/** True if what was built is tested, which runs as a program. */
export const isBuilt: boolean = built !== undefined;

/** What starts the command line: the sources by this runtime, or what was built, which brings a runtime of its own. */
export function latchkeyBy(runtime: readonly string[]): readonly string[] {
  return built?.command ?? [...runtime, "bin/latchkey.ts"];
}

/** The command line by Bun, which starts from sources quickest. */
export const LATCHKEY_ON_BUN: readonly string[] = latchkeyBy(
  RUNTIME_PATHS.find(({ name }) => name === "Bun")!.program(),
);

/** The ways that are tested, each a runtime. What was built has one. */
export const TESTED_PATHS: readonly Pick<RuntimePath, "name" | "client" | "program">[] = built
  ? [{ name: built.name, client: built.client, program: () => [] }]
  : RUNTIME_PATHS;

/** A test of what Deno lets the sources do: what was built has all permissions that it takes. */
export const testOfSources: (...definition: Parameters<typeof test>) => void = built ? () => {} : test;

/** A test of the way by libdbus, which only Deno takes. */
export const testOfLibdbus: typeof testOfSources = !built || built.client === "libdbus" ? test : () => {};

/**
 * `latchkey --version`.
 *
 * @module
 */
import { write } from "../lib/platform/program.ts";
import { currentRuntime } from "../lib/platform/runtime.ts";
import { buildFacts } from "./build_facts.ts";
import type { Command } from "./command.ts";
import { readCommandLine } from "./command_line.ts";
import { TEXT_FORMAT } from "./command_options.ts";

/** Not among the commands: it is called like an option, and its only option is of no use in the environment. */
const VERSION: Command = {
  name: "--version",
  summary: "Show the version",
  usage: "--version [--format json]",
  operands: 0,
  options: [{ ...TEXT_FORMAT, environment: false }],
  examples: [["latchkey --version --format json", "what runs it, and what it was built from, for a report"]],
};

/** Prints the version; with `--format json` also what runs the program, and what it was built from. */
export async function printVersion(words: readonly string[]): Promise<void> {
  const line = readCommandLine(VERSION, words);
  if (line.help) return write("stdout", (await import("./help.ts")).helpOf(VERSION));
  const { default: { version } } = await import("../deno.json", { with: { type: "json" } });
  if (line.text("format") === "text") return write("stdout", `latchkey ${version}\n`);
  const { name, version: runtimeVersion } = currentRuntime();
  const facts = { version, runtime: { name, version: runtimeVersion }, build: buildFacts() };
  write("stdout", `${JSON.stringify(facts, null, 2)}\n`);
}

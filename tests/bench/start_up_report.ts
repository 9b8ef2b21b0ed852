// What it costs to start what is built: the executable beside a compiled empty program, the bundle beside an empty Deno.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleCommandLine } from "../../build/bundle_command_line.ts";
import { BAKED_PERMISSIONS, compileByDeno, denoForCompile } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { denoCommand } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";
import { type Cost, measureTime } from "./measure_process.ts";
import { markdownTable, median, range } from "./report.ts";

const WARM_UP_ROUNDS = 3;

type Environment = Readonly<Record<string, string | undefined>>;

/** Programs that take turns, the first being what the others are compared with. */
interface Group {
  readonly most: number;
  readonly programs: readonly (readonly [name: string, command: readonly string[]])[];
}

/**
 * What starting costs.
 *
 * @param words The words of a command line that has a silent token printed.
 */
export async function startUpReport(words: readonly string[], env: Environment, rounds: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bench-"));
  try {
    const groups = [await bundled(folder, words)], notes: string[] = [];
    try {
      groups.unshift(await compiled(folder, words));
    } catch (error) {
      notes.push(`The executable is left out: ${error instanceof Error ? error.message : error}\n`);
    }
    const ownHome = { ...env, HOME: folder, XDG_STATE_HOME: undefined, XDG_CONFIG_HOME: undefined };
    const rows = groups.flatMap((group) => rowsOf(group, ownHome, rounds));
    const head = [
      ...["start-up, whole process", "median ms", "min–max", "× empty", "CPU ms", "× empty’s CPU"],
      "target, by the clock",
    ];
    return `${markdownTable(head, rows)}${notes.join("")}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function compiled(folder: string, words: readonly string[]): Promise<Group> {
  const latchkey = join(folder, "latchkey"), empty = join(folder, "empty");
  await compileByDeno({ target: targetNamed(), output: latchkey });
  await writeFile(`${empty}.js`, "");
  const options = ["compile", "--quiet", "--no-config", "--no-code-cache", ...BAKED_PERMISSIONS, "--output", empty];
  const { exitCode, stderr } = Bun.spawnSync([denoForCompile(), ...options, `${empty}.js`]);
  if (exitCode !== 0) throw new Error(String(stderr));
  return {
    most: 1.4,
    programs: [
      ["a compiled empty program", [empty]],
      ["the executable: --help", [latchkey, "--help"]],
      ["the executable: a silent token", [latchkey, ...words]],
    ],
  };
}

async function bundled(folder: string, words: readonly string[]): Promise<Group> {
  await bundleCommandLine({ folder, facts: { kind: "bundle", target: null, commit: null } });
  const [, ...options] = denoCommand(join(folder, "bin/latchkey.js"));
  const command = [findTool("deno"), ...options];
  return {
    most: 1.5,
    programs: [
      ["an empty Deno program", denoCommand("tests/bench/nothing.ts")],
      ["the bundle: --help", [...command, "--help"]],
      ["the bundle: a silent token", [...command, ...words]],
    ],
  };
}

/** Each round's ratio is its own: whatever slows a round down slows down all of its programs. */
function rowsOf({ most, programs }: Group, env: Environment, rounds: number): readonly (readonly string[])[] {
  const costs = programs.map((): Cost[] => []);
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const [index, [, command]] of programs.entries()) {
      const cost = measureTime(command, env);
      if (round >= 0) costs[index]!.push(cost);
    }
  }
  return programs.map(([name], index) => {
    const walls = costs[index]!.map(({ wallMs }) => wallMs), cpus = costs[index]!.map(({ cpuMs }) => cpuMs);
    const ratio = median(walls.map((wall, round) => wall / costs[0]![round]!.wallMs));
    const cpuRatio = median(cpus.map((cpu, round) => cpu / costs[0]![round]!.cpuMs));
    const verdict = index === 0 ? "" : `≤ ${most}: ${ratio <= most ? "met" : "missed"}`;
    return [
      ...[name, median(walls).toFixed(1), range(walls), ratio.toFixed(2)],
      ...[median(cpus).toFixed(1), cpuRatio.toFixed(2), verdict],
    ];
  });
}

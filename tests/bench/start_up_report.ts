// What it costs to start what is built: the executable beside a compiled empty program, the npm package beside an empty one.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bundleCommandLine } from "../../build/bundle.ts";
import { BAKED_PERMISSIONS, compileByBun, compileByDeno, denoForCompile } from "../../build/executable.ts";
import { externalPackages } from "../../build/npm_package.ts";
import { targetNamed } from "../../build/targets.ts";
import { denoCommand } from "../tools/deno_command.ts";
import { findTool } from "../tools/find_tool.js";
import { measureInTurn } from "./measure_process.ts";
import { markdownTable, median, range } from "./report.ts";

const MANIFEST = '{ "type": "module" }';

type Environment = Readonly<Record<string, string | undefined>>;

/** Programs that take turns, the first being what the others are compared with, and at most how many times as long they are to take. */
interface Group {
  readonly programs: readonly (readonly [name: string, command: readonly string[], most?: number])[];
}

/**
 * What starting costs.
 *
 * @param words The words of a command line that has a silent token printed.
 * @param python A minimal script that does the same.
 */
export async function startUpReport(
  words: readonly string[],
  python: readonly string[],
  env: Environment,
  rounds: number,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bench-"));
  try {
    const command = await installCommand(folder), notes: string[] = [];
    const groups = [await onDeno(folder, command, words), await onBun(folder, command, words, python)];
    try {
      groups.unshift(await compiled(folder, words));
    } catch (error) {
      notes.push(withoutExecutable(error));
    }
    const ownHome = { ...env, HOME: folder, XDG_STATE_HOME: undefined, XDG_CONFIG_HOME: undefined };
    const rows = groups.flatMap((group) => rowsOf(group, ownHome, rounds));
    const head = [
      ...["start-up, whole process", "median ms", "min–max", "× the first", "CPU ms", "× its CPU"],
      "target, by the clock",
    ];
    return `${markdownTable(head, rows)}${notes.join("")}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Says that an executable could not be compiled. */
export function withoutExecutable(error: unknown): string {
  return `The executable is left out: ${error instanceof Error ? error.message : error}\n`;
}

async function compiled(folder: string, words: readonly string[]): Promise<Group> {
  const latchkey = join(folder, "latchkey"), empty = join(folder, "empty");
  await compileByDeno({ target: targetNamed(), output: latchkey });
  await writeFile(`${empty}.js`, "");
  const options = ["compile", "--quiet", "--no-config", "--no-code-cache", ...BAKED_PERMISSIONS, "--output", empty];
  const { exitCode, stderr } = Bun.spawnSync([denoForCompile(), ...options, `${empty}.js`]);
  if (exitCode !== 0) throw new Error(String(stderr));
  return {
    programs: [
      ["a compiled empty program", [empty]],
      ["the executable: --help", [latchkey, "--help"], 1.2],
      ["the executable: a silent token", [latchkey, ...words], 1.55],
    ],
  };
}

/**
 * Builds the npm package's command below `node_modules`, where Deno reads no file before it is imported. The packages that it
 * imports are missing: a token needs none.
 *
 * @returns the command's file.
 */
export async function installCommand(folder: string): Promise<string> {
  const own = join(folder, "node_modules/@latchkey/latchkey");
  const external = externalPackages(JSON.parse(await readFile("package.json", "utf8")));
  await bundleCommandLine({ folder: own, facts: { kind: "bundle", target: null, commit: null }, external });
  await writeFile(join(own, "package.json"), MANIFEST);
  return join(own, "bin/latchkey.js");
}

async function onDeno(folder: string, installed: string, words: readonly string[]): Promise<Group> {
  const byDeno = (script: string) => [findTool("deno"), ...denoCommand(script).slice(1)];
  const command = byDeno(installed), empty = join(folder, "node_modules/empty/main.js");
  await mkdir(dirname(empty));
  await writeFile(join(dirname(empty), "package.json"), MANIFEST);
  await writeFile(empty, "");
  return {
    programs: [
      ["Deno, an empty package", byDeno(empty)],
      ["Deno, the npm package: --help", [...command, "--help"], 1.2],
      ["Deno, the npm package: a silent token", [...command, ...words], 1.8],
    ],
  };
}

/** Bun, which starts sooner than Python, beside a script that does the same. */
async function onBun(
  folder: string,
  installed: string,
  words: readonly string[],
  python: readonly string[],
): Promise<Group> {
  const latchkey = join(folder, "latchkey-bun"), bun = findTool("bun");
  await compileByBun({ target: targetNamed(), output: latchkey });
  return {
    programs: [
      ["a minimal script with python3-dbus", python],
      ["an empty Bun program", [bun, "tests/bench/nothing.ts"]],
      ["Bun, the npm package: a silent token", [bun, installed, ...words], 0.75],
      ["Bun, the executable: a silent token", [latchkey, ...words], 0.75],
    ],
  };
}

/** Each round's ratio is its own: whatever slows a round down slows down all of its programs. */
function rowsOf({ programs }: Group, env: Environment, rounds: number): readonly (readonly string[])[] {
  const costs = measureInTurn(programs.map(([, command]) => command), env, rounds);
  return programs.map(([name, , most], index) => {
    const walls = costs[index]!.map(({ wallMs }) => wallMs), cpus = costs[index]!.map(({ cpuMs }) => cpuMs);
    const ratio = median(walls.map((wall, round) => wall / costs[0]![round]!.wallMs));
    const cpuRatio = median(cpus.map((cpu, round) => cpu / costs[0]![round]!.cpuMs));
    const verdict = most === undefined ? "" : `≤ ${most}: ${ratio <= most ? "met" : "missed"}`;
    return [
      ...[name, median(walls).toFixed(1), range(walls), ratio.toFixed(2)],
      ...[median(cpus).toFixed(1), cpuRatio.toFixed(2), verdict],
    ];
  });
}

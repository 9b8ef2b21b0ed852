// npm run soak [-- SECONDS]: what a program holds that runs for long, on each runtime and way to the bus, while the broker is
// restarted again and again, and the bus now and then. An hour by default. It fails when anything still grows after the first
// third of the time.
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { markdownTable } from "../bench/report.ts";
import { type PrivateBus, startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { RUNTIME_PATHS, type RuntimePath } from "../runtimes/runtime_paths.ts";
import { printSum } from "../tools/test_run.ts";
import { quarterMedians, steadyRise } from "./growth.ts";
import type { Told } from "./program.ts";

const SAMPLES = 48;
/** How long the broker runs between its restarts. */
const BROKER_RUNS_MS = 300;
/** Every so many restarts of the broker, the bus is restarted as well. */
const BUS_RESTARTS_EVERY = 2;
/** A program that tells nothing for so long hangs: its own calls have a limit of 30 s. */
const ANSWER_LIMIT_MS = 90_000;

/**
 * Options that let the program collect its garbage, and keep V8's young generation at its least. By itself that grows to three
 * times 16 MiB (Node: 32), each doubling when enough has outlived a collection: in any program that runs for long, sooner or
 * later. It is no leak, and would hide the leaks of native memory, which are smaller.
 */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  Deno: ["--v8-flags=--expose-gc,--max-semi-space-size=1"],
  Node: ["--expose-gc", "--max-semi-space-size=1"],
  Bun: [],
};

/** What is measured, and what is not counted as growth from a quarter of the time to the next. */
const MEASURES = [
  { name: "alive, KiB (Bun: objects)", digits: 0, allowedRise: 16 },
  { name: "private memory, MiB", digits: 1, allowedRise: 1 },
  { name: "file descriptors", digits: 0, allowedRise: 0.5 },
] as const;

/** What a program was found to hold, in the order of {@linkcode MEASURES}, and what came of its calls. */
interface Sample {
  readonly values: readonly number[];
  readonly told: Told;
}

interface SoakedProgram {
  readonly name: string;
  readonly samples: Sample[];
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
}

const [seconds = "3600"] = process.argv.slice(2);
if (!(Number(seconds) > 0)) {
  process.stderr.write("usage: npm run soak [-- SECONDS]\n");
  process.exit(2);
}
process.chdir(fileURLToPath(new URL("../../", import.meta.url)));
const bus = await startPrivateBus(), programs: SoakedProgram[] = [];
try {
  const broker = await startFakeBroker(bus), over = new AbortController();
  for (const path of RUNTIME_PATHS) programs.push(startProgram(path, bus));
  for (const program of programs) await takeSample(program);
  const [restarts] = await Promise.all([restartAgainAndAgain(bus, broker, over.signal), takeSamples(over)]);
  report(restarts);
} finally {
  for (const { child } of programs) child.kill("SIGKILL");
  await bus.stop();
}

function startProgram(path: RuntimePath, { address }: PrivateBus): SoakedProgram {
  const [command = "", ...args] = [...path.program(), ...OPTIONS[path.name.split(" ")[0]!]!, "tests/soak/program.ts"];
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: address, DENO_NO_UPDATE_CHECK: "1" },
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return { name: path.name, samples: [], child, lines };
}

/** The first sample of each program was taken before, while the broker ran. */
async function takeSamples(over: AbortController): Promise<void> {
  const begin = performance.now();
  try {
    for (let taken = 1; taken <= SAMPLES; taken++) {
      await delay(Math.max(0, begin + taken * Number(seconds) * 1000 / SAMPLES - performance.now()));
      await Promise.all(programs.map(takeSample));
    }
  } finally {
    over.abort();
  }
}

async function takeSample({ name, samples, child, lines }: SoakedProgram): Promise<void> {
  child.stdin!.write("\n");
  const line = await Promise.race([lines.next(), delay(ANSWER_LIMIT_MS, undefined, { ref: false })]);
  if (!line || line.done) throw new Error(`${name} ${line ? "ended" : "hangs"}`);
  const told: Told = JSON.parse(line.value), proc = `/proc/${child.pid}`;
  const privateKib = Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`${proc}/status`, "utf8"))![1]);
  samples.push({ told, values: [told.alive, privateKib / 1024, readdirSync(`${proc}/fd`).length] });
}

/** @returns how many times the broker, and the bus, were restarted */
async function restartAgainAndAgain(bus: PrivateBus, broker: FakeBroker, over: AbortSignal): Promise<[number, number]> {
  let brokers = 0, buses = 0;
  for (; !over.aborted; brokers++) {
    await broker.kill();
    if (brokers % BUS_RESTARTS_EVERY === 0) await bus.restart(), buses++;
    await broker.forgetCalls();
    await broker.start();
    await delay(BROKER_RUNS_MS);
  }
  return [brokers, buses];
}

function report([brokers, buses]: readonly [number, number]): void {
  const rows: string[][] = [], losses: string[] = [];
  for (const { name, samples } of programs) {
    for (const [index, { name: measure, digits, allowedRise }] of MEASURES.entries()) {
      const medians = quarterMedians(samples.map(({ values }) => values[index]!)), rise = steadyRise(medians);
      rows.push([name, measure, ...medians.map((value) => value.toFixed(digits)), rise > allowedRise ? "grows" : ""]);
      if (rise > allowedRise) losses.push(`${name}: ${measure}: grows by ${rise.toFixed(1)} a quarter of the time`);
    }
    const { answered, refused } = samples.at(-1)!.told;
    const rise = steadyRise(quarterMedians(samples.map(({ told }) => told.answered)));
    const others = Object.keys(refused).filter((code) => code !== "broker_unavailable");
    const isWell = rise > 0 && others.length === 0 && (refused["broker_unavailable"] ?? 0) > 0;
    rows.push([name, `calls: ${answered} answered; ${JSON.stringify(refused)}`, "", "", "", "", isWell ? "" : "wrong"]);
    if (!isWell) losses.push(`${name}: ${answered} calls were answered, and others failed: ${JSON.stringify(refused)}`);
  }
  const quarters = [1, 2, 3, 4].map((quarter) => `quarter ${quarter}`);
  process.stdout.write(`The broker was restarted ${brokers} times, and the bus ${buses} times, in ${seconds} s.\n`);
  process.stdout.write(`Medians of the quarters of the time after its first third:\n\n`);
  process.stdout.write(markdownTable(["program", "measure", ...quarters, ""], rows));
  printSum({ passed: rows.length - losses.length, losses });
}

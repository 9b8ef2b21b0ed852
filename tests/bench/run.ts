// npm run bench [-- --rounds N --keep]: what a silent token costs, a whole process each, and in one process; what a cached token
// costs; what a sign-in in the browser costs; how many requests the proxy of serve --upstream passes on. Nothing is asserted. With
// --keep the first of these alone, and the documentation's figures are those of this run: npm run pictures draws them.
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { addPrivateKeyring } from "../fakes/private_keyring.ts";
import { startPrivateBus } from "../fakes/private_bus.ts";
import { type FakeBroker, startFakeBroker } from "../fakes/start_fake_broker.ts";
import { denoCommand } from "../tools/deno_command.ts";
import type { CallTimes } from "./calls.ts";
import { type Figure, keepFigures } from "./figures.ts";
import { measureInTurn, measurePeakMemory } from "./measure_process.ts";
import { keptTokensReport } from "./kept_tokens_report.ts";
import { hasKeyring, type Program, programs, tokenRequest } from "./programs.ts";
import { markdownTable, median, range } from "./report.ts";
import { signInReport } from "./sign_in_report.ts";
import { startUpReport } from "./start_up_report.ts";
import { upstreamReport } from "./upstream_report.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const SCOPE = "User.Read";
const EQUAL_SCOPE = "Equal.Read";
const MEMORY_ROUNDS = 5;
const CALLS = 1000;
const CALL_ROUNDS = 5;
const MIB = 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

process.chdir(fileURLToPath(new URL("../../", import.meta.url)));
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "31" }, keep: { type: "boolean", default: false } },
});
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError("--rounds takes a whole number from 1 on");

const load = Number(loadavg()[0]!.toFixed(1));
const bus = await startPrivateBus();
try {
  const broker = await startFakeBroker(bus);
  const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: bus.address, DENO_NO_UPDATE_CHECK: "1" };
  if (hasKeyring()) await addPrivateKeyring(bus, "unlocked");
  measureCalls(env); // so that the fake is compiled before it is waited for
  const all = programs(CLIENT_ID, SCOPE, { address: bus.address, home: join(bus.directory, "home") });
  print(await processReport(all, env));
  if (!values.keep) {
    const { command: python } = all.find(({ id }) => id === "python")!;
    print(await startUpReport(["token", "--client-id", CLIENT_ID, "--scope", SCOPE], python, env, rounds));
    print(await callsReport(broker, env));
    print(await keptTokensReport(env, Math.ceil(rounds / 3)));
    print(await signInReport(env));
    print(await upstreamReport(env));
  }
} finally {
  await bus.stop();
}

async function processReport(all: readonly Program[], env: Environment): Promise<string> {
  const there = all.filter(({ missing }) => missing === undefined);
  const costs = measureInTurn(there.map(({ command }) => command), env, rounds).map((times) => ({
    walls: times.map(({ wallMs }) => wallMs),
    cpus: times.map(({ cpuMs }) => cpuMs),
    peaks: [] as number[],
  }));
  for (let round = 0; round < MEMORY_ROUNDS; round++) {
    for (const [index, { peaks }] of costs.entries()) {
      peaks.push(await measurePeakMemory(there[index]!.command, env) / MIB);
    }
  }

  const figures = costs.map(({ cpus, peaks }, index): Figure => ({
    name: there[index]!.name,
    isOurs: there[index]!.isOurs,
    cpuMs: Math.round(median(cpus)),
    peakMiB: Math.round(median(peaks)),
  }));
  if (values.keep) keepFigures({ rounds, processors: availableParallelism(), load, silentToken: figures });

  const medianOf = (id: Program["id"]): number =>
    median(costs[there.findIndex((program) => program.id === id)]?.walls ?? []);
  const nothing = medianOf("nothing"), python = medianOf("python");
  const rows = costs.map(({ walls, cpus, peaks }, index) => {
    const wall = median(walls), peak = median(peaks);
    return [
      there[index]!.name,
      wall.toFixed(1),
      range(walls),
      ratio(wall, nothing),
      ratio(wall, python),
      median(cpus).toFixed(1),
      peak.toFixed(1),
      there[index]!.isOurs ? verdicts([[wall / python, 1.2], [wall / nothing, 2.1], [peak, 42]]) : "",
    ];
  });
  const head = [
    ...["whole process, one silent token", "median ms", "min–max", "× empty Deno", "× python3-dbus", "CPU ms"],
    ...["peak MiB", "≤ 1.2 × python3-dbus, ≤ 2.1 × empty Deno, ≤ 42 MiB"],
  ];
  const notes = all.flatMap(({ name, missing }) => missing ? [`${name}: left out, ${missing}\n`] : []);
  return `${rounds} rounds in turn, ${MEMORY_ROUNDS} more for the memory; the broker is a fake, and its time is in each\n\n` +
    `${markdownTable(head, rows)}${notes.join("")}`;
}

async function callsReport(broker: FakeBroker, env: Environment): Promise<string> {
  const times: CallTimes[] = [];
  await broker.forgetCalls();
  const program = join(bus.directory, "calls"), inC: number[] = [], why = compileInC(program);
  for (let round = 0; round < CALL_ROUNDS; round++) {
    times.push(measureCalls(env));
    if (!why) inC.push(measureInC(program, env));
  }
  const equalCalls = (await broker.calls("acquireTokenSilently"))
    .filter(({ request }) => request.authParameters.requestedScopes.includes(EQUAL_SCOPE));

  const inTurn = times.map((one) => one.inTurnMs), atOnce = times.map((one) => one.atOnceMs);
  const equal = times.map((one) => one.equalAtOnceMs);
  const row = (name: string, walls: readonly number[], ...more: readonly string[]): readonly string[] => [
    ...[name, median(walls).toFixed(1), range(walls), (median(walls) / CALLS).toFixed(3)],
    ...[ratio(median(walls), median(inC)), ...more],
  ];
  const target = (walls: readonly number[], most: number) =>
    `≤ ${most} × C: ${verdicts([[median(walls) / median(inC), most]])}`;
  const table = markdownTable(
    [`one process, ${CALLS} silent calls`, "median ms", "min–max", "ms a call", "× C in turn", "targets"],
    [
      ...why ? [] : [row("in C over libdbus, in turn", inC, "")],
      row("different, in turn", inTurn, target(inTurn, 1.7)),
      row("different, at once", atOnce, target(atOnce, 1.1)),
      row("equal, at once", equal, `1 call of the broker: ${verdict(equalCalls.length === CALL_ROUNDS)}`),
    ],
  );
  return table + (why ? `In C over libdbus: left out, ${why}\n` : "");
}

/** Compiles calls.c. Returns why that cannot be done here, if so. */
function compileInC(program: string): string | undefined {
  if (!Bun.which("cc") || !Bun.which("pkg-config")) return "cc or pkg-config is not installed";
  const flags = Bun.spawnSync(["pkg-config", "--cflags", "--libs", "dbus-1"], { stderr: "ignore" });
  if (flags.exitCode !== 0) return "libdbus-1-dev is not installed";
  const words = flags.stdout.toString().trim().split(/\s+/);
  const { exitCode, stderr } = Bun.spawnSync(["cc", "-O2", "-o", program, "tests/bench/calls.c", ...words]);
  return exitCode === 0 ? undefined : stderr.toString().trim().split("\n").at(-1);
}

function measureInC(program: string, env: Environment): number {
  const { stdout, stderr, exitCode } = Bun.spawnSync([program, String(CALLS), tokenRequest(CLIENT_ID, SCOPE)], { env });
  if (exitCode !== 0) throw new Error(`tests/bench/calls.c failed: ${stderr}`);
  return Number(stdout);
}

function measureCalls(env: Environment): CallTimes {
  const command = [...denoCommand("tests/bench/calls.ts"), CLIENT_ID, String(CALLS), EQUAL_SCOPE];
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, { env, stdio: ["ignore", "pipe", "pipe"] });
  if (exitCode !== 0) throw new Error(`tests/bench/calls.ts failed: ${stderr}`);
  return JSON.parse(stdout.toString());
}

function ratio(value: number, base: number): string {
  return Number.isNaN(base) ? "" : (value / base).toFixed(2);
}

/** Each value against the most that it may be; what could not be measured has no verdict. */
function verdicts(limits: readonly (readonly [value: number, most: number])[]): string {
  return limits.map(([value, most]) => Number.isNaN(value) ? "–" : verdict(value <= most)).join(", ");
}

function verdict(isMet: boolean): string {
  return isMet ? "met" : "missed";
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

import { readFileSync } from "node:fs";

/** What a process took. */
export interface Cost {
  readonly wallMs: number;
  /** Processor time of all its threads. */
  readonly cpuMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

function measureTime(command: readonly string[], env: Environment): Cost {
  const start = performance.now();
  const { exitCode, stderr, resourceUsage } = Bun.spawnSync([...command], { env, stdio: ["ignore", "pipe", "pipe"] });
  const wallMs = performance.now() - start;
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${stderr}`);
  return { wallMs, cpuMs: Number(resourceUsage!.cpuTime.total) / 1000 };
}

const WARM_UP_ROUNDS = 3;

/** Measures programs that take turns, so that whatever else the machine does meets all of them. Returns the costs of each. */
export function measureInTurn(
  commands: readonly (readonly string[])[],
  env: Environment,
  rounds: number,
): readonly (readonly Cost[])[] {
  const costs = commands.map((): Cost[] => []);
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const [index, command] of commands.entries()) {
      const cost = measureTime(command, env);
      if (round >= 0) costs[index]!.push(cost);
    }
  }
  return costs;
}

/**
 * Runs a process and measures its peak memory, in bytes. Not by `resourceUsage().maxRSS`, which counts what the parent
 * had when it started the process; and in a run of its own, since to look all the time takes a processor.
 */
export async function measurePeakMemory(command: readonly string[], env: Environment): Promise<number> {
  const child = Bun.spawn([...command], { env, stdio: ["ignore", "ignore", "ignore"] });
  let peakKiB = 0;
  for (let now: number | undefined = 0; now !== undefined; now = highWaterMarkKiB(child.pid)) peakKiB = now;
  const status = await child.exited;
  if (status !== 0) throw new Error(`${command.join(" ")} failed with exit code ${status}`);
  return peakKiB * 1024;
}

/** @returns nothing when the process has ended: a zombie, as it is then, has no memory. */
function highWaterMarkKiB(pid: number): number | undefined {
  const value = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return value === undefined ? undefined : Number(value);
}

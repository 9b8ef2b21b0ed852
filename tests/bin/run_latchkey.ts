/** The command line inside the test's process, or as a program where what is tested is the program. */
import { fileURLToPath } from "node:url";
import { denoRun, joinFlags, LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { openHome, type Stage } from "../fixture.ts";
import { type InProcessOptions, runInProcess } from "./run_in_process.ts";
import { isBuilt, latchkeyBy } from "./tested_latchkey.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What a run gave. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How it is run. */
export interface RunOptions extends Pick<InProcessOptions, "env" | "input" | "terminals"> {
  /** Runs it as a program on Deno with these permissions. @default --allow-all: it runs in this process */
  readonly permissions?: readonly string[] | undefined;
}

/** Runs the command line to its end; the environment has nothing but what is given, and a new home. */
export async function runLatchkey(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const { permissions } = options;
  const isLimited = permissions !== undefined && permissions.join() !== "--allow-all";
  return await (isLimited || isBuilt ? runLatchkeyOnDeno : runInProcess)(args, options);
}

/**
 * Returns what runs a line of the command line, and words that may have spaces, with the bus of a stage.
 *
 * @param stage The stage.
 * @param appWords Words that name the app, which follow the line.
 */
export function latchkeyOf(
  stage: Pick<Stage, "bus">,
  ...appWords: readonly string[]
): (line: string, options?: RunOptions & { readonly more?: readonly string[] }) => Promise<Run> {
  return (line, { env, more = [], ...options } = {}) =>
    runLatchkey([...line.split(" ").filter(Boolean), ...appWords, ...more], {
      ...options,
      env: { DBUS_SESSION_BUS_ADDRESS: stage.bus.address, ...env },
    });
}

/** Runs the command line as a program on Deno, or what was built. */
export async function runLatchkeyOnDeno(
  args: readonly string[],
  { env = {}, permissions = LEAST_PERMISSIONS, input }: RunOptions = {},
): Promise<Run> {
  return await runProgram([...latchkeyBy([...denoRun(), ...joinFlags(permissions)]), ...args], env, { input });
}

/** Runs a program on Deno, as the project's programs are run where only npm can be reached. */
export async function runDeno(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  return await runProgram([...denoRun(), ...args], env);
}

/** Runs a program to its end; the environment has little but what is given. Unless that names a home, it has a new one. */
export async function runProgram(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  { input }: Pick<RunOptions, "input"> = {},
): Promise<Run> {
  using home = openHome();
  const child = Bun.spawn(
    [...command],
    {
      cwd: root,
      env: { NO_COLOR: "1", ...home.env, ...env },
      stdio: [input === undefined ? "ignore" : new Blob([input]), "pipe", "pipe"],
    },
  );
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, stdout, stderr };
}

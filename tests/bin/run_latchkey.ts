/** The command line inside the test's process, or as a program where what is tested is the program. */
import { fileURLToPath } from "node:url";
import { denoRun, joinFlags, LEAST_PERMISSIONS } from "../tools/deno_command.ts";
import { openHome } from "../fixture.ts";
import { runInProcess } from "./run_in_process.ts";
import { isBuilt, latchkeyBy } from "./tested_latchkey.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What a run gave. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How it is run. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as a program on Deno with these permissions. @default --allow-all: it runs in this process */
  readonly permissions?: readonly string[] | undefined;
  /** What standard input has. @default nothing */
  readonly input?: string | Uint8Array<ArrayBuffer> | undefined;
}

/** Runs the command line to its end; the environment has nothing but what is given, and a new home. */
export async function runLatchkey(
  args: readonly string[],
  { env = {}, permissions, input }: RunOptions = {},
): Promise<Run> {
  const isLimited = permissions !== undefined && permissions.join() !== "--allow-all";
  if (!isLimited && !isBuilt) return await runInProcess(args, { env, input });
  return await runLatchkeyOnDeno(args, { env, permissions, input });
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

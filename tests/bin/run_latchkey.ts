/** The command line as people run it from the sources: Deno, with no permission that a silent token does not need. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findTool } from "../tools/find_tool.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Where libdbus is: what a person writes behind `--allow-ffi=`. */
export const LIBDBUS: string = [
  ...[`/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`, "/usr/lib64", "/usr/lib"],
].map((directory) => `${directory}/libdbus-1.so.3`).find((path) => existsSync(path)) ?? "";

/** What is enough for a silent token. */
export const LEAST_PERMISSIONS: readonly string[] = [
  `--allow-ffi=${LIBDBUS}`,
  "--allow-env=DBUS_SESSION_BUS_ADDRESS,XDG_RUNTIME_DIR",
];

/** What a run gave. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How it is run. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Deno's permissions. @default LEAST_PERMISSIONS */
  readonly permissions?: readonly string[];
}

/** Runs the command line to its end; the environment has nothing but what is given. */
export async function runLatchkey(
  args: readonly string[],
  { env = {}, permissions = LEAST_PERMISSIONS }: RunOptions = {},
): Promise<Run> {
  return await runDeno([...permissions, "bin/latchkey.ts", ...args], env);
}

/** Runs a program on Deno, as the project's programs are run where only npm can be reached. */
export async function runDeno(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  const child = Bun.spawn(
    [
      findTool("deno"),
      "run",
      "--no-prompt",
      "--no-config",
      "--node-modules-dir=manual",
      "--conditions=latchkey-source",
      ...args,
    ],
    { cwd: root, env: { NO_COLOR: "1", HOME: process.env.HOME, ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  const [code, stdout, stderr] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, stdout, stderr };
}

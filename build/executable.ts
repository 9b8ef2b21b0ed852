/** Compiles the command line to one file with a runtime inside. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { findTool } from "../tests/tools/find_tool.js";
import { bundleCommandLine, COMMAND_LINE, currentCommit, ROOT } from "./bundle.ts";
import { addCodeCache } from "./code_cache.ts";
import { type DenoRuntime, denoRuntime, requireSameRuntime, runtimeVariable } from "./deno_runtime.ts";
import { type Target, targetNamed } from "./targets.ts";

/** What is in an executable. */
export interface ExecutableContents {
  /** The packages whose code it contains, as package-lock.json names them: `node_modules/yaml`. */
  readonly packages: readonly string[];
  readonly runtime: DenoRuntime;
}

export interface ExecutableOptions {
  readonly target: Target;
  /** Path of the executable; on Windows with `.exe`. */
  readonly output: string;
}

/**
 * Permissions of the executable. Only `sys` has a list, since people choose the rest: libdbus or MSALRuntime (ffi); variables
 * with options, proxies and certificates, and those of the programs that it starts (env); files of profiles, configuration,
 * caches and sockets (read, write); authorities, proxies and loopback (net); the browser, wslinfo, and commands that get a token
 * (run). It may not import code from elsewhere, nor read what the kernel shows of other programs, which Deno permits only with
 * `--allow-all`. It never prompts for more.
 */
export const BAKED_PERMISSIONS: readonly string[] = [
  ...["--allow-ffi", "--allow-env", "--allow-read", "--allow-write", "--allow-net", "--allow-run"],
  ...["--allow-sys=uid,osRelease", "--no-prompt"],
];

/**
 * Variables of the executable; the person's own count more. Deno ignores the certificates of Windows' and macOS' stores otherwise.
 * On Linux it would fail wherever there are none, or `SSL_CERT_FILE` names no file, and there `lib/http/client.ts` reads them.
 */
const BAKED_ENVIRONMENT = "DENO_TLS_CA_STORE=system,mozilla\n";

/** Sparkplug compiles functions that ran a few times, which takes a command 2 ms, and makes a service no faster. */
export const V8_FLAGS: readonly string[] = ["--no-sparkplug"];

/** Deno then reads nothing of the folders around. */
const ISOLATED = ["--quiet", "--no-config", "--no-lock", "--no-npm"];

/** Returns the Deno that compiles. PATH is not searched: in npm's scripts it begins with a `deno` that is not unpacked. */
export function denoForCompile(): string {
  return process.env["DENO_FOR_COMPILE"] || findTool("deno");
}

/**
 * Compiles with Deno: that of `DENO_FOR_COMPILE`, otherwise npm's in the version of package-lock.json. Deno downloads the runtime
 * to include, unless an environment variable names it: `DENORT_BIN` for this machine, `DENORT_BIN_LINUX_ARM64` and its like
 * for a target.
 *
 * @returns what the executable contains.
 * @throws {Error} with Deno's messages, or if the downloaded runtime is not the one that we know.
 */
export async function compileByDeno({ target, output }: ExecutableOptions): Promise<ExecutableContents> {
  const deno = denoForCompile();
  const runtime = denoRuntime(deno, target);
  const packages = await withBundle(target.deno, async (folder) => {
    const path = resolve(output);
    const made = join(dirname(path), `new-${basename(path)}`);
    await mkdir(dirname(path), { recursive: true });
    const words = await compileWords(deno, folder, target);
    try {
      requireSameRuntime(runtime);
      compile({ deno, folder, words: [...words.options, "--output", made, words.entry], target, runtime });
      requireSameRuntime(runtime); // it may have been downloaded only now
      if (target === targetNamed()) requireStart(made, deno);
      await rename(made, path);
    } catch (error) {
      await rm(made, { force: true }); // what was there before stays
      throw error;
    }
  });
  return { packages, runtime };
}

/** Returns the arguments of `deno compile` for a bundle; for this machine's target it makes the code cache that is included. */
async function compileWords(
  deno: string,
  folder: string,
  target: Target,
): Promise<{ readonly options: readonly string[]; readonly entry: string }> {
  const environment = join(folder, "environment");
  const isLinux = target.name.startsWith("linux-");
  if (!isLinux) await writeFile(environment, BAKED_ENVIRONMENT);
  const run = (program: string, words: readonly string[], flags: readonly string[]) =>
    runDeno(deno, folder, ["run", ...ISOLATED, "--allow-read", "--allow-write", v8Flags(flags), program, ...words]);
  // Only the target's V8 makes one that it accepts.
  const included = target === targetNamed() ? addCodeCache(folder, V8_FLAGS, run) : [];
  await resetTimes(folder);
  const options = [
    ...["compile", ...ISOLATED, "--no-check"],
    // Deno would keep compiled code in /tmp under a predictable name, where anybody can put files, and run what it finds.
    "--no-code-cache",
    v8Flags(V8_FLAGS),
    ...included.map((path) => `--include=${path}`),
    ...BAKED_PERMISSIONS,
    ...(isLinux ? [] : [`--env-file=${environment}`]),
    ...["--target", target.deno],
  ];
  return { options, entry: join(folder, COMMAND_LINE.replace(/ts$/, "js")) };
}

interface Compilation {
  readonly deno: string;
  readonly folder: string;
  readonly words: readonly string[];
  readonly target: Target;
  readonly runtime: DenoRuntime;
}

/** @throws {Error} with Deno's messages, and what to do if the runtime is missing. */
function compile({ deno, folder, words, target, runtime }: Compilation): void {
  try {
    runDeno(deno, folder, words, { DENORT_BIN: runtime.variable === undefined ? undefined : runtime.path });
  } catch (error) {
    const { message } = error as Error;
    const variable = target === targetNamed() ? "DENORT_BIN" : runtimeVariable("DENORT_BIN", target);
    const hint = "It needs Deno's runtime for that target: a network that reaches Deno's downloads, or its path in " +
      `${variable}. Without them, npm run compile:bun makes an executable for this machine`;
    const isMissing = /base binary|find denort/.test(message);
    throw new Error(`${deno} compile for ${target.deno} failed: ${message}${isMissing ? `\n${hint}` : ""}`);
  }
}

/** A runtime of another version than the Deno that compiled does not find the program in the executable. */
function requireStart(executable: string, deno: string): void {
  const { status, stderr, error } = spawnSync(executable, ["--version"], { encoding: "utf8" });
  if (status === 0) return;
  const hint = `The runtime that DENORT_BIN names has to be of the same version as ${deno}`;
  throw new Error(`the executable does not start: ${stderr || error?.message || `exit code ${status}`}\n${hint}`);
}

/** @throws {Error} with Deno's messages. */
function runDeno(deno: string, cwd: string, words: readonly string[], more: NodeJS.ProcessEnv = {}): void {
  const { status, error, stderr } = spawnSync(deno, words, {
    cwd,
    env: {
      ...process.env,
      DENO_NO_PACKAGE_JSON: "1",
      NO_COLOR: "1",
      DENO_V8_FLAGS: undefined,
      RUST_BACKTRACE: "0",
      ...more,
    },
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr || error?.message);
}

function v8Flags(flags: readonly string[]): string {
  return `--v8-flags=${flags.join(",")}`;
}

/**
 * Compiles with Bun, which downloads its runtime for another target than this machine's, unless a variable such as
 * `BUN_RUNTIME_WINDOWS_X64` names it.
 *
 * @throws {AggregateError} with all errors of Bun.
 */
export async function compileByBun({ target, output }: ExecutableOptions): Promise<void> {
  await withBundle(target.bun, async (folder) => {
    const entry = join(folder, COMMAND_LINE.replace(/ts$/, "js"));
    const path = resolve(output);
    const runtime = process.env[runtimeVariable("BUN_RUNTIME", target)];
    await mkdir(dirname(path), { recursive: true });
    await resetTimes(folder);
    await Bun.build({
      entrypoints: [entry],
      minify: { whitespace: true }, // also removes comments that name a folder of this machine
      // Compiled code starts in a third of the time. Without the format Bun makes none for a module that awaits.
      bytecode: true,
      format: "esm",
      target: "bun",
      define: { "import.meta.main": "true" }, // on Windows it is false (oven-sh/bun issue 30084)
      // A person who starts a program in a folder has not chosen the .env and bunfig.toml there.
      compile: {
        ...{ target: target.bun, outfile: path, autoloadDotenv: false, autoloadBunfig: false },
        ...(runtime && { executablePath: runtime }),
      },
    });
  });
}

/** Gives files the same times always: an executable contains them, and the same sources are to give the same bytes. */
async function resetTimes(folder: string): Promise<void> {
  for (const file of await readdir(folder, { recursive: true })) await utimes(join(folder, file), 0, 0);
}

/** Bundles the command line for the time that a function takes, and returns the packages in it. */
async function withBundle(target: string, use: (folder: string) => Promise<void>): Promise<readonly string[]> {
  // Outside the checkout, so that nothing of it, such as node_modules, gets into the program.
  const folder = await mkdtemp(join(tmpdir(), "latchkey-build-"));
  try {
    const packages = await bundleCommandLine({
      folder,
      facts: { kind: "executable", target, commit: currentCommit() },
    });
    await use(folder);
    return packages;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Returns the default path of an executable: `dist/latchkey`, or `dist/latchkey-linux-arm64` for another machine. */
export function defaultOutput(target: Target): string {
  return join(ROOT, "dist", `latchkey${target === targetNamed() ? "" : `-${target.name}`}${target.suffix}`);
}

/** The command line as one file with a runtime inside. */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { findTool } from "../tests/tools/find_tool.js";
import { currentCommit, ROOT } from "./bundle.ts";
import { bundleCommandLine, COMMAND_LINE } from "./bundle_command_line.ts";
import { type Target, targetNamed } from "./targets.ts";

/** What an executable is made for, and where it goes. */
export interface ExecutableOptions {
  readonly target: Target;
  /** Its path; on Windows with `.exe`. */
  readonly output: string;
}

/**
 * What the executable may do, whoever starts it. All but `sys` is without a list, since people choose what is named: libdbus or
 * MSALRuntime (ffi); variables with options, proxies and certificates, and those of the programs that it starts (env); files
 * of profiles, configuration, caches and sockets (read, write); authorities, proxies and loopback (net); the browser, wslinfo,
 * and commands that get a token (run). It may not import code from elsewhere, nor read what the kernel shows of other
 * programs, which Deno permits with everything alone. It never asks for more.
 */
export const BAKED_PERMISSIONS: readonly string[] = [
  ...["--allow-ffi", "--allow-env", "--allow-read", "--allow-write", "--allow-net", "--allow-run"],
  ...["--allow-sys=uid,osRelease", "--no-prompt"],
];

/** The Deno that compiles. A path of a script of npm's begins with a `deno` that is not unpacked, so the path is not asked. */
export function denoForCompile(): string {
  return process.env["DENO_FOR_COMPILE"] || findTool("deno");
}

/**
 * By `deno compile`: that of `DENO_FOR_COMPILE`, else npm's, whose version package-lock.json says. Unless `DENORT_BIN` names it, Deno downloads the
 * runtime that goes in.
 *
 * @throws {Error} with all that Deno says.
 */
export async function compileByDeno({ target, output }: ExecutableOptions): Promise<void> {
  const deno = denoForCompile();
  await withBundle(target.deno, async (folder) => {
    await mkdir(dirname(resolve(output)), { recursive: true });
    const words = [
      ...["compile", "--quiet", "--no-config", "--no-check", "--no-lock", "--no-npm"],
      // Deno would keep compiled code under a name that anybody can foresee in a folder where anybody can put files, /tmp,
      // and run what it finds there.
      "--no-code-cache",
      ...BAKED_PERMISSIONS,
      ...["--target", target.deno, "--output", resolve(output), join(folder, COMMAND_LINE.replace(/ts$/, "js"))],
    ];
    const { status, error, stderr } = spawnSync(deno, words, {
      cwd: folder,
      // The runtime that DENORT_BIN names is this machine's: in a file for others it would be a trap.
      env: {
        ...process.env,
        ...{ DENO_NO_PACKAGE_JSON: "1", NO_COLOR: "1" },
        DENORT_BIN: target === targetNamed() ? process.env["DENORT_BIN"] : undefined,
      },
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    if (status === 0) return;
    throw new Error(
      `${deno} compile for ${target.deno} failed: ${stderr || error?.message}\n` +
        "It needs Deno's runtime for that target: a network that reaches Deno's downloads, or its path in DENORT_BIN",
    );
  });
}

/**
 * By `bun build --compile`. For another target than this machine's, Bun downloads its runtime.
 *
 * @throws {Error} with all that Bun says.
 */
export async function compileByBun({ target, output }: ExecutableOptions): Promise<void> {
  await withBundle(target.bun, async (folder) => {
    const entry = join(folder, COMMAND_LINE.replace(/ts$/, "js")), path = resolve(output);
    await mkdir(dirname(path), { recursive: true });
    await Bun.build({
      entrypoints: [entry],
      minify: { whitespace: true }, // and with it comments that name a folder of this machine
      // Whoever starts a program in a folder has not chosen the .env and bunfig.toml that somebody put there.
      compile: { target: target.bun, outfile: path, autoloadDotenv: false, autoloadBunfig: false },
    });
  });
}

async function withBundle(target: string, use: (folder: string) => Promise<void>): Promise<void> {
  // Elsewhere than the checkout, so that nothing of that, node_modules least of all, is taken for a part of the program.
  const folder = await mkdtemp(join(tmpdir(), "latchkey-build-"));
  try {
    await bundleCommandLine({ folder, facts: { kind: "executable", target, commit: currentCommit() } });
    // The same sources give the same executable, to the byte: it would have the files' times in it.
    for (const file of await readdir(folder, { recursive: true })) await utimes(join(folder, file), 0, 0);
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Where an executable goes unless somebody says otherwise. */
export function defaultOutput({ suffix }: Target): string {
  return join(ROOT, "dist", `latchkey${suffix}`);
}

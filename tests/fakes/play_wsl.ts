/** WSL as a test plays it: what wslinfo and Windows' program do, and what they were asked. For suites that run in tests/tools/wsl_machine.ts. */
import { afterEach, beforeEach } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { MSAL_PROXY } from "../tools/wsl_machine.ts";

/** A program that was started. */
export interface Started {
  readonly pid: number;
  /** What it had as `WSL_INTEROP`. */
  readonly interop: string;
  readonly args: readonly string[];
}

/** What a test plays. */
export interface WslPlay {
  /** What Windows' program does in place of an answer: a method, and one of its plays. */
  readonly proxy?: string;
  /** What wslinfo does in place of its answer. */
  readonly wslinfo?: string;
  /** What wslinfo names. @default the stand-in for Windows' program */
  readonly path?: string;
  /** The environment's `WSL_INTEROP`. @default not set */
  readonly interop?: string;
}

/** Where WSL has its sockets. */
export const INTEROP_FOLDER = "/run/WSL";

/** WSL for a suite. */
export interface PlayedWsl {
  /** Sets all that is played. */
  play(play: WslPlay): void;
  /** A folder of the test's own. */
  folder(): string;
  /** The programs of Windows' and wslinfo that were started, in order; of one method when it is named. */
  started(method?: string): readonly Started[];
  /** Forgets what was started. */
  forget(): void;
}

/** Plays nothing, and forgets, before each test. */
export function usePlayedWsl(): PlayedWsl {
  let folder: string;
  const log = () => join(folder, "started.log");

  function play({ proxy = "", wslinfo = "", path = MSAL_PROXY, interop = "" }: WslPlay): void {
    Object.assign(process.env, { MSAL_PROXY: path, MSAL_PROXY_PLAYS: proxy, WSLINFO_PLAYS: wslinfo });
    if (interop) process.env.WSL_INTEROP = interop;
    else delete process.env.WSL_INTEROP;
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "wsl-"));
    process.env.MSAL_PROXY_LOG = log();
    play({});
  });
  afterEach(() => {
    delete process.env.MSAL_PROXY_LOG;
    rmSync(folder, { recursive: true });
    for (const name of readdirSync(INTEROP_FOLDER)) unlinkSync(join(INTEROP_FOLDER, name));
  });

  return {
    play,
    folder: () => folder,
    started(method?: string): readonly Started[] {
      if (!existsSync(log())) return [];
      const programs = readFileSync(log(), "utf8").split("\f\n").filter(Boolean).map((text): Started => {
        const [pid, interop = "", ...args] = text.split("\n");
        return { pid: Number(pid), interop, args: args.slice(0, -1) };
      });
      return programs.filter(({ args }) => method === undefined || args[1] === method);
    },
    forget: () => rmSync(log(), { force: true }),
  };
}

/** Waits until a process has ended; a zombie has. */
export async function untilEnded(pid: number): Promise<void> {
  while (isRunning(pid)) await delay(2);
}

function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

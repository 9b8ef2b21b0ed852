/**
 * Programs of Windows' that WSL runs, the one that passes requests to Windows' broker (Web Account Manager) among them, and
 * what it means when one cannot be run.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { type CommandOptions, type CommandResult, runCommand } from "./command.ts";
import { shellWord } from "./host.ts";
import { requirePermission } from "./permission.ts";
import { StartError } from "./start_process.ts";
import { interopEnvironment } from "./wsl_interop.ts";

/** Tells of WSL. By its whole path, as services have no `PATH` with it. */
const WSLINFO = "/usr/bin/wslinfo";
/** Where the proxy to the broker is on most machines; named where it cannot be asked. */
const USUAL_PROXY = "/mnt/c/Program Files/WSL/msal.wsl.proxy.exe";
/** How long `wslinfo` may take: where it hangs, it hangs for ever (microsoft/WSL issue 12714). */
const WSLINFO_MS = 3_000;

/** What to do about each thing that can be wrong with WSL. */
export const WSL_HINTS = {
  update: "Update WSL: run wsl --update in Windows (2.4.13 or later)",
  restart: "Run wsl --shutdown in Windows and try again",
  interop:
    "Let WSL run programs of Windows': in /etc/wsl.conf, under [interop], set enabled=true, then run wsl --shutdown " +
    "in Windows; where systemd took it away: sudo systemctl restart systemd-binfmt",
  session: "Run it in a session of WSL's, or set WSL_INTEROP to the newest socket of /run/WSL",
  drive:
    "Mount Windows' drive: in /etc/wsl.conf, under [automount], set enabled=true, then run wsl --shutdown in Windows",
} as const;

/**
 * Where the proxy to Windows' broker is, as WSL knows it.
 *
 * @param signal Gives the question up, with its reason.
 * @throws {LatchkeyError} `broker_unavailable` when WSL does not know it; `timed_out`; `missing_dependency` when Deno may not
 * ask.
 */
export async function findWslProxy(signal?: AbortSignal): Promise<string> {
  const { code, stdout, stderr } = await runWslinfo(["--msal-proxy-path", "-n"], signal);
  if (code !== 0) {
    throw whyNotRun({ code, stderr }, WSLINFO) ??
      unavailable(`wslinfo does not know --msal-proxy-path (exit code ${code})`, WSL_HINTS.update);
  }
  const path = stdout.trim();
  if (/^\/[^\p{Cc}]+$/u.test(path)) return path;
  throw unavailable("wslinfo names no program of Windows'", WSL_HINTS.update);
}

/**
 * The version of WSL, such as `2.5.9`; `undefined` when it does not tell.
 *
 * @throws {LatchkeyError} as {@linkcode findWslProxy}
 */
export async function wslVersion(signal?: AbortSignal): Promise<string | undefined> {
  for (const option of ["--version", "--wsl-version"]) { // older ones know the second alone
    const { code, stdout } = await runWslinfo([option], signal);
    const [version] = /^\d+(\.\d+)+/.exec(stdout.trim()) ?? [];
    if (code === 0 && version !== undefined) return version;
  }
  return undefined;
}

async function runWslinfo(args: readonly string[], signal: AbortSignal | undefined): Promise<CommandResult> {
  requireRun(WSLINFO, USUAL_PROXY);
  return await run([WSLINFO, ...args], { timeoutMs: WSLINFO_MS, signal });
}

/**
 * Runs the proxy.
 *
 * @param command Its path, and arguments.
 * @param limits Time, and a signal.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be run; `timed_out`; `invalid_response` when it prints too much;
 * `missing_dependency` when Deno does not permit it.
 */
export async function runWslProxy(
  command: readonly string[],
  limits: Pick<CommandOptions, "timeoutMs" | "signal">,
): Promise<CommandResult> {
  requireRun(command[0]!, command[0]!);
  return await run(command, limits);
}

async function run(command: readonly string[], limits: CommandOptions): Promise<CommandResult> {
  const [program = ""] = command;
  try {
    return await runCommand(command, { ...limits, environment: await interopEnvironment() });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    if (error.isMissing) {
      throw program === WSLINFO
        ? unavailable(`there is no ${WSLINFO}`, `${WSL_HINTS.update}; containers have none`)
        : unavailable(`there is no ${program}`, WSL_HINTS.drive);
    }
    throw error.reason === "ENOEXEC" ? interopOff() : unavailable(error.message, WSL_HINTS.interop);
  }
}

/**
 * Why a program failed, where what it was run by says so.
 *
 * @param result How it ended.
 * @param program Its path.
 * @returns An error; `undefined` when the program itself is to say.
 */
export function whyNotRun(
  { code, stderr }: Pick<CommandResult, "code" | "stderr">,
  program: string,
): LatchkeyError | undefined {
  // Who cannot run a program of Windows' gives it to a shell, as a script.
  const isScript = [2, 126, 127].includes(code) && stderr.includes(program) && /: (?:line )?\d+: /.test(stderr);
  if (isScript || /exec format error|cannot execute binary file/i.test(stderr)) return interopOff();
  return /UtilConnect|WSL_INTEROP|interop server/i.test(stderr)
    ? unavailable("the session's way to Windows is gone", WSL_HINTS.session)
    : undefined;
}

function interopOff(): LatchkeyError {
  return unavailable("WSL does not run programs of Windows' (interop is off)", WSL_HINTS.interop);
}

function unavailable(why: string, hint: string): LatchkeyError {
  return new LatchkeyError("broker_unavailable", why, { hint });
}

function requireRun(program: string, proxy: string): void {
  const programs = `${WSLINFO},${proxy}`;
  const isPlain = !/["$`\\!]/.test(proxy); // between quotation marks a shell reads these
  requirePermission({ name: "run", command: program }, isPlain ? `"${programs}"` : shellWord(programs));
}

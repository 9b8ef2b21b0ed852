/**
 * The program of Windows' that passes requests from WSL to Windows' own broker (Web Account Manager), and what it means when
 * it cannot be run.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { printable, readJson } from "../json_values.ts";
import type { Logger } from "../logger.ts";
import { type CommandOptions, type CommandResult, runCommand } from "../platform/command.ts";
import { requirePermission } from "../platform/permission.ts";
import { StartError } from "../platform/start_process.ts";
import { interopEnvironment } from "../platform/wsl_interop.ts";
import { commandLineLength, MAX_COMMAND_LINE } from "./windows_command_line.ts";

/** Names the program. By its whole path, as services have no `PATH` with it. */
export const WSLINFO = "/usr/bin/wslinfo";
/** Where the program is on most machines; named where it cannot be asked. */
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

/** What the program is asked. */
export interface ProxyRequest {
  /** D-Bus name of the method. */
  readonly method: string;
  /** Version of the protocol. */
  readonly version: string;
  /** UUID of the request. */
  readonly correlationId: string;
  /** The request. */
  readonly json: string;
}

/** How it is run. */
export interface ProxyOptions extends Pick<CommandOptions, "timeoutMs" | "signal"> {
  /** Takes log lines. */
  readonly log: Logger;
}

/**
 * Where the program is, as WSL knows it.
 *
 * @param signal Gives the question up, with its reason.
 * @throws {LatchkeyError} `broker_unavailable` when WSL does not know it; `missing_dependency` when Deno may not ask.
 */
export async function findWslProxy(signal?: AbortSignal): Promise<string> {
  requireRun(WSLINFO, USUAL_PROXY);
  const { code, stdout, stderr } = await run([WSLINFO, "--msal-proxy-path", "-n"], { timeoutMs: WSLINFO_MS, signal });
  if (code !== 0) {
    throw whyNot({ code, stderr }, WSLINFO) ??
      unavailable(`wslinfo does not know --msal-proxy-path (exit code ${code})`, WSL_HINTS.update);
  }
  const path = stdout.trim();
  if (/^\/[^\p{Cc}]+$/u.test(path)) return path;
  throw unavailable("wslinfo names no program of Windows'", WSL_HINTS.update);
}

/**
 * Makes sure that the program runs, and reaches Windows' broker.
 *
 * @throws {LatchkeyError} `broker_unavailable` when it does not; `missing_dependency` when Deno may not run it.
 */
export async function pingWslProxy(path: string, { log, ...limits }: ProxyOptions): Promise<void> {
  requireRun(path, path);
  const request = { method: "ping", version: "0.1", correlationId: "0", json: "{{}}" };
  const result = await run(commandOf(path, request), limits);
  logChatter(result, { request, log });
  // Its answer is not quite JSON.
  if (result.code === 0 && /success/i.test(result.stdout)) return;
  throw whyNot(result, path) ?? unavailable(`it does not answer (exit code ${result.code})`, WSL_HINTS.restart);
}

/**
 * Asks the program.
 *
 * @returns The reply, whatever it is.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be run, or fails without a word; `timed_out`;
 * `invalid_response` when it says too much; `configuration` when the request is too long for Windows.
 */
export async function askWslProxy(
  path: string,
  request: ProxyRequest,
  { log, ...limits }: ProxyOptions,
): Promise<string> {
  const command = commandOf(path, request), length = commandLineLength(command);
  if (length > MAX_COMMAND_LINE) {
    throw new LatchkeyError("configuration", `The request is too long for Windows: ${length} characters`, {
      hint: `Ask for fewer scopes, or with fewer claims: a command line of Windows' has ${MAX_COMMAND_LINE} at most`,
    });
  }
  requireRun(path, path);
  const result = await run(command, limits), { code } = result, answer = textOf(result.stdout);
  logChatter(result, { request, log });
  // A refusal is a refusal, whatever the program makes of it.
  if (code === 0 || readJson(answer)) return answer;
  throw whyNot(result, path) ?? unavailable(`it failed with exit code ${code}`, WSL_HINTS.restart);
}

function commandOf(path: string, { method, version, correlationId, json }: ProxyRequest): readonly string[] {
  return [path, "--method", method, "--bversion", version, "--cid", correlationId, "--requestJson", json];
}

/** A program that cannot be run, or does not end, is a way that is not there; what the caller wants of it is the caller's. */
async function run(command: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const [program = ""] = command;
  try {
    return await runCommand(command, { ...options, environment: await interopEnvironment() });
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

/** Why a program failed, where what it was run by says so. */
function whyNot({ code, stderr }: Pick<CommandResult, "code" | "stderr">, program: string): LatchkeyError | undefined {
  // Who cannot run a program of Windows' gives it to a shell, as a script.
  const isScript = [2, 126, 127].includes(code) && /^(?:\/bin\/)?(?:sh: )?\S.*: (?:line )?\d+: /.test(stderr) &&
    stderr.includes(program);
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
  requirePermission({ name: "run", command: program }, `"${WSLINFO},${proxy}"`);
}

/** A reply of a program of Windows': a byte order mark, line ends and now and then zeros are around it. */
function textOf(stdout: string): string {
  return stdout.replaceAll("\0", "").replace(/^\uFFFD+/, "").trim();
}

/** What it says beside its answer may help; JSON in it could have a token, and is left out. */
function logChatter(
  { stderr }: CommandResult,
  { request: { method, correlationId }, log }: { readonly request: ProxyRequest; readonly log: Logger },
): void {
  const said = printable(textOf(stderr).replaceAll(/\{[\s\S]*\}|\{[\s\S]*$/g, "{…}"));
  if (said) log("debug", `${method}: Windows' broker says: ${said} (correlation id ${correlationId})`);
}

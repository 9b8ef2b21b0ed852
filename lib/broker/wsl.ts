/**
 * Windows' own broker, from WSL: each request is a program of Windows' that is run, its answer what it prints.
 *
 * Deno needs `--allow-sys=osRelease` and `--allow-run=/usr/bin/wslinfo,PROXY`, PROXY being what
 * `/usr/bin/wslinfo --msal-proxy-path` prints.
 *
 * @module
 */
import { brokerPluginUri } from "../authority.ts";
import { escapeControlCharacters, readJson } from "../encoding.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import type { LocalFiles } from "../files/files.ts";
import { openLocalFiles } from "../files/private_files.ts";
import type { WindowHandle } from "../request.ts";
import { isProcessGone, mayReadEnvironment, readEnvironment, requirePermission, shellWord } from "../runtime/host.ts";
import { type CommandOptions, type CommandResult, runCommand, StartError } from "../runtime/process.ts";
import type { Broker } from "./broker.ts";
import { jsonBroker, type JsonBrokerOptions, type JsonTransport } from "./client.ts";

const PROTOCOL_VERSION = "0.0";
/** How long a message may take that nobody waits for: Windows takes seconds to start a program now and then. */
const CANCEL_MS = 10_000;

/**
 * Finds the broker, and makes sure that it can be reached.
 *
 * @param options What it is asked with.
 * @param signal Gives the start up, with its reason.
 * @returns The broker.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be reached; `missing_dependency` when Deno may not run what it
 * takes.
 */
export async function startWslBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const { log, timeLimits: { startMs } } = options;
  try {
    const path = await findWslProxy(signal);
    await pingWslProxy(path, { timeoutMs: startMs, signal, log });
    // Windows' broker has no version of its own: it is asked for none.
    return { ...jsonBroker(wslTransport(path, log), options), version: () => Promise.resolve(undefined) };
  } catch (error) {
    signal?.throwIfAborted();
    throw asUnavailable(error);
  }
}

function asUnavailable(error: unknown): unknown {
  if (!(error instanceof LatchkeyError) || error.code === "missing_dependency") return error;
  const hint = error.code === "broker_unavailable" ? error.hint : WSL_HINTS.restart;
  return new LatchkeyError("broker_unavailable", `Cannot reach Windows' broker: ${error.message}`, { hint });
}

function wslTransport(path: string, log: Logger): JsonTransport {
  const closing = new AbortController();
  return {
    kind: "wsl",
    isOverheard: true,
    cancelMs: CANCEL_MS,
    parentWindow: windowOfWindows,
    async send(method, json, { correlationId, timeoutMs, signal }): Promise<string> {
      const request = { method, version: PROTOCOL_VERSION, correlationId, json };
      // That a window is to be closed is told even when nobody waits any more; it takes no longer than its time limit.
      const isLast = method === "cancelInteractiveFlow";
      const end = AbortSignal.any([...(isLast ? [] : [closing.signal]), ...(signal ? [signal] : [])]);
      try {
        return await askWslProxy(path, request, { timeoutMs, signal: end, log });
      } catch (error) {
        signal?.throwIfAborted();
        throw ofCall(error, method, correlationId);
      }
    },
    // Never sent: it is what Microsoft Entra ID holds the app to when Windows' broker asks.
    redirectUri: brokerPluginUri,
    // Windows starts its broker for each request, so none comes or goes.
    watch: () => Promise.resolve({ [Symbol.dispose]: () => {} }),
    close: () => closing.abort(new LatchkeyError("broker_unavailable", "the connection to it was closed")),
  };
}

/** A window of X11 or Wayland means nothing to Windows; a number may be a HWND that the app was given. */
function windowOfWindows(handle: WindowHandle | undefined): WindowHandle | undefined {
  return typeof handle === "number" || typeof handle === "bigint" ? handle : undefined;
}

function ofCall(error: unknown, method: string, correlationId: string): unknown {
  if (!(error instanceof LatchkeyError)) return error;
  const { code, message } = error, isGone = code === "broker_unavailable";
  const hint = code === "timed_out" ? `${WSL_HINTS.restart}; latchkey doctor looks for the cause` : error.hint;
  return new LatchkeyError(code, isGone ? `Windows' broker cannot be asked for ${method}: ${message}` : message, {
    correlationId,
    hint,
  });
}

/** What the program is asked. */
interface ProxyRequest {
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
interface ProxyOptions extends Pick<CommandOptions, "timeoutMs" | "signal"> {
  /** Takes log lines. */
  readonly log: Logger;
}

/**
 * Makes sure that the program runs, and reaches Windows' broker.
 *
 * @throws {LatchkeyError} `broker_unavailable` when it does not; `timed_out`; `missing_dependency` when Deno may not run it.
 */
async function pingWslProxy(path: string, { log, ...limits }: ProxyOptions): Promise<void> {
  const request = { method: "ping", version: "0.1", correlationId: "0", json: "{{}}" };
  const result = await runWslProxy(commandOf(path, request), limits);
  logChatter(result, { request, log });
  // Its answer is not quite JSON.
  if (result.code === 0 && /\bsuccess/i.test(textOf(result.stdout))) return;
  throw whyNotRun(result, path) ?? failed("it does not answer", result);
}

/**
 * Asks the program.
 *
 * @returns The reply, whatever it is.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be run, or fails without a word; `timed_out`;
 * `invalid_response` when it says too much; `configuration` when the request is too long for Windows.
 */
async function askWslProxy(
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
  const result = await runWslProxy(command, limits), answer = textOf(result.stdout);
  logChatter(result, { request, log });
  // A refusal is a refusal, whatever the program makes of it.
  if (result.code === 0 || readJson(answer)) return answer;
  throw whyNotRun(result, path) ?? failed("it failed", result);
}

function commandOf(path: string, { method, version, correlationId, json }: ProxyRequest): readonly string[] {
  return [path, "--method", method, "--bversion", version, "--cid", correlationId, "--requestJson", json];
}

function failed(how: string, { code }: CommandResult): LatchkeyError {
  return new LatchkeyError("broker_unavailable", `${how} (exit code ${code})`, { hint: WSL_HINTS.restart });
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
  const said = escapeControlCharacters(textOf(stderr).replaceAll(/\{[\s\S]*\}|\{[\s\S]*$/g, "{…}"));
  if (said) log("debug", `${method}: Windows' broker says: ${said} (correlation id ${correlationId})`);
}

/** Characters that one may have (CreateProcess), the zero at its end included. */
export const MAX_COMMAND_LINE = 32_767;

/**
 * How long a command line becomes when its words are put in quotes as Windows' programs take them out again: quotation marks
 * and the backslashes before them get one more backslash each.
 *
 * @param words The program and its arguments.
 * @returns Its length in UTF-16 units, the zero at its end included; without the quotes where that is too long already.
 */
export function commandLineLength(words: readonly string[]): number {
  const bare = words.reduce((length, word) => length + word.length + 1, 0);
  return bare > MAX_COMMAND_LINE ? bare : words.reduce((length, word) => length + quotedLength(word) + 1, 0);
}

function quotedLength(word: string): number {
  if (word !== "" && !/[\s"]/.test(word)) return word.length;
  let length = word.length + 2, backslashes = 0;
  for (let at = 0; at <= word.length; at++) {
    if (word[at] === "\\") {
      backslashes++;
      continue;
    }
    if (word[at] === '"') length += backslashes + 1;
    if (at === word.length) length += backslashes; // the closing quotation mark comes next
    backslashes = 0;
  }
  return length;
}

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
async function runWslProxy(
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
function whyNotRun(
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

/** Name of the variable. */
const VARIABLE = "WSL_INTEROP";
/** Where WSL's init puts a socket for each session, by its own process's number. */
const FOLDER = "/run/WSL";
const NAME = /^(\d+)_interop$/;

/**
 * What to set for a program of Windows': the newest socket that is in use, where the environment names none that is.
 *
 * @returns Variables; none where the environment is right or names what is not of that folder, nothing better is known, or
 * Deno may not look (`--allow-env=WSL_INTEROP --allow-read=/run/WSL --allow-sys=uid`).
 */
export async function interopEnvironment(): Promise<Readonly<Record<string, string>>> {
  if (!mayReadEnvironment(VARIABLE)) return {};
  const own = readEnvironment(VARIABLE);
  // What is elsewhere is somebody's own doing: Deno need not permit to look there.
  if (own !== undefined && !isOfFolder(own)) return {};
  try {
    const files = await openLocalFiles(FOLDER, "read");
    if (own !== undefined && isInUse(files, own)) return {};
    const newest = findNewest(files);
    return newest === undefined ? {} : { [VARIABLE]: newest };
  } catch {
    // It is a help, and no more, whatever the look at the sockets failed for: whether the program can be run shows when it is.
    return {};
  }
}

/** Whether it is a name in the folder, and no way out of it. */
function isOfFolder(path: string): boolean {
  return path.startsWith(`${FOLDER}/`) && !path.includes("/", FOLDER.length + 1);
}

function isInUse(files: LocalFiles, path: string): boolean {
  if (!files.lstat(path)) return false;
  const [, pid] = NAME.exec(path.slice(path.lastIndexOf("/") + 1)) ?? [];
  return pid === undefined || isProcessGone(Number(pid)) !== true;
}

/** All who are on the machine can make files in the folder, so it has to be root's socket, or ours. */
function findNewest(files: LocalFiles): string | undefined {
  const sockets = files.list(FOLDER).filter(({ name }) => NAME.test(name)).flatMap(({ name }) => {
    const path = `${FOLDER}/${name}`, facts = files.lstat(path);
    const isOurs = facts?.kind === "other" && [0, files.ownUser()].includes(facts.owner);
    return isOurs && isInUse(files, path) ? [{ path, changedMs: facts.changedMs }] : [];
  });
  return sockets.toSorted((one, other) => other.changedMs - one.changedMs)[0]?.path;
}

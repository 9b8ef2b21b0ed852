/**
 * The broker of Windows, from WSL. Each request runs a Windows program, the proxy, which prints the reply.
 *
 * Deno needs `--allow-sys=osRelease` and `--allow-run=/usr/bin/wslinfo,PROXY`, where PROXY is the output of
 * `/usr/bin/wslinfo --msal-proxy-path`.
 *
 * @module
 */
import { brokerPluginUri } from "../redirect_uris.ts";
import { readJson } from "../encoding.ts";
import { escapeControlCharacters } from "../control_characters.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import type { LocalFiles } from "../files/files.ts";
import { openLocalFiles } from "../files/permissions.ts";
import { isProcessGone, mayReadEnvironment, readEnvironment, requirePermission, shellWord } from "../runtime/host.ts";
import { type CommandOptions, type CommandResult, runCommand, StartError } from "../runtime/process.ts";
import type { Broker } from "./broker.ts";
import { jsonBroker, type JsonBrokerOptions, type JsonTransport } from "./client.ts";

/** Absolute, since the `PATH` of services does not have its folder. */
const WSLINFO = "/usr/bin/wslinfo";
/** Limit of `wslinfo`, which can hang for ever (microsoft/WSL issue 12714). */
const WSLINFO_MS = 3_000;
/** Path of the proxy on most machines, for hints if `wslinfo` may not be run. */
const USUAL_PROXY = "/mnt/c/Program Files/WSL/msal.wsl.proxy.exe";
/** Limit of a cancellation: Windows sometimes takes seconds to start a program. */
const CANCEL_MS = 10_000;
/** Longest command line for CreateProcess on Windows, in UTF-16 units, the zero at its end included. */
export const MAX_COMMAND_LINE = 32_767;

/** Hints for what keeps WSL from Windows' broker. */
export const WSL_HINTS: Readonly<Record<"update" | "restart" | "interop" | "session" | "drive", string>> = {
  update: "Update WSL: run wsl --update in Windows (2.4.13 or later)",
  restart: "Run wsl --shutdown in Windows and try again",
  interop:
    "Let WSL run Windows programs: in /etc/wsl.conf, under [interop], set enabled=true, then run wsl --shutdown " +
    "in Windows; if systemd disabled it: sudo systemctl restart systemd-binfmt",
  session: "Run it in a WSL session, or set WSL_INTEROP to the newest socket of /run/WSL",
  drive:
    "Mount Windows' drive: in /etc/wsl.conf, under [automount], set enabled=true, then run wsl --shutdown in Windows",
};

export async function startWslBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const { log, timeLimits: { startMs: timeoutMs } } = options;
  let isFound = false;
  try {
    const path = await findWslProxy(signal);
    isFound = true;
    await pingProxy(path, { timeoutMs, signal, log });
    // Windows' broker does not know the method that Linux' has for its version.
    return { ...jsonBroker(wslTransport(path, log), options), version: () => Promise.resolve(undefined) };
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof LatchkeyError) || error.code === "missing_dependency") throw error;
    const known = error.code === "broker_unavailable" ? error.remedy : undefined;
    const step = known ?? advice(WSL_HINTS.restart);
    const remedy: Remedy = isFound && step.kind === "advice" ? { ...step, kind: "repair_broker" } : step;
    throw new LatchkeyError("broker_unavailable", `Cannot reach Windows' broker: ${error.message}`, { remedy });
  }
}

function wslTransport(path: string, log: Logger): JsonTransport {
  const closing = new AbortController();
  return {
    kind: "wsl",
    requestsAreVisible: true,
    cancelMs: CANCEL_MS,
    // A window of X11 or Wayland means nothing to Windows; a number may be a HWND that the app was given.
    parentWindow: (handle) => typeof handle === "number" || typeof handle === "bigint" ? handle : undefined,
    async send(method, json, { correlationId, timeoutMs, signal }): Promise<string> {
      // A cancellation is sent even after close(), within its time limit.
      const ends = [...(method === "cancelInteractiveFlow" ? [] : [closing.signal]), ...(signal ? [signal] : [])];
      const limits = { timeoutMs, signal: AbortSignal.any(ends), log };
      try {
        return await askProxy(path, { method, version: "0.0", correlationId, json }, limits);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof LatchkeyError)) throw error;
        const { code, message } = error;
        const isGone = code === "broker_unavailable";
        const remedy: Remedy | undefined = code === "timed_out"
          ? { ...advice(WSL_HINTS.restart), then: { kind: "run_doctor" } }
          : error.remedy;
        const what = isGone ? `Cannot ask Windows' broker for ${method}: ${message}` : message;
        throw new LatchkeyError(code, what, { correlationId, remedy });
      }
    },
    // Never sent, but Microsoft Entra ID requires it of the app if Windows' broker asks.
    redirectUri: brokerPluginUri,
    // Windows starts its broker for each request.
    close: () => closing.abort(new LatchkeyError("broker_unavailable", "the connection to it was closed")),
  };
}

/** A request; `version` is that of the protocol. */
type ProxyRequest = Readonly<Record<"method" | "version" | "correlationId" | "json", string>>;
type RunLimits = Pick<CommandOptions, "timeoutMs" | "signal">;
type ProxyOptions = RunLimits & { readonly log: Logger };

async function pingProxy(path: string, limits: ProxyOptions): Promise<void> {
  const result = await runProxy(path, { method: "ping", version: "0.1", correlationId: "0", json: "{{}}" }, limits);
  // The reply is not quite JSON.
  if (result.code === 0 && /\bsuccess/i.test(textOf(result.stdout))) return;
  throw interopError(result, path) ?? unavailable(`it does not answer (exit code ${result.code})`, WSL_HINTS.restart);
}

async function askProxy(path: string, request: ProxyRequest, limits: ProxyOptions): Promise<string> {
  const result = await runProxy(path, request, limits);
  const reply = textOf(result.stdout);
  // The proxy may exit with any code along with a refusal.
  if (result.code === 0 || readJson(reply)) return reply;
  throw interopError(result, path) ?? unavailable(`it failed (exit code ${result.code})`, WSL_HINTS.restart);
}

async function runProxy(
  path: string,
  { method, version, correlationId, json }: ProxyRequest,
  { log, ...limits }: ProxyOptions,
): Promise<CommandResult> {
  const command = [path, "--method", method, "--bversion", version, "--cid", correlationId, "--requestJson", json];
  const length = commandLineLength(command);
  if (length > MAX_COMMAND_LINE) {
    throw new LatchkeyError("configuration", `The request is too long for Windows: ${length} characters`, {
      remedy: `Ask for fewer scopes, or with fewer claims: Windows' limit of a command line is ${MAX_COMMAND_LINE}`,
    });
  }
  requireRun(path, path);
  const result = await run(command, limits);
  // JSON can contain a token, so it is not logged.
  const messages = escapeControlCharacters(textOf(result.stderr).replaceAll(/\{[\s\S]*\}|\{[\s\S]*$/g, "{…}"));
  if (messages) log("debug", `${method}: Windows' broker says: ${messages} (correlation id ${correlationId})`);
  return result;
}

/** Strips what Windows programs print around a reply: a byte order mark, line ends, sometimes zeros. */
function textOf(output: string): string {
  return output.replaceAll("\0", "").replace(/^\uFFFD+/, "").trim();
}

/**
 * Returns the length of a command line in UTF-16 units, the zero at its end included. In a quoted word a backslash goes
 * before each quotation mark, and before each backslash that a quotation mark follows, the closing one included.
 */
export function commandLineLength(words: readonly string[]): number {
  return words.reduce((length, word) => {
    if (word !== "" && !/[\s"]/.test(word)) return length + word.length + 1;
    const quoted = `${word}"`;
    const escaped = quoted.match(/\\+"?|"/g)!.filter((run) => run.endsWith('"')).join("");
    return length + quoted.length + escaped.length + 1;
  }, 0);
}

/**
 * Returns the path of the proxy to Windows' broker.
 *
 * @throws {LatchkeyError} `broker_unavailable` if WSL does not know it.
 * @throws {LatchkeyError} `timed_out` if WSL does not answer.
 * @throws {LatchkeyError} `missing_dependency` if Deno may not run `wslinfo`.
 */
export async function findWslProxy(signal?: AbortSignal): Promise<string> {
  const result = await runWslinfo(["--msal-proxy-path", "-n"], signal);
  const { code, stdout } = result;
  if (code !== 0) {
    throw interopError(result, WSLINFO) ??
      unavailable(`wslinfo does not know --msal-proxy-path (exit code ${code})`, WSL_HINTS.update);
  }
  const path = stdout.trim();
  if (/^\/[^\p{Cc}]+$/u.test(path)) return path;
  throw unavailable("wslinfo returned no path of a Windows program", WSL_HINTS.update);
}

/** Returns the version of WSL, such as `2.5.9`; `undefined` if WSL does not report it. */
export async function wslVersion(signal?: AbortSignal): Promise<string | undefined> {
  for (const option of ["--version", "--wsl-version"]) { // older ones know only the second
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

function requireRun(program: string, proxy: string): void {
  const programs = `${WSLINFO},${proxy}`;
  const isPlain = !/["$`\\!]/.test(proxy); // a shell expands these between quotation marks
  requirePermission({ name: "run", command: program }, isPlain ? `"${programs}"` : shellWord(programs));
}

async function run(command: readonly string[], limits: RunLimits): Promise<CommandResult> {
  const [program = ""] = command;
  try {
    return await runCommand(command, { ...limits, environment: await interopEnvironment() });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    if (error.isMissing) {
      const remedy = program === WSLINFO ? `${WSL_HINTS.update}; containers have none` : WSL_HINTS.drive;
      throw unavailable(`there is no ${program}`, remedy);
    }
    throw unavailable(error.reason === "ENOEXEC" ? INTEROP_IS_OFF : error.message, WSL_HINTS.interop);
  }
}

const INTEROP_IS_OFF = "WSL does not run Windows programs (interop is off)";

/** Returns WSL's reason why a program did not run; `undefined` if the program itself failed. */
function interopError({ code, stderr }: CommandResult, program: string): LatchkeyError | undefined {
  // A shell that cannot run a Windows program takes it for a script.
  const isScript = [2, 126, 127].includes(code) && stderr.includes(program) && /: (?:line )?\d+: /.test(stderr);
  if (isScript || /exec format error|cannot execute binary file/i.test(stderr)) {
    return unavailable(INTEROP_IS_OFF, WSL_HINTS.interop);
  }
  return /UtilConnect|WSL_INTEROP|interop server/i.test(stderr)
    ? unavailable("the session has lost its connection to Windows", WSL_HINTS.session)
    : undefined;
}

function unavailable(why: string, remedy: string): LatchkeyError {
  return new LatchkeyError("broker_unavailable", why, { remedy });
}

const INTEROP = "WSL_INTEROP";
/** WSL's init puts a socket for each session here, named after its own pid. */
const INTEROP_FOLDER = "/run/WSL";
const INTEROP_SOCKET = /^(\d+)_interop$/;

/**
 * Returns variables for a Windows program: the newest socket in use, if the environment names none that is. Returns none if the
 * environment names another folder, or Deno may not look (`--allow-env=WSL_INTEROP --allow-read=/run/WSL --allow-sys=uid`).
 */
export async function interopEnvironment(): Promise<Readonly<Record<string, string>>> {
  if (!mayReadEnvironment(INTEROP)) return {};
  const own = readEnvironment(INTEROP);
  // Another folder was chosen on purpose, and Deno need not permit it.
  if (own !== undefined && own.slice(0, own.lastIndexOf("/")) !== INTEROP_FOLDER) return {};
  try {
    const files = await openLocalFiles(INTEROP_FOLDER, "read");
    if (own !== undefined && isInUse(files, own)) return {};
    const newest = findNewest(files);
    return newest === undefined ? {} : { [INTEROP]: newest };
  } catch {
    return {}; // the variables are optional: if they are needed, the program's own error says so
  }
}

function isInUse(files: LocalFiles, path: string): boolean {
  if (!files.lstat(path)) return false;
  const [, pid] = INTEROP_SOCKET.exec(path.slice(path.lastIndexOf("/") + 1)) ?? [];
  return pid === undefined || isProcessGone(Number(pid)) !== true;
}

/** Everybody on the machine can create files in the folder, so the socket has to be root's or ours. */
function findNewest(files: LocalFiles): string | undefined {
  const sockets = files.list(INTEROP_FOLDER).filter(({ name }) => INTEROP_SOCKET.test(name)).flatMap(({ name }) => {
    const path = `${INTEROP_FOLDER}/${name}`;
    const facts = files.lstat(path);
    const isOurs = facts?.kind === "other" && [0, files.ownUser()].includes(facts.owner);
    return isOurs && isInUse(files, path) ? [{ path, changedMs: facts.changedMs }] : [];
  });
  return sockets.toSorted((one, other) => other.changedMs - one.changedMs)[0]?.path;
}

/**
 * Requests to Windows' own broker (Web Account Manager), through the program that passes them on from WSL.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { printable, readJson } from "../json_values.ts";
import type { Logger } from "../logger.ts";
import type { CommandOptions, CommandResult } from "../platform/command.ts";
import { runWslProxy, whyNotRun, WSL_HINTS } from "../platform/wsl_program.ts";
import { commandLineLength, MAX_COMMAND_LINE } from "./windows_command_line.ts";

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
 * Makes sure that the program runs, and reaches Windows' broker.
 *
 * @throws {LatchkeyError} `broker_unavailable` when it does not; `timed_out`; `missing_dependency` when Deno may not run it.
 */
export async function pingWslProxy(path: string, { log, ...limits }: ProxyOptions): Promise<void> {
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
  const said = printable(textOf(stderr).replaceAll(/\{[\s\S]*\}|\{[\s\S]*$/g, "{…}"));
  if (said) log("debug", `${method}: Windows' broker says: ${said} (correlation id ${correlationId})`);
}

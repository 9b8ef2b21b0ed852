/**
 * A command that finds a managed-identity endpoint in its environment: on a port, with a secret of its own, for as long as it
 * runs.
 *
 * @module
 */
import { encodeBase64 } from "../../lib/encoding.ts";
import type { HttpReply } from "../../lib/http/server.ts";
import {
  requestFromSocket,
  requireSocketPermissions,
  requireTrustedSocket,
  type SocketAnswer,
} from "../../lib/http/unix_socket.ts";
import { readEnvironment } from "../../lib/runtime/host.ts";
import { runInForeground, StartError } from "../../lib/runtime/process.ts";
import { absolutePath, isThere, write } from "../../lib/runtime/program.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { CommandLine } from "../cli/command_line.ts";
import { escapeForTerminal } from "../cli/output.ts";
import { IDENTITY_PATH, type IdentityEndpointOptions, openIdentityEndpoint, refusalReply } from "./endpoint.ts";

/** Exit codes of a shell for a command that is not there, and for one that cannot be run. */
const NOT_THERE = 127, NOT_RUN = 126;

/**
 * Runs a command.
 *
 * @param command Its words.
 * @param options What the endpoint does.
 * @returns The command's exit code.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when there can be no endpoint.
 */
export async function runWithEndpoint(
  command: readonly string[],
  options: Omit<IdentityEndpointOptions, "at">,
): Promise<number> {
  const secret = newSecret(), endpoint = await openIdentityEndpoint({ ...options, at: { port: 0, secret } });
  try {
    return await runInForeground(command, { ...identityVariables(endpoint.port, secret), ...withoutOthers() });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    write("stderr", `latchkey: ${escapeForTerminal(error.message)}\n`);
    return error.isMissing ? NOT_THERE : NOT_RUN;
  } finally {
    await endpoint.close();
  }
}

/** The variables by which Azure's libraries find an endpoint. */
export function identityVariables(
  port: number,
  secret: string,
): { readonly IDENTITY_ENDPOINT: string; readonly IDENTITY_HEADER: string } {
  return { IDENTITY_ENDPOINT: `http://127.0.0.1:${port}${IDENTITY_PATH}`, IDENTITY_HEADER: secret };
}

/** A new secret: 256 bits, in letters that no shell or header field takes for something else. */
export function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** What would have Azure's libraries take another endpoint, or another way to this one. */
function withoutOthers(): Readonly<Record<string, string>> {
  const isOfServiceFabric = readEnvironment("IDENTITY_SERVER_THUMBPRINT") !== undefined;
  return { ...withoutProxy(), ...(isOfServiceFabric && { IDENTITY_SERVER_THUMBPRINT: "" }) };
}

/** Where there is a proxy, many programs would send it what is for this machine, and the secret with it. */
function withoutProxy(): Readonly<Record<string, string>> {
  const proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  if (!proxies.some((name) => readEnvironment(name))) return {};
  const listed = readEnvironment("no_proxy") ?? readEnvironment("NO_PROXY"), own = "127.0.0.1";
  if (listed?.split(/[\s,]+/).some((host) => host === own || host === "*")) return {};
  const hosts = listed ? `${listed},${own}` : own;
  return { NO_PROXY: hosts, no_proxy: hosts };
}

/**
 * Runs the command of a command line.
 *
 * @param line A command line with `--forward`.
 * @returns The command's exit code.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when there can be no endpoint.
 */
export async function runForwarding(line: CommandLine): Promise<number> {
  const path = absolutePath(line.text("forward")!);
  requireSocketPermissions(path);
  await requireTrustedSocket(path);
  if (!isThere(path)) {
    write(
      "stderr",
      `latchkey: there is nothing at ${escapeForTerminal(path)} yet: requests for tokens fail until there is\n`,
    );
  }
  return await runWithEndpoint(line.operands, {
    answer: ({ query }, signal) => forward(path, `${IDENTITY_PATH}${query}`, { signal }),
    isTold: line.count("verbose") > 0,
  });
}

/** How long a server may take, in milliseconds: outside, a person may be asked. */
const ANSWER_LIMIT_MS = 6 * 60_000;

/**
 * Passes a request on.
 *
 * @param path The socket's path.
 * @param target Path and query of the request.
 * @param options What gives up, and how long the server may take, in milliseconds.
 * @returns What the server answered; why it did not, as a reply of the protocol's.
 */
export async function forward(
  path: string,
  target: string,
  { signal, limitMs = ANSWER_LIMIT_MS }: { readonly signal: AbortSignal; readonly limitMs?: number },
): Promise<HttpReply> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    await requireTrustedSocket(path); // another one can be there by now
    const answer = await requestFromSocket(path, target, AbortSignal.any([signal, limit]));
    return isOfProtocol(answer)
      ? answer
      : refusalReply({ statusCode: 502, message: `${path} answered something else` });
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return refusalReply({ statusCode: 504, message: `${path} has not answered in ${limitMs} ms` });
    if (!(error instanceof LatchkeyError)) throw error;
    const statusCode = error.code === "temporarily_unavailable" ? 503 : 502;
    return refusalReply({ statusCode, message: `${error.message}. ${error.hint}` });
  }
}

function isOfProtocol({ status, body }: SocketAnswer): boolean {
  if (!(status >= 200 && status <= 599)) return false;
  try {
    const value = JSON.parse(body);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

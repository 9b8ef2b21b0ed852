/**
 * A command with a managed-identity endpoint of its own: on a port, with a secret, while the command runs.
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

/** Exit codes of a shell for a command that does not exist, and for one that cannot be run. */
const NOT_FOUND = 127, NOT_EXECUTABLE = 126;

/**
 * Runs a command, and returns its exit code.
 *
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the endpoint cannot be opened.
 */
export async function runWithEndpoint(
  command: readonly string[],
  options: Omit<IdentityEndpointOptions, "at">,
): Promise<number> {
  const secret = newSecret(), endpoint = await openIdentityEndpoint({ ...options, at: { port: 0, secret } });
  try {
    return await runInForeground(command, {
      ...identityVariables(endpoint.port, secret),
      ...proxyExceptions(),
      // Azure's libraries would take this for an endpoint of Service Fabric.
      ...(readEnvironment("IDENTITY_SERVER_THUMBPRINT") !== undefined && { IDENTITY_SERVER_THUMBPRINT: "" }),
    });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    write("stderr", `latchkey: ${escapeForTerminal(error.message)}\n`);
    return error.isMissing ? NOT_FOUND : NOT_EXECUTABLE;
  } finally {
    await endpoint.close();
  }
}

/** Returns the variables by which Azure's libraries find an endpoint. */
export function identityVariables(
  port: number,
  secret: string,
): { readonly IDENTITY_ENDPOINT: string; readonly IDENTITY_HEADER: string } {
  return { IDENTITY_ENDPOINT: `http://127.0.0.1:${port}${IDENTITY_PATH}`, IDENTITY_HEADER: secret };
}

/** Returns 256 random bits in base64url, which shells and header fields take literally. */
export function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Without these many programs send a proxy the requests for this machine, and the secret with them. */
function proxyExceptions(): Readonly<Record<string, string>> {
  const proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  if (!proxies.some((name) => readEnvironment(name))) return {};
  const listed = readEnvironment("no_proxy") ?? readEnvironment("NO_PROXY"), own = "127.0.0.1";
  if (listed?.split(/[\s,]+/).some((host) => host === own || host === "*")) return {};
  const hosts = listed ? `${listed},${own}` : own;
  return { NO_PROXY: hosts, no_proxy: hosts };
}

/**
 * Runs the command of a command line with `--forward`, and returns its exit code.
 *
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the endpoint cannot be opened.
 */
export async function runForwarding(line: CommandLine): Promise<number> {
  const path = absolutePath(line.text("forward")!);
  requireSocketPermissions(path);
  await requireTrustedSocket(path);
  if (!isThere(path)) {
    write(
      "stderr",
      `latchkey: there is no socket at ${escapeForTerminal(path)} yet: requests for tokens fail until there is\n`,
    );
  }
  return await runWithEndpoint(line.operands, {
    answer: ({ query }, signal) => forward(path, `${IDENTITY_PATH}${query}`, { signal }),
    isLogged: line.count("verbose") > 0,
  });
}

/** Time limit in milliseconds for the server outside, which may prompt a person. */
const ANSWER_LIMIT_MS = 6 * 60_000;

/**
 * Forwards a request to a socket, and returns the reply, or an error in the form of the protocol.
 *
 * @param path The socket's path.
 * @param target Path and query of the request.
 */
export async function forward(
  path: string,
  target: string,
  { signal, limitMs = ANSWER_LIMIT_MS }: { readonly signal: AbortSignal; readonly limitMs?: number },
): Promise<HttpReply> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    await requireTrustedSocket(path); // it may have been replaced since the start
    const answer = await requestFromSocket(path, target, AbortSignal.any([signal, limit]));
    if (isIdentityAnswer(answer)) return answer;
    return refusalReply({ statusCode: 502, message: `${path} is not an endpoint of latchkey serve` });
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return refusalReply({ statusCode: 504, message: `${path} did not answer within ${limitMs} ms` });
    if (!(error instanceof LatchkeyError)) throw error;
    const statusCode = error.code === "temporarily_unavailable" ? 503 : 502;
    return refusalReply({ statusCode, message: `${error.message}. ${error.hint}` });
  }
}

function isIdentityAnswer({ status, body }: SocketAnswer): boolean {
  try {
    const value = JSON.parse(body);
    return status >= 200 && status <= 599 && typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

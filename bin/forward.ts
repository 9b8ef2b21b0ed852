/**
 * `latchkey serve --forward`: a command in a container, whose requests for tokens go to a server outside of it.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import type { HttpReply } from "../lib/platform/http_connections.ts";
import { absolutePath, isThere, write } from "../lib/platform/program.ts";
import {
  requestFromSocket,
  requireSocketPermissions,
  requireTrustedSocket,
  type SocketAnswer,
} from "../lib/platform/socket_request.ts";
import type { CommandLine } from "./command_line.ts";
import { IDENTITY_PATH, refusalReply } from "./identity_request.ts";
import { runWithEndpoint } from "./run_with_endpoint.ts";
import { visible } from "./visible.ts";

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
    write("stderr", `latchkey: there is nothing at ${visible(path)} yet: requests for tokens fail until there is\n`);
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

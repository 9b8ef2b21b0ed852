/**
 * HTTP requests to a server on a Unix socket.
 *
 * On Deno they need `--allow-read=PATH --allow-write=PATH --allow-net=unix:PATH`.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import { LatchkeyError } from "../errors.ts";
import { errorNameOf } from "./local_files.ts";
import { isPermitted } from "./permission.ts";

/** What a server answered. */
export interface SocketAnswer {
  /** HTTP status. */
  readonly status: number;
  /** The content, as UTF-8. */
  readonly body: string;
}

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * Makes sure that Deno permits to ask a server on a socket.
 *
 * @param path The socket's path.
 * @throws {LatchkeyError} `missing_dependency` with all flags that it takes.
 */
export function requireSocketPermissions(path: string): void {
  const flags = ([
    ["--allow-read=", { name: "read", path }],
    ["--allow-write=", { name: "write", path }],
    ["--allow-net=unix:", { name: "net", host: `unix:${path}` }],
  ] as const).filter(([, permission]) => !isPermitted(permission)).map(([flag]) => `${flag}${path}`);
  if (flags.length === 0) return;
  throw new LatchkeyError("missing_dependency", `Deno may not connect to ${path}`, {
    hint: `Run deno with ${flags.join(" ")}`,
  });
}

/**
 * Asks a server on a Unix socket.
 *
 * @param path The socket's path.
 * @param target Path and query of the request.
 * @param signal Gives up, with its reason.
 * @returns What it answered.
 * @throws {LatchkeyError} `temporarily_unavailable` when nobody answers; `invalid_response` when the answer is cut off, too
 * long, or no HTTP.
 */
export async function requestFromSocket(path: string, target: string, signal: AbortSignal): Promise<SocketAnswer> {
  const { request } = await import("node:http");
  signal.throwIfAborted();
  let answer: IncomingMessage | undefined;
  try {
    return await new Promise<SocketAnswer>((resolve, reject) => {
      // Of one connection each: the server keeps none.
      const asked = request({ socketPath: path, path: target, headers: { host: "localhost" }, agent: false, signal });
      asked.once("error", reject);
      asked.once("response", (response) => {
        answer = response;
        bodyOf(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      });
      asked.once("upgrade", (_, socket) => {
        socket.destroy();
        reject(new Error("it speaks another protocol"));
      });
      asked.once("close", () => answer ?? reject(new Error("it closed without an answer")));
      asked.end();
    });
  } catch (error) {
    answer?.destroy();
    signal.throwIfAborted();
    throw failureOf(error, path);
  }
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [], expected = Number(response.headers["content-length"]);
  let length = 0;
  for await (const chunk of response) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new Error("it is too long");
    chunks.push(chunk);
  }
  // Deno and Bun take an answer that was cut off for a whole one.
  if (Number.isFinite(expected) && length !== expected) throw new Error("it was cut off");
  return new TextDecoder().decode(Buffer.concat(chunks));
}

function failureOf(error: unknown, path: string): LatchkeyError {
  const name = errorNameOf(error);
  if (["ENOENT", "ECONNREFUSED", "EACCES", "EPERM", "ENOTSOCK", "EAGAIN"].includes(name)) {
    return new LatchkeyError("temporarily_unavailable", `Nobody answers at ${path} (${name})`, {
      hint: name === "EACCES" || name === "EPERM"
        ? "Run this as the user, by number, who runs the server"
        : "Run latchkey serve --socket there; in a container, its folder has to be mounted, not the socket alone",
    });
  }
  return new LatchkeyError("invalid_response", `What answers at ${path} is no server of latchkey's`, {
    hint: "See that latchkey serve --socket listens there, and does not end meanwhile",
  });
}

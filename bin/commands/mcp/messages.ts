/**
 * Messages of MCP: JSON-RPC, one a line at the client's side.
 *
 * @module
 */
import { untilAborted } from "../../../lib/async.ts";
import { isObject, joinBytes, type JsonObject } from "../../../lib/encoding.ts";

/** Limit in bytes of a message, either way. */
export const MAX_MESSAGE_BYTES: number = 32 * 1024 * 1024;
/** JSON-RPC's code for an invalid message, and those of MCP's SDKs for a failed connection and a lost session. */
const INVALID_REQUEST = -32600;
const CONNECTION_FAILED = -32000;
const SESSION_NOT_FOUND = -32001;

/** A line, or that it exceeds the limit. */
export type Line = Uint8Array<ArrayBuffer> | "too long";

const LINE_END = 10;

/** Splits bytes into lines, without empty ones. Of a line that is too long nothing is kept. */
export async function* readLines(
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  limit: number = MAX_MESSAGE_BYTES,
): AsyncGenerator<Line> {
  const chunks = input[Symbol.asyncIterator]();
  const line = new LineReader(limit);
  for (;;) {
    const next = await untilAborted(chunks.next(), signal);
    if (next.done) break;
    yield* line.push(next.value);
  }
  yield* line.end();
}

/** A line while it is read. */
class LineReader {
  readonly #limit: number;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Yields the lines that a chunk completes. */
  *push(chunk: Uint8Array): Generator<Line> {
    let from = 0;
    for (let end = chunk.indexOf(LINE_END); end !== -1; end = chunk.indexOf(LINE_END, from)) {
      this.#add(chunk.subarray(from, end));
      yield* this.end();
      from = end + 1;
    }
    this.#add(chunk.subarray(from));
  }

  /** Ends the line, and yields it unless it is empty. */
  *end(): Generator<Line> {
    const parts = this.#parts;
    const length = this.#length;
    this.#parts = [];
    this.#length = 0;
    if (length > this.#limit) yield "too long";
    else if (length > 0) yield joinBytes(parts);
  }

  #add(bytes: Uint8Array): void {
    this.#length += bytes.length;
    if (this.#length > this.#limit) this.#parts = [];
    else if (bytes.length > 0) this.#parts.push(bytes.slice()); // the reader may use its buffer again
  }
}

/** Parses a message, or a batch of them, as protocols before 2025-06-18 have it. */
export function readMessage(text: string): JsonObject | readonly JsonObject[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.length > 0 && value.every(isObject)) return value;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message quotes the text
  }
}

/** Returns true if a message is a response. */
export function isResponse({ method, id }: JsonObject): boolean {
  return method === undefined && id !== undefined && id !== null;
}

/** Returns true if a request says its protocol's version itself, as since 2026-07-28. */
export function isModern({ params }: JsonObject): boolean {
  const meta = isObject(params) ? params._meta : undefined;
  return isObject(meta) && typeof meta["io.modelcontextprotocol/protocolVersion"] === "string";
}

/** Returns a key for the id of a request: the number 1 and the string "1" are different ids. */
export function keyOf(id: unknown): string {
  return JSON.stringify(id) ?? "";
}

/** Returns the JSON-RPC error in a body. */
export function errorIn(text: string): JsonObject | undefined {
  const message = readMessage(text);
  if (!message || Array.isArray(message)) return undefined;
  const { error } = message as JsonObject;
  return isObject(error) && Number.isSafeInteger(error.code) && typeof error.message === "string" ? error : undefined;
}

/** Returns the error of a request that got no response. */
export function connectionFailed(message: string): JsonObject {
  return { code: CONNECTION_FAILED, message };
}

/** Returns the error of a request whose session the server has ended. */
export function sessionNotFound(): JsonObject {
  return { code: SESSION_NOT_FOUND, message: "Session not found" };
}

/** Returns the error of a message that exceeds the limit. */
export function tooLong(what: string): JsonObject {
  return { code: INVALID_REQUEST, message: `${what} has more than ${MAX_MESSAGE_BYTES} bytes` };
}

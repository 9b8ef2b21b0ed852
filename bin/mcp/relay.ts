/**
 * Relays messages between an MCP client on standard input and output and a server with Streamable HTTP. The transport of MCP's
 * SDK opens the streams, resumes them, and keeps the session; the texts of the messages pass it by, so they stay as they are.
 *
 * @module
 */
import type { JSONRPCMessage } from "@modelcontextprotocol/client";
import { startTimer, untilAborted, withinTime } from "../../lib/async.ts";
import { escapeControlCharacters, isObject, joinBytes, type JsonObject } from "../../lib/encoding.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { messageOf } from "../cli/output.ts";

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

interface RelayOptions {
  readonly fetch: Fetch;
  /** Messages of the client, one a line. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Writes to the client. It resolves when the client is ready for more. */
  readonly output: (bytes: Uint8Array) => Promise<void>;
  readonly signal: AbortSignal;
  /** Tells a person. */
  readonly tell: (message: string) => void;
}

/** Limit in bytes of a message, either way. */
export const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
/** Limit in bytes of an answer that says why a request failed. */
const MAX_ERROR_BYTES = 64 * 1024;
/** Limits of what is under way to the server before the client has to wait. */
const MAX_PENDING = 1_000;
const MAX_SENDING_BYTES = 2 * MAX_MESSAGE_BYTES;
/** Times in milliseconds: for answers once the client has ended its messages, and for the server to end the session. */
const LAST_ANSWERS_MS = 1_000;
const END_SESSION_MS = 1_000;
/** Time in milliseconds that later messages wait until the server has accepted a notification, an answer or the first request. */
const ACCEPT_MS = 30_000;
/** Streams that end are opened again, however often. The server's own `retry` counts before these. */
const RECONNECTION = {
  initialReconnectionDelay: 500,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 2,
  maxRetries: Infinity,
};
/** Streams are opened again so many times as soon as the server says; from then on, until a message comes, once a second. */
const MAX_QUICK_REOPENINGS = 10;
const SLOW_REOPENING_MS = 1_000;
/** Statuses of a server that cannot resume a stream: trying again does not help. */
const CANNOT_RESUME: readonly number[] = [400, 404, 410];
/** JSON-RPC's code for an invalid message, and those of MCP's SDKs for a failed connection and a lost session. */
const INVALID_REQUEST = -32600;
const CONNECTION_FAILED = -32000;
const SESSION_NOT_FOUND = -32001;
const ENDED_EARLY = "The server ended the connection without an answer. It may have done the work even so";
/** Header field between {@linkcode relayMessages} and its `fetch`, which names the text of a message. It is not sent. */
const MESSAGE_FIELD = "latchkey-message";
/** Stands for an answer that went to the client, so that the SDK does not resume the stream to get it. */
const ANSWERED = JSON.stringify({ jsonrpc: "2.0", id: 0, result: {} });

/** A request of the client that has no answer yet. */
interface Pending {
  readonly id: unknown;
  readonly method: string;
  /** True if it is canceled by the end of its stream, as the protocol has it since 2026-07-28; before, the server is told. */
  readonly isModern: boolean;
  readonly sending: Sending;
}

/** A message or batch that is being sent. */
interface Sending {
  requests: readonly Pending[];
  /** Its text, until the server has it. */
  bytes: Uint8Array<ArrayBuffer>;
  /** True if the SDK reads its stream, and opens it again if it breaks. */
  isOfSdk: boolean;
  /** Ends its stream. */
  readonly stop: () => void;
}

/** Relays messages until the client ends them, nobody reads its answers any more, or the signal aborts. */
export async function relayMessages(url: URL, options: RelayOptions): Promise<void> {
  const { input, output, signal, tell } = options;
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const transport = new StreamableHTTPClientTransport(url, {
    fetch,
    reconnectionOptions: RECONNECTION,
    reconnectionScheduler: reopenLater,
  });
  const pending = new Map<string, Pending>();
  const sendings = new Map<string, Sending>();
  const ended = new AbortController();
  const parameters = new ParameterHeaders();
  let sent = 0;
  let sendingBytes = 0;
  let reopened = 0;
  let changed = Promise.withResolvers<void>();
  let before: Promise<unknown> = Promise.resolve();
  signal.addEventListener("abort", () => ended.abort(), { once: true });
  if (signal.aborted) ended.abort();
  transport.onerror = () => {}; // the caller is told, or the stream is opened again
  await transport.start();

  function change(): void {
    changed.resolve();
    changed = Promise.withResolvers();
  }

  /** A server may end its streams at once, without a message and with a short `retry`, or with one that is too long for a timer. */
  function reopenLater(reopen: () => void, delayMs: number): () => void {
    const timer = startTimer(
      reopen,
      ++reopened > MAX_QUICK_REOPENINGS ? Math.max(delayMs, SLOW_REOPENING_MS) : delayMs,
    );
    return () => clearTimeout(timer);
  }

  async function write(text: string): Promise<void> {
    try {
      await untilAborted(output(new TextEncoder().encode(`${text}\n`)), ended.signal);
    } catch {
      ended.abort(); // the client has gone
    }
  }

  /** Passes a text of the server on. Returns true if it answers a request. */
  async function deliver(text: string): Promise<boolean> {
    const message = readMessage(text);
    if (message === undefined) {
      tell(`${url.host} sent something that is not a message`);
      return false;
    }
    reopened = 0;
    const answers = (Array.isArray(message) ? message : [message]).filter(isAnswer);
    for (const each of answers) {
      const key = keyOf(each.id);
      const request = pending.get(key);
      const { result } = each;
      pending.delete(key);
      if (!isObject(result)) continue;
      if (request?.method === "initialize" && typeof result.protocolVersion === "string") {
        transport.setProtocolVersion(result.protocolVersion);
      }
      if (request?.method === "tools/list") parameters.learn(result);
    }
    change();
    // Between its tokens JSON may have line ends, which end a message here.
    await write(/[\r\n]/.test(text) ? text.replaceAll(/[\r\n]+/g, " ") : text);
    return answers.length > 0;
  }

  function isPending(request: Pending): boolean {
    return pending.get(keyOf(request.id)) === request;
  }

  /** Answers requests that the server did not. */
  async function fail(requests: readonly Pending[], error: JsonObject): Promise<void> {
    for (const request of requests) {
      if (!isPending(request)) continue;
      pending.delete(keyOf(request.id));
      await write(JSON.stringify({ jsonrpc: "2.0", id: request.id, error }));
    }
    change();
  }

  /** The SDK's requests, with the texts of the messages; and its answers without them. */
  async function fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const sending = sendings.get(headers.get(MESSAGE_FIELD) ?? "");
    headers.delete(MESSAGE_FIELD);
    const response = await options.fetch(address, { ...init, headers, ...(sending && { body: sending.bytes }) });
    const { status, body } = response;
    const type = mediaType(response);
    const lastId = headers.get("last-event-id");
    const answer = (text: BodyInit | null) => new Response(text, { status, headers: response.headers });
    if (status >= 300 && status < 400) return response;
    if (!response.ok) {
      const text = await readText(body, MAX_ERROR_BYTES) ?? "";
      const isLost = status === 404 && headers.has("mcp-session-id");
      if (isLost) tell(`${url.host} has ended the session: the client has to initialize again`);
      const error = isLost ? { code: SESSION_NOT_FOUND, message: "Session not found" } : errorIn(text);
      if (error) await fail(sending?.requests ?? [], error);
      // A stream of a session that has ended must not be opened again: for the SDK it is one that the server does not offer.
      if (isLost && init.method === "GET") {
        await fail([...pending.values()], error!);
        return new Response(null, { status: 405 });
      }
      if (lastId !== null && CANNOT_RESUME.includes(status)) return new Response(null, { status: 405 });
      return answer(text);
    }
    if (sending) release(sending);
    if (type === "text/event-stream" && body) {
      const events = eventsOf(body, deliver, async () => {
        tell(`${url.host} sent a message of more than ${MAX_MESSAGE_BYTES} bytes, which is left out`);
        await fail(sending?.requests ?? [], tooLong("The server's message"));
      });
      if (!sending) return answer(streamOf(resumedAfter(lastId, events)));
      // The SDK takes the session from this response, which may be long after the answer.
      if (sending.requests.some(({ method }) => method === "initialize")) {
        sending.isOfSdk = true;
        return answer(streamOf(events));
      }
      return await readAnswers(events, sending, { response, signal: init.signal });
    }
    if (status === 202 || type !== "application/json" || !sending?.requests.length) {
      await body?.cancel();
      return new Response(null, { status, headers: response.headers });
    }
    const text = await readText(body, MAX_MESSAGE_BYTES);
    if (text === undefined) await fail(sending.requests, tooLong("The server's answer"));
    else await deliver(text);
    return answer(ANSWERED);
  }

  /** Reads a stream of answers, and returns one for the SDK: it opens the stream again if it broke and has event ids. */
  async function readAnswers(
    events: AsyncIterable<string>,
    sending: Sending,
    { response, signal }: { readonly response: Response; readonly signal: AbortSignal | null | undefined },
  ): Promise<Response> {
    let id = "";
    let nextId = "";
    let retry = "";
    try {
      for await (const line of events) {
        if (line.startsWith("id")) nextId = line;
        if (line.startsWith("retry")) retry = line;
        if (line.startsWith("data")) id = nextId; // before, the event may be incomplete
      }
    } catch {
      signal?.throwIfAborted(); // else the connection broke
    }
    const { status } = response;
    const headers = new Headers(response.headers);
    sending.isOfSdk = id !== "" && sending.requests.some(isPending);
    if (sending.isOfSdk) return new Response(`${retry}${id}data:\n\n`, { status, headers });
    headers.set("content-type", "application/json");
    return new Response(ANSWERED, { status, headers });
  }

  function release(sending: Sending): void {
    sendingBytes -= sending.bytes.length;
    sending.bytes = new Uint8Array();
    change();
  }

  async function send(bytes: Uint8Array<ArrayBuffer>, message: JsonObject | readonly JsonObject[]): Promise<void> {
    const messages = Array.isArray(message) ? message as readonly JsonObject[] : [message as JsonObject];
    const controller = new AbortController();
    const number = String(++sent);
    const sending: Sending = { bytes, requests: [], isOfSdk: false, stop: () => controller.abort() };
    const requests = messages.filter(({ id, method }) => id !== undefined && typeof method === "string")
      .map((request): Pending => ({
        id: request.id,
        method: request.method as string,
        isModern: isModern(request),
        sending,
      }));
    sending.requests = requests;
    for (const request of requests) pending.set(keyOf(request.id), request);
    sendings.set(number, sending);
    sendingBytes += bytes.length;
    try {
      await transport.send(message as JSONRPCMessage, {
        requestSignal: controller.signal,
        headers: { [MESSAGE_FIELD]: number, ...parameters.of(messages[0]!) },
        onRequestStreamEnd: () => void fail(requests, failure(ENDED_EARLY)),
      });
      if (!sending.isOfSdk) await fail(requests, failure(ENDED_EARLY));
    } catch (error) {
      if (controller.signal.aborted || ended.signal.aborted) return;
      const reason = reasonOf(error, url);
      tell(reason);
      await fail(requests, failure(reason));
    } finally {
      sendings.delete(number);
      release(sending);
    }
  }

  async function take(line: Line): Promise<void> {
    const message = line === "too long" ? undefined : readMessage(new TextDecoder().decode(line));
    if (line === "too long" || message === undefined) {
      const error = line === "too long" ? tooLong("The message") : { code: -32700, message: "The message is not JSON" };
      return await write(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    }
    const single = Array.isArray(message) ? undefined : message as JsonObject;
    if (single?.method === "notifications/cancelled" && isObject(single.params)) {
      const key = keyOf(single.params.requestId);
      const request = pending.get(key);
      pending.delete(key); // it gets no answer of ours
      change();
      if (request?.isModern) return request.sending.stop();
      // Nothing comes on its stream any more, which would be opened again and again.
      if (request?.sending.isOfSdk && !request.sending.requests.some(isPending)) request.sending.stop();
    }
    while (pending.size >= MAX_PENDING || sendingBytes >= MAX_SENDING_BYTES) {
      await untilAborted(changed.promise, ended.signal);
    }
    // Requests go out in order, but do not wait for the answers of others. Others are accepted before the next one goes out.
    await untilAborted(before, ended.signal);
    const work = send(line, message as JsonObject);
    const isFirst = single?.method === "initialize"; // its answer has the session
    if (isFirst || single && (single.method === undefined || single.id === undefined)) {
      before = withinTime(work, ACCEPT_MS);
    }
  }

  try {
    for await (const line of readLines(input, ended.signal)) await take(line);
    const until = Date.now() + LAST_ANSWERS_MS;
    while ((pending.size > 0 || sendings.size > 0) && Date.now() < until) {
      await withinTime(changed.promise, until - Date.now(), ended.signal);
    }
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  } finally {
    await withinTime(transport.terminateSession().catch(() => {}), END_SESSION_MS); // many servers do not know it
    await transport.close();
  }
}

type Line = Uint8Array<ArrayBuffer> | "too long";

const LINE_END = 10;

/** Splits bytes into lines, without empty ones. Of a line that is too long nothing is kept. */
export async function* readLines(
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  limit: number = MAX_MESSAGE_BYTES,
): AsyncGenerator<Line> {
  const chunks = input[Symbol.asyncIterator]();
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (;;) {
    const next = await untilAborted(chunks.next(), signal);
    if (next.done) break;
    for (let from = 0; from < next.value.length;) {
      const end = next.value.indexOf(LINE_END, from);
      const to = end === -1 ? next.value.length : end;
      length += to - from;
      if (length > limit) parts = [];
      else if (to > from) parts.push(next.value.slice(from, to));
      from = to + 1;
      if (end === -1) continue;
      if (length > limit) yield "too long";
      else if (length > 0) yield joinBytes(parts);
      [parts, length] = [[], 0];
    }
  }
  if (length > limit) yield "too long";
  else if (length > 0) yield joinBytes(parts);
}

/**
 * Joins many strings. Strings of like length are joined to longer ones, so that there are never many, and none is copied often,
 * however small the pieces are that a server sends.
 */
class TextBuilder {
  #pieces: string[] = [];

  add(text: string): void {
    this.#pieces.push(text);
    for (;;) {
      const [one, other] = this.#pieces.slice(-2);
      if (one === undefined || other === undefined || one.length > other.length) return;
      this.#pieces.splice(-2, 2, [one, other].join(""));
    }
  }

  /** Returns the whole string, and begins again. */
  take(): string {
    const text = this.#pieces.join("");
    this.#pieces = [];
    return text;
  }
}

/** Splits decoded text into lines. */
class LineSplitter {
  readonly #line = new TextBuilder();
  #length = 0;
  #isCut = false;
  #endsInReturn = false;

  /** Length of the unfinished line. */
  get unfinished(): number {
    return this.#length;
  }

  /** Yields the lines that a chunk completes; `undefined` for one that was cut. */
  *push(chunk: string): Generator<string | undefined> {
    if (chunk === "") return;
    let from = this.#endsInReturn && chunk.startsWith("\n") ? 1 : 0; // the second half of a line end
    this.#endsInReturn = chunk.endsWith("\r");
    for (const { index, 0: lineEnd } of chunk.matchAll(/\r\n|\r|\n/g)) {
      if (index < from) continue;
      this.#add(chunk.slice(from, index));
      const line = this.#line.take();
      const isCut = this.#isCut;
      this.#length = 0;
      this.#isCut = false;
      from = index + lineEnd.length;
      yield isCut ? undefined : line;
    }
    this.#add(chunk.slice(from));
  }

  /** Forgets the unfinished line, and what is still to come of it. */
  cut(): void {
    this.#isCut = this.#length > 0;
    this.#line.take();
  }

  #add(text: string): void {
    this.#length += text.length;
    if (!this.#isCut && text !== "") this.#line.add(text);
  }
}

/** A server-sent event while it is read. Every line counts toward its limit, with data or without. */
class EventReader {
  readonly #limit: number;
  readonly #data = new TextBuilder();
  #type = "";
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isTooLong(): boolean {
    return this.#length > this.#limit;
  }

  /** Returns true if a line of this length makes the event too long. */
  isTooLongWith(length: number): boolean {
    return this.#length + length > this.#limit;
  }

  /** Counts a line. Nothing is kept of an event that is too long. */
  count(length: number): void {
    this.#length += length + 1;
    if (this.isTooLong) this.#data.take();
  }

  /** Reads a line. Returns it if the SDK needs it. */
  read(line: string): string | undefined {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#type = value;
    if (name === "data" && !this.isTooLong) this.#data.add(`${value}\n`);
    return name === "id" || name === "retry" ? `${line}\n` : undefined;
  }

  /** Ends the event. Returns the text of its message; empty if it has none. */
  end(): string {
    const text = this.#data.take().slice(0, -1);
    const isMessage = this.#type === "" || this.#type === "message";
    this.#type = "";
    this.#length = 0;
    return isMessage ? text : "";
  }
}

/**
 * Takes the messages out of a stream of server-sent events (WHATWG HTML, 9.2), each before the next is read, so that a slow
 * client slows the server down. Yields the lines that the SDK needs: ids, and marks of the answers.
 */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  deliver: (text: string) => Promise<boolean>,
  onTooLong: () => Promise<void>,
  limit: number = MAX_MESSAGE_BYTES,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const lines = new LineSplitter();
  const event = new EventReader(limit);

  async function count(length: number): Promise<void> {
    const isKnown = event.isTooLong;
    event.count(length);
    if (event.isTooLong && !isKnown) await onTooLong();
  }

  for await (const chunk of body) {
    for (const line of lines.push(decoder.decode(chunk, { stream: true }))) {
      if (line === undefined) continue; // it was counted when it was cut
      if (line === "") {
        const { isTooLong } = event;
        const text = event.end();
        yield isTooLong || text !== "" && await deliver(text) ? `data: ${ANSWERED}\n\n` : "data:\n\n";
        continue;
      }
      await count(line.length);
      const needed = event.read(line);
      if (needed !== undefined) yield needed;
    }
    if (!event.isTooLongWith(lines.unfinished)) continue;
    await count(lines.unfinished);
    lines.cut();
  }
}

/** The SDK forgets where a resumed stream was if it breaks again before an event. */
async function* resumedAfter(lastId: string | null, lines: AsyncIterable<string>): AsyncGenerator<string> {
  if (lastId !== null) yield `id: ${lastId}\ndata:\n\n`;
  yield* lines;
}

function streamOf(lines: AsyncGenerator<string>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await lines.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: async () => void await lines.return(undefined),
  }, { highWaterMark: 0 });
}

/**
 * Header fields that mirror arguments of tools, as some tools declare (`x-mcp-header`, in the protocol since 2026-07-28). Only who
 * has read the list of the tools knows them.
 */
class ParameterHeaders {
  readonly #paths = new Map<string, readonly (readonly [header: string, path: readonly string[]])[]>();

  /** Reads an answer to `tools/list`. */
  learn({ tools }: JsonObject): void {
    for (const tool of Array.isArray(tools) ? tools : []) {
      if (!isObject(tool) || typeof tool.name !== "string") continue;
      const paths = declarations(tool.inputSchema, []);
      if (paths.length > 0) this.#paths.set(tool.name, paths);
      else this.#paths.delete(tool.name);
    }
  }

  /** Returns the fields for a message. */
  of({ method, params }: JsonObject): Record<string, string> {
    if (method !== "tools/call" || !isObject(params) || !isModern({ params })) return {};
    const fields: Record<string, string> = {};
    for (const [header, path] of this.#paths.get(String(params.name)) ?? []) {
      const value = path.reduce<unknown>((at, key) => isObject(at) ? at[key] : undefined, params.arguments);
      if (["string", "boolean"].includes(typeof value) || Number.isFinite(value)) {
        fields[`mcp-param-${header}`] = fieldValue(String(value));
      }
    }
    return fields;
  }
}

const MAX_SCHEMA_DEPTH = 20;

function declarations(schema: unknown, path: readonly string[]): readonly (readonly [string, readonly string[]])[] {
  if (!isObject(schema) || path.length > MAX_SCHEMA_DEPTH) return [];
  const header = schema["x-mcp-header"];
  const isField = typeof header === "string" && /^[!#$%&'*+.^_`|~\w-]+$/.test(header);
  const below = isObject(schema.properties) ? Object.entries(schema.properties) : [];
  return [
    ...isField && path.length > 0 ? [[header, path] as const] : [],
    ...below.flatMap(([key, value]) => declarations(value, [...path, key])),
  ];
}

/** Texts that a header field cannot have are in base64, between marks. */
function fieldValue(text: string): string {
  const isPlain = /^[\x20-\x7e\t]+$/.test(text) && text === text.trim() && !/^=\?base64\?.*\?=$/.test(text);
  if (isPlain) return text;
  const bytes = new TextEncoder().encode(text);
  return `=?base64?${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}?=`;
}

/** Parses a message, or a batch of them, as protocols before 2025-06-18 have it. */
function readMessage(text: string): JsonObject | readonly JsonObject[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.length > 0 && value.every(isObject)) return value;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message quotes the text
  }
}

function isAnswer({ method, id }: JsonObject): boolean {
  return method === undefined && id !== undefined && id !== null;
}

/** Returns true if a request says its protocol's version itself, as since 2026-07-28. */
function isModern({ params }: JsonObject): boolean {
  const meta = isObject(params) ? params._meta : undefined;
  return isObject(meta) && typeof meta["io.modelcontextprotocol/protocolVersion"] === "string";
}

/** Numbers and texts are different ids. */
function keyOf(id: unknown): string {
  return JSON.stringify(id) ?? "";
}

function mediaType({ headers }: Response): string {
  return (headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

/** Reads a body; `undefined` if it is longer than the limit. */
async function readText(body: Response["body"], limit: number): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > limit) return undefined; // this cancels the body
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Returns the JSON-RPC error in a body. */
function errorIn(text: string): JsonObject | undefined {
  const message = readMessage(text);
  if (!message || Array.isArray(message)) return undefined;
  const { error } = message as JsonObject;
  return isObject(error) && Number.isSafeInteger(error.code) && typeof error.message === "string" ? error : undefined;
}

function failure(message: string): JsonObject {
  return { code: CONNECTION_FAILED, message };
}

function tooLong(what: string): JsonObject {
  return { code: INVALID_REQUEST, message: `${what} has more than ${MAX_MESSAGE_BYTES} bytes` };
}

/** Returns a failure as a sentence. The SDK's errors have the status, and the body of the answer. */
function reasonOf(error: unknown, { host }: URL): string {
  if (error instanceof LatchkeyError) return messageOf(error);
  const { status, message } = error as { status?: unknown; message?: unknown };
  if (typeof status === "number") {
    return `${host} answered ${status}: ${escapeControlCharacters(String(message)).slice(0, 300)}`;
  }
  return `${host}: ${escapeControlCharacters(String(message))}`;
}

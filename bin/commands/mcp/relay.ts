/**
 * Relays messages between an MCP client on standard input and output and a server with Streamable HTTP. The transport of MCP's
 * SDK opens the streams, resumes them, and keeps the session; the texts of the messages pass it by, so they stay as they are.
 *
 * @module
 */
import type { JSONRPCMessage } from "@modelcontextprotocol/client";
import { startTimer, untilAborted, withinTime } from "../../../lib/async.ts";
import { isObject, type JsonObject } from "../../../lib/encoding.ts";
import { escapeControlCharacters } from "../../../lib/control_characters.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { messageOf } from "../../cli/failures.ts";
import { ANSWERED, eventsOf, resumedAfter, streamOf } from "./event_stream.ts";
import {
  connectionFailed,
  errorIn,
  isModern,
  isResponse,
  keyOf,
  type Line,
  MAX_MESSAGE_BYTES,
  readLines,
  readMessage,
  sessionNotFound,
  tooLong,
} from "./messages.ts";
import { ParameterHeaders } from "./parameter_headers.ts";

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
const ENDED_EARLY = "The server ended the connection without an answer. It may have done the work even so";
/** Header field between {@linkcode relayMessages} and its `fetch`, which names the text of a message. It is not sent. */
const MESSAGE_FIELD = "latchkey-message";
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
  // By its name, so that bundlers leave out the rest of the SDK.
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  await new Relay(url, options, { StreamableHTTPClientTransport }).run();
}

type Sdk = Pick<typeof import("@modelcontextprotocol/client"), "StreamableHTTPClientTransport">;

/** A request of the SDK's transport, for a response of the server. */
interface Exchange {
  readonly response: Response;
  /** True for the request that opens a stream, or opens it again. */
  readonly isGet: boolean;
  readonly headers: Headers;
  readonly signal: AbortSignal | null | undefined;
  /** The message or batch that the request sends. */
  readonly sending: Sending | undefined;
}

/** The state of a relay: what the client waits for, and what is under way to the server. */
class Relay {
  readonly #url: URL;
  readonly #options: RelayOptions;
  readonly #transport: InstanceType<Sdk["StreamableHTTPClientTransport"]>;
  readonly #ended = new AbortController();
  readonly #parameters = new ParameterHeaders();
  readonly #pending = new Map<string, Pending>();
  readonly #sendings = new Map<string, Sending>();
  #sent = 0;
  #sendingBytes = 0;
  #reopened = 0;
  /** Resolves at the next change of what is pending or under way. */
  #changed = Promise.withResolvers<void>();
  /** The message that the server has to accept before the next one goes out. */
  #before: Promise<unknown> = Promise.resolve();

  constructor(url: URL, options: RelayOptions, { StreamableHTTPClientTransport }: Sdk) {
    this.#url = url;
    this.#options = options;
    this.#transport = new StreamableHTTPClientTransport(url, {
      fetch: (address, init) => this.#fetch(address, init),
      reconnectionOptions: RECONNECTION,
      reconnectionScheduler: (reopen, delayMs) => this.#reopenLater(reopen, delayMs),
    });
  }

  async run(): Promise<void> {
    const { input, signal } = this.#options;
    const ended = this.#ended;
    signal.addEventListener("abort", () => ended.abort(), { once: true });
    if (signal.aborted) ended.abort();
    this.#transport.onerror = () => {}; // the caller is told, or the stream is opened again
    await this.#transport.start();
    try {
      for await (const line of readLines(input, ended.signal)) await this.#take(line);
      await this.#awaitLastAnswers();
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    } finally {
      await withinTime(this.#transport.terminateSession().catch(() => {}), END_SESSION_MS); // many servers do not know it
      await this.#transport.close();
    }
  }

  async #awaitLastAnswers(): Promise<void> {
    const until = Date.now() + LAST_ANSWERS_MS;
    while ((this.#pending.size > 0 || this.#sendings.size > 0) && Date.now() < until) {
      await withinTime(this.#changed.promise, until - Date.now(), this.#ended.signal);
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** A server may end its streams at once, without a message and with a short `retry`, or with one that is too long for a timer. */
  #reopenLater(reopen: () => void, delayMs: number): () => void {
    this.#reopened++;
    const isSlow = this.#reopened > MAX_QUICK_REOPENINGS;
    const timer = startTimer(reopen, isSlow ? Math.max(delayMs, SLOW_REOPENING_MS) : delayMs);
    return () => clearTimeout(timer);
  }

  // Messages of the client

  async #take(line: Line): Promise<void> {
    const message = line === "too long" ? undefined : readMessage(new TextDecoder().decode(line));
    if (line === "too long" || message === undefined) {
      const error = line === "too long" ? tooLong("The message") : { code: -32700, message: "The message is not JSON" };
      return await this.#write(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    }
    const single = Array.isArray(message) ? undefined : message as JsonObject;
    if (single?.method === "notifications/cancelled" && isObject(single.params)) {
      const { isDone } = this.#cancel(single.params.requestId);
      if (isDone) return;
    }
    while (this.#pending.size >= MAX_PENDING || this.#sendingBytes >= MAX_SENDING_BYTES) {
      await untilAborted(this.#changed.promise, this.#ended.signal);
    }
    // Requests go out in order, but do not wait for the answers of others. Others are accepted before the next one goes out.
    await untilAborted(this.#before, this.#ended.signal);
    const work = this.#send(line, message);
    const isFirst = single?.method === "initialize"; // its answer has the session
    if (isFirst || single && (single.method === undefined || single.id === undefined)) {
      this.#before = withinTime(work, ACCEPT_MS);
    }
  }

  /** Forgets a request, which gets no answer of ours. `isDone` is false if the server has to be told. */
  #cancel(id: unknown): { readonly isDone: boolean } {
    const key = keyOf(id);
    const request = this.#pending.get(key);
    this.#pending.delete(key);
    this.#change();
    if (!request) return { isDone: false };
    const { isModern, sending } = request;
    // Nothing comes on a stream without pending requests any more, which would be opened again and again.
    if (isModern || sending.isOfSdk && !sending.requests.some((other) => this.#isPending(other))) sending.stop();
    return { isDone: isModern };
  }

  async #send(bytes: Uint8Array<ArrayBuffer>, message: JsonObject | readonly JsonObject[]): Promise<void> {
    const messages = Array.isArray(message) ? message as readonly JsonObject[] : [message as JsonObject];
    const controller = new AbortController();
    this.#sent++;
    const number = String(this.#sent);
    const sending: Sending = { bytes, requests: [], isOfSdk: false, stop: () => controller.abort() };
    const requests = messages.filter(({ id, method }) => id !== undefined && typeof method === "string")
      .map((request): Pending => ({
        id: request.id,
        method: request.method as string,
        isModern: isModern(request),
        sending,
      }));
    sending.requests = requests;
    for (const request of requests) this.#pending.set(keyOf(request.id), request);
    this.#sendings.set(number, sending);
    this.#sendingBytes += bytes.length;
    try {
      await this.#transport.send(message as JSONRPCMessage, {
        requestSignal: controller.signal,
        headers: { [MESSAGE_FIELD]: number, ...this.#parameters.of(messages[0]!) },
        onRequestStreamEnd: () => void this.#fail(requests, connectionFailed(ENDED_EARLY)),
      });
      if (!sending.isOfSdk) await this.#fail(requests, connectionFailed(ENDED_EARLY));
    } catch (error) {
      if (controller.signal.aborted || this.#ended.signal.aborted) return;
      const reason = reasonOf(error, this.#url);
      this.#options.tell(reason);
      await this.#fail(requests, connectionFailed(reason));
    } finally {
      this.#sendings.delete(number);
      this.#release(sending);
    }
  }

  #release(sending: Sending): void {
    this.#sendingBytes -= sending.bytes.length;
    sending.bytes = new Uint8Array();
    this.#change();
  }

  // Messages for the client

  async #write(text: string): Promise<void> {
    try {
      await untilAborted(this.#options.output(new TextEncoder().encode(`${text}\n`)), this.#ended.signal);
    } catch {
      this.#ended.abort(); // the client has gone
    }
  }

  /** Passes a text of the server on. Returns true if it answers a request. */
  async #deliver(text: string): Promise<boolean> {
    const message = readMessage(text);
    if (message === undefined) {
      this.#options.tell(`${this.#url.host} sent something that is not a message`);
      return false;
    }
    this.#reopened = 0;
    const answers = (Array.isArray(message) ? message : [message]).filter(isResponse);
    for (const answer of answers) this.#noteAnswer(answer);
    this.#change();
    // Between its tokens JSON may have line ends, which end a message here.
    await this.#write(/[\r\n]/.test(text) ? text.replaceAll(/[\r\n]+/g, " ") : text);
    return answers.length > 0;
  }

  #noteAnswer({ id, result }: JsonObject): void {
    const key = keyOf(id);
    const request = this.#pending.get(key);
    this.#pending.delete(key);
    if (!isObject(result)) return;
    if (request?.method === "initialize" && typeof result.protocolVersion === "string") {
      this.#transport.setProtocolVersion(result.protocolVersion);
    }
    if (request?.method === "tools/list") this.#parameters.learn(result);
  }

  #isPending(request: Pending): boolean {
    return this.#pending.get(keyOf(request.id)) === request;
  }

  /** Answers requests that the server did not. */
  async #fail(requests: readonly Pending[], error: JsonObject): Promise<void> {
    for (const request of requests) {
      if (!this.#isPending(request)) continue;
      this.#pending.delete(keyOf(request.id));
      await this.#write(JSON.stringify({ jsonrpc: "2.0", id: request.id, error }));
    }
    this.#change();
  }

  // HTTP

  /** The SDK's requests, with the texts of the messages; and its answers without them. */
  async #fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const sending = this.#sendings.get(headers.get(MESSAGE_FIELD) ?? "");
    headers.delete(MESSAGE_FIELD);
    const body = sending && { body: sending.bytes };
    const response = await this.#options.fetch(address, { ...init, headers, ...body });
    const exchange = { response, isGet: init.method === "GET", headers, signal: init.signal, sending };
    if (response.status >= 300 && response.status < 400) return response;
    if (!response.ok) return await this.#passFailure(exchange);
    if (sending) this.#release(sending);
    if (mediaType(response) === "text/event-stream" && response.body) return await this.#passEvents(exchange);
    return await this.#passAnswer(exchange);
  }

  /** Answers the client for a server that refuses. Returns the response that the SDK gets. */
  async #passFailure({ response, isGet, headers, sending }: Exchange): Promise<Response> {
    const { status, body } = response;
    const text = await readText(body, MAX_ERROR_BYTES) ?? "";
    if (status === 404 && headers.has("mcp-session-id")) {
      const error = sessionNotFound();
      this.#options.tell(`${this.#url.host} has ended the session: the client has to initialize again`);
      await this.#fail(sending?.requests ?? [], error);
      // A stream of a session that has ended must not be opened again: for the SDK it is one that the server does not offer.
      if (isGet) {
        await this.#fail([...this.#pending.values()], error);
        return new Response(null, { status: 405 });
      }
    } else {
      const error = errorIn(text);
      if (error) await this.#fail(sending?.requests ?? [], error);
    }
    if (headers.has("last-event-id") && CANNOT_RESUME.includes(status)) return new Response(null, { status: 405 });
    return new Response(text, { status, headers: response.headers });
  }

  /** Passes the messages of a stream on. Returns the stream that the SDK gets. */
  async #passEvents(exchange: Exchange): Promise<Response> {
    const { response, headers, sending } = exchange;
    const events = eventsOf(response.body!, (text) => this.#deliver(text), async () => {
      this.#options.tell(
        `${this.#url.host} sent a message of more than ${MAX_MESSAGE_BYTES} bytes, which is left out`,
      );
      await this.#fail(sending?.requests ?? [], tooLong("The server's message"));
    }, MAX_MESSAGE_BYTES);
    const init = { status: response.status, headers: response.headers };
    if (!sending) return new Response(streamOf(resumedAfter(headers.get("last-event-id"), events)), init);
    // The SDK takes the session from this response, which may be long after the answer.
    if (sending.requests.some(({ method }) => method === "initialize")) {
      sending.isOfSdk = true;
      return new Response(streamOf(events), init);
    }
    return await this.#readAnswers(events, sending, exchange);
  }

  /** Reads a stream of answers, and returns one for the SDK: it opens the stream again if it broke and has event ids. */
  async #readAnswers(
    events: AsyncIterable<string>,
    sending: Sending,
    { response, signal }: Exchange,
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
    sending.isOfSdk = id !== "" && sending.requests.some((request) => this.#isPending(request));
    if (sending.isOfSdk) return new Response(`${retry}${id}data:\n\n`, { status, headers });
    headers.set("content-type", "application/json");
    return new Response(ANSWERED, { status, headers });
  }

  /** Passes a body on that is one message or batch, if it is one. Returns the response that the SDK gets. */
  async #passAnswer({ response, sending }: Exchange): Promise<Response> {
    const { status, body } = response;
    const init = { status, headers: response.headers };
    if (status === 202 || mediaType(response) !== "application/json" || !sending?.requests.length) {
      await body?.cancel();
      return new Response(null, init);
    }
    const text = await readText(body, MAX_MESSAGE_BYTES);
    if (text === undefined) await this.#fail(sending.requests, tooLong("The server's answer"));
    else await this.#deliver(text);
    return new Response(ANSWERED, init);
  }
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

/** Returns a failure as a sentence. The SDK's errors have the status, and the body of the answer. */
function reasonOf(error: unknown, { host }: URL): string {
  if (error instanceof LatchkeyError) return messageOf(error);
  const { status, message } = error as { status?: unknown; message?: unknown };
  if (typeof status === "number") {
    return `${host} answered ${status}: ${escapeControlCharacters(String(message)).slice(0, 300)}`;
  }
  return `${host}: ${escapeControlCharacters(String(message))}`;
}

/**
 * `latchkey serve --upstream`: a reverse proxy that adds the token, which its clients never see. It neither decodes, redirects nor
 * repeats anything; the HTTP server and client are the runtime's (`node:http`).
 *
 * @module
 */
import {
  createServer,
  type IncomingMessage,
  request as sendRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { untilAborted } from "../../../lib/async.ts";
import { ArgumentError, isInteractionRequired, LatchkeyError } from "../../../lib/errors.ts";
import { ServerAgent } from "../../../lib/http/agent.ts";
import { secretComparer } from "../../../lib/http/server.ts";
import { type EndpointAddress, listenAt } from "../../../lib/http/unix_socket.ts";
import { currentRuntime, isAtLeast } from "../../../lib/runtime/host.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { failureLineWithHint } from "../../cli/failures.ts";
import { say } from "../../cli/output.ts";
import { type IdentityEndpoint, type Refusal, STATUS } from "./identity_endpoint.ts";
import { openRequestLog, type RequestLog } from "./request_log.ts";
import { Clients, Exchange, pump, RefusedRequest } from "./upstream_exchange.ts";
import {
  bodyLengthOf,
  claimsOf,
  forwardedHeaders,
  type Header,
  headerOf,
  headersRefusal,
  pairHeaders,
  type ProxyPlace,
  proxyPlace,
  returnedHeaders,
  senderRefusal,
} from "./upstream_headers.ts";
import { readTarget, type Route, routeOf, type Upstream } from "./upstream_rules.ts";
import { type TokenSource, UpstreamTokens } from "./upstream_tokens.ts";

export { readUpstream } from "./upstream_rules.ts";

const IDEMPOTENT = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
/** Methods whose requests have no body: servers that do not expect one take it for the next request. */
const WITHOUT_BODY = ["GET", "HEAD"];
/** A client that sends a body of this length or less can be answered after a claims challenge. */
const MAX_KEPT_BYTES = 64 * 1024;
const MAX_REQUEST_HEAD_BYTES = 16 * 1024;
const MAX_RESPONSE_HEAD_BYTES = 64 * 1024;
/** Time limits in ms: for a head, between requests, and without any byte in the middle of a message or before a response. */
const HEAD_LIMIT_MS = 10_000;
const IDLE_LIMIT_MS = 60_000;
const STALL_LIMIT_MS = 5 * 60_000;
/** Longest time in ms between two looks at the limits. */
const LOOK_MS = 1000;
const MAX_INTERIM_RESPONSES = 10;
/** Requests that a client may send before it has the response to the first. */
const MAX_PIPELINED = 64;

/** The rules of a proxy, and its source of tokens. */
export interface UpstreamProxyOptions extends TokenSource {
  readonly upstreams: readonly Upstream[];
  readonly isLogged: boolean;
  /** @default 300_000 */
  readonly stallLimitMs?: number | undefined;
  /** @default 10_000 */
  readonly headLimitMs?: number | undefined;
}

/** The first versions whose `node:http` refuses ambiguous messages, and limits times and memory. */
const FIRST_VERSIONS = { Deno: "2.8", Bun: "1.4", Node: "22.18" } as const;

/** @throws {LatchkeyError} `missing_dependency` if the runtime's HTTP is not strict enough. */
export function requireStrictHttp(
  { name, version }: Pick<ReturnType<typeof currentRuntime>, "name" | "version">,
): void {
  const first = FIRST_VERSIONS[name];
  if (isAtLeast(version, first)) return;
  throw new LatchkeyError(
    "missing_dependency",
    `--upstream needs ${name} ${first} or later, and this is ${name} ${version}`,
    {
      remedy:
        `Install ${name} ${first} or later and run latchkey with it. An executable contains its runtime: use a newer one, ` +
        "or the npm package",
    },
  );
}

/**
 * Opens the proxy, on a socket, or on a port with a secret.
 *
 * @throws {LatchkeyError} `missing_dependency` on an old runtime, and as `listenAt` does.
 */
export async function openUpstreamProxy(
  address: EndpointAddress & { readonly secret?: string },
  options: UpstreamProxyOptions,
): Promise<IdentityEndpoint> {
  requireStrictHttp(currentRuntime());
  const isSecret = address.secret === undefined ? undefined : await secretComparer(address.secret);
  const proxy = new UpstreamProxy(options, isSecret);
  const { port, stop } = await listenAt(address, proxy.server);
  proxy.start(port);
  return {
    port,
    lastBusy: () => proxy.lastBusy(),
    async close() {
      stop();
      await proxy.close();
    },
  };
}

/** A request to an upstream. */
interface Sent extends Route {
  readonly exchange: Exchange;
  readonly authorization: string;
  readonly headers: readonly Header[];
  readonly length: number | "unknown";
  /** The body, if it is short; `undefined` if there is none, or if it is read from the client as it is sent. */
  readonly kept: Uint8Array | undefined;
}

class UpstreamProxy {
  readonly server: Server;
  readonly #upstreams: readonly Upstream[];
  readonly #limits: { readonly stallLimitMs: number; readonly headLimitMs: number };
  readonly #log: RequestLog;
  readonly #tokens: UpstreamTokens;
  readonly #clients = new Clients();
  /** The agents of each origin: with connections that are used again, and without. */
  readonly #agents = new Map<string, { readonly kept: ServerAgent; readonly fresh: ServerAgent }>();
  #place: ProxyPlace;
  #timer: ReturnType<typeof setInterval> | undefined;
  #busy = 0;
  #last = Date.now();

  constructor(options: UpstreamProxyOptions, isSecret: ProxyPlace["isSecret"]) {
    const { upstreams, isLogged, stallLimitMs = STALL_LIMIT_MS, headLimitMs = HEAD_LIMIT_MS } = options;
    this.#upstreams = upstreams;
    this.#limits = { stallLimitMs, headLimitMs };
    this.#log = openRequestLog({ isLogged });
    this.#tokens = new UpstreamTokens(options);
    this.#place = proxyPlace(upstreams, 0, isSecret);
    this.server = this.#createServer();
  }

  #createServer(): Server {
    const { headLimitMs } = this.#limits;
    const server = createServer({
      insecureHTTPParser: false,
      maxHeaderSize: MAX_REQUEST_HEAD_BYTES,
      requireHostHeader: false, // it is judged with the others
      headersTimeout: headLimitMs,
      keepAliveTimeout: IDLE_LIMIT_MS,
      requestTimeout: 0, // a body may take as long as it makes progress
      connectionsCheckingInterval: Math.min(LOOK_MS, headLimitMs / 4),
      noDelay: true,
    });
    server.maxHeadersCount = 0; // the length of the head is limited; what exceeded a number would be dropped unseen
    server.on("connection", (socket: Socket) => this.#clients.add(socket));
    server.on("request", (request, response) => this.#onRequest(request, response, { isContinueExpected: false }));
    server.on("checkContinue", (request, response) => this.#onRequest(request, response, { isContinueExpected: true }));
    server.on("connect", (_, socket: Socket) => this.#onInvalid(socket, "CONNECT"));
    server.on(
      "clientError",
      (error: NodeJS.ErrnoException, socket: Socket) => this.#onInvalid(socket, error.code ?? ""),
    );
    return server;
  }

  /** Begins to look at the limits. */
  start(port: number): void {
    const { stallLimitMs, headLimitMs } = this.#limits;
    this.#place = proxyPlace(this.#upstreams, port, this.#place.isSecret);
    this.#timer = setInterval(
      () => this.#clients.checkLimits(this.#limits),
      Math.min(LOOK_MS, stallLimitMs / 4, headLimitMs / 4),
    );
  }

  lastBusy(): number {
    return this.#busy > 0 ? Date.now() : this.#last;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#clients.close();
    for (const { kept, fresh } of this.#agents.values()) {
      kept.destroy();
      fresh.destroy();
    }
    this.#log.flush();
  }

  /** Refuses what the runtime's parser does. */
  #onInvalid(socket: Socket, code: string): void {
    const client = this.#clients.of(socket);
    if (!client || !socket.writable || code === "ERR_HTTP_REQUEST_TIMEOUT") return void socket.destroy();
    const refusal = code === "HPE_HEADER_OVERFLOW"
      ? { statusCode: 431, message: "The head is too long" }
      : { statusCode: 400, message: "The request is not HTTP/1.1" };
    const { exchange } = client;
    if (exchange?.response.headersSent) return void socket.destroy();
    client.refuseRaw(refusal);
    if (exchange) exchange.fail(new RefusedRequest(refusal));
    else this.#log.add(refusal.statusCode, () => "- -", performance.now());
  }

  #onRequest(
    request: IncomingMessage,
    response: ServerResponse,
    { isContinueExpected }: { readonly isContinueExpected: boolean },
  ): void {
    const client = this.#clients.of(request.socket);
    if (!client || client.pending >= MAX_PIPELINED) return void request.socket.destroy();
    const exchange = new Exchange(client, { request, response, isContinueExpected });
    const isFirst = client.pending === 0;
    client.add(exchange);
    client.turn = isFirst ? this.#serve(exchange) : client.turn.then(() => this.#serve(exchange));
  }

  /** Answers a request. It never fails. */
  async #serve(exchange: Exchange): Promise<void> {
    const { client, request, response } = exchange;
    this.#busy++;
    const headers = pairHeaders(request.rawHeaders);
    const length = bodyLengthOf(headers, request.httpVersion);
    try {
      exchange.signal.throwIfAborted();
      await this.#forward(exchange, { headers, length });
    } catch (error) {
      const refusal = refusalFor(exchange.signal.aborted ? exchange.signal.reason : error);
      exchange.status ||= refusal.statusCode;
      if (response.headersSent) client.socket.destroy();
      else if (!client.socket.destroyed && client.socket.writable) {
        const isKept = exchange.isAdmitted && length === 0 && refusal.statusCode !== 400;
        exchange.refuse(refusal, { isKept, hasBody: length !== 0 });
      }
    }
    await exchange.closed;
    if (!request.complete) await exchange.drain();
    this.#log.add(exchange.status, () => `${request.method} ${request.url?.split("?")[0]}`, exchange.beginMs);
    this.#busy--;
    this.#last = Date.now();
    client.remove(exchange);
  }

  /** Finds the rule for a request, or throws why it is refused. */
  #judge(
    exchange: Exchange,
    { headers, length }: { readonly headers: readonly Header[]; readonly length: Sent["length"] | undefined },
  ): Route {
    const { method = "", url = "" } = exchange.request;
    const invalid = (message: string) => new RefusedRequest({ statusCode: 400, message });
    if (!isHttp1(exchange.request)) throw invalid("The request is not HTTP/1.1");
    const target = readTarget(method, url);
    if (!target) throw invalid("The target of the request is not a path");
    if (length === undefined) throw invalid("Two servers could read the length of the body differently");
    const refusal = headersRefusal(headers) ?? senderRefusal(headers, this.#place);
    if (refusal) throw new RefusedRequest(refusal);
    exchange.isAdmitted = true;
    exchange.client.isAdmitted = true;
    if (length !== 0 && WITHOUT_BODY.includes(method)) throw invalid(`A ${method} must have no body`);
    const route = routeOf(target, this.#upstreams);
    if ("statusCode" in route) throw new RefusedRequest(route);
    return route;
  }

  /** Sends a request to its upstream, and the response to the client. */
  async #forward(
    exchange: Exchange,
    { headers, length }: { readonly headers: readonly Header[]; readonly length: Sent["length"] | undefined },
  ): Promise<void> {
    const route = this.#judge(exchange, { headers, length });
    const { upstream } = route;
    if (length === undefined) return;
    if (exchange.isContinueExpected && length !== 0) exchange.response.writeContinue();
    const isKept = typeof length === "number" && length <= MAX_KEPT_BYTES;
    const kept = isKept && length > 0 ? await exchange.readBody() : undefined;
    const tokens = this.#tokens.of(upstream.scope);
    const send = (token: AuthenticationResult) =>
      this.#send({
        ...route,
        exchange,
        authorization: `${token.tokenType} ${token.accessToken}`,
        headers,
        length,
        kept,
      });
    exchange.pauseLimit();
    let token = await tokens.acquire(exchange.signal);
    let answer = await send(token);
    const claims = [401, 403].includes(answer.statusCode ?? 0) ? claimsOf(pairHeaders(answer.rawHeaders)) : undefined;
    if (claims !== undefined && !isKept) tokens.answerNext({ claims, refused: token });
    const renewal = claims !== undefined && isKept
      ? tokens.answer({ claims, refused: token }, exchange.signal)
      : undefined;
    if (renewal !== undefined) {
      answer.destroy();
      exchange.pauseLimit();
      token = await renewal;
      answer = await send(token);
    }
    returnAnswer(answer, exchange, { ...route, headers, token: token.accessToken });
  }

  /** Sends a request, once more on a new connection if the server had closed the old one, and returns the response. */
  async #send(sent: Sent): Promise<IncomingMessage> {
    const { kept, fresh } = this.#agentsOf(sent.upstream.origin);
    const { exchange } = sent;
    if (sent.length !== 0 || !IDEMPOTENT.includes(exchange.request.method ?? "")) return await sendBy(fresh, sent);
    try {
      return await sendBy(kept, sent);
    } catch (error) {
      const isClosed = exchange.outgoing?.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(codeOf(error));
      if (!isClosed || exchange.signal.aborted) throw error;
      return await sendBy(fresh, sent);
    }
  }

  #agentsOf(origin: string): { readonly kept: ServerAgent; readonly fresh: ServerAgent } {
    const known = this.#agents.get(origin);
    if (known) return known;
    const url = new URL(origin);
    const agents = { kept: new ServerAgent(url, { isKept: true }), fresh: new ServerAgent(url, { isKept: false }) };
    this.#agents.set(origin, agents);
    return agents;
  }
}

/** Sends a request over the connections of an agent, and returns the response once its head has come. */
async function sendBy(agent: ServerAgent, sent: Sent): Promise<IncomingMessage> {
  const { exchange, upstream, target, authorization, headers, length, kept } = sent;
  const { method = "" } = exchange.request;
  exchange.signal.throwIfAborted();
  exchange.touch();
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = sendRequest({
    agent,
    method,
    path: target,
    headers: forwardedHeaders(headers, { method, host: upstream.host, authorization, length }),
    maxHeaderSize: MAX_RESPONSE_HEAD_BYTES,
    insecureHTTPParser: false,
  });
  exchange.outgoing = outgoing;
  const breakOff = () => {
    reject(new BrokenResponse()); // what the runtime has read already is not an answer any more
    outgoing.destroy();
  };
  let interim = 0;
  outgoing.on("information", () => {
    interim++;
    if (interim > MAX_INTERIM_RESPONSES) breakOff();
  });
  outgoing.on("response", (answer) => {
    if ((answer.statusCode ?? 0) < 200 || !isHttp1(answer)) breakOff();
    else resolve(answer);
  });
  // 101 would leave HTTP.
  outgoing.on("upgrade", (_, socket) => {
    socket.destroy();
    breakOff();
  });
  outgoing.on("error", reject).once("close", () => reject(new BrokenResponse()));
  if (length === 0) outgoing.end();
  else if (kept) outgoing.end(kept);
  else pump(exchange.request, outgoing, exchange.touch);
  return await untilAborted(promise, exchange.signal);
}

/** Returns true for the versions whose messages this proxy understands. Some parsers take others, and read them as HTTP/1.1. */
function isHttp1({ httpVersion }: IncomingMessage): boolean {
  return httpVersion === "1.1" || httpVersion === "1.0";
}

/** Sends a response to the client, as it comes. */
function returnAnswer(
  answer: IncomingMessage,
  exchange: Exchange,
  { headers, upstream, target, token }: Route & { readonly headers: readonly Header[]; readonly token: string },
): void {
  const { request, response, outgoing } = exchange;
  const { statusCode: status = 0 } = answer;
  const returned = returnedHeaders({
    ...{ upstream, target, status, token },
    headers: pairHeaders(answer.rawHeaders),
    host: headerOf(headers, "host") ?? "localhost",
  });
  if (request.httpVersion === "1.0") returned.push("connection", "close");
  exchange.status = status;
  response.sendDate = false;
  response.writeHead(status, returned);
  const breakOff = () => exchange.fail(new Error("The upstream has broken off"));
  answer.on("error", breakOff).once("close", () => {
    if (!answer.complete) breakOff();
    // A server may answer before it has the whole body. The rest is of no use to it.
    if (!outgoing?.writableFinished) outgoing?.destroy();
  });
  pump(answer, response, exchange.touch);
}

/** A response that HTTP allows, and this proxy does not. */
class BrokenResponse extends Error {}

function codeOf(error: unknown): string {
  return (error as { readonly code?: string } | undefined)?.code ?? "";
}

/** Returns the refusal for a failure. The client has nothing of the response yet. */
function refusalFor(error: unknown): Refusal {
  if (error instanceof RefusedRequest) return error.refusal;
  if (error instanceof ArgumentError) return { statusCode: 502, message: error.message };
  if (error instanceof LatchkeyError) {
    const message = failureLineWithHint(error);
    // An agent's library would take a 400 or 401 for the upstream's.
    return { statusCode: isInteractionRequired(error) ? 502 : Math.max(502, STATUS[error.code]), message };
  }
  if (error instanceof BrokenResponse || /^(HPE_|E[A-Z]+$)/.test(codeOf(error))) {
    return { statusCode: 502, message: "The upstream has ended the connection, or its response is not HTTP/1.1" };
  }
  say(String(error)); // a bug, whose details are not for clients
  return { statusCode: 500, message: "Internal error" };
}

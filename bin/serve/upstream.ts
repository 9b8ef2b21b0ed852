/**
 * `latchkey serve --upstream`: a reverse proxy that adds the token, which those who call never see.
 *
 * It is an HTTP/1.1 server and client of its own, over sockets: bodies of any length go through with the pace of the slower side on
 * every runtime, a message is framed anew for each side, and nothing is decoded, redirected or repeated by a library.
 *
 * @module
 */
import type { Socket } from "node:net";
import { isHttpsOrLoopback } from "../../lib/authority.ts";
import { ArgumentError, isInteractionRequired, LatchkeyError } from "../../lib/errors.ts";
import {
  BrokenMessage,
  Connection,
  type Framing,
  framingOf,
  openConnection,
  readResponseHead,
  type ResponseHead,
} from "../../lib/http/connection.ts";
import { type HeaderField, hostsOf, readRequestHead, type RequestHead, secretComparer } from "../../lib/http/server.ts";
import { type EndpointAddress, listenAt } from "../../lib/http/unix_socket.ts";
import { type AcquireTokenRequest, claimsRequest } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { UsageError } from "../cli/command_line.ts";
import { commandLineHint, jsonForTerminal, say, sayLine } from "../cli/output.ts";
import { type IdentityEndpoint, type Refusal, STATUS } from "./endpoint.ts";

/** A rule: what may be called, and with which token. */
export interface Upstream {
  readonly origin: string;
  /** Host and port as in a URL. It is the first segment of the path that a client asks for. */
  readonly host: string;
  /** Path that a request's must equal, or continue with a slash; empty for every path. */
  readonly prefix: string;
  readonly methods: readonly string[];
  readonly scope: string;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Scopes of services whose tokens are not for their own origin, by the ends of their hosts. */
const SCOPES_BY_HOST: Readonly<Record<string, string>> = {
  ".vault.azure.net": "https://vault.azure.net/.default",
  ".blob.core.windows.net": "https://storage.azure.com/.default",
  ".queue.core.windows.net": "https://storage.azure.com/.default",
  ".table.core.windows.net": "https://storage.azure.com/.default",
  ".dfs.core.windows.net": "https://storage.azure.com/.default",
  "dev.azure.com": "499b84ac-1321-427f-aa17-267ca6975798/.default",
};

/**
 * Reads an `--upstream`: `[METHOD,METHOD] URL [SCOPE]`.
 *
 * @throws {UsageError} if it is invalid.
 */
export function readUpstream(text: string): Upstream {
  const words = text.split(" ").filter(Boolean),
    fails = (why: string) =>
      new UsageError(
        `--upstream takes "URL", "METHODS URL" or "METHODS URL SCOPE", such as "GET,HEAD https://graph.microsoft.com/v1.0/me", not ` +
          `${JSON.stringify(text)}: ${why}`,
      );
  const methods = /^[A-Z,]+$/.test(words[0] ?? "") ? words.shift()!.split(",") : METHODS;
  const [address = "", scope, ...more] = words;
  const other = methods.find((method) => !METHODS.includes(method));
  if (other !== undefined) throw fails(`${other || "an empty word"} is not one of ${METHODS.join(", ")}`);
  if (more.length > 0) throw fails("there is one word too many");
  if (!URL.canParse(address)) throw fails("the URL is missing or invalid");
  const url = new URL(address), { host, hostname, origin, pathname } = url;
  if (!isHttpsOrLoopback(url)) throw fails("a token goes only to https:, or to this machine");
  if (url.username || url.password || url.search || url.hash) throw fails("the URL has more than an origin and a path");
  // The URL's parser would have resolved them unseen.
  if (/[\\%]|\/\.{1,2}(\/|$)/.test(address)) throw fails("the path has dots, backslashes or encoded characters");
  if (scope !== undefined && !/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(scope)) throw fails("the scope is invalid");
  const [, known] = Object.entries(SCOPES_BY_HOST).find(([end]) => hostname.endsWith(end)) ?? [];
  return { origin, host, prefix: pathname.replace(/\/+$/, ""), methods, scope: scope ?? known ?? `${origin}/.default` };
}

/** A request that may be sent, and where. */
export interface Route {
  readonly upstream: Upstream;
  /** Path and query for the upstream. */
  readonly target: string;
}

/** Path as the log has it: without its query. */
const MAX_LOGGED_CHARACTERS = 200;

/** Finds the rule for a request, or says why none allows it. */
export function routeOf(
  { method, path, query }: Pick<RequestHead, "method" | "path" | "query">,
  upstreams: readonly Upstream[],
): Route | Refusal {
  const [, host = "", rest = ""] = /^\/([^/]*)(\/.*)?$/s.exec(path) ?? [], name = host.toLowerCase();
  const ofHost = upstreams.filter((upstream) => upstream.host === name);
  if (ofHost.length === 0) {
    const known = [...new Set(upstreams.map(({ host }) => `/${host}/`))].join(", ");
    return { statusCode: 404, message: `The path must begin with the host of an upstream: ${known}` };
  }
  if (isAmbiguous(rest)) return { statusCode: 400, message: "The path has dot segments, backslashes or a fragment" };
  const ofPath = ofHost.filter(({ prefix }) => rest === prefix || rest.startsWith(`${prefix}/`));
  if (ofPath.length === 0) return { statusCode: 403, message: "No upstream allows this path" };
  const upstream = ofPath.find(({ methods }) => methods.includes(method));
  if (!upstream) return { statusCode: 405, message: `No upstream allows ${method} for this path` };
  return { upstream, target: `${rest || "/"}${query}` };
}

/** Returns true if a server could take another path for the one that was checked, however often it decodes it. */
function isAmbiguous(path: string): boolean {
  for (let text = path, times = 0;; times++) {
    // A control character ends the text for some.
    if (/[\\#]/.test(text) || [...text].some((one) => one < " " || one === "\x7f")) return true;
    if (text.split("/").some((segment) => /^\.{1,2}$/.test(segment.replace(/;.*$/, "")))) return true;
    const decoded = text.replace(/%([\da-fA-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
    if (decoded === text) return false;
    if (times === MAX_ENCODINGS) return true;
    text = decoded;
  }
}

const MAX_ENCODINGS = 4;

/** Fields that belong to one connection (RFC 9110, 7.6.1), or that the proxy sets. */
const HOP_BY_HOP =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|content-length|host|expect)$/;
/** Fields of a client that would speak for somebody else, or for another address. */
const NOT_FORWARDED =
  /^(authorization|cookie|cookie2|x-latchkey-secret|x-identity-header|forwarded|x-forwarded-.*|via)$/;
/** Fields by which some servers take another method or path than those that were checked. */
const OVERRIDES =
  /^(x-http-method|x-http-method-override|x-method-override|x-original-url|x-rewrite-url|x-original-uri)$/;
/** Fields of an answer that sign a client in, or send it elsewhere. */
const NOT_RETURNED =
  /^(set-cookie2?|authorization|(www|proxy)-authenticate|(proxy-)?authentication-info|alt-svc|strict-transport-security|clear-site-data)$/;
/** Fields of an answer with an address that the client asks next. */
const ADDRESSES = /^(location|content-location|operation-location|azure-asyncoperation)$/;

function connectionOptions(lines: readonly HeaderField[]): ReadonlySet<string> {
  const values = lines.filter(([name]) => name.toLowerCase() === "connection").map(([, value]) => value);
  return new Set(values.flatMap((value) => value.toLowerCase().split(",").map((word) => word.trim())));
}

function withoutHops(lines: readonly HeaderField[], others: RegExp): readonly HeaderField[] {
  const named = connectionOptions(lines);
  return lines.filter(([name]) => {
    const key = name.toLowerCase();
    return !HOP_BY_HOP.test(key) && !others.test(key) && !named.has(key);
  });
}

function framingFields(framing: Framing | "none"): readonly HeaderField[] {
  if (framing === "none") return [];
  return typeof framing === "number" ? [["Content-Length", `${framing}`]] : [["Transfer-Encoding", "chunked"]];
}

const IDEMPOTENT = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
/** A client that sends a body of this length or less can be answered after a claims challenge. */
const MAX_KEPT_BYTES = 64 * 1024;
const MAX_RESPONSE_HEAD_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 256;
/** Time limits in ms: for a head, between requests, and without any byte in the middle of a message or before an answer. */
const HEAD_LIMIT_MS = 10_000, IDLE_LIMIT_MS = 60_000, STALL_LIMIT_MS = 5 * 60_000;
/** Time in ms after which a server may have closed an unused connection. */
const POOL_LIMIT_MS = 10_000;
const MAX_POOLED = 16;
const MAX_INTERIM_RESPONSES = 10;

/** The rules of a proxy, and its source of tokens. */
export interface UpstreamProxyOptions {
  readonly upstreams: readonly Upstream[];
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "claims" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Receives the error of each request for a token, or `undefined`. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
  readonly isLogged: boolean;
  /** @default 300_000 */
  readonly stallLimitMs?: number | undefined;
  /** @default 10_000 */
  readonly headLimitMs?: number | undefined;
}

/** A refusal while nothing was answered yet. */
class RefusedRequest extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** Opens the proxy, on a socket, or on a port with a secret. */
export async function openUpstreamProxy(
  address: EndpointAddress & { readonly secret?: string },
  options: UpstreamProxyOptions,
): Promise<IdentityEndpoint> {
  const { upstreams, isLogged, stallLimitMs = STALL_LIMIT_MS, headLimitMs = HEAD_LIMIT_MS } = options;
  const isSecret = address.secret === undefined ? undefined : await secretComparer(address.secret);
  const clients = new Set<Connection>(), pool = new Map<string, Connection[]>(), ended = new Set<Promise<void>>();
  const tokenFor = tokensOf(options), timers = new Map<Connection, ReturnType<typeof setTimeout>>();
  let port = 0, busy = 0, last = Date.now(), isClosed = false;

  function log(status: number, { method, path }: Pick<RequestHead, "method" | "path">, begin: number): void {
    if (!isLogged) return;
    const what = `${method} ${path.slice(0, MAX_LOGGED_CHARACTERS)}`;
    sayLine(`${new Date().toISOString()} ${status} ${what} ${Math.round(performance.now() - begin)} ms`);
  }

  /** Judges the sender, before anything of the request is done. */
  function refusalOf({ fields, lines, version }: RequestHead): Refusal | undefined {
    const host = fields.get("host")?.toLowerCase();
    if (host === undefined && version === "1.1") return { statusCode: 400, message: "The Host field is missing" };
    if (isSecret && !hostsOf(["127.0.0.1", "localhost"], port).includes(host ?? "")) {
      return { statusCode: 421, message: "The Host field must be 127.0.0.1 with this port" };
    }
    if (fields.has("origin")) return { statusCode: 403, message: "Web pages may not call through here" };
    const bearer = /^Bearer +(\S+)$/i.exec(fields.get("authorization") ?? "")?.[1];
    if (isSecret && !isSecret(fields.get("x-latchkey-secret") ?? bearer ?? "")) {
      return {
        statusCode: 401,
        message: "The secret is missing or wrong: send it in X-Latchkey-Secret, or as a Bearer token",
      };
    }
    const override = lines.find(([name]) => OVERRIDES.test(name.toLowerCase()))?.[0];
    return override === undefined ? undefined : { statusCode: 400, message: `${override} is not allowed here` };
  }

  /** Serves the requests of a client, one after the other. */
  async function serveClient(client: Connection): Promise<void> {
    for (let isFirst = true, goesOn = true; goesOn && !isClosed; isFirst = false) {
      const idleMs = isFirst ? headLimitMs : IDLE_LIMIT_MS;
      const bytes = await client.readHead(16 * 1024, { idleMs, headMs: headLimitMs });
      if (!bytes) return;
      busy++;
      try {
        goesOn = await serveRequest(client, bytes);
      } finally {
        busy--;
        last = Date.now();
      }
    }
  }

  /** Answers one request. Returns true if another one may follow on the connection. */
  async function serveRequest(client: Connection, bytes: Uint8Array): Promise<boolean> {
    const begin = performance.now(), head = readRequestHead(bytes);
    if (head === undefined || typeof head === "number") {
      const statusCode = head ?? 431, nothing = { method: "-", path: "-" };
      log(statusCode, nothing, begin);
      await refuse(
        client,
        { statusCode, message: statusCode === 431 ? "The head is too long" : "Not HTTP/1.1" },
        false,
      );
      return false;
    }
    const framing = framingOf(head.lines, 0), isOld = head.version === "1.0";
    const keepsAlive = !isOld && !connectionOptions(head.lines).has("close");
    const gone = new AbortController(), onClose = () => gone.abort(new Error("The client has disconnected"));
    client.socket.once("close", onClose);
    const exchange: Exchange = { client, head, framing: framing ?? 0, signal: gone.signal, status: 0 };
    try {
      const refusal = refusalOf(head) ??
        (framing === undefined || isOld && framing === "chunked"
          ? { statusCode: 400, message: "The length of the body is missing, invalid or given twice" }
          : undefined);
      if (refusal) throw new RefusedRequest(refusal);
      const route = routeOf(head, upstreams);
      if ("statusCode" in route) throw new RefusedRequest(route);
      const goesOn = await forward(exchange, route);
      log(exchange.status, head, begin);
      return goesOn && keepsAlive;
    } catch (error) {
      const refusal = refusalFor(error, gone.signal.aborted);
      // What was begun cannot be taken back: the client sees that the connection breaks.
      log(exchange.status || refusal.statusCode, head, begin);
      if (exchange.status !== 0 || gone.signal.aborted) {
        client.socket.destroy();
        return false;
      }
      const isWhole = framing === 0 && keepsAlive && refusal.statusCode !== 400;
      await refuse(client, refusal, isWhole, head.method === "HEAD");
      await stopReading(exchange);
      return isWhole;
    } finally {
      client.socket.off("close", onClose);
    }
  }

  /** Sends a request to its upstream, and the answer to the client. */
  async function forward(exchange: Exchange, { upstream, target }: Route): Promise<boolean> {
    const { client, head, framing, signal } = exchange;
    if (/^100-continue$/i.test(head.fields.get("expect") ?? "") && framing !== 0) {
      await client.writeHead("HTTP/1.1 100 Continue", [], stallLimitMs);
    }
    const isKept = typeof framing === "number" && framing <= MAX_KEPT_BYTES;
    const kept = isKept ? await collect(client.readBody(framing, stallLimitMs)) : undefined;
    for (let claims: string | undefined;;) {
      const token = await tokenFor(upstream, claims, signal);
      const { server, response } = await send({ exchange, upstream, target, token, kept });
      try {
        const challenge = [401, 403].includes(response.status) ? claimsOf(response) : undefined;
        if (challenge !== undefined && claims === undefined) {
          if (kept) {
            claims = challenge;
            server.socket.destroy();
            continue;
          }
          tokenFor.answerNext(upstream, challenge); // this body cannot be sent again
        }
        return await answer(exchange, { upstream, target, response, server, token: token.accessToken });
      } catch (error) {
        server.socket.destroy();
        throw error;
      }
    }
  }

  /** Sends a request, once more on a new connection if the server had closed the old one, and reads the answer's head. */
  async function send(request: SentRequest): Promise<Pick<Answered, "server" | "response">> {
    const { upstream, kept, exchange: { head, signal } } = request;
    const pooled = kept && IDEMPOTENT.includes(head.method) ? takePooled(upstream.origin) : undefined;
    if (pooled) {
      try {
        return await sendOn(pooled, request);
      } catch (error) {
        pooled.socket.destroy();
        if (signal.aborted || !(error instanceof BrokenMessage) || error.isSlow) throw error;
      }
    }
    return await sendOn(await openConnection(new URL(upstream.origin), signal), request);
  }

  async function sendOn(server: Connection, request: SentRequest): Promise<Pick<Answered, "server" | "response">> {
    const { exchange, upstream, target, token, kept } = request, { client, head, framing, signal } = exchange;
    const abort = () => void server.socket.destroy();
    signal.addEventListener("abort", abort);
    exchange.release = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) abort();
    const hasBody = framing !== 0 || head.fields.has("content-length");
    try {
      await server.writeHead(`${head.method} ${target} HTTP/1.1`, [
        ["Host", upstream.host],
        ...withoutHops(head.lines, NOT_FORWARDED),
        ["Authorization", `${token.tokenType} ${token.accessToken}`],
        ...framingFields(hasBody ? framing : "none"),
      ], stallLimitMs);
    } catch (error) {
      server.socket.destroy();
      throw error;
    }
    const body = kept ? asAsync([kept]) : client.readBody(framing, stallLimitMs);
    let failure: unknown;
    // A server may answer before it has the whole body.
    exchange.bodySent = server.writeBody(body, framing === "chunked", stallLimitMs).then(() => true, (error) => {
      if (!server.socket.destroyed) failure = error; // the client's part
      server.socket.destroy();
      return false;
    });
    try {
      const response = await finalResponse(server);
      if (!response) throw new BrokenMessage("The upstream did not answer with HTTP/1.1");
      return { server, response };
    } catch (error) {
      server.socket.destroy();
      throw failure ?? error;
    }
  }

  /** Reads heads up to that of the final response. */
  async function finalResponse(server: Connection): Promise<ResponseHead | undefined> {
    const limits = { idleMs: stallLimitMs, headMs: stallLimitMs };
    for (let number = 0; number < MAX_INTERIM_RESPONSES; number++) {
      const bytes = await server.readHead(MAX_RESPONSE_HEAD_BYTES, limits);
      if (!bytes) throw new BrokenMessage("The upstream ended without an answer");
      const response = readResponseHead(bytes);
      if (!response || response.status === 101) return undefined;
      if (response.status >= 200) return response;
    }
    return undefined;
  }

  /** Sends a response to the client. Returns true if the client's connection can be used again. */
  async function answer(exchange: Exchange, answered: Answered): Promise<boolean> {
    const { client, head } = exchange, { upstream, response, server } = answered;
    const isEmpty = head.method === "HEAD" || [204, 304].includes(response.status);
    const framing = isEmpty ? 0 : framingOf(response.lines, "until close");
    if (framing === undefined) throw new BrokenMessage("The upstream gave the length of its answer twice");
    const isOld = head.version === "1.0", isChunked = typeof framing !== "number" && !isOld;
    const length = response.lines.find(([name]) => name.toLowerCase() === "content-length");
    const shown = isEmpty
      ? (length && response.status !== 204 ? [length] : [])
      : isOld && typeof framing !== "number"
      ? []
      : framingFields(framing);
    exchange.status = response.status;
    await client.writeHead(`HTTP/1.1 ${response.status} `, [
      ...responseFields(answered, head),
      ...shown,
      ...(isOld || connectionOptions(head.lines).has("close") ? [["Connection", "close"] as const] : []),
    ], stallLimitMs);
    await client.writeBody(server.readBody(framing, stallLimitMs), isChunked, stallLimitMs);
    const isWhole = await Promise.race([exchange.bodySent, Promise.resolve(false)]);
    exchange.release?.();
    const isReusable = isWhole && framing !== "until close" && server.isQuiet && response.version === "1.1" &&
      !connectionOptions(response.lines).has("close");
    if (isReusable) putPooled(upstream.origin, server);
    else server.socket.destroy();
    if (!isWhole) await stopReading(exchange);
    return isWhole === true && !isOld;
  }

  /** Waits until a body is not read any more. Its rest is of no use. */
  async function stopReading({ bodySent, client }: Exchange): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<"late">(),
      timer = setTimeout(resolve, headLimitMs, "late");
    if (await Promise.race([bodySent, late]) === "late") client.socket.destroy();
    clearTimeout(timer);
  }

  function takePooled(origin: string): Connection | undefined {
    const idle = pool.get(origin) ?? [];
    for (let connection; (connection = idle.pop());) {
      clearTimeout(timers.get(connection));
      timers.delete(connection);
      if (connection.isQuiet) return connection;
      connection.socket.destroy();
    }
    return undefined;
  }

  function putPooled(origin: string, connection: Connection): void {
    const idle = pool.get(origin) ?? [];
    if (isClosed || idle.length >= MAX_POOLED) return void connection.socket.destroy();
    pool.set(origin, [...idle, connection]);
    const expire = () => {
      timers.delete(connection);
      pool.set(origin, (pool.get(origin) ?? []).filter((each) => each !== connection));
      connection.socket.destroy();
    };
    timers.set(connection, setTimeout(expire, POOL_LIMIT_MS));
  }

  /** Answers with a refusal, and drops what the client still sends: it would not read the answer before it is done. */
  async function refuse(client: Connection, refusal: Refusal, goesOn: boolean, isHead = false): Promise<void> {
    const { statusCode, message } = refusal, body = Buffer.from(jsonForTerminal({ statusCode, message }));
    await client.writeHead(`HTTP/1.1 ${statusCode} `, [
      ["Content-Type", "application/json; charset=utf-8"],
      ["Cache-Control", "no-store"],
      ["Content-Length", `${body.length}`],
      ...(goesOn ? [] : [["Connection", "close"] as const]),
    ], stallLimitMs);
    if (!isHead) await client.write(body, stallLimitMs);
  }

  function onConnection(socket: Socket): void {
    const client = new Connection(socket);
    if (isClosed || clients.size >= MAX_CONNECTIONS) return void socket.destroy();
    clients.add(client);
    socket.setNoDelay(true);
    const served = serveClient(client).then(() => endGently(client, headLimitMs), (error) => {
      socket.destroy();
      if (!(error instanceof BrokenMessage)) say(String(error)); // a bug
    }).finally(() => {
      clients.delete(client);
      ended.delete(served);
    });
    ended.add(served);
  }

  const listening = await listenAt(address, onConnection);
  port = listening.port;
  return {
    port,
    lastBusy: () => busy > 0 ? Date.now() : last,
    async close() {
      isClosed = true;
      listening.stop();
      for (const timer of timers.values()) clearTimeout(timer);
      for (const { socket } of [...clients, ...[...pool.values()].flat()]) socket.destroy();
      await Promise.all(ended);
    },
  };
}

/** A request while it is answered. */
interface Exchange {
  readonly client: Connection;
  readonly head: RequestHead;
  readonly framing: Framing;
  /** Aborts if the client disconnects. */
  readonly signal: AbortSignal;
  /** Status that was sent to the client; 0 for none. */
  status: number;
  /** Resolves to true once the whole body was sent to the upstream. */
  bodySent?: Promise<boolean>;
  /** Lets the connection to the upstream outlive the client's. */
  release?: () => void;
}

interface SentRequest extends Route {
  readonly exchange: Exchange;
  readonly token: AuthenticationResult;
  /** The body, if it is short; `undefined` if it is read from the client as it is sent. */
  readonly kept: Uint8Array | undefined;
}

interface Answered extends Route {
  readonly response: ResponseHead;
  readonly server: Connection;
  readonly token: string;
}

/** Returns the fields of an answer for the client: without those of the connection, and without secrets. */
function responseFields({ upstream, target, response, token }: Answered, head: RequestHead): readonly HeaderField[] {
  const host = head.fields.get("host") ?? "", base = /^[\w.:[\]-]+$/.test(host) ? host : "localhost";
  return withoutHops(response.lines, NOT_RETURNED).filter(([, value]) => !value.includes(token)).map(
    ([name, value]) => {
      if (!ADDRESSES.test(name.toLowerCase()) || !URL.canParse(value, `${upstream.origin}${target}`)) {
        return [name, value];
      }
      const url = new URL(value, `${upstream.origin}${target}`);
      if (url.origin !== upstream.origin) return [name, value];
      return [name, `http://${base}/${upstream.host}${url.pathname}${url.search}${url.hash}`];
    },
  );
}

/** Returns the claims of a challenge; `undefined` if it has no readable claims. */
function claimsOf({ lines }: ResponseHead): string | undefined {
  for (const [name, value] of lines) {
    if (name.toLowerCase() !== "www-authenticate") continue;
    try {
      return claimsRequest(value);
    } catch {
      // Another challenge can have them.
    }
  }
  return undefined;
}

interface Tokens {
  (upstream: Upstream, claims: string | undefined, signal: AbortSignal): Promise<AuthenticationResult>;
  /** Answers a challenge with the next request to the upstream. */
  answerNext(upstream: Upstream, claims: string): void;
}

/** A token that answered a challenge is used until shortly before its end: one without the claims would be refused again. */
const MARGIN_MS = 5 * 60_000;

function tokensOf({ acquire, onOutcome }: UpstreamProxyOptions): Tokens {
  const challenged = new Map<string, AuthenticationResult>(), pending = new Map<string, string>();
  const tokens = async ({ scope }: Upstream, given: string | undefined, signal: AbortSignal) => {
    const claims = given ?? pending.get(scope), held = challenged.get(scope);
    pending.delete(scope);
    if (claims === undefined && held && held.expiresOn.getTime() - MARGIN_MS > Date.now()) return held;
    try {
      const result = await acquire({ scopes: [scope], signal, ...(claims !== undefined && { claims }) });
      onOutcome(scope, undefined);
      if (claims === undefined) challenged.delete(scope);
      else challenged.set(scope, result);
      return result;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LatchkeyError) onOutcome(scope, error);
      throw error;
    }
  };
  return Object.assign(tokens, {
    answerNext: ({ scope }: Upstream, claims: string) => void pending.set(scope, claims),
  });
}

/** Returns the refusal for a failure. The client has nothing of the answer yet. */
function refusalFor(error: unknown, isGone: boolean): Refusal {
  if (isGone) return { statusCode: 499, message: "The client has disconnected" };
  if (error instanceof RefusedRequest) return error.refusal;
  if (error instanceof BrokenMessage) {
    return error.isSlow
      ? { statusCode: 504, message: "The upstream or the client is too slow" }
      : { statusCode: 502, message: `The answer of the upstream, or the request, is broken: ${error.message}` };
  }
  if (error instanceof ArgumentError) return { statusCode: 502, message: error.message };
  if (!(error instanceof LatchkeyError)) {
    say(String(error)); // a bug, whose details are not for clients
    return { statusCode: 500, message: "Internal error" };
  }
  const { code, hint } = error, reason = `${error.error ?? code}: ${error.errorDescription || error.message}`;
  const message = [reason, commandLineHint(hint)].filter(Boolean).join(". ");
  // An agent's library would take a 400 or 401 for the upstream's.
  return { statusCode: isInteractionRequired(error) ? 502 : Math.max(502, STATUS[code]), message };
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

async function* asAsync(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** Ends a connection, and drops what still comes: closed with unread bytes, the client would lose the answer. */
async function endGently(client: Connection, limitMs: number): Promise<void> {
  const { socket } = client;
  if (socket.destroyed) return;
  socket.end();
  try {
    for (const end = performance.now() + limitMs; await client.read(Math.max(1, end - performance.now())););
  } catch (error) {
    if (!(error instanceof BrokenMessage)) throw error;
  } finally {
    socket.destroy();
  }
}

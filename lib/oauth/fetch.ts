/**
 * HTTP as the protocol wants it: no redirects, an end to waiting and to reading, and failures that say what they are.
 *
 * @module
 */
import {
  allowInsecureRequests,
  type Client,
  clockSkew,
  clockTolerance,
  customFetch,
  JWT_TIMESTAMP_CHECK,
  OperationProcessingError,
  UnsupportedOperationError,
} from "@panva/oauth4webapi";
import { afterRunning, untilAborted } from "../async.ts";
import { LatchkeyError, withCorrelationId } from "../errors.ts";

/** Sends one request. `globalThis.fetch` is one. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How servers are reached. */
export interface HttpOptions {
  /** Sends a request. @default globalThis.fetch */
  readonly fetch?: Fetch | undefined;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Lets time pass. @default a timer */
  readonly wait?: Wait | undefined;
  /** How long a server may take to answer, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number | undefined;
  /** UUID under which the request can be found in the server's logs. @default a new one */
  readonly correlationId?: string | undefined;
  /** Ends the call at once with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Lets time pass, unless the signal ends it. */
type Wait = (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;

const TIMEOUT_MS = 30_000;
/** Tokens with hundreds of groups in them take some tens of kilobytes. */
const MAX_BODY_BYTES = 1024 * 1024;
/** Between a server's failure and the second try, when the server names no time. */
const RETRY_MS = 1_000;
/** A server that wants more time than this is left to the caller. */
const MAX_RETRY_AFTER_MS = 10_000;

/**
 * A `fetch` that keeps to the bounds.
 *
 * @param http How servers are reached.
 * @param options `retry`: whether to ask once more after a failure of the network or the server; for requests that do no
 * harm twice. A server's `Retry-After` is waited for, up to ten seconds (RFC 9110, 10.2.3).
 * @returns Resolves to a response whose body is there already, and rejects with a `LatchkeyError`: `no_network`,
 * `timed_out`, `invalid_response`.
 */
export function boundedFetch(http: HttpOptions, { retry = false }: { readonly retry?: boolean } = {}): Fetch {
  const { wait = waitByTimer, now = Date.now, signal } = http;
  return async (url, init) => {
    if (!retry) return await fetchOnce(url, init, http);
    let delayMs = 0;
    try {
      const response = await fetchOnce(url, init, http);
      if (response.status !== 429 && response.status < 500) return response;
      delayMs = retryAfterMs(response, now()) ?? RETRY_MS;
      if (delayMs > MAX_RETRY_AFTER_MS) return response;
    } catch (error) {
      // A connection that was kept open and has died since is the usual reason, and the next one is new.
      if (!(error instanceof LatchkeyError && error.code === "no_network")) throw error;
    }
    await wait(delayMs, signal);
    return await fetchOnce(url, init, http);
  };
}

/** How long a server wants to be left alone, in milliseconds: it gives seconds or a date. */
export function retryAfterMs(response: Response, now: number): number | undefined {
  const value = response.headers.get("retry-after")?.trim();
  if (!value) return undefined;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(milliseconds) ? undefined : Math.max(milliseconds, 0);
}

/** Lets time pass by a timer. */
export async function waitByTimer(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(resolve, milliseconds);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

async function fetchOnce(url: string, init: RequestInit, http: HttpOptions): Promise<Response> {
  const { fetch = globalThis.fetch, timeoutMs = TIMEOUT_MS, correlationId } = http, { host } = new URL(url);
  http.signal?.throwIfAborted();
  const limit = new AbortController(), stopLimit = afterRunning(timeoutMs, () => limit.abort());
  const signal = http.signal ? AbortSignal.any([http.signal, limit.signal]) : limit.signal;
  const fail = (code: "no_network" | "timed_out" | "invalid_response", message: string, hint?: string) =>
    new LatchkeyError(code, message, { correlationId, hint });
  try {
    return await untilAborted(fetchBody(), signal); // a fetch of the caller's may not listen to it
  } catch (error) {
    http.signal?.throwIfAborted();
    if (limit.signal.aborted) throw fail("timed_out", `${host} did not answer within ${timeoutMs / 1000} seconds`);
    if (error instanceof LatchkeyError) throw withCorrelationId(error, correlationId);
    // No cause: what a fetch says of its failure may quote the request.
    throw fail(
      "no_network",
      `Cannot reach ${host}${reasonOf(error)}`,
      "Check the network, and the proxy if there is one",
    );
  } finally {
    stopLimit();
  }

  async function fetchBody(): Promise<Response> {
    const response = await fetch(url, { ...init, redirect: "manual", signal });
    const { status, headers, type } = response;
    if (type === "opaqueredirect" || status >= 300 && status < 400) {
      void response.body?.cancel().catch(() => {});
      throw fail("invalid_response", `${host} redirects where it has to answer`);
    }
    const body = await readBody(response);
    if (!body) throw fail("invalid_response", `${host} answered with more than ${MAX_BODY_BYTES} bytes`);
    return new Response(status === 204 ? null : body, { status, headers });
  }
}

/** The body; `undefined` when it is too long. */
async function readBody(response: Response): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const reader = response.body?.getReader(), chunks: Uint8Array[] = [];
  let length = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
    if (length > MAX_BODY_BYTES) {
      void reader.cancel().catch(() => {});
      return undefined;
    }
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** Such as ` (ECONNREFUSED)`. */
function reasonOf(error: unknown): string {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  const reason = [code, cause?.code].find((code) => typeof code === "string" && /^[A-Za-z]\w{2,40}$/.test(code));
  return reason ? ` (${reason})` : "";
}

/** How much a machine's clock may differ from the server's, in seconds. Clocks of WSL drift while the host sleeps. */
const CLOCK_TOLERANCE_S = 300;

/** The app, to the library. */
export function clientOf(clientId: string, now: () => number): Client {
  return {
    client_id: clientId,
    token_endpoint_auth_method: "none",
    [clockSkew]: Math.round((now() - Date.now()) / 1000),
    [clockTolerance]: CLOCK_TOLERANCE_S,
  };
}

/** What the library sends requests with. */
export interface SendOptions {
  readonly [customFetch]: (url: string, init: object) => Promise<Response>;
  readonly [allowInsecureRequests]: boolean;
  readonly headers: Record<string, string>;
}

/**
 * How the library is to send a request.
 *
 * @param url The authority's, which is `http:` on loopback alone.
 * @param http How servers are reached.
 * @param options `retry`: whether to ask once more after a failure of the network or the server.
 */
export function sendOptions(url: string, http: HttpOptions, options: { readonly retry?: boolean } = {}): SendOptions {
  const { correlationId } = http;
  return {
    [customFetch]: boundedFetch(http, options),
    [allowInsecureRequests]: url.startsWith("http:"),
    headers: correlationId ? { "client-request-id": correlationId } : {},
  };
}

/** What a step of the library is told of when it fails. */
interface StepContext {
  /** UUID of the request. */
  readonly correlationId?: string | undefined;
  /** The caller's signal, whose reason goes on as it is. */
  readonly signal?: AbortSignal | undefined;
  /** The time, in milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
  /** The time at the server, in milliseconds since 1970, where it said so. */
  readonly serverTime?: number | undefined;
}

/**
 * Does a step of the library. Its errors have bodies and tokens as their cause: only their sentence is kept, which has
 * nothing of the server's in it.
 *
 * @throws {LatchkeyError} `invalid_response`; `configuration` when the machine's clock is wrong; what HTTP failed with.
 */
export async function shielded<T>(step: () => T | Promise<T>, context: StepContext): Promise<T> {
  const { correlationId, signal } = context;
  try {
    return await step();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof LatchkeyError) throw error;
    if (isOfTime(error) && !isClockRight(context)) throw wrongClock(correlationId);
    if (error instanceof OperationProcessingError || error instanceof UnsupportedOperationError) {
      throw new LatchkeyError("invalid_response", `The server's answer is not valid: ${error.message}`, {
        correlationId,
      });
    }
    throw new LatchkeyError("unexpected", "The server's answer cannot be read", { correlationId });
  }
}

function isOfTime(error: unknown): boolean {
  return error instanceof OperationProcessingError && error.code === JWT_TIMESTAMP_CHECK;
}

function isClockRight({ now = Date.now, serverTime }: StepContext): boolean {
  return serverTime !== undefined && Math.abs(now() - serverTime) <= CLOCK_TOLERANCE_S * 1000;
}

function wrongClock(correlationId: string | undefined): LatchkeyError {
  return new LatchkeyError(
    "configuration",
    "The id token is not valid at this time: the clock of this machine and the server's differ",
    { correlationId, hint: "Set the clock; on WSL: sudo hwclock -s" },
  );
}

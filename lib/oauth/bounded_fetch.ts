/**
 * HTTP for the OAuth endpoints: no redirects, limits on time and size, one retry, and errors that say what failed.
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
import { afterRunning, delay, noteWait, untilAborted } from "../async.ts";
import { LatchkeyError, withCorrelationId } from "../errors.ts";
import { type Remedy, systemWord } from "../remedies.ts";
import { CLOCK_TOLERANCE_S } from "../token.ts";
import type { RequestOptions } from "../request.ts";
import { invalidResponse, isUnavailable } from "./errors.ts";

/** A function that sends one request, such as `globalThis.fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Options of every request to a server. */
export interface HttpOptions extends RequestOptions {
  /** Function that sends a request. @default globalThis.fetch */
  readonly fetch?: Fetch | undefined;
  /** Current time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Function that waits for a time, unless the signal ends it. @default a timer */
  readonly wait?: ((milliseconds: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
  /** Time limit of one request, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number | undefined;
}

export const TIMEOUT_MS = 30_000;
/** Tokens with hundreds of groups in them take some tens of kilobytes. */
const MAX_BODY_BYTES = 1024 * 1024;
/** Delay before the retry, if the server names none. */
const RETRY_MS = 1_000;
/** If the server names a longer delay, the caller decides. */
const MAX_RETRY_AFTER_MS = 10_000;

export interface SendOptions {
  readonly [customFetch]: (url: string, init: object) => Promise<Response>;
  readonly [allowInsecureRequests]: boolean;
  readonly headers: Record<string, string>;
}

/** Returns the options with which oauth4webapi sends a request to an authority. `retry`: see {@linkcode boundedFetch}. */
export function sendOptions(url: string, http: HttpOptions, options: { readonly retry?: boolean }): SendOptions {
  return {
    [customFetch]: boundedFetch(http, options),
    [allowInsecureRequests]: url.startsWith("http:"), // loopback
    headers: http.correlationId ? { "client-request-id": http.correlationId } : {},
  };
}

/** Returns the app as oauth4webapi describes it. */
export function clientOf(clientId: string, now: () => number): Client {
  return {
    client_id: clientId,
    token_endpoint_auth_method: "none",
    [clockSkew]: Math.round((now() - Date.now()) / 1000),
    [clockTolerance]: CLOCK_TOLERANCE_S,
  };
}

/**
 * Runs a step of oauth4webapi and translates its errors to `invalid_response`, or `configuration` if this machine's clock is
 * wrong. Their causes contain bodies and tokens, so only the message is kept, which quotes nothing of the server's.
 */
export async function translateErrors<T>(
  step: () => T | Promise<T>,
  { correlationId, signal, now = Date.now, serverTime }: HttpOptions & { readonly serverTime?: number | undefined },
): Promise<T> {
  try {
    return await step();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof LatchkeyError) throw error;
    const isClockRight = serverTime !== undefined && Math.abs(now() - serverTime) <= CLOCK_TOLERANCE_S * 1000;
    if (error instanceof OperationProcessingError && error.code === JWT_TIMESTAMP_CHECK && !isClockRight) {
      throw new LatchkeyError(
        "configuration",
        "The id token is not valid at this time: the clock of this machine differs from the server's",
        { correlationId, remedy: systemWord("checkClock") },
      );
    }
    if (error instanceof OperationProcessingError || error instanceof UnsupportedOperationError) {
      throw invalidResponse(error.message, correlationId);
    }
    throw new LatchkeyError("unexpected", "The server's response cannot be read", { correlationId });
  }
}

/**
 * Returns a `fetch` with limits, whose response has its whole body in memory. It rejects with `no_network`, `timed_out` or
 * `invalid_response`.
 *
 * @param options `retry`: true to retry once after a failure of the network or the server, for requests that may be sent
 * twice. A server's `Retry-After` is obeyed, up to ten seconds (RFC 9110, 10.2.3).
 */
export function boundedFetch(http: HttpOptions, { retry = false }: { readonly retry?: boolean } = {}): Fetch {
  const { wait = delay, now = Date.now, signal } = http;
  return async (url, init) => {
    if (!retry) return await fetchOnce(url, init, http);
    let delayMs = 0;
    try {
      const response = await fetchOnce(url, init, http);
      if (!isUnavailable(response.status)) return response;
      delayMs = retryAfterMs(response, now()) ?? RETRY_MS;
      if (delayMs > MAX_RETRY_AFTER_MS) return response;
    } catch (error) {
      // The usual reason is a kept-alive connection that has died; the next one is new.
      if (!(error instanceof LatchkeyError && error.code === "no_network")) throw error;
    }
    await wait(delayMs, signal);
    return await fetchOnce(url, init, http);
  };
}

/** Returns the delay that a server asks for, in milliseconds: `Retry-After` has seconds or a date. */
export function retryAfterMs(response: Response, now: number): number | undefined {
  const value = response.headers.get("retry-after")?.trim();
  if (!value) return undefined;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(milliseconds) ? undefined : Math.max(milliseconds, 0);
}

async function fetchOnce(url: string, init: RequestInit, http: HttpOptions): Promise<Response> {
  const { fetch = globalThis.fetch, timeoutMs = TIMEOUT_MS, correlationId } = http;
  const { host } = new URL(url);
  http.signal?.throwIfAborted();
  const limit = new AbortController();
  const stopLimit = afterRunning(timeoutMs, () => limit.abort());
  const signal = http.signal ? AbortSignal.any([http.signal, limit.signal]) : limit.signal;
  const fail = (code: "no_network" | "timed_out" | "invalid_response", message: string, remedy?: Remedy) =>
    new LatchkeyError(code, message, { correlationId, remedy });
  const wait = noteWait(host);
  try {
    return await untilAborted(fetchBody(), signal); // a fetch of the caller's may ignore the signal
  } catch (error) {
    http.signal?.throwIfAborted();
    if (limit.signal.aborted) throw fail("timed_out", `${host} did not answer within ${timeoutMs / 1000} seconds`);
    if (error instanceof LatchkeyError) throw withCorrelationId(error, correlationId);
    // No cause: the error of a fetch may quote the request.
    const remedy = { kind: "check_network", host } as const;
    throw fail("no_network", `Cannot reach ${host}${reasonOf(error)}`, remedy);
  } finally {
    wait[Symbol.dispose]();
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

/** Returns the body, or `undefined` if it is too long. */
async function readBody({ body }: Response): Promise<Blob | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return undefined; // this cancels the body
  }
  return new Blob(chunks);
}

/** Returns a system's error code in parentheses, such as ` (ECONNREFUSED)`. */
function reasonOf(error: unknown): string {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  const reason = [code, cause?.code].find((code) => typeof code === "string" && /^[A-Za-z]\w{2,40}$/.test(code));
  return reason ? ` (${reason})` : "";
}

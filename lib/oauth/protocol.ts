/**
 * oauth4webapi as this library uses it: with our HTTP and clock, and its errors without what they hold of secrets.
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
import { LatchkeyError } from "../errors.ts";
import { boundedFetch, type HttpOptions } from "./bounded_fetch.ts";

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
export interface StepContext {
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

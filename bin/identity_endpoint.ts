/**
 * A managed-identity endpoint: who is let in, what is said of it on standard error, and how it ends.
 *
 * @module
 */
import { type Endpoint, type EndpointAddress, openEndpoint } from "../lib/platform/endpoint.ts";
import type { HttpReply } from "../lib/platform/http_connections.ts";
import { write } from "../lib/platform/program.ts";
import { comparerWith } from "../lib/platform/same_secret.ts";
import {
  admit,
  type Admitted,
  type Door,
  IDENTITY_HEADERS,
  readIdentityQuery,
  type Refusal,
  refusalReply,
} from "./identity_request.ts";
import { visible } from "./visible.ts";

/** What an endpoint does. */
export interface IdentityEndpointOptions {
  /** Where it listens; a port has a secret. */
  readonly at: EndpointAddress & { readonly secret?: string };
  /** Answers whoever was let in. `signal` aborts when the client has gone, or the endpoint ends. */
  readonly answer: (admitted: Admitted, signal: AbortSignal) => Promise<HttpReply>;
  /** Whether each request is told of, by a line on standard error. */
  readonly isTold: boolean;
}

/** An endpoint that listens. */
export interface IdentityEndpoint {
  /** Its port; 0 on a socket. */
  readonly port: number;
  /** When it was last busy, in milliseconds since 1970: now, when it is. */
  lastBusy(): number;
  /** Gives up what is under way and listens no longer. */
  close(): Promise<void>;
}

/** How many clients there may be at once: a program may ask for a token in each of its workers. */
const MAX_CONNECTIONS = 1024;
/** How many of them are answered at once; the others wait. */
const MAX_REQUESTS = 256;
/** In how many seconds a client may come back that was one too many. */
const RETRY_AFTER = { "retry-after": "1" };
/** What is told of a client that did not wait; nobody is sent it. */
const GONE = 499;
/** What a log has of a resource. */
const MAX_TOLD_CHARACTERS = 200;

/**
 * Opens an endpoint.
 *
 * @param options What it does.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when it cannot listen.
 */
export async function openIdentityEndpoint({ at, answer, isTold }: IdentityEndpointOptions): Promise<IdentityEndpoint> {
  const ending = new AbortController();
  const isSecret = at.secret === undefined ? undefined : await comparerWith(at.secret);
  let port = 0, busy = 0, last = Date.now();
  const door = (): Door => isSecret ? { kind: "port", port, isSecret } : { kind: "socket" };

  async function reply(request: Admitted | Refusal, signal: AbortSignal): Promise<HttpReply> {
    const begin = performance.now();
    busy++;
    try {
      const sent = "statusCode" in request ? refusalReply(request) : await answer(request, either(signal));
      tell(sent.status, request, begin);
      return sent;
    } catch (error) {
      const status = ending.signal.aborted ? 503 : signal.aborted ? GONE : 500;
      tell(status, request, begin);
      if (status === 500) say(`latchkey: ${error}`); // a mistake of ours, which is for no client to read
      return refusalReply({ statusCode: status, message: status === 503 ? "The endpoint ends" : "This went wrong" });
    } finally {
      busy--;
      last = Date.now();
    }
  }

  function tell(status: number, request: Admitted | Refusal, begin: number): void {
    if (!isTold) return;
    const asked = "query" in request ? readIdentityQuery(request.query) : request;
    const what = "resource" in asked ? asked.resource.slice(0, MAX_TOLD_CHARACTERS) : `(${asked.message})`;
    say(`${new Date().toISOString()} ${status} ${what} ${Math.round(performance.now() - begin)} ms`);
  }

  const either = (signal: AbortSignal) => AbortSignal.any([signal, ending.signal]);
  const endpoint: Endpoint = await openEndpoint<Admitted | Refusal>(at, {
    headers: IDENTITY_HEADERS,
    read: (received) => admit(received, door()),
    onRequest: reply,
    onTrouble(trouble) {
      const refusal = trouble === "slow"
        ? { statusCode: 408, message: "The request did not come in time" }
        : { statusCode: 503, message: "Too many clients at once" };
      tell(refusal.statusCode, refusal, performance.now());
      return { ...refusalReply(refusal), ...(trouble === "crowded" && { headers: RETRY_AFTER }) };
    },
    maxConnections: MAX_CONNECTIONS,
    maxRequests: MAX_REQUESTS,
  });
  port = endpoint.port;
  return {
    port,
    lastBusy: () => busy > 0 ? Date.now() : last,
    close() {
      ending.abort(new Error("The endpoint ends"));
      return endpoint.close();
    },
  };
}

function say(line: string): void {
  write("stderr", `${visible(line)}\n`);
}

/**
 * Requests to a managed-identity endpoint, as Azure App Service has it: who may ask, and what is asked for. Pure.
 *
 * @module
 */
import { hostsOf, type HttpReply, readRequestHead, type RequestHead, secretComparer } from "../../lib/http/server.ts";
import { type Endpoint, type EndpointAddress, openEndpoint } from "../../lib/http/unix_socket.ts";
import { quoteCommand } from "../../lib/runtime/host.ts";
import { write } from "../../lib/runtime/program.ts";
import { ArgumentError, LatchkeyError, type LatchkeyErrorCode } from "../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { escapeForTerminal, jsonForTerminal } from "../cli/output.ts";

/** The path that tokens are had at. */
export const IDENTITY_PATH = "/msi/token";

/** How clients come in. A socket's file says who may; a port is open to every user of the machine, who has to know a secret. */
export type Door =
  | { readonly kind: "socket" }
  | {
    readonly kind: "port";
    /** The port that is listened on. */
    readonly port: number;
    /** Whether a text is the secret. */
    readonly isSecret: (text: string) => boolean;
  };

/** A request that came in at a door. */
export interface Admitted {
  /** The query, with its question mark. */
  readonly query: string;
}

/** Why a request is turned away. */
export interface Refusal {
  /** HTTP status. */
  readonly statusCode: number;
  /** For whoever reads it. */
  readonly message: string;
}

/** What a request asks for. */
interface IdentityRequest {
  /** Whose token: an App ID URI, or the scope of one. */
  readonly resource: string;
  /** Client, object or resource id of the managed identity that is meant; `undefined`: the one that there is. */
  readonly identity: string | undefined;
  /** SHA-256 in hexadecimal digits of a token that is not good any more. */
  readonly tokenToRefresh: string | undefined;
}

/** Header fields of every answer. */
const IDENTITY_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

const MESSAGES = {
  400: "This is no HTTP/1.1 request",
  431: "The head of the request is too long",
} as const;

/** The first version that is asked with X-IDENTITY-HEADER; versions are dates. */
const FIRST_VERSION = "2019-08-01";
/** What a managed identity is named by, in this and other services of Azure's. */
const IDENTITY_KEYS = ["client_id", "principal_id", "object_id", "mi_res_id", "msi_res_id"];
const MAX_RESOURCE_CHARACTERS = 1024;

/**
 * Reads a request and looks at who sent it.
 *
 * @param received All that was received so far.
 * @param door Where it came in.
 * @returns The request; why it is turned away; `undefined` while more has to come.
 */
export function admit(received: Uint8Array, door: Door): Admitted | Refusal | undefined {
  const head = readRequestHead(received);
  if (!head) return undefined;
  if (typeof head === "number") return { statusCode: head, message: MESSAGES[head] };
  return strangeness(head, door) ?? misuse(head) ?? ignorance(head, door) ?? { query: head.query };
}

/** A page in a browser: its name for this machine is another one, or it says where it comes from. */
function strangeness({ fields }: RequestHead, door: Door): Refusal | undefined {
  const host = fields.get("host")?.toLowerCase() ?? "";
  if (door.kind === "port" && !hostsOf(["127.0.0.1", "localhost"], door.port).includes(host)) {
    return { statusCode: 421, message: "The Host field has to name 127.0.0.1, with this port" };
  }
  if (fields.has("origin")) return { statusCode: 403, message: "Web pages get no token here" };
  return undefined;
}

function misuse({ method, path, fields }: RequestHead): Refusal | undefined {
  if (path !== IDENTITY_PATH) return { statusCode: 404, message: `There is ${IDENTITY_PATH} and nothing else` };
  if (method !== "GET") return { statusCode: 405, message: "Ask with GET" };
  if (fields.has("transfer-encoding") || !/^0*$/.test(fields.get("content-length") ?? "")) {
    return { statusCode: 413, message: "A request has no content" };
  }
  return undefined;
}

function ignorance({ fields }: RequestHead, door: Door): Refusal | undefined {
  if (door.kind === "socket" || door.isSecret(fields.get("x-identity-header") ?? "")) return undefined;
  return { statusCode: 401, message: "X-IDENTITY-HEADER is missing or wrong: it has to be what IDENTITY_HEADER says" };
}

/**
 * Reads what is asked for.
 *
 * @param query The query, with its question mark.
 * @returns What is asked for, or why that is no question.
 */
export function readIdentityQuery(query: string): IdentityRequest | Refusal {
  const parameters = new URLSearchParams(query), bad = (message: string): Refusal => ({ statusCode: 400, message });
  const twice = [...parameters.keys()].find((key) => parameters.getAll(key).length > 1);
  if (twice !== undefined) return bad("A parameter is there twice");
  const version = parameters.get("api-version"), resource = parameters.get("resource");
  if (!version || !/^\d{4}-\d\d-\d\d$/.test(version) || version < FIRST_VERSION) {
    return bad(`api-version has to be ${FIRST_VERSION}`);
  }
  if (!resource) return bad("resource is missing: whose token is wanted");
  // RFC 6749, 3.3: what a scope can have in it.
  if (resource.length > MAX_RESOURCE_CHARACTERS || !/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(resource)) {
    return bad("resource is no App ID URI, such as https://management.azure.com");
  }
  const identities = IDENTITY_KEYS.flatMap((key) => parameters.get(key) ?? []);
  if (identities.length > 1) return bad(`Only one of ${IDENTITY_KEYS.join(", ")} can be meant`);
  return {
    resource,
    identity: identities[0] || undefined,
    tokenToRefresh: parameters.get("token_sha256_to_refresh")?.toLowerCase(),
  };
}

/**
 * A refusal as it is sent.
 *
 * @param refusal Why.
 * @param correlationId The request's id in the logs of broker and server, when it got there.
 */
export function refusalReply({ statusCode, message }: Refusal, correlationId?: string): HttpReply {
  return {
    status: statusCode,
    ...(statusCode === 405 && { headers: { allow: "GET" } }),
    body: jsonForTerminal({ statusCode, message, correlationId }),
  };
}

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
  const isSecret = at.secret === undefined ? undefined : await secretComparer(at.secret);
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
  write("stderr", `${escapeForTerminal(line)}\n`);
}

/** What is handed out, and to whom. */
interface IdentityAnswersOptions {
  /** Client id of the app. */
  readonly clientId: string;
  /** The scopes that are handed out; for all else there is none. */
  readonly scopes: ReadonlySet<string>;
  /** Ids of managed identities that may be asked for, beside the client id; in lower case. */
  readonly identities: ReadonlySet<string>;
  /** Gets a token. */
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "forceRefresh" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Told of a scope that was refused, and of what with; then, without an error, that it is to be had again. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
}

/** The status that tells a client whether to try again: Azure's do so for those from 500 on. */
const STATUS: Readonly<Record<LatchkeyErrorCode, number>> = {
  interaction_required: 400,
  account_unusable: 400,
  account_not_found: 400,
  user_canceled: 400,
  configuration: 400,
  untrusted_authority: 400,
  refused: 400,
  missing_dependency: 400,
  unexpected: 500,
  invalid_response: 502,
  no_network: 503,
  temporarily_unavailable: 503,
  broker_unavailable: 503,
  timed_out: 504,
};

/**
 * Makes what answers.
 *
 * @param options What is handed out.
 * @returns Answers a request; it throws the signal's reason when that aborts.
 */
export function identityAnswers(
  options: IdentityAnswersOptions,
): (admitted: Admitted, signal: AbortSignal) => Promise<HttpReply> {
  return async ({ query }, signal) => {
    const request = readIdentityQuery(query);
    if ("statusCode" in request) return refusalReply(request);
    const scope = scopeOf(request, options);
    if (typeof scope !== "string") return refusalReply(scope);
    try {
      const result = await acquire(request, { scope, signal }, options);
      options.onOutcome(scope, undefined);
      return tokenReply(result, request, options);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ArgumentError) return refusalReply({ statusCode: 400, message: error.message });
      if (!(error instanceof LatchkeyError)) throw error;
      options.onOutcome(scope, error);
      return refusalReply({ statusCode: STATUS[error.code], message: messageOf(error) }, error.correlationId);
    }
  };
}

/** The scope of a resource, or one that was asked for by itself, if that is handed out. Written exactly so: nothing is implied. */
function scopeOf(
  { resource, identity }: IdentityRequest,
  { scopes, identities, clientId }: IdentityAnswersOptions,
): string | Refusal {
  if (identity !== undefined && ![clientId.toLowerCase(), ...identities].includes(identity.toLowerCase())) {
    return {
      statusCode: 400,
      message: "No Managed Identity found for the specified client, object or resource id: name it to latchkey serve " +
        "with --identity, if it is to be one that this endpoint stands in for",
    };
  }
  return [`${resource}/.default`, resource].find((scope) => scopes.has(scope)) ?? {
    statusCode: 403,
    message: `${resource} is not among what is handed out here: latchkey serve has to be given ${
      quoteCommand([["--resource", resource]])
    }`,
  };
}

async function acquire(
  { tokenToRefresh }: IdentityRequest,
  { scope, signal }: { readonly scope: string; readonly signal: AbortSignal },
  { acquire }: IdentityAnswersOptions,
): Promise<AuthenticationResult> {
  const result = await acquire({ scopes: [scope], signal });
  // The client was refused with this very token, by a claims challenge; another one than that may be good.
  if (tokenToRefresh === undefined || await sha256(result.accessToken) !== tokenToRefresh) return result;
  return await acquire({ scopes: [scope], forceRefresh: true, signal });
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tokenReply(
  { accessToken, expiresOn, tokenType }: AuthenticationResult,
  { resource }: IdentityRequest,
  { clientId }: IdentityAnswersOptions,
): HttpReply {
  return {
    status: 200,
    body: jsonForTerminal({
      access_token: accessToken,
      expires_on: `${Math.floor(expiresOn.getTime() / 1000)}`,
      resource,
      token_type: tokenType,
      client_id: clientId,
    }),
  };
}

function messageOf({ code, error, errorDescription, message, hint }: LatchkeyError): string {
  return [`${error ?? code}: ${errorDescription || message}`, hint].filter(Boolean).join(". ");
}

/**
 * An endpoint for tokens: the managed-identity protocol of Azure App Service, and the external authentication of azd.
 *
 * @module
 */
import { encodeHex, readJson } from "../../../lib/encoding.ts";
import {
  hostsOf,
  type HttpReply,
  isLoopbackAuthority,
  readRequestHead,
  type RequestHead,
  secretComparer,
} from "../../../lib/http/server.ts";
import { type EndpointAddress, openEndpoint } from "../../../lib/http/unix_socket.ts";
import { quoteCommand } from "../../../lib/runtime/host.ts";
import { ArgumentError, isInteractionRequired, LatchkeyError, type LatchkeyErrorCode } from "../../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../../lib/request.ts";
import { defaultScope, resourceOf, SCOPE_TOKEN } from "../../../lib/scopes.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";
import { failureLineWithHint } from "../../cli/failures.ts";
import { say } from "../../cli/output.ts";
import { jsonForTerminal } from "../../../lib/control_characters.ts";
import { openRequestLog } from "./request_log.ts";

export const IDENTITY_PATH = "/msi/token";
/** Path below `AZD_AUTH_ENDPOINT` (azure-dev, external-authentication.md). */
export const AZD_PATH = "/token";

/** A port. Every user of the machine can reach it, so it needs a secret; file permissions protect a socket. */
export interface SecretPort {
  readonly port: number;
  readonly isSecret: (text: string) => boolean;
}

/** A request that passed all checks of its sender. */
export interface AcceptedRequest {
  /** The query, with its question mark. */
  readonly query: string;
  /** The content of a request of azd; `undefined` for the identity protocol. */
  readonly content?: string;
}

/** A reason to refuse a request. */
export interface Refusal {
  readonly statusCode: number;
  readonly message: string;
  /** Methods of the `Allow` header, which a 405 must have (RFC 9110, 15.5.6). */
  readonly allow?: readonly string[] | undefined;
}

const HEAD_ERRORS = { 400: "The request is not HTTP/1.1", 431: "The head of the request is too long" } as const;

/** Reads what a port, or a socket, has received of a request, and checks its sender as soon as the head is complete. */
export function readRequest(received: Uint8Array, at?: SecretPort): AcceptedRequest | Refusal | undefined {
  const head = readRequestHead(received);
  if (!head) return undefined;
  if (typeof head === "number") return { statusCode: head, message: HEAD_ERRORS[head] };
  const { path, query, fields, length } = head;
  const refusal = refusalOf(head, at);
  if (refusal || path === IDENTITY_PATH) return refusal ?? { query };
  const end = length + Number(fields.get("content-length"));
  return received.length < end
    ? undefined
    : { query, content: new TextDecoder().decode(received.subarray(length, end)) };
}

/** azd sends scopes and a tenant. */
const MAX_CONTENT_BYTES = 16 * 1024;

/** Judges the head of a request. A page sends Origin or Sec-Fetch-Site, or comes by another host name (DNS rebinding). */
function refusalOf({ method, path, fields }: RequestHead, at: SecretPort | undefined): Refusal | undefined {
  const host = fields.get("host")?.toLowerCase() ?? "";
  if (at && !hostsOf(["127.0.0.1", "localhost"], at.port).includes(host)) {
    return { statusCode: 421, message: "The Host header must be 127.0.0.1 with this port" };
  }
  if (!at && !isLoopbackAuthority(host)) return { statusCode: 421, message: "The Host header must be localhost" };
  if (fields.has("origin") || (fields.get("sec-fetch-site") ?? "none") !== "none") {
    return { statusCode: 403, message: "Web pages get no token here" };
  }
  if (path === AZD_PATH) return azdRefusalOf(method, fields, at);
  if (path !== IDENTITY_PATH) {
    return { statusCode: 404, message: `Not found: the only paths are ${IDENTITY_PATH} and ${AZD_PATH}` };
  }
  if (method !== "GET") return { statusCode: 405, message: "Use GET", allow: ["GET"] };
  if (fields.has("transfer-encoding") || !/^0*$/.test(fields.get("content-length") ?? "")) {
    return { statusCode: 413, message: "A request must have no content" };
  }
  if (!at || at.isSecret(fields.get("x-identity-header") ?? "")) return undefined;
  return { statusCode: 401, message: "X-IDENTITY-HEADER is missing or wrong: send the value of IDENTITY_HEADER" };
}

function azdRefusalOf(method: string, fields: RequestHead["fields"], at: SecretPort | undefined): Refusal | undefined {
  const length = fields.get("content-length") ?? "";
  if (method !== "POST") return { statusCode: 405, message: "Use POST", allow: ["POST"] };
  if (fields.has("transfer-encoding") || !/^\d{1,9}$/.test(length)) {
    return { statusCode: 411, message: "A request must have a Content-Length" };
  }
  if (Number(length) > MAX_CONTENT_BYTES) return { statusCode: 413, message: "The content of the request is too long" };
  if (!/^application\/json\s*(;|$)/i.test(fields.get("content-type") ?? "")) {
    return { statusCode: 415, message: "The content of a request must be application/json" };
  }
  if (!at || at.isSecret(/^Bearer +(\S+)$/i.exec(fields.get("authorization") ?? "")?.[1] ?? "")) return undefined;
  return { statusCode: 401, message: "Authorization is missing or wrong: send Bearer and the value of AZD_AUTH_KEY" };
}

interface IdentityRequest {
  /** An App ID URI, or the scope of one. */
  readonly resource: string;
  /** Client, object or resource id of the managed identity; `undefined` for the only one. */
  readonly identity: string | undefined;
  /** SHA-256, in hexadecimal digits, of a token that a server rejected. */
  readonly tokenToRefresh: string | undefined;
}

/** First version with X-IDENTITY-HEADER. Versions are dates. */
const FIRST_VERSION = "2019-08-01";
/** Parameters that name a managed identity, in this and other Azure services. */
const IDENTITY_KEYS = ["client_id", "principal_id", "object_id", "mi_res_id", "msi_res_id"];
const MAX_RESOURCE_CHARACTERS = 1024;

/** Reads the query of a request. */
export function readIdentityQuery(query: string): IdentityRequest | Refusal {
  const parameters = new URLSearchParams(query);
  const keys = [...parameters.keys()];
  const version = parameters.get("api-version") ?? "";
  const resource = parameters.get("resource");
  const identities = IDENTITY_KEYS.flatMap((key) => parameters.get(key) ?? []);
  const badRequest = (message: string): Refusal => ({ statusCode: 400, message });
  if (new Set(keys).size < keys.length) return badRequest("A parameter appears twice");
  if (!/^\d{4}-\d\d-\d\d$/.test(version) || version < FIRST_VERSION) {
    return badRequest(`api-version must be ${FIRST_VERSION}`);
  }
  if (!resource) return badRequest("resource is missing: the App ID URI of the API that the token is for");
  if (resource.length > MAX_RESOURCE_CHARACTERS || !SCOPE_TOKEN.test(resource)) {
    return badRequest("resource is not an App ID URI, such as https://management.azure.com");
  }
  if (identities.length > 1) return badRequest(`Give only one of ${IDENTITY_KEYS.join(", ")}`);
  return {
    resource,
    identity: identities[0] || undefined,
    tokenToRefresh: parameters.get("token_sha256_to_refresh")?.toLowerCase(),
  };
}

interface AzdRequest {
  readonly scopes: readonly string[];
  readonly tenantId: string | undefined;
}

/** The only version. It is a date, and a preview. */
const AZD_VERSION = "2023-07-12-preview";
const MAX_SCOPES = 16;

/** Reads a request of azd. */
export function readAzdRequest(query: string, content: string): AzdRequest | Refusal {
  const badRequest = (message: string): Refusal => ({ statusCode: 400, message });
  if (new URLSearchParams(query).get("api-version") !== AZD_VERSION) {
    return badRequest(`api-version must be ${AZD_VERSION}`);
  }
  const { scopes, tenantId } = readJson(content) ?? {};
  const isScope = (scope: unknown) =>
    typeof scope === "string" && scope.length <= MAX_RESOURCE_CHARACTERS && SCOPE_TOKEN.test(scope);
  if (!Array.isArray(scopes) || scopes.length === 0 || scopes.length > MAX_SCOPES || !scopes.every(isScope)) {
    return badRequest("scopes must be an array of scopes, such as https://management.azure.com//.default");
  }
  if (tenantId === undefined || tenantId === "") return { scopes, tenantId: undefined };
  return typeof tenantId === "string" && /^[\w.-]{1,255}$/.test(tenantId)
    ? { scopes, tenantId }
    : badRequest("tenantId must be a tenant's id or domain");
}

/** Returns the reply to a request that cannot be answered with a token, in the form of the request's protocol. */
export function failureReply(
  request: AcceptedRequest,
  refusal: Refusal,
  { correlationId, isSignedOut = false }: {
    readonly correlationId?: string | undefined;
    readonly isSignedOut?: boolean;
  } = {},
): HttpReply {
  if (request.content === undefined) return refusalReply(refusal, correlationId);
  // azd shows the message only of an answer with status 200.
  const id = correlationId === undefined ? "" : ` (correlation id ${correlationId})`;
  const code = isSignedOut ? "NotSignedInError" : "GetTokenError";
  return { status: 200, body: jsonForTerminal({ status: "error", code, message: `${refusal.message}${id}` }) };
}

/** Returns the reply for a refusal, with the request's id in the logs of broker and server if it got there. */
export function refusalReply({ statusCode, message, allow }: Refusal, correlationId?: string): HttpReply {
  return {
    status: statusCode,
    ...(allow && { headers: { allow: allow.join(", ") } }),
    body: jsonForTerminal({ statusCode, message, correlationId }),
  };
}

export interface IdentityEndpointOptions {
  /** Answers an accepted request. `signal` aborts if the client disconnects, or the endpoint closes. */
  readonly answer: (request: AcceptedRequest, signal: AbortSignal) => Promise<HttpReply>;
  /** True to log each request to standard error. */
  readonly isLogged: boolean;
}

export interface IdentityEndpoint {
  /** The port; 0 for a socket. */
  readonly port: number;
  /** Returns the time of the last activity in milliseconds since 1970; the current time during a request. */
  lastBusy(): number;
  /** Aborts requests and stops listening. */
  close(): Promise<void>;
}

const IDENTITY_HEADERS = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};
/** A program may ask for a token in each of its workers. */
const MAX_CONNECTIONS = 1024;
/** Limit of concurrent requests; the others wait. */
const MAX_REQUESTS = 256;
/** Status in the log for a client that disconnected, as in nginx. */
const CLIENT_CLOSED_REQUEST = 499;

/** Opens an endpoint, on a socket, or on a port with a secret. */
export async function openIdentityEndpoint(
  address: EndpointAddress & { readonly secret?: string },
  { answer, isLogged }: IdentityEndpointOptions,
): Promise<IdentityEndpoint> {
  const closing = new AbortController();
  const isSecret = address.secret === undefined ? undefined : await secretComparer(address.secret);
  const log = openRequestLog({ isLogged });
  let port = 0;
  let busy = 0;
  let last = Date.now();

  async function reply(request: AcceptedRequest | Refusal, signal: AbortSignal): Promise<HttpReply> {
    const begin = performance.now();
    const either = AbortSignal.any([signal, closing.signal]);
    busy++;
    try {
      const sent = "statusCode" in request ? refusalReply(request) : await answer(request, either);
      log.add(sent.status, () => requestedIn(request), begin);
      return sent;
    } catch (error) {
      const statusCode = failureStatus(signal);
      log.add(statusCode, () => requestedIn(request), begin);
      if (statusCode === 500) say(String(error)); // a bug, whose details are not for clients
      return refusalReply({ statusCode, message: statusCode === 503 ? "The endpoint is closing" : "Internal error" });
    } finally {
      busy--;
      last = Date.now();
    }
  }

  function failureStatus(signal: AbortSignal): number {
    if (closing.signal.aborted) return 503;
    return signal.aborted ? CLIENT_CLOSED_REQUEST : 500;
  }

  const endpoint = await openEndpoint<AcceptedRequest | Refusal>(address, {
    headers: IDENTITY_HEADERS,
    read: (received) => readRequest(received, isSecret && { port, isSecret }),
    onRequest: reply,
    onTrouble(trouble) {
      const refusal = trouble === "slow"
        ? { statusCode: 408, message: "The request did not arrive in time" }
        : { statusCode: 503, message: "Too many clients at once" };
      log.add(refusal.statusCode, () => requestedIn(refusal), performance.now());
      return { ...refusalReply(refusal), ...(trouble === "crowded" && { headers: { "retry-after": "1" } }) };
    },
    maxConnections: MAX_CONNECTIONS,
    maxRequests: MAX_REQUESTS,
  });
  port = endpoint.port;
  return {
    port,
    lastBusy: () => busy > 0 ? Date.now() : last,
    async close() {
      closing.abort(new Error("The endpoint is closing"));
      await endpoint.close();
      log.flush();
    },
  };
}

/** Returns the resource or scopes of a request, for the log. */
function requestedIn(request: AcceptedRequest | Refusal): string {
  if ("statusCode" in request) return `(${request.message})`;
  const { query, content } = request;
  const asked = content === undefined ? readIdentityQuery(query) : readAzdRequest(query, content);
  if ("scopes" in asked) return asked.scopes.join(" ");
  return "resource" in asked ? asked.resource : `(${asked.message})`;
}

interface IdentityAnswersOptions {
  readonly clientId: string;
  /** Scopes that clients may get. */
  readonly scopes: ReadonlySet<string>;
  /** Ids of managed identities that clients may ask for besides the client id, in lower case. */
  readonly identities: ReadonlySet<string>;
  /** The only tenant that clients may name; `undefined` for any. */
  readonly tenant?: string | undefined;
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "tenantId" | "forceRefresh" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Receives the error of each request for a token, or `undefined`. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
}

/** Azure's libraries retry on statuses from 500 on. */
export const STATUS: Readonly<Record<LatchkeyErrorCode, number>> = {
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

/** Returns a function that answers requests with tokens. It throws the reason of its signal. */
export function identityAnswers(options: IdentityAnswersOptions): IdentityEndpointOptions["answer"] {
  const { clientId, acquire, onOutcome } = options;

  /** Returns the reply that `read` makes of a token, or the one that says why it was refused. */
  async function acquired(
    request: AcceptedRequest,
    { scopes, tenantId, signal }: Pick<AcquireTokenRequest, "scopes" | "tenantId" | "signal">,
    read: (acquire: () => Promise<AuthenticationResult>, renew: () => Promise<AuthenticationResult>) => Promise<string>,
  ): Promise<HttpReply> {
    const asked = { scopes, tenantId, signal };
    const scope = scopes.join(" ");
    try {
      const body = await read(() => acquire(asked), () => acquire({ ...asked, forceRefresh: true }));
      onOutcome(scope, undefined);
      return { status: 200, body };
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof ArgumentError) return failureReply(request, { statusCode: 400, message: error.message });
      if (!(error instanceof LatchkeyError)) throw error;
      onOutcome(scope, error);
      const { code, correlationId } = error;
      const message = failureLineWithHint(error);
      const isSignedOut = isInteractionRequired(error);
      return failureReply(request, { statusCode: STATUS[code], message }, { correlationId, isSignedOut });
    }
  }

  async function answerIdentity(request: AcceptedRequest, signal: AbortSignal): Promise<HttpReply> {
    const asked = readIdentityQuery(request.query);
    if ("statusCode" in asked) return refusalReply(asked);
    const { resource, tokenToRefresh } = asked;
    const scope = scopeOf(asked, options);
    if (typeof scope !== "string") return refusalReply(scope);
    return await acquired(request, { scopes: [scope], signal }, async (acquire, renew) => {
      const first = await acquire();
      // After a claims challenge for this very token the client needs another one.
      const isRejected = tokenToRefresh !== undefined && await sha256(first.accessToken) === tokenToRefresh;
      const { accessToken, expiresOn, tokenType } = isRejected ? await renew() : first;
      return jsonForTerminal({
        access_token: accessToken,
        expires_on: `${Math.floor(expiresOn.getTime() / 1000)}`,
        resource,
        token_type: tokenType,
        client_id: clientId,
      });
    });
  }

  async function answerAzd(request: AcceptedRequest, content: string, signal: AbortSignal): Promise<HttpReply> {
    const asked = readAzdRequest(request.query, content);
    const refusal = "statusCode" in asked ? asked : azdScopeRefusal(asked, options);
    if (refusal || "statusCode" in asked) return failureReply(request, refusal!);
    return await acquired(request, { ...asked, signal }, async (acquire) => {
      const { accessToken, expiresOn } = await acquire();
      return jsonForTerminal({ status: "success", token: accessToken, expiresOn: expiresOn.toISOString() });
    });
  }

  return async (request, signal) =>
    request.content === undefined
      ? await answerIdentity(request, signal)
      : await answerAzd(request, request.content, signal);
}

function azdScopeRefusal({ scopes, tenantId }: AzdRequest, options: IdentityAnswersOptions): Refusal | undefined {
  const other = scopes.find((scope) => !options.scopes.has(scope));
  const { tenant } = options;
  if (other !== undefined) return notServed(resourceOf(other));
  if (tenant === undefined || tenantId === undefined || tenantId.toLowerCase() === tenant.toLowerCase()) {
    return undefined;
  }
  // It may be the same one: azd has ids, and a person types a domain.
  const message = `Only tokens of the tenant ${tenant} are served here: run latchkey serve with --tenant ${tenantId}`;
  return { statusCode: 403, message };
}

function notServed(resource: string): Refusal {
  const options = quoteCommand([["--resource", resource]]);
  return { statusCode: 403, message: `${resource} is not served here: run latchkey serve with ${options}` };
}

/** Returns the scope of a resource, or the resource that is itself a scope, if clients may get it. */
function scopeOf(
  { resource, identity }: IdentityRequest,
  { scopes, identities, clientId }: IdentityAnswersOptions,
): string | Refusal {
  if (identity !== undefined && ![clientId.toLowerCase(), ...identities].includes(identity.toLowerCase())) {
    return {
      statusCode: 400,
      message: "No Managed Identity found for the specified client, object or resource id: add it to latchkey serve " +
        "with --identity if this endpoint is to stand in for it",
    };
  }
  return [defaultScope(resource), resource].find((scope) => scopes.has(scope)) ?? notServed(resource);
}

async function sha256(text: string): Promise<string> {
  return encodeHex(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

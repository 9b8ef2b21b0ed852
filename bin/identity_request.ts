/**
 * Requests to a managed-identity endpoint, as Azure App Service has it: who may ask, and what is asked for. Pure.
 *
 * @module
 */
import type { HttpReply } from "../lib/platform/http_connections.ts";
import { hostsOf, readRequestHead, type RequestHead, splitTarget } from "../lib/platform/request_head.ts";
import { visibleJson } from "./visible.ts";

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
export interface IdentityRequest {
  /** Whose token: an App ID URI, or the scope of one. */
  readonly resource: string;
  /** Client, object or resource id of the managed identity that is meant; `undefined`: the one that there is. */
  readonly identity: string | undefined;
  /** SHA-256 in hexadecimal digits of a token that is not good any more. */
  readonly tokenToRefresh: string | undefined;
}

/** Header fields of every answer. */
export const IDENTITY_HEADERS: Readonly<Record<string, string>> = {
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
  const [path, query] = splitTarget(head.target);
  return strangeness(head, door) ?? misuse(head, path) ?? ignorance(head, door) ?? { query };
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

function misuse({ method, fields }: RequestHead, path: string): Refusal | undefined {
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
    body: visibleJson({ statusCode, message, correlationId }),
  };
}

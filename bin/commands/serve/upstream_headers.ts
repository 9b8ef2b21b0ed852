/**
 * The headers of `latchkey serve --upstream`: which ones are refused, sent on and returned. Pure functions.
 *
 * Names that are not known pass, since every API has its own: a list of those that may pass would cut most APIs off. What is
 * refused or dropped is therefore described by the words of a name, not by a list of names.
 *
 * @module
 */
import { claimsIn } from "../../../lib/oauth/challenged_fetch.ts";
import { hostsOf, isLoopbackAuthority } from "../../../lib/http/server.ts";
import type { Refusal } from "./identity_endpoint.ts";
import type { Route, Upstream } from "./upstream_rules.ts";

/** A header: its name, and its value without the spaces around it, in latin1. */
export type Header = readonly [name: string, value: string];

/** Pairs the names and values that `node:http` has in one array. */
export function pairHeaders(rawHeaders: readonly string[]): readonly Header[] {
  const headers: Header[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) headers.push([rawHeaders[at]!.toLowerCase(), rawHeaders[at + 1]!]);
  return headers;
}

/** Returns the value of a header; of one that comes more than once the first. */
export function headerOf(headers: readonly Header[], name: string): string | undefined {
  return headers.find(([each]) => each === name)?.[1];
}

/** Length of a body: in bytes, or unknown before its end. */
type BodyLength = number | "unknown";

/**
 * Returns the length of a request's body (RFC 9112, 6.3); `undefined` if the headers say two things, or one that is not understood:
 * another reader could take another end (request smuggling).
 */
export function bodyLengthOf(headers: readonly Header[], version: string): BodyLength | undefined {
  let framing: Header | undefined;
  for (const header of headers) {
    if (header[0] !== "transfer-encoding" && header[0] !== "content-length") continue;
    if (framing) return undefined;
    framing = header;
  }
  if (!framing) return 0;
  const [name, value] = framing;
  if (name === "content-length") return /^\d{1,15}$/.test(value) ? Number(value) : undefined;
  return version === "1.1" && value.toLowerCase() === "chunked" ? "unknown" : undefined;
}

/** Headers by which a request is judged. If one comes twice, two readers could each take another. */
const ONCE =
  /^(host|origin|authorization|content-length|content-type|transfer-encoding|x-identity-header|x-latchkey-secret|sec-fetch-.*)$/;

/** Characters that a name may consist of. Servers of CGI's kind (WSGI, Rack, PHP) do not tell `_` from `-`. */
const NAME = /^[a-z\d-]+$/;

/** Words of names by which some servers take another method, path or host than those that were checked. */
const OVERRIDE = /(^|-)(method|override|url|uri|path|host|original|rewrite)(-|$)|-(copy|rename)-source$/;
/** Of these, the one whose value is judged, and those that are dropped. */
const NOT_OVERRIDE = /^(host|x-forwarded-.*)$/;

/** Returns why the headers of a request are refused, whoever sends it. */
export function headersRefusal(headers: readonly Header[]): Refusal | undefined {
  const seen = new Set<string>();
  for (const [name] of headers) {
    if (!NAME.test(name)) {
      return { statusCode: 400, message: `Header names have letters, digits and dashes, not ${name}` };
    }
    if (seen.has(name) && ONCE.test(name)) return { statusCode: 400, message: `The header ${name} comes twice` };
    if (OVERRIDE.test(name) && !NOT_OVERRIDE.test(name)) {
      return { statusCode: 400, message: `The header ${name} is not allowed here: it can name another method or path` };
    }
    seen.add(name);
  }
  return seen.has("host") ? undefined : { statusCode: 400, message: "The Host header is missing" };
}

/** Place of a proxy: the hosts under which it is called, and its secret. */
export interface ProxyPlace {
  /** The values of `Host` that it takes: on a socket those of its upstreams, in addition to this machine's names. */
  readonly hosts: ReadonlySet<string>;
  /** Compares with the secret that every user of the machine would need; `undefined` on a socket, which only its user can open. */
  readonly isSecret: ((value: string) => boolean) | undefined;
}

/** Returns the place of a proxy; `port` is 0 on a socket. */
export function proxyPlace(
  upstreams: readonly Upstream[],
  port: number,
  isSecret: ProxyPlace["isSecret"],
): ProxyPlace {
  const hosts = isSecret ? hostsOf(["127.0.0.1", "localhost"], port) : upstreams.map(({ host }) => host);
  return { hosts: new Set(hosts), isSecret };
}

/** Judges who sends a request. A web page sends `Origin` or `Sec-Fetch-Site`, or reaches this machine by another host name. */
export function senderRefusal(headers: readonly Header[], { hosts, isSecret }: ProxyPlace): Refusal | undefined {
  const host = headerOf(headers, "host")?.toLowerCase() ?? "";
  if (!hosts.has(host) && (isSecret || !isLoopbackAuthority(host))) {
    return {
      statusCode: 421,
      message: `The Host header must be ${
        isSecret ? "127.0.0.1 with this port" : "localhost, or the host of an upstream"
      }`,
    };
  }
  const isPage = headerOf(headers, "origin") !== undefined ||
    (headerOf(headers, "sec-fetch-site") ?? "none") !== "none";
  if (isPage) return { statusCode: 403, message: "Web pages may not call through here" };
  if (!isSecret) return undefined;
  const bearer = /^Bearer +(\S+)$/i.exec(headerOf(headers, "authorization") ?? "")?.[1];
  if (isSecret(headerOf(headers, "x-latchkey-secret") ?? bearer ?? "")) return undefined;
  return {
    statusCode: 401,
    message: "The secret is missing or wrong: send it in X-Latchkey-Secret, or as a Bearer token",
  };
}

/** Hop-by-hop headers (RFC 9110, 7.6.1), and those that the proxy sets. */
const HOP_BY_HOP =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|content-length|host|expect)$/;
/** Headers of a client that would speak for another user or another client, and those by which the proxy judges it. */
const NOT_FORWARDED =
  /^(authorization|cookie2?|x-latchkey-secret|x-identity-header|forwarded|x-forwarded(-.*)?|via|(.*-)?ip|(x-)?remote-.*|x-ms-client-principal.*|x-ms-token-.*|sec-.*)$/;
/** Headers of a response that sign a client in, send it elsewhere, or let pages read it. */
const NOT_RETURNED =
  /^(set-cookie2?|authorization|(www|proxy)-authenticate|(proxy-)?authentication-info|alt-svc|strict-transport-security|clear-site-data|access-control-.*)$/;
/** Headers of a response with a URL that the client asks next. */
const LINKS = /^(location|content-location|operation-location|azure-asyncoperation)$/;

const NONE: ReadonlySet<string> = new Set();

function withoutHops(headers: readonly Header[], others: RegExp): readonly Header[] {
  const named = namedByConnection(headers);
  return headers.filter(([name]) => !HOP_BY_HOP.test(name) && !others.test(name) && !named.has(name));
}

/** Returns the names in `Connection`, which are hop-by-hop headers as well. */
function namedByConnection(headers: readonly Header[]): ReadonlySet<string> {
  if (headerOf(headers, "connection") === undefined) return NONE;
  const connection = headers.filter(([name]) => name === "connection").map(([, value]) => value.toLowerCase());
  return new Set(connection.flatMap((value) => value.split(",").map((word) => word.trim())));
}

/** Methods whose requests have a `Content-Length` even without a body (RFC 9110, 8.6). */
const WITH_LENGTH = ["POST", "PUT", "PATCH"];

/** Returns the headers for the upstream, as `node:http` takes them: names and values in one array. */
export function forwardedHeaders(
  headers: readonly Header[],
  { method, host, authorization, length }: {
    readonly method: string;
    readonly host: string;
    readonly authorization: string;
    readonly length: BodyLength;
  },
): string[] {
  const all = ["host", host];
  for (const [name, value] of withoutHops(headers, NOT_FORWARDED)) all.push(name, value);
  all.push("authorization", authorization);
  if (length === "unknown") all.push("transfer-encoding", "chunked");
  else if (length > 0 || WITH_LENGTH.includes(method)) all.push("content-length", `${length}`);
  // What a server does not read of a body, it would take for the next request.
  if (length !== 0) all.push("connection", "close");
  return all;
}

/** A response of an upstream, and the request that it answers. */
interface UpstreamResponse extends Route {
  readonly status: number;
  readonly headers: readonly Header[];
  /** The client's `Host`. */
  readonly host: string;
  /** The token that was sent. */
  readonly token: string;
}

/** Returns the headers of a response for the client: without hop-by-hop headers and secrets. */
export function returnedHeaders(response: UpstreamResponse): string[] {
  const { status, headers, token } = response;
  const returned: string[] = [];
  for (const [name, value] of withoutHops(headers, NOT_RETURNED)) {
    if (hasToken(name, token) || hasToken(value, token)) continue;
    returned.push(name, LINKS.test(name) ? linkBack(value, response) : value);
  }
  const length = headerOf(headers, "content-length");
  // A HEAD's and a 304's say how long the body would be.
  if (length !== undefined && status !== 204) returned.push("content-length", length);
  return returned;
}

function hasToken(foreign: string, token: string): boolean {
  return foreign.length >= token.length && foreign.toLowerCase().includes(token.toLowerCase());
}

/** Leads a URL of the upstream back to the proxy. */
function linkBack(value: string, { upstream, target, host }: UpstreamResponse): string {
  const base = `${upstream.origin}${target}`;
  if (!URL.canParse(value, base)) return value;
  const url = new URL(value, base);
  return url.origin === upstream.origin
    ? `http://${host}/${upstream.host}${url.pathname}${url.search}${url.hash}`
    : value;
}

/** Returns the claims of a challenge; `undefined` if it has no readable claims. */
export function claimsOf(headers: readonly Header[]): string | undefined {
  for (const [name, value] of headers) {
    const claims = name === "www-authenticate" ? claimsIn(value) : undefined;
    if (claims !== undefined) return claims;
  }
  return undefined;
}

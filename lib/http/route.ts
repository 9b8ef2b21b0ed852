/**
 * An HTTP request and its route: directly, or through a proxy with its credentials.
 *
 * @module
 */
import { encodeBase64 } from "../encoding.ts";

/** A request. Its body is complete, so that it can be sent again after a failed handshake. */
export interface HttpRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer> | null;
  /** Treatment of a redirect, which is never followed. */
  readonly redirect: "manual" | "error";
  /** Ends the call, and the reading of the answer, with the signal's reason. */
  readonly signal: AbortSignal;
}

/** The route of a request. */
export interface HttpRoute {
  /** The proxy, with its user name and password, or a direct connection. @default the runtime decides */
  readonly proxy?: URL | "direct" | undefined;
  /** Certificates, as PEM, of authorities to trust in addition to the runtime's own. */
  readonly certificates?: readonly string[] | undefined;
}

/** Returns the user name and password of a proxy; `undefined` if it has none. */
export function credentialsOf(proxy: URL): { readonly username: string; readonly password: string } | undefined {
  if (!proxy.username && !proxy.password) return undefined;
  return { username: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) };
}

/** Returns the `Proxy-Authorization` field for a proxy (RFC 7617). */
export function proxyAuthorization(proxy: URL): string | undefined {
  const credentials = credentialsOf(proxy);
  if (!credentials) return undefined;
  const bytes = new TextEncoder().encode(`${credentials.username}:${credentials.password}`);
  return `Basic ${encodeBase64(bytes)}`;
}

/** Returns the port of a URL, or the default one of its scheme. */
export function portOf({ protocol, port }: URL): number {
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

/** Returns the host of a URL, an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

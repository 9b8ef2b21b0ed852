/**
 * An HTTP request as it is sent, and its way.
 *
 * @module
 */
import { base64Of } from "./base64_text.ts";

/** A request. Its body is whole, so that it can be sent once more when the handshake before it failed. */
export interface HttpRequest {
  /** Where to. */
  readonly url: URL;
  /** Such as `POST`. */
  readonly method: string;
  /** Header fields. */
  readonly headers: Headers;
  /** The body; `null` for none. */
  readonly body: Uint8Array<ArrayBuffer> | null;
  /** What becomes of a redirect: it is never followed. */
  readonly redirect: "manual" | "error";
  /** Ends the call, and the reading of the answer, with the signal's reason. */
  readonly signal: AbortSignal;
}

/** The way that a request takes. */
export interface HttpRoute {
  /** The proxy, with user name and password if it wants any, or that there is none; absent: as the runtime does by itself. */
  readonly proxy?: URL | "direct" | undefined;
  /** Certificates, as PEM, of authorities to trust beside the runtime's own. */
  readonly certificates?: readonly string[] | undefined;
}

/** User name and password of a proxy; `undefined` when it has none. */
export function credentialsOf(proxy: URL): { readonly username: string; readonly password: string } | undefined {
  if (!proxy.username && !proxy.password) return undefined;
  return { username: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) };
}

/** The header field that gives them to it (RFC 7617). */
export function proxyAuthorization(proxy: URL): string | undefined {
  const credentials = credentialsOf(proxy);
  if (!credentials) return undefined;
  const bytes = new TextEncoder().encode(`${credentials.username}:${credentials.password}`);
  return `Basic ${base64Of(bytes)}`;
}

/** The port of an address, the usual one filled in. */
export function portOf({ protocol, port }: URL): number {
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

/** The host of an address, an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

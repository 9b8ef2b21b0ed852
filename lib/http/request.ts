/**
 * An HTTP request as it is sent, and its way.
 *
 * @module
 */
import { encodeBase64 } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { denoNamespace } from "../runtime/host.ts";

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
  return `Basic ${encodeBase64(bytes)}`;
}

/** The port of an address, the usual one filled in. */
export function portOf({ protocol, port }: URL): number {
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

/** The host of an address, an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

const UNKNOWN_ISSUER = /UnknownIssuer|UNABLE_TO_VERIFY_LEAF|UNABLE_TO_GET_ISSUER|SELF_SIGNED_CERT/;
const CERTIFICATE = /invalid peer certificate|\bCERT_|ERR_TLS_CERT/;
const OUT_OF_TIME = /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate expired|Expired|NotValidYet/;

/** Whether a server's certificate comes from an authority that the runtime does not trust. */
export function isUnknownIssuer(error: unknown): boolean {
  return UNKNOWN_ISSUER.test(textOf(error));
}

/**
 * A failure as an error of ours. Without a cause: what a runtime says of a failure quotes the address.
 *
 * @param error What the runtime threw.
 * @param request What was asked.
 * @param route On which way.
 * @returns `configuration` for a certificate or a proxy's password, `invalid_response` for a redirect, else `no_network`;
 * the signal's reason when the request was aborted.
 */
export function httpFailure(error: unknown, request: HttpRequest, { proxy }: HttpRoute): unknown {
  if (request.signal.aborted) return request.signal.reason;
  if (error instanceof LatchkeyError) return error;
  const host = hostOf(request.url), text = textOf(error);
  const way = proxy instanceof URL ? ` through the proxy ${proxy.host}` : "";
  const cannot = `Cannot reach ${host}${way}`;

  if (/redirect/i.test(text)) return new LatchkeyError("invalid_response", `${host} redirects where it has to answer`);
  if (UNKNOWN_ISSUER.test(text)) {
    return new LatchkeyError("configuration", `${cannot}: nobody trusted here issued its certificate`, {
      hint: trustHint(),
    });
  }
  if (OUT_OF_TIME.test(text)) {
    const hint = "Check this machine's clock: in WSL it can lag behind, and sudo hwclock -s sets it";
    return new LatchkeyError("configuration", `${cannot}: its certificate is not valid at this time`, { hint });
  }
  if (CERTIFICATE.test(text)) {
    return new LatchkeyError("configuration", `${cannot}: its certificate is for another host`);
  }
  if (/proxy authentication required/i.test(text)) return passwordWanted(request, proxy);
  return new LatchkeyError("no_network", `${cannot}${reasonOf(text)}`, {
    hint: "Check the network, and HTTPS_PROXY and NO_PROXY where a proxy is in use",
  });
}

/** The error of a proxy that wants a user name and password. */
export function passwordWanted({ url }: HttpRequest, proxy: HttpRoute["proxy"]): LatchkeyError {
  const name = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY", { host } = proxy as URL;
  return new LatchkeyError("configuration", `The proxy ${host} wants a user name and password, or other ones`, {
    hint: `Set ${name} to http://USER:PASSWORD@${host} (only Basic authentication is known)`,
  });
}

function trustHint(): string {
  const file = "the PEM file of your organisation's certificate authority";
  return denoNamespace()
    ? `Set DENO_TLS_CA_STORE=system if this machine trusts your organisation's certificate authority, or DENO_CERT to ${file}`
    : `Set NODE_EXTRA_CA_CERTS to ${file}`;
}

function reasonOf(text: string): string {
  if (/ENOTFOUND|EAI_AGAIN|dns error/i.test(text)) return ": its name is not known";
  if (/ECONNREFUSED|connection refused/i.test(text)) return ": the connection is refused";
  if (/unsuccessful tunnel/.test(text)) return ": the proxy does not connect";
  if (/EPROTO|WRONG_VERSION|InvalidContentType/.test(text)) return ": it does not speak TLS";
  return "";
}

/** Codes and messages of an error and its causes. */
function textOf(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error && texts.length < 5; at = at.cause) {
    texts.push(`${(at as { code?: unknown }).code ?? ""} ${at.message}`);
  }
  return texts.join("\n");
}

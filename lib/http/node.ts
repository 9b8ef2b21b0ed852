/**
 * HTTP through a proxy and with more certificates, on Bun and on Node, whose `fetch` has neither before version 24.
 *
 * @module
 */
import http, { type IncomingMessage, type RequestOptions } from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import { type Duplex, Readable } from "node:stream";
import tls from "node:tls";
import { LatchkeyError } from "../errors.ts";
import { hostOf, type HttpRequest, type HttpRoute, portOf, proxyAuthorization } from "./route.ts";
import { passwordWanted } from "./errors.ts";

/** Sends a request, and returns the answer as soon as its head has come. Throws Node's error unless the proxy refuses. */
export async function sendByNode(request: HttpRequest, route: HttpRoute): Promise<Response> {
  const { url, method, headers, body, redirect, signal } = request;
  const proxy = route.proxy;
  const trust = trustOf(route);
  const secure = url.protocol === "https:";
  const options: RequestOptions & tls.ConnectionOptions = {
    ...trust,
    ...{ ...addressOf(url), method, path: `${url.pathname}${url.search}`, agent: false, signal },
    headers: { host: url.host, "accept-encoding": "identity", ...Object.fromEntries(headers) },
  };
  if (proxy instanceof URL && secure) {
    const socket = await openTunnel(proxy, request, trust);
    options.createConnection = () => tls.connect({ ...trust, ...addressOf(url), socket });
    delete options.agent; // an agent would connect by itself
  } else if (proxy instanceof URL) {
    Object.assign(options, { ...addressOf(proxy), path: url.href });
    options.headers = { ...options.headers, ...authorizationFor(proxy) };
  }
  const byTls = proxy instanceof URL && !secure ? proxy.protocol === "https:" : secure;
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = (byTls ? https : http).request(options, resolve);
    outgoing.on("error", reject);
    outgoing.end(body);
  });
  return responseOf(message, { method, redirect, signal });
}

/** Opens a connection through the proxy to the server, without TLS as yet. */
export async function openTunnel(
  proxy: URL,
  request: Pick<HttpRequest, "url" | "signal">,
  trust: tls.ConnectionOptions,
): Promise<Duplex> {
  const { url, signal } = request;
  const target = `${url.hostname}:${portOf(url)}`;
  const options = { ...trust, ...addressOf(proxy), method: "CONNECT", path: target, agent: false, signal };
  const headers = { host: target, ...authorizationFor(proxy) };
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  (proxy.protocol === "https:" ? https : http).request({ ...options, headers })
    .on("connect", ({ statusCode = 0 }, socket) => {
      if (statusCode >= 200 && statusCode < 300) return resolve(socket);
      socket.destroy();
      if (statusCode === 407) return reject(passwordWanted(request, proxy));
      const message = `Cannot reach ${hostOf(url)}: the proxy ${proxy.host} answers with status ${statusCode}`;
      const remedy = "Ask the administrator of the proxy, or add the host to NO_PROXY";
      reject(new LatchkeyError("no_network", message, { remedy }));
    })
    .on("error", reject)
    .end();
  return await promise;
}

/** Returns the address and the name in the certificate, for which Node would take the Host field. */
function addressOf(url: URL): { readonly host: string; readonly port: number; readonly servername: string } {
  const host = hostOf(url);
  return { host, port: portOf(url), servername: isIP(host) ? "" : host };
}

function authorizationFor(proxy: URL): Record<string, string> {
  const authorization = proxyAuthorization(proxy);
  return authorization ? { "proxy-authorization": authorization } : {};
}

/** Parsing a hundred certificates takes some 50 ms. */
const contexts = new WeakMap<readonly string[], tls.SecureContext>();

/** `ca` replaces the runtime's own certificates, so it contains these too. */
export function trustOf({ certificates }: HttpRoute): { readonly secureContext?: tls.SecureContext } {
  if (!certificates) return {};
  const known = contexts.get(certificates);
  const secureContext = known ?? tls.createSecureContext({ ca: [...tls.rootCertificates, ...certificates] });
  if (!known) contexts.set(certificates, secureContext);
  return { secureContext };
}

function responseOf(message: IncomingMessage, { method, redirect, signal }: Partial<HttpRequest>): Response {
  const { statusCode: status = 0, rawHeaders } = message;
  if (redirect === "error" && status >= 300 && status < 400) {
    message.destroy();
    throw new TypeError("unexpected redirect");
  }
  const headers = new Headers();
  for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at]!, rawHeaders[at + 1]!);
  const isEmpty = method === "HEAD" || [204, 205, 304].includes(status);
  if (isEmpty) message.resume();
  message.on("error", () => {}); // the reader of the body gets it
  const abort = () => void message.destroy(signal?.reason);
  signal?.addEventListener("abort", abort);
  message.once("close", () => signal?.removeEventListener("abort", abort));
  return new Response(isEmpty ? null : Readable.toWeb(message) as unknown as ReadableStream, { status, headers });
}

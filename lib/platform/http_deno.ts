/**
 * HTTP with a proxy and more certificates on Deno.
 *
 * @module
 */
import { credentialsOf, hostOf, type HttpRequest, type HttpRoute, portOf } from "./http_request.ts";
import { requirePermission } from "./permission.ts";
import { openProxyRelay } from "./proxy_relay.ts";

/**
 * Sends a request.
 *
 * @param deno Deno's namespace.
 * @param request What is sent.
 * @param route On which way.
 * @returns The answer, once its head is there.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to reach the proxy; else what Deno throws.
 */
export async function sendByDeno(deno: typeof Deno, request: HttpRequest, route: HttpRoute): Promise<Response> {
  const { url } = request, { proxy, certificates = [] } = route, caCerts = [...certificates];
  if (proxy instanceof URL) requirePermission({ name: "net", host: `${proxy.hostname}:${portOf(proxy)}` });
  const isSecret = proxy instanceof URL && url.protocol === "https:" && credentialsOf(proxy) !== undefined;
  if (isSecret) requirePermission({ name: "net", host: "127.0.0.1" });
  using relay = isSecret
    ? openProxyRelay(deno, proxy, { target: `${url.hostname}:${portOf(url)}`, caCerts })
    : undefined;
  // No connection is kept open: the client goes with the request.
  using client = deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0, ...clientProxy(url, relay?.url ?? proxy) });
  try {
    return await fetch(url, { ...request, client } as RequestInit);
  } catch (error) {
    throw relay?.failure() ?? error;
  }
}

function clientProxy(url: URL, proxy: HttpRoute["proxy"]): { readonly proxy?: Deno.Proxy } {
  if (proxy instanceof URL) {
    const basicAuth = credentialsOf(proxy);
    return { proxy: { url: proxy.origin, ...(basicAuth ? { basicAuth } : {}) } };
  }
  // What is secured cannot be kept from a proxy that Deno reads from the environment by itself: of NO_PROXY it knows hosts and
  // ranges, neither `*` nor ports.
  const isPlain = proxy === "direct" && url.protocol === "http:";
  return isPlain ? { proxy: { transport: "tcp", hostname: hostOf(url), port: portOf(url) } } : {};
}

/**
 * HTTP with a proxy and more certificates on Deno.
 *
 * @module
 */
import { credentialsOf, hostOf, type HttpRequest, type HttpRoute, portOf } from "./http_request.ts";
import { isPermitted, requirePermission } from "./permission.ts";
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
  using relay = needsRelay(url, proxy)
    ? openProxyRelay(deno, url, { proxy: proxy instanceof URL ? proxy : undefined, caCerts })
    : undefined;
  // No connection is kept open: the client goes with the request.
  using client = deno.createHttpClient({
    caCerts,
    poolMaxIdlePerHost: 0,
    ...(relay ? { proxy: relay.proxy } : clientProxy(url, proxy)),
  });
  try {
    return await fetch(url, { ...request, client } as RequestInit);
  } catch (error) {
    throw relay?.failure() ?? error;
  }
}

/**
 * Whether Deno would not go by the proxy, or without one, as it should. To except a host from a proxy that the environment names
 * is left to Deno where it may not listen: of `NO_PROXY` it knows hosts and ranges.
 */
function needsRelay(url: URL, proxy: HttpRoute["proxy"]): boolean {
  if (url.protocol !== "https:") return false;
  if (!(proxy instanceof URL)) return proxy === "direct" && isPermitted({ name: "net", host: "127.0.0.1" });
  if (proxy.protocol === "http:" && credentialsOf(proxy) === undefined) return false;
  requirePermission({ name: "net", host: "127.0.0.1" });
  return true;
}

function clientProxy(url: URL, proxy: HttpRoute["proxy"]): { readonly proxy?: Deno.Proxy } {
  if (proxy instanceof URL) {
    const basicAuth = credentialsOf(proxy);
    return { proxy: { url: proxy.origin, ...(basicAuth ? { basicAuth } : {}) } };
  }
  const isPlain = proxy === "direct" && url.protocol === "http:";
  return isPlain ? { proxy: { transport: "tcp", hostname: hostOf(url), port: portOf(url) } } : {};
}

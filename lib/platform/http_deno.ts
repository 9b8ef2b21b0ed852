/**
 * HTTP with a proxy and more certificates on Deno.
 *
 * @module
 */
import { hostOf, type HttpRequest, type HttpRoute, portOf, proxyAuthorization } from "./http_request.ts";
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
  const caCerts = [...route.certificates ?? []];
  using way = openWay(deno, { url: request.url, proxy: route.proxy, caCerts });
  // No connection is kept open: the client goes with the request.
  using client = deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0, ...(way.proxy ? { proxy: way.proxy } : {}) });
  return await fetch(request.url, { ...request, client } as RequestInit);
}

interface Way extends Disposable {
  readonly proxy?: Deno.Proxy;
}

interface Wanted {
  readonly url: URL;
  readonly proxy: HttpRoute["proxy"];
  readonly caCerts: string[];
}

function openWay(deno: typeof Deno, { url, proxy, caCerts }: Wanted): Way {
  const asItIs = { [Symbol.dispose]: () => {} };
  if (proxy instanceof URL) {
    requirePermission({ name: "net", host: `${proxy.hostname}:${portOf(proxy)}` });
    const { origin, username, password } = proxy,
      basicAuth = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
    if (!proxyAuthorization(proxy)) return { ...asItIs, proxy: { url: origin } };
    if (url.protocol === "http:") return { ...asItIs, proxy: { url: origin, basicAuth } };
    requirePermission({ name: "net", host: "127.0.0.1" });
    const relay = openProxyRelay(deno, proxy, { target: `${url.hostname}:${portOf(url)}`, caCerts });
    return { proxy: { url: relay.url }, [Symbol.dispose]: () => relay[Symbol.dispose]() };
  }
  // Deno takes NO_PROXY into account, but would ask a proxy for what is on loopback.
  const isPlain = proxy === "direct" && url.protocol === "http:";
  return isPlain ? { ...asItIs, proxy: { transport: "tcp", hostname: hostOf(url), port: portOf(url) } } : asItIs;
}

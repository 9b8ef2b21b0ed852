/**
 * A `fetch` for company networks: by the proxy that the environment names, trusting what the machine trusts.
 *
 * Where neither is needed it is the runtime's own `fetch`, and nothing is loaded. Deno needs `--allow-net` for the server (and
 * for the proxy), and `--allow-env=HTTPS_PROXY,NO_PROXY`: without that it still goes by the proxy, in its own way. See
 * `certificates.ts` for what it needs to trust more than it does.
 *
 * @module
 */
import { denoNamespace, readEnvironment } from "./host.ts";
import { httpFailure, isUnknownIssuer, passwordWanted } from "./http_failure.ts";
import { type HttpRequest, type HttpRoute, portOf } from "./http_request.ts";
import { requirePermission } from "./permission.ts";

/** Sends a request. It never follows a redirect. */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** How servers are reached. */
export interface FetchOptions {
  /** Reads an environment variable. @default the program's own */
  readonly variable?: ((name: string) => string | undefined) | undefined;
}

const PROXY_VARIABLES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);

/**
 * Makes a `fetch`.
 *
 * @param options How servers are reached.
 * @returns Rejects with a `LatchkeyError`: `no_network`; `configuration` when a certificate or the proxy stands in the
 * way, with the variable to set; `missing_dependency` when Deno does not permit it. A redirect is an answer like any other, or with
 * `redirect: "error"` an `invalid_response`.
 */
export function makeFetch(options: FetchOptions = {}): Fetch {
  const { variable = readEnvironment } = options;
  let more: Promise<readonly string[]> | undefined;
  return async (url, init) => {
    const request = await readRequest(url, init), route: { -readonly [Key in keyof HttpRoute]: HttpRoute[Key] } = {};
    requirePermission({ name: "net", host: `${request.url.hostname}:${portOf(request.url)}` });
    try {
      if (PROXY_VARIABLES.some((name) => variable(name) !== undefined)) {
        const { proxyFor } = await import("./proxy.ts");
        route.proxy = proxyFor(request.url, variable) ?? "direct";
      }
      route.certificates = await more;
      try {
        return await send(request, route);
      } catch (error) {
        // The handshake failed before anything was sent.
        if (route.certificates || !isUnknownIssuer(error)) throw error;
        const { trustedCertificates } = await import("./certificates.ts");
        route.certificates = await (more ??= trustedCertificates(variable));
        return await send(request, route);
      }
    } catch (error) {
      throw httpFailure(error, request, route);
    }
  };
}

async function readRequest(url: string | URL, init?: RequestInit): Promise<HttpRequest> {
  const request = new Request(url, init), headers = new Headers(request.headers); // Bun forgets the body's type with the body
  const body = await request.arrayBuffer();
  return {
    url: new URL(request.url),
    method: request.method,
    headers,
    body: body.byteLength > 0 ? new Uint8Array(body) : null,
    redirect: init?.redirect === "error" ? "error" : "manual",
    signal: request.signal,
  };
}

async function send(request: HttpRequest, route: HttpRoute): Promise<Response> {
  if (!route.proxy && !route.certificates) return await fetch(request.url, request);
  const deno = denoNamespace();
  const response = deno
    ? await (await import("./http_deno.ts")).sendByDeno(deno, request, route)
    : await (await import("./http_node.ts")).sendByNode(request, route);
  // Behind TLS it would be the server's word.
  if (response.status === 407 && request.url.protocol === "http:") throw passwordWanted(request, route.proxy);
  return response;
}

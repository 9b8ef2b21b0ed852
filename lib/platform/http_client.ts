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
    const request = await readRequest(url, init);
    requirePermission({ name: "net", host: `${request.url.hostname}:${portOf(request.url)}` });
    let proxy: HttpRoute["proxy"];
    try {
      proxy = await findProxy(request.url, variable);
      const certificates = await more;
      try {
        return await send(request, { proxy, certificates });
      } catch (error) {
        // The handshake failed before anything was sent.
        if (certificates || !isUnknownIssuer(error)) throw error;
        const { trustedCertificates } = await import("./certificates.ts");
        more ??= trustedCertificates(variable);
        return await send(request, { proxy, certificates: await more });
      }
    } catch (error) {
      throw httpFailure(error, request, { proxy });
    }
  };
}

/** Absent where no variable names a proxy: then nothing needs to be done, and nothing is loaded. */
async function findProxy(url: URL, variable: (name: string) => string | undefined): Promise<HttpRoute["proxy"]> {
  if (PROXY_VARIABLES.every((name) => variable(name) === undefined)) return undefined;
  const { proxyFor } = await import("./proxy.ts");
  return proxyFor(url, variable) ?? "direct";
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

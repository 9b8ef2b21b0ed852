/**
 * A `fetch` for company networks: it uses the proxy from the environment, and trusts the machine's certificate authorities.
 *
 * If neither is needed, it is the runtime's own `fetch`, and no `node:` module is loaded. Deno needs `--allow-net` for the server
 * and the proxy, and `--allow-env=HTTPS_PROXY,NO_PROXY`: without the latter it uses the proxy in its own way.
 *
 * @module
 */
import { denoNamespace, isPermitted, operatingSystem, readEnvironment, requirePermission } from "../runtime/host.ts";
import { readTextFile } from "../runtime/path.ts";
import { findProxy, openProxyRelay, type Variable } from "./proxy.ts";
import { credentialsOf, hostOf, type HttpRequest, type HttpRoute, portOf } from "./route.ts";
import { httpFailure, isUnknownIssuer, passwordWanted } from "./errors.ts";

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * Returns a `fetch`. It rejects with a `LatchkeyError`: `no_network`; `configuration` for a certificate or the proxy, with the
 * variable to set; `missing_dependency` if Deno does not permit it. A redirect is an answer like any other, or with
 * `redirect: "error"` an `invalid_response`.
 *
 * @param options `isPatient`: true to wait for an answer, and between its parts, as long as it takes. By default Node and Bun give
 * up after five minutes.
 */
export function makeFetch(
  { variable = readEnvironment, isPatient = false }: { readonly variable?: Variable; readonly isPatient?: boolean } =
    {},
): Fetch {
  let more: Promise<readonly string[]> | undefined;
  return async (url, init) => {
    const request = await readRequest(url, init);
    requirePermission({ name: "net", host: `${request.url.hostname}:${portOf(request.url)}` });
    let proxy: HttpRoute["proxy"];
    try {
      proxy = await findProxy(request.url, variable);
      const certificates = await more;
      try {
        return await send(request, { proxy, certificates }, { isPatient });
      } catch (error) {
        // The handshake failed before anything was sent.
        if (certificates || !isUnknownIssuer(error)) throw error;
        more ??= trustedCertificates(variable);
        return await send(request, { proxy, certificates: await more }, { isPatient });
      }
    } catch (error) {
      throw httpFailure(error, request, { proxy });
    }
  };
}

async function readRequest(url: string | URL, init: RequestInit = {}): Promise<HttpRequest> {
  const redirect = init.redirect === "error" ? "error" : "manual";
  if (init.body instanceof Uint8Array || !init.body) {
    // A Request would copy the body through a stream, which takes Node as long as all the rest.
    const { method = "GET", body, signal } = init;
    return {
      url: new URL(url),
      method: method.toUpperCase(),
      headers: new Headers(init.headers),
      body: body ? body as Uint8Array<ArrayBuffer> : null,
      redirect,
      signal: signal ?? new AbortController().signal,
    };
  }
  const request = new Request(url, init);
  const headers = new Headers(request.headers); // Bun drops the content type with the body
  const body = await request.arrayBuffer();
  return {
    url: new URL(request.url),
    method: request.method,
    headers,
    body: body.byteLength > 0 ? new Uint8Array(body) : null,
    redirect,
    signal: request.signal,
  };
}

async function send(
  request: HttpRequest,
  route: HttpRoute,
  { isPatient }: { readonly isPatient: boolean },
): Promise<Response> {
  if (!route.proxy && !route.certificates) {
    return await fetch(request.url, isPatient ? { ...request, ...withoutTimeLimits() } : request);
  }
  const deno = denoNamespace();
  const response = deno
    ? await sendByDeno(deno, request, route)
    : await (await import("./node.ts")).sendByNode(request, route);
  // Through TLS, a 407 comes from the server.
  if (response.status === 407 && request.url.protocol === "http:") throw passwordWanted(request, route.proxy);
  return response;
}

let patientDispatcher: object | undefined;

/** Returns the options of Bun's `fetch`, and of Node's, for no time limits. Node has its dispatcher in a symbol of undici's. */
function withoutTimeLimits(): object {
  const shared: object | undefined = Reflect.get(globalThis, Symbol.for("undici.globalDispatcher.1"));
  patientDispatcher ??= shared && Reflect.construct(shared.constructor, [{ headersTimeout: 0, bodyTimeout: 0 }]);
  return { timeout: false, ...(patientDispatcher && { dispatcher: patientDispatcher }) };
}

async function sendByDeno(deno: typeof Deno, request: HttpRequest, route: HttpRoute): Promise<Response> {
  const { url } = request;
  const { proxy, certificates = [] } = route;
  const caCerts = [...certificates];
  if (proxy instanceof URL) requirePermission({ name: "net", host: `${proxy.hostname}:${portOf(proxy)}` });
  const relay = needsRelay(url, proxy) ? openProxyRelay(deno, url, { proxy, caCerts }) : undefined;
  let client: Deno.HttpClient | undefined;
  try {
    // The client keeps no connection open, and lives as long as the request.
    const through = relay ? { proxy: relay.proxy } : clientProxy(url, proxy);
    client = deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0, ...through });
    return await fetch(url, { ...request, client } as RequestInit);
  } catch (error) {
    throw relay?.failure() ?? error;
  } finally {
    client?.close();
    relay?.close();
  }
}

/**
 * Returns true if Deno's own client cannot use the proxy, or avoid it, as the environment says. If Deno may not listen, it applies
 * `NO_PROXY` itself: it knows hosts and ranges.
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

/** Variables of OpenSSL, Node and Deno that name a file. */
const FILE_VARIABLES = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/** The bundles of Debian and Arch, Fedora and RHEL, openSUSE, Alpine and the BSDs. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** Returns the certificates that the environment names, in files or in `SSL_CERT_DIR`, and those of the system, as PEM. */
export async function trustedCertificates(variable: Variable): Promise<readonly string[]> {
  const files = FILE_VARIABLES.map(variable).filter((path) => path !== undefined);
  const folders = variable("SSL_CERT_DIR")?.split(operatingSystem() === "win32" ? ";" : ":") ?? [];
  const texts = await Promise.all([...files.map(readText), ...folders.map(readFolder), systemStore()]);
  return [...new Set(texts.join("\n").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g))];
}

async function systemStore(): Promise<string> {
  if (["darwin", "win32"].includes(operatingSystem())) {
    try {
      // These systems have no file. Deno 2.6 cannot read their store, and later versions need --allow-sys.
      const { getCACertificates } = await import("node:tls");
      return getCACertificates?.("system").join("\n") ?? "";
    } catch {
      return "";
    }
  }
  for (const path of BUNDLES) {
    const text = await readText(path);
    if (text) return text;
  }
  return "";
}

async function readFolder(folder: string): Promise<string> {
  if (!isPermitted({ name: "read", path: folder })) return "";
  const { readdir } = await import("node:fs/promises");
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => /\.(pem|crt|cer|\d+)$/.test(name));
  return (await Promise.all(files.map((name) => readText(`${folder}/${name}`)))).join("\n");
}

/** Returns the text of a file; empty if it cannot be read, since another file may have the certificate. */
async function readText(path: string): Promise<string> {
  return await readTextFile(path).catch(() => "");
}

/**
 * A `fetch` for company networks: by the proxy that the environment names, trusting what the machine trusts.
 *
 * Where neither is needed it is the runtime's own `fetch`, and nothing is loaded. Deno needs `--allow-net` for the server (and
 * for the proxy), and `--allow-env=HTTPS_PROXY,NO_PROXY`: without that it still goes by the proxy, in its own way. See
 * `certificates.ts` for what it needs to trust more than it does.
 *
 * @module
 */
import { denoNamespace, isPermitted, operatingSystem, readEnvironment, requirePermission } from "../runtime/host.ts";
import { openProxyRelay, type Variable } from "./proxy.ts";
import {
  credentialsOf,
  hostOf,
  httpFailure,
  type HttpRequest,
  type HttpRoute,
  isUnknownIssuer,
  passwordWanted,
  portOf,
} from "./request.ts";

/** Sends a request. It never follows a redirect. */
type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** How servers are reached. */
interface FetchOptions {
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
    ? await sendByDeno(deno, request, route)
    : await (await import("./node.ts")).sendByNode(request, route);
  // Behind TLS it would be the server's word.
  if (response.status === 407 && request.url.protocol === "http:") throw passwordWanted(request, route.proxy);
  return response;
}

/**
 * Sends a request.
 *
 * @param deno Deno's namespace.
 * @param request What is sent.
 * @param route On which way.
 * @returns The answer, once its head is there.
 * @throws {LatchkeyError} `missing_dependency` when Deno does not permit to reach the proxy; else what Deno throws.
 */
async function sendByDeno(deno: typeof Deno, request: HttpRequest, route: HttpRoute): Promise<Response> {
  const { url } = request, { proxy, certificates = [] } = route, caCerts = [...certificates];
  if (proxy instanceof URL) requirePermission({ name: "net", host: `${proxy.hostname}:${portOf(proxy)}` });
  const relay = needsRelay(url, proxy)
    ? openProxyRelay(deno, url, { proxy: proxy instanceof URL ? proxy : undefined, caCerts })
    : undefined;
  let client: Deno.HttpClient | undefined;
  try {
    // The client keeps no connection open, and lives as long as the request.
    client = deno.createHttpClient({
      caCerts,
      poolMaxIdlePerHost: 0,
      ...(relay ? { proxy: relay.proxy } : clientProxy(url, proxy)),
    });
    return await fetch(url, { ...request, client } as RequestInit);
  } catch (error) {
    throw relay?.failure() ?? error;
  } finally {
    client?.close();
    relay?.close();
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

/** Variables that name a file, as OpenSSL, Node and Deno have them. */
const FILE_VARIABLES = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/** Where distributions have all in one file: Debian and Arch, Fedora and RHEL, openSUSE, Alpine and the BSDs. */
const USUAL_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/**
 * The certificates that the environment names (`SSL_CERT_FILE`, `SSL_CERT_DIR`, `NODE_EXTRA_CA_CERTS`, `DENO_CERT`), and those
 * of the system's own store.
 *
 * @param variable Reads the environment.
 * @returns The certificates as PEM, each once.
 */
async function trustedCertificates(variable: Variable): Promise<readonly string[]> {
  const files = FILE_VARIABLES.map(variable).filter((path) => path !== undefined);
  const folders = variable("SSL_CERT_DIR")?.split(operatingSystem() === "win32" ? ";" : ":") ?? [];
  const texts = await Promise.all([
    ...files.map(readText),
    ...folders.map(readFolder),
    systemStore(),
  ]);
  return [...new Set(texts.join("\n").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g))];
}

async function systemStore(): Promise<string> {
  if (["darwin", "win32"].includes(operatingSystem())) return await ownStore();
  for (const path of USUAL_FILES) {
    const text = await readText(path);
    if (text) return text;
  }
  return "";
}

/** macOS and Windows have no file. Deno 2.6 cannot be asked for theirs, and later ones want `--allow-sys`. */
async function ownStore(): Promise<string> {
  try {
    const { getCACertificates } = await import("node:tls");
    return getCACertificates?.("system").join("\n") ?? "";
  } catch {
    return ""; // Deno does not permit it
  }
}

async function readFolder(folder: string): Promise<string> {
  if (!isPermitted({ name: "read", path: folder })) return "";
  const { readdir } = await import("node:fs/promises");
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => /\.(pem|crt|cer|\d+)$/.test(name));
  return (await Promise.all(files.map((name) => readText(`${folder}/${name}`)))).join("\n");
}

async function readText(path: string): Promise<string> {
  if (!isPermitted({ name: "read", path })) return "";
  try {
    const deno = denoNamespace();
    return await (deno ? deno.readTextFile(path) : (await import("node:fs/promises")).readFile(path, "utf8"));
  } catch {
    return ""; // the next place may have it
  }
}

/**
 * The proxy that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, of which the lower-case
 * spelling counts first. It also has a relay, for the proxies that Deno's own client cannot use.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import { credentialsOf, hostOf, type HttpRoute, portOf, proxyAuthorization } from "./route.ts";

/** Reads an environment variable. */
export type Variable = (name: string) => string | undefined;

/** Names of the variables for the proxy. Of those for the URL's protocol, the first one that is set counts. */
const VARIABLES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] as const;

/**
 * Returns the proxy for a URL, or throws `configuration` if it is not supported; `direct` if the URL needs no proxy, as for loopback;
 * `undefined` if no variable names any: then the runtime's own `fetch` will do.
 */
export async function findProxy(url: URL, variable: Variable): Promise<HttpRoute["proxy"]> {
  const read = (name: string) => variable(name.toLowerCase()) ?? variable(name); // on Deno, each is a query for a permission
  const proxies = VARIABLES.map((name) => ({ name, value: read(name) })).filter(({ value }) => value !== undefined);
  if (proxies.length === 0) return undefined;
  const others = url.protocol === "https:" ? "HTTP_PROXY" : "HTTPS_PROXY";
  const { name, value } = proxies.find(({ name }) => name !== others) ?? {};
  if (!name || !value || isLoopback(url) || await isExcepted(url, read("NO_PROXY") ?? "")) return "direct";
  return parseProxy(value, name);
}

function parseProxy(value: string, name: string): URL {
  try {
    const proxy = new URL(value.includes("://") ? value : `http://${value}`);
    credentialsOf(proxy);
    if (proxy.hostname && (proxy.protocol === "http:" || proxy.protocol === "https:")) return proxy;
  } catch {
    // The error is the same as for another scheme. It does not quote the value, which may contain a password.
  }
  throw new LatchkeyError("configuration", `Cannot use the proxy in ${name}: it is not an http:// or https:// URL`, {
    remedy: `Set ${name} to http://HOST:PORT, or to http://USER:PASSWORD@HOST:PORT with %XX for special characters`,
  });
}

function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  return host === "localhost" || host.endsWith(".localhost") || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

/** Applies `NO_PROXY`: `*`, or domains, addresses and address ranges, each with an optional port. */
async function isExcepted(url: URL, exceptions: string): Promise<boolean> {
  const host = hostOf(url);
  const port = portOf(url);
  const net = await import("node:net");
  return exceptions.split(/[\s,]+/).filter(Boolean).some((exception) => {
    const [, bracketed, plain, onPort] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(exception) ?? [];
    const name = (bracketed ?? plain ?? exception.replace(/^\[(.*)\]$/, "$1")).toLowerCase();
    if (onPort !== undefined && Number(onPort) !== port) return false;
    return name === "*" || isBelow(host, name) || isInRange(host, name, net);
  });
}

function isBelow(host: string, name: string): boolean {
  const domain = name.replace(/^\*?\./, "");
  return host === domain || (domain !== "" && host.endsWith(`.${domain}`));
}

/** Returns true if an address is in a range such as `10.0.0.0/8`. */
function isInRange(host: string, range: string, { BlockList, isIP }: typeof import("node:net")): boolean {
  const [network = "", length = ""] = range.split("/");
  const family = isIP(host);
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(length)) return false;
  const kind = family === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  if (Number(length) > (family === 6 ? 128 : 32)) return false;
  list.addSubnet(network, Number(length), kind);
  return list.check(host, kind);
}

interface ProxyRelay {
  /** The proxy for Deno's client. */
  readonly proxy: {
    readonly url: string;
    readonly basicAuth: { readonly username: string; readonly password: string };
  };
  /** Returns why the relay could not reach the server or the proxy: the client only sees that its connection ends. */
  failure(): unknown;
  /** Closes the listener. A tunnel that is open stays open: the answer's body comes through it. */
  close(): void;
}

const MAX_HEAD_BYTES = 16 * 1024;
/** Time limit in milliseconds for a client to authenticate, and for a proxy to open the tunnel. */
const LIMIT_MS = 30_000;

/**
 * Opens a SOCKS relay for one connection to one server, with a password that only our client knows. `caCerts` are the
 * authorities to trust if the proxy itself uses TLS.
 */
export function openProxyRelay(
  deno: typeof Deno,
  url: URL,
  { proxy, caCerts }: { readonly proxy: HttpRoute["proxy"]; readonly caCerts: string[] },
): ProxyRelay {
  const listener = deno.listen({ hostname: "127.0.0.1", port: 0 });
  const password = crypto.randomUUID();
  /** Connections without a tunnel. */
  const early = new Set<Deno.Conn>();
  let isOpen = true;
  let isTaken = false;
  let failure: unknown;
  const timer = setTimeout(() => {
    const { host } = proxy instanceof URL ? proxy : url;
    // Not a failure of the network, which would be retried: another 30 seconds.
    failure ??= new LatchkeyError("timed_out", `${host} did not answer within ${LIMIT_MS / 1000} seconds`);
    close();
  }, LIMIT_MS);
  deno.unrefTimer(Number(timer));

  function stopListening(): void {
    if (isOpen) listener.close();
    isOpen = false;
  }
  function close(): void {
    clearTimeout(timer);
    stopListening();
    for (const connection of early) quietly(() => connection.close());
    early.clear();
  }
  async function acceptAll(): Promise<void> {
    while (isOpen) {
      const near = await listener.accept();
      early.add(near);
      // After another client, or one that disconnected, ours may still come.
      void relay(near).catch(() => {}).finally(() => {
        early.delete(near);
        quietly(() => near.close());
      });
    }
  }
  void acceptAll().catch(() => {}); // it was closed

  async function relay(near: Deno.Conn): Promise<void> {
    await admit(near, password);
    if (isTaken) return;
    isTaken = true;
    stopListening();
    const far = await openTunnelByDeno(deno, url, { proxy, caCerts }, (far) => early.add(far)).catch((error) => {
      failure ??= error;
      throw error;
    });
    await writeAll(near, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    clearTimeout(timer);
    for (const connection of [near, far]) early.delete(connection);
    await Promise.all([near.readable.pipeTo(far.writable), far.readable.pipeTo(near.writable)]);
  }

  return {
    proxy: {
      url: `socks5h://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
      basicAuth: { username: "latchkey", password },
    },
    failure: () => failure,
    close,
  };
}

/**
 * Opens a connection to the server of a URL, or to a proxy that connects to it. `onOpen` gets it early, to close it if that takes
 * too long.
 */
export async function openTunnelByDeno(
  deno: typeof Deno,
  url: URL,
  { proxy, caCerts }: { readonly proxy: HttpRoute["proxy"]; readonly caCerts: string[] },
  onOpen: (far: Deno.Conn) => void,
): Promise<Deno.TcpConn | Deno.TlsConn> {
  const isThrough = proxy instanceof URL;
  const place = isThrough ? proxy : url;
  const address = { hostname: hostOf(place), port: portOf(place) };
  const byTls = isThrough && proxy.protocol === "https:";
  const far = await (byTls ? deno.connectTls({ ...address, caCerts }) : deno.connect(address));
  onOpen(far);
  if ("setNoDelay" in far) far.setNoDelay();
  if (!isThrough) return far;
  const target = `${url.hostname}:${portOf(url)}`;
  const authorization = proxyAuthorization(proxy);
  const fields = [`Host: ${target}`, ...(authorization ? [`Proxy-Authorization: ${authorization}`] : [])];
  await writeAll(far, new TextEncoder().encode(`CONNECT ${target} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`));
  const [, status = ""] = /^HTTP\/1\.[01] (\d{3})/.exec(await readHead(far)) ?? [];
  // The messages of Deno's own errors.
  if (status === "407") throw new TypeError("proxy authentication required");
  if (!status.startsWith("2")) throw new TypeError("unsuccessful tunnel");
  return far;
}

/** Authenticates a client (RFC 1928, RFC 1929). Its target is ignored: there is only one. */
async function admit(near: Deno.Conn, password: string): Promise<void> {
  const [version, count = 0] = await readExactly(near, 2);
  if (version !== 5) throw new TypeError("not our client");
  if (!(await readExactly(near, count)).includes(2)) throw new TypeError("not our client");
  await writeAll(near, [5, 2]);
  const [, nameLength = 0] = await readExactly(near, 2);
  await readExactly(near, nameLength);
  const [length = 0] = await readExactly(near, 1);
  if (new TextDecoder().decode(await readExactly(near, length)) !== password) throw new TypeError("not our client");
  await writeAll(near, [1, 0]);
  const [, , , type] = await readExactly(near, 4);
  const addressLength = type === undefined ? undefined : ADDRESS_LENGTHS[type];
  await readExactly(near, (addressLength ?? (await readExactly(near, 1))[0]!) + PORT_LENGTH);
}

/** Bytes of the addresses that do not begin with their length: IPv4 and IPv6 (RFC 1928, 5). */
const ADDRESS_LENGTHS: Readonly<Record<number, number>> = { 1: 4, 4: 16 };
const PORT_LENGTH = 2;

async function readExactly(connection: Deno.Conn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await connection.read(bytes.subarray(at));
    if (!count) throw new TypeError("the connection has ended");
    at += count;
  }
  return bytes;
}

/** Reads byte by byte: what follows the head belongs to the tunnel. */
async function readHead(connection: Deno.Conn): Promise<string> {
  let head = "";
  while (!head.endsWith("\r\n\r\n")) {
    if (head.length >= MAX_HEAD_BYTES) throw new TypeError("unsuccessful tunnel");
    head += String.fromCharCode(...await readExactly(connection, 1));
  }
  return head;
}

async function writeAll(connection: Deno.Conn, data: Uint8Array | readonly number[]): Promise<void> {
  for (let bytes = Uint8Array.from(data); bytes.length > 0;) bytes = bytes.subarray(await connection.write(bytes));
}

function quietly(close: () => void): void {
  try {
    close();
  } catch {
    // It was closed before.
  }
}

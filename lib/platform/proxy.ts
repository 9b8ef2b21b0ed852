/**
 * Which proxy the environment wants for an address: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters
 * as well, which count first. Only loaded when one of them is set.
 *
 * @module
 */
import { BlockList, isIP } from "node:net";
import { LatchkeyError } from "../errors.ts";
import { credentialsOf, hostOf, portOf } from "./http_request.ts";

/** Reads an environment variable. */
export type Variable = (name: string) => string | undefined;

/**
 * The proxy for an address.
 *
 * @param url Where a request goes.
 * @param variable Reads the environment.
 * @returns The proxy's own address; `undefined` when there is none. What is on loopback has none.
 * @throws {LatchkeyError} `configuration` when a variable does not name a proxy that can be used.
 */
export function proxyFor(url: URL, variable: Variable): URL | undefined {
  const read = (name: string) => variable(name.toLowerCase()) ?? variable(name);
  const [name, value] = [url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY", "ALL_PROXY"]
    .map((name) => [name, read(name)] as const)
    .find(([, value]) => value !== undefined) ?? [];
  if (!name || !value || isLoopback(url) || isExcepted(url, read("NO_PROXY") ?? "")) return undefined;
  return parseProxy(value, name);
}

function parseProxy(value: string, name: string): URL {
  try {
    const proxy = new URL(value.includes("://") ? value : `http://${value}`);
    credentialsOf(proxy);
    if (proxy.hostname && (proxy.protocol === "http:" || proxy.protocol === "https:")) return proxy;
  } catch {
    // The same as another scheme. The value is not shown: it may have a password in it.
  }
  throw new LatchkeyError(
    "configuration",
    `Cannot use the proxy that ${name} names: it is no http:// or https:// address`,
    {
      hint: `Set ${name} to http://HOST:PORT, or to http://USER:PASSWORD@HOST:PORT with %XX for special characters`,
    },
  );
}

function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  return host === "localhost" || host.endsWith(".localhost") || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

/** `NO_PROXY`: `*`, or hosts with all below them, addresses and their ranges, each maybe with a port. */
function isExcepted(url: URL, exceptions: string): boolean {
  const host = hostOf(url), port = portOf(url);
  return exceptions.split(/[\s,]+/).filter(Boolean).some((exception) => {
    const [, bracketed, plain, onPort] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(exception) ?? [];
    const name = (bracketed ?? plain ?? exception.replace(/^\[(.*)\]$/, "$1")).toLowerCase();
    if (onPort !== undefined && Number(onPort) !== port) return false;
    return name === "*" || isBelow(host, name) || isInRange(host, name);
  });
}

function isBelow(host: string, name: string): boolean {
  const domain = name.replace(/^\*?\./, "");
  return host === domain || (domain !== "" && host.endsWith(`.${domain}`));
}

/** Whether an address is in a range such as `10.0.0.0/8`. */
function isInRange(host: string, range: string): boolean {
  const [network = "", length = ""] = range.split("/"), family = isIP(host);
  if (family === 0 || isIP(network) !== family || !/^\d{1,3}$/.test(length)) return false;
  const kind = family === 6 ? "ipv6" : "ipv4", list = new BlockList();
  if (Number(length) > (family === 6 ? 128 : 32)) return false;
  list.addSubnet(network, Number(length), kind);
  return list.check(host, kind);
}

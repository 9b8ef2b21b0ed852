/**
 * Who issues the tokens: the authority's URL taken apart.
 *
 * @module
 */
import { ArgumentError } from "./errors.ts";

/** An authority's kind decides whether a broker serves it: brokers know Microsoft Entra ID alone. */
export type AuthorityKind = "entra" | "adfs" | "b2c" | "ciam" | "oidc";

/** An authority's URL, taken apart. */
export interface Authority {
  /** The whole URL, without a slash at its end. */
  readonly url: string;
  /** The URL without its path. */
  readonly origin: string;
  /** The host, with a port only where it is not the default one. */
  readonly host: string;
  /** First segment of the path: `common`, `organizations`, `consumers`, a tenant's id or domain; empty where there is none. */
  readonly tenant: string;
  /** What kind of server stands behind it. */
  readonly kind: AuthorityKind;
}

/** Where apps sign in unless they say otherwise: any work, school or personal account. */
export const DEFAULT_AUTHORITY = "https://login.microsoftonline.com/common";

/** Hosts by cloud, the one that a cloud goes by first: the public one, China, US government, the sovereign ones. */
const CLOUDS: readonly (readonly string[])[] = [
  ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"],
  ["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
  ["login.microsoftonline.us", "login.usgovcloudapi.net"],
  ["login-us.microsoftonline.com"],
  ["login.sovcloud-identity.fr"],
  ["login.sovcloud-identity.de"],
  ["login.sovcloud-identity.sg"],
];
const ENTRA_HOSTS: ReadonlySet<string> = new Set(CLOUDS.flat());

/** Ends of the hosts of Azure AD B2C: the public cloud's, China's, US government's. Germany's cloud was closed in 2021. */
const B2C_SUFFIXES: readonly string[] = [".b2clogin.com", ".b2clogin.cn", ".b2clogin.us"];

/** End of the hosts of Entra External ID. */
const CIAM_SUFFIX = ".ciamlogin.com";

/** Hosts where people sign in to a personal account, or type a device code. */
const SIGN_IN_HOSTS: readonly string[] = ["login.live.com", "microsoft.com", "www.microsoft.com", "aka.ms"];

const LOOPBACK_HOSTS: readonly string[] = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Returns true if a host is this machine.
 *
 * @param hostname The host as `URL.hostname` spells it: lower case, an IPv6 address in brackets, no port.
 */
export function isLoopbackHost(hostname: string): boolean {
  return LOOPBACK_HOSTS.includes(hostname);
}

/**
 * Returns true if Microsoft signs people in at a host.
 *
 * @param hostname The host as `URL.hostname` spells it: lower case, no port.
 */
export function isMicrosoftHost(hostname: string): boolean {
  return ENTRA_HOSTS.has(hostname) || SIGN_IN_HOSTS.includes(hostname) || isCiamHost(hostname) || isB2cHost(hostname);
}

/**
 * Returns true if Microsoft runs an authority's server. A kind proves nothing: anybody's host can have `/adfs` or a B2C policy in
 * its path.
 */
export function isMicrosoftAuthority({ url }: Authority): boolean {
  return isMicrosoftHost(new URL(url).hostname);
}

function isCiamHost(hostname: string): boolean {
  return hostname.endsWith(CIAM_SUFFIX);
}

function isB2cHost(hostname: string): boolean {
  return B2C_SUFFIXES.some((suffix) => hostname.endsWith(suffix));
}

/**
 * Takes an authority's URL apart.
 *
 * @param text An `https:` URL such as `https://login.microsoftonline.com/organizations`.
 * @returns The authority.
 * @throws {TypeError} when it is not a URL, not `https:` (`http:` is taken on loopback), or carries a user name, query or fragment.
 */
export function parseAuthority(text: string): Authority {
  // What stands as a URL parser would write it needs none: to load Deno's takes half a millisecond.
  const [, plainHost, path] =
    /^https:\/\/([a-z0-9-]+(?:\.[a-z0-9-]*[a-z])+)((?:\/[A-Za-z0-9_%-][A-Za-z0-9._%-]*)+)$/.exec(text) ?? [];
  if (plainHost && path) return makeAuthority(`https://${plainHost}`, plainHost, path);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url) throw new ArgumentError(`Cannot use the authority ${JSON.stringify(text)}: it is not a URL`);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopbackHost(url.hostname))) {
    throw new ArgumentError(`Cannot use the authority ${JSON.stringify(text)}: it has to begin with https://`);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new ArgumentError("Cannot use the authority: a user name, query or fragment has no place in it");
  }
  const authority = makeAuthority(url.origin, url.host, url.pathname);
  if (authority.kind === "entra" && !authority.tenant) {
    throw new ArgumentError(
      `Cannot use the authority ${JSON.stringify(text)}: a tenant is missing, as in ${DEFAULT_AUTHORITY}`,
    );
  }
  return authority;
}

function makeAuthority(origin: string, host: string, path: string): Authority {
  const segments = path.split("/").filter(Boolean);
  const kind = authorityKind(host.replace(/:\d+$/, ""), segments);
  // Entra's has the tenant and no more: what people add, such as /v2.0, is of its endpoints.
  const url = [origin, ...kind === "entra" ? segments.slice(0, 1) : segments].join("/");
  return { url, origin, host, tenant: segments[0] ?? "", kind };
}

function authorityKind(host: string, [first = "", second = ""]: readonly string[]): AuthorityKind {
  if (first.toLowerCase() === "adfs") return "adfs";
  if (isCiamHost(host)) return "ciam";
  if (isB2cHost(host) || first.toLowerCase() === "tfp" || /^b2c_1a?_/i.test(second)) return "b2c";
  return ENTRA_HOSTS.has(host) ? "entra" : "oidc";
}

/** Whether it can be a tenant's id or domain. */
export function isTenant(text: string): boolean {
  return /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text);
}

/**
 * The same authority for another tenant.
 *
 * @param authority An Entra authority.
 * @param tenant A tenant's id or domain.
 * @returns The authority of that tenant.
 * @throws {TypeError} when it can be neither.
 */
export function authorityOfTenant(authority: Authority, tenant: string): Authority {
  if (authority.kind !== "entra" && authority.kind !== "ciam") {
    throw new ArgumentError(`Cannot use a tenant: ${authority.url} has none to choose from`);
  }
  if (!isTenant(tenant)) {
    throw new ArgumentError(`Cannot use the tenant ${JSON.stringify(tenant)}: it is neither an id nor a domain`);
  }
  return parseAuthority(`${authority.origin}/${tenant}`);
}

/** The account's own tenant in place of `/common` and `/organizations`. */
export function authorityOfAccount(authority: Authority, account: { readonly realm: string } | undefined): Authority {
  return account?.realm && isMultiTenant(authority) ? authorityOfTenant(authority, account.realm) : authority;
}

/** Where accounts of an environment sign in; in the public cloud where that is none of Microsoft Entra ID's. */
export function authorityOfEnvironment(environment: string): Authority {
  const [host = ""] = environmentAliases(environment);
  return parseAuthority(ENTRA_HOSTS.has(host) ? `https://${host}/common` : DEFAULT_AUTHORITY);
}

/** Whether the authority stands for many tenants, so that a chosen account's own tenant takes its place. */
export function isMultiTenant(authority: Authority): boolean {
  return authority.kind === "entra" && ["common", "organizations"].includes(authority.tenant.toLowerCase());
}

/**
 * All names of a cloud, the one that it goes by first.
 *
 * @param host Host of an authority, or of an account's environment.
 * @returns The host alone when it is not Microsoft Entra ID's.
 */
export function environmentAliases(host: string): readonly string[] {
  const name = host.toLowerCase();
  return CLOUDS.find((cloud) => cloud.includes(name)) ?? [name];
}

/**
 * What accounts of an authority are told apart by from those of others: an OpenID provider's ids mean nothing to another one,
 * which can be on the same host.
 */
export function environmentOf({ kind, host, url }: Authority): string {
  return kind === "oidc" ? url.replace(/^https?:\/\//, "").toLowerCase() : environmentAliases(host)[0]!;
}

/**
 * Authorities, the clouds that they belong to, and their client ids.
 *
 * @module
 */
import { isGuid } from "./encoding.ts";
import { ArgumentError } from "./errors.ts";

/** Kind of an authority's server. Brokers serve Microsoft Entra ID only. */
export type AuthorityKind = "entra" | "adfs" | "b2c" | "ciam" | "oidc";

/** An authority and the parts of its URL. */
export interface Authority {
  /** The whole URL, without a slash at its end. */
  readonly url: string;
  readonly origin: string;
  /** The host, with the port if it is not the default. */
  readonly host: string;
  /** First segment of the path: `common`, `organizations`, `consumers`, a tenant's id or domain; empty if the path is empty. */
  readonly tenant: string;
  readonly kind: AuthorityKind;
}

/** Default authority: any work, school or personal account. */
export const DEFAULT_AUTHORITY = "https://login.microsoftonline.com/common";

/** Hosts by cloud, the preferred one first: public, China, US government, the sovereign clouds. */
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

/** Suffixes of the hosts of Azure AD B2C: public, China, US government. Germany's cloud was closed in 2021. */
const B2C_SUFFIXES: readonly string[] = [".b2clogin.com", ".b2clogin.cn", ".b2clogin.us"];

/** Suffix of the hosts of Entra External ID. */
export const CIAM_SUFFIX = ".ciamlogin.com";

/** Host where people sign in to a personal account. */
export const PERSONAL_ACCOUNTS_HOST = "login.live.com";
/** Hosts where people sign in to a personal account, or enter a device code. */
const SIGN_IN_HOSTS: readonly string[] = [PERSONAL_ACCOUNTS_HOST, "microsoft.com", "www.microsoft.com", "aka.ms"];

/** Returns true if a host is this machine, as `URL.hostname` spells it: lower case, an IPv6 address in brackets, no port. */
export function isLoopbackHost(hostname: string): boolean {
  return ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
}

/**
 * Last labels of names that no public server has (RFC 6761, RFC 6762, RFC 8375), and that private networks, Kubernetes, Consul
 * and Docker use. The root zone has none of them.
 */
const PRIVATE_LABELS: ReadonlySet<string> = new Set([
  ...["localhost", "localdomain", "local", "internal", "intranet", "intra", "private", "corp", "home", "lan", "mail"],
  ...["domain", "workgroup", "dhcp", "router", "gateway", "arpa", "test", "example", "invalid", "onion", "alt"],
  ...["svc", "pod", "cluster", "consul", "nomad", "docker", "lxd", "incus"],
]);

/**
 * Returns true if a host, as `URL.hostname` spells it, can be a public server: a name of at least two labels that is not for
 * private networks. IP addresses, in all their spellings, are not. It looks no name up.
 */
export function isPublicHost(hostname: string): boolean {
  const labels = hostname.replace(/\.$/, "").split(".");
  const last = labels.at(-1)!;
  return labels.length > 1 && labels.every((label) => /^[a-z\d_-]+$/.test(label)) && /^[a-z]/.test(last) &&
    !PRIVATE_LABELS.has(last);
}

/** Returns true if a URL is `https:`, or `http:` on loopback. */
export function isHttpsOrLoopback({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || protocol === "http:" && isLoopbackHost(hostname);
}

/** Returns true if Microsoft signs people in at a host, as `URL.hostname` spells it. */
export function isMicrosoftHost(hostname: string): boolean {
  return ENTRA_HOSTS.has(hostname) || SIGN_IN_HOSTS.includes(hostname) || hostname.endsWith(CIAM_SUFFIX) ||
    isB2cHost(hostname);
}

function isB2cHost(hostname: string): boolean {
  return B2C_SUFFIXES.some((suffix) => hostname.endsWith(suffix));
}

/**
 * Returns the authority of a URL.
 *
 * @param text An `https:` URL such as `https://login.microsoftonline.com/organizations`.
 * @throws {TypeError} if it is not a URL, is not `https:` (or `http:` on loopback), or has a user name, query or fragment.
 */
export function parseAuthority(text: string): Authority {
  // A normalized URL needs no parser: to load Deno's takes half a millisecond.
  const [, plainHost, path] =
    /^https:\/\/([a-z0-9-]+(?:\.[a-z0-9-]*[a-z])+)((?:\/[A-Za-z0-9_%-][A-Za-z0-9._%-]*)+)$/.exec(text) ?? [];
  if (plainHost && path) return makeAuthority(`https://${plainHost}`, plainHost, path);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const refused = `Cannot use the authority ${JSON.stringify(text)}`;
  if (!url) throw new ArgumentError(`${refused}: it is not a URL`);
  if (!isHttpsOrLoopback(url)) throw new ArgumentError(`${refused}: it has to begin with https://`);
  if (url.username || url.password || url.search || url.hash) {
    throw new ArgumentError("Cannot use the authority: it has a user name, a query or a fragment");
  }
  const authority = makeAuthority(url.origin, url.host, url.pathname);
  if (authority.kind === "entra" && !authority.tenant) {
    throw new ArgumentError(`${refused}: a tenant is missing, as in ${DEFAULT_AUTHORITY}`);
  }
  return authority;
}

function makeAuthority(origin: string, host: string, path: string): Authority {
  const segments = path.split("/").filter(Boolean);
  const kind = authorityKind(host.replace(/:\d+$/, ""), segments);
  // Entra's has only the tenant: what people add, such as /v2.0, belongs to its endpoints.
  const url = [origin, ...kind === "entra" ? segments.slice(0, 1) : segments].join("/");
  return { url, origin, host, tenant: segments[0] ?? "", kind };
}

function authorityKind(host: string, [first = "", second = ""]: readonly string[]): AuthorityKind {
  if (first.toLowerCase() === "adfs") return "adfs";
  if (host.endsWith(CIAM_SUFFIX)) return "ciam";
  // As in MSAL: the path reveals B2C at a custom domain. This decides on metadata and the broker, not on trust.
  if (isB2cHost(host) || first.toLowerCase() === "tfp" || /^b2c_1a?_/i.test(second)) return "b2c";
  return ENTRA_HOSTS.has(host) ? "entra" : "oidc";
}

/** Returns true if a text can be a tenant's id or domain. */
export function isTenant(text: string): boolean {
  return /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text);
}

/** Returns the authority of another tenant at the same host. Only Entra ID and Entra External ID have tenants. */
export function authorityOfTenant(authority: Authority, tenant: string): Authority {
  if (authority.kind !== "entra" && authority.kind !== "ciam") {
    throw new ArgumentError(`Cannot use a tenant: ${authority.url} has none to choose from`);
  }
  if (!isTenant(tenant)) {
    throw new ArgumentError(`Cannot use the tenant ${JSON.stringify(tenant)}: it is neither an id nor a domain`);
  }
  return parseAuthority(`${authority.origin}/${tenant}`);
}

/** Returns the authority of an account's own tenant in place of `/common` and `/organizations`. */
export function authorityOfAccount(authority: Authority, account: { readonly realm: string } | undefined): Authority {
  return account?.realm && isMultiTenant(authority) ? authorityOfTenant(authority, account.realm) : authority;
}

/** Returns the authority for accounts of an environment; that of the public cloud if it is not Microsoft Entra ID's. */
export function authorityOfEnvironment(environment: string): Authority {
  const [host = ""] = environmentAliases(environment);
  return parseAuthority(ENTRA_HOSTS.has(host) ? `https://${host}/common` : DEFAULT_AUTHORITY);
}

/** Returns true if an authority stands for many tenants: an account's own tenant replaces it. */
export function isMultiTenant(authority: Authority): boolean {
  return authority.kind === "entra" && ["common", "organizations"].includes(authority.tenant.toLowerCase());
}

/** Returns the tenant of an authority, if it stands for one. */
export function realmOf(authority: Authority): string | undefined {
  const { kind, tenant } = authority;
  return kind === "entra" && !isMultiTenant(authority) && tenant !== "consumers" ? tenant : undefined;
}

/** Returns all hosts of a host's cloud, the preferred one first; only the host itself if it is not Microsoft Entra ID's. */
export function environmentAliases(host: string): readonly string[] {
  const name = environmentKey(host);
  return CLOUDS.find((cloud) => cloud.includes(name)) ?? [name];
}

/** Returns an environment in a form that can be compared: the host in lower case. An issuer's path is case-sensitive. */
export function environmentKey(environment: string): string {
  return environment.replace(/^[^/]+/, (host) => host.toLowerCase());
}

/**
 * Returns true if Microsoft signs people in at an authority, so that its claims about Microsoft's tenants are trusted. A path
 * that looks like Azure AD B2C's is no proof: any host can have it, not only a custom domain of B2C.
 */
export function isMicrosoftAuthority({ kind, host }: Authority): boolean {
  return kind !== "oidc" && kind !== "adfs" && isMicrosoftHost(host.replace(/:\d+$/, ""));
}

/** Returns true if a refresh token of an authority may be used again after a renewal. */
export function mayReuseRefreshTokens(authority: Authority): boolean {
  return authority.kind === "adfs" || isMicrosoftAuthority(authority);
}

/**
 * Returns the environment of an authority's accounts. Outside Microsoft's authorities it is the issuer's URL, as several
 * providers can share a host and their ids are unrelated.
 */
export function environmentOf(authority: Authority): string {
  const { kind, host, url } = authority;
  return isMicrosoftAuthority(authority) || kind === "adfs"
    ? environmentAliases(host)[0]!
    : url.replace(/^https?:\/\//, "");
}

/**
 * Checks a client id. Microsoft's are GUIDs; another provider chooses the form of its own.
 *
 * @throws {TypeError} if it is missing, or is not one of the authority's.
 */
export function checkClientId(clientId: unknown, authority: Authority): void {
  if (typeof clientId !== "string" || !clientId.trim()) {
    throw new ArgumentError("Cannot make an application: clientId is missing");
  }
  if (isGuid(clientId) || !isMicrosoftAuthority(authority)) return;
  throw new ArgumentError(
    `Cannot make an application: clientId must be a GUID at ${authority.url}, not ${JSON.stringify(clientId)}: ` +
      "pass the Application (client) ID of the app registration",
  );
}

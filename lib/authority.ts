/**
 * Authorities, the clouds that they belong to, and their client ids and redirect URIs.
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

/** A way to sign in, by the receiver of Microsoft Entra ID's response. */
export type SignInWay = "windows" | "wsl" | "macos" | "linux" | "browser";

/** A redirect URI, and the ways to sign in that use it. */
export interface RedirectUri {
  /** The URI, to be registered exactly as it is for mobile and desktop applications. */
  readonly uri: string;
  /** The brokers that sign in with it, by platform; `browser`: the sign-in without a broker. */
  readonly ways: readonly SignInWay[];
}

/** Redirect URI of the broker on Linux. WSL's broker is passed it too, although another one has to be registered there. */
export const NATIVE_CLIENT_URI = "https://login.microsoftonline.com/common/oauth2/nativeclient";
/** Redirect URI of the broker on macOS, for programs that Apple has not signed. */
export const UNSIGNED_APP_URI = "msauth.com.msauth.unsignedapp://auth";

/** Returns the redirect URI of the Windows broker (Web Account Manager), on Windows and from WSL. */
export function brokerPluginUri(clientId: string): string {
  return `ms-appx-web://Microsoft.AAD.BrokerPlugin/${clientId}`;
}

/**
 * Returns the path that distinguishes an authority in a redirect URI: the authority's URL without its scheme. Characters other
 * than letters, digits, `.`, `_`, `-` and `/` are written as `~` and their hexadecimal code, so that no two authorities share a
 * path.
 *
 * @param authority URL of the authority.
 * @throws {TypeError} if the authority is invalid.
 *
 * @example A web app's redirect URI for one of several providers
 * ```ts
 * import { redirectPath } from "@latchkey/latchkey/web";
 *
 * const redirectUri = "https://app.contoso.com/signed-in" + redirectPath("https://id.contoso.com/realms/main");
 * console.log(redirectUri); // https://app.contoso.com/signed-in/id.contoso.com/realms/main
 * ```
 */
export function redirectPath(authority: string): string {
  return pathOf(parseAuthority(authority));
}

function pathOf({ url }: Authority): string {
  const escaped = (character: string) => `~${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return `/${url.replace(/^https?:\/\//, "").replaceAll(/[^A-Za-z0-9._/-]/g, escaped)}`;
}

/**
 * Returns the redirect URI of the browser at this machine: `http://localhost` for Microsoft's authorities. All others have
 * `http://127.0.0.1` and a path, which Microsoft Entra ID refuses for its own apps.
 *
 * @param options `port`: none in a registration; `redirectPath`: that of the caller if the authority is not Microsoft's.
 */
export function loopbackRedirectUri(
  authority: Authority,
  { port, redirectPath = pathOf(authority) }: { port?: number | undefined; redirectPath?: string | undefined } = {},
): string {
  const suffix = port === undefined ? "" : `:${port}`;
  return isMicrosoftAuthority(authority) ? `http://localhost${suffix}` : `http://127.0.0.1${suffix}${redirectPath}`;
}

/**
 * Checks the path that a caller chose for the browser's redirect URI.
 *
 * @throws {TypeError} if it is not the path of a URL, or only slashes: only Microsoft's apps have a redirect URI without a path.
 */
export function checkRedirectPath(path: unknown): void {
  if (path === undefined) return;
  const isPath = typeof path === "string" && /^\/[\w.~!$&'()*+,;=:@%/-]+$/.test(path) &&
    path.replaceAll("/", "") !== "";
  if (isPath && new URL(`http://127.0.0.1${path}`).pathname === path) return;
  throw new ArgumentError(
    `Cannot use the redirect path ${JSON.stringify(path)}: it has to be a path such as /signed-in`,
  );
}

/** Returns true if an address equals a redirect URI in scheme, host, port and path. Its query and fragment are the response's. */
export function isAtRedirectUri(address: string | URL, redirectUri: string): boolean {
  if (!URL.canParse(address) || !URL.canParse(redirectUri)) return false;
  const [one, other] = [new URL(address), new URL(redirectUri)];
  for (const url of [one, other]) url.search = url.hash = "";
  return one.href === other.href;
}

/** Returns the redirect URI to register so that another is accepted: on loopback any port is (RFC 8252, 7.3). */
export function uriToRegister(redirectUri: string): string {
  const { protocol, hostname } = new URL(URL.canParse(redirectUri) ? redirectUri : "about:blank");
  if (protocol !== "http:" || !isLoopbackHost(hostname)) return redirectUri;
  return redirectUri.replace(/^(http:\/\/[^/?#]+?):\d+(?=\/|$)/, "$1");
}

/** Options of {@linkcode redirectUris}. */
export interface RedirectUriOptions {
  /** URL of the authority. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string | undefined;
  /** The app's `redirectPath`. @default the authority's own path */
  readonly redirectPath?: string | undefined;
}

/**
 * Returns the redirect URIs that an app has to register to sign people in on every platform, with and without a broker. At an
 * authority that is not Microsoft's, only the browser needs one.
 *
 * @param clientId Application (client) id of the app registration.
 * @param options The authority, if it is not Microsoft's.
 * @returns The URIs. An app needs those of its platforms, and the browser's.
 * @throws {TypeError} if the authority or the path is invalid.
 *
 * @example The redirect URIs to register
 * ```ts
 * import { redirectUris } from "@latchkey/latchkey";
 *
 * for (const { uri, ways } of redirectUris("11111111-2222-4333-8444-555555555555")) console.log(uri, ways.join(", "));
 * ```
 */
export function redirectUris(
  clientId: string,
  { authority = DEFAULT_AUTHORITY, redirectPath }: RedirectUriOptions = {},
): readonly RedirectUri[] {
  checkRedirectPath(redirectPath);
  const parsed = parseAuthority(authority);
  const browser: RedirectUri = { uri: loopbackRedirectUri(parsed, { redirectPath }), ways: ["browser"] };
  if (!isMicrosoftAuthority(parsed)) return [browser];
  return [
    { uri: brokerPluginUri(clientId), ways: ["windows", "wsl"] },
    { uri: UNSIGNED_APP_URI, ways: ["macos"] },
    { uri: NATIVE_CLIENT_URI, ways: ["linux"] },
    browser,
  ];
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

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
export const CIAM_SUFFIX = ".ciamlogin.com";

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

/** Returns true if a URL is `https:`, or `http:` on loopback. */
export function isHttpsOrLoopback({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || protocol === "http:" && isLoopbackHost(hostname);
}

/**
 * Returns true if Microsoft signs people in at a host.
 *
 * @param hostname The host as `URL.hostname` spells it: lower case, no port.
 */
export function isMicrosoftHost(hostname: string): boolean {
  return ENTRA_HOSTS.has(hostname) || SIGN_IN_HOSTS.includes(hostname) || isCiamHost(hostname) || isB2cHost(hostname);
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
  // As MSAL: B2C can have a domain of its own, which its path tells. That decides on metadata and the broker, not on trust.
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
  const name = environmentKey(host);
  return CLOUDS.find((cloud) => cloud.includes(name)) ?? [name];
}

/** Returns an environment such that equal ones are the same text: a host compares without case, an issuer's path does not. */
export function environmentKey(environment: string): string {
  return environment.replace(/^[^/]+/, (host) => host.toLowerCase());
}

/**
 * Returns true if Microsoft signs people in at an authority, so that its word on who they are in Microsoft's tenants counts.
 * A path that looks like Azure AD B2C's is no proof: any host can have it, and so can a custom domain of B2C.
 */
export function isMicrosoftAuthority({ kind, host }: Authority): boolean {
  return kind !== "oidc" && kind !== "adfs" && isMicrosoftHost(host.replace(/:\d+$/, ""));
}

/**
 * Returns the environment of an authority's accounts. Outside Microsoft's authorities it is the issuer's URL: a provider's ids
 * mean nothing to another provider, which can be on the same host.
 */
export function environmentOf(authority: Authority): string {
  const { kind, host, url } = authority;
  return isMicrosoftAuthority(authority) || kind === "adfs"
    ? environmentAliases(host)[0]!
    : url.replace(/^https?:\/\//, "");
}

/** A way to sign in, by what Microsoft Entra ID sends the answer to. */
export type SignInWay = "windows" | "wsl" | "macos" | "linux" | "browser";

/** A redirect URI, and what it is for. */
export interface RedirectUri {
  /** To be registered, to the letter, for mobile and desktop applications. */
  readonly uri: string;
  /** The brokers that sign in with it, by platform; `browser`: the sign-in without a broker. */
  readonly ways: readonly SignInWay[];
}

/** The broker's on Linux. It is what brokers are told on WSL as well, where another one has to be registered. */
export const NATIVE_CLIENT_URI = "https://login.microsoftonline.com/common/oauth2/nativeclient";
/** The broker's on macOS, for programs that Apple has not signed. */
export const UNSIGNED_APP_URI = "msauth.com.msauth.unsignedapp://auth";

/** The one of Windows' broker (Web Account Manager), on Windows and from WSL. */
export function brokerPluginUri(clientId: string): string {
  return `ms-appx-web://Microsoft.AAD.BrokerPlugin/${clientId}`;
}

/**
 * Returns the path that tells an authority from all others in a redirect URI: the authority's URL without its scheme. What is not a
 * letter, a digit, `.`, `_`, `-` or `/` is written as `~` and its hexadecimal digits, so that no two authorities have one path.
 *
 * @param authority The authority's URL.
 * @throws {TypeError} if it is no authority.
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

/** Parts of the browser's redirect URI that a caller can choose. */
interface LoopbackRedirectOptions {
  /** The port. @default none, as in a registration */
  readonly port?: number | undefined;
  /** The path, where the authority is not Microsoft's. @default {@linkcode redirectPath} */
  readonly redirectPath?: string | undefined;
}

/**
 * Returns the redirect URI of the browser at this machine: `http://localhost` for Microsoft's authorities. All others have
 * `http://127.0.0.1` and a path, which Microsoft Entra ID refuses for its own apps.
 */
export function loopbackRedirectUri(
  authority: Authority,
  { port, redirectPath = pathOf(authority) }: LoopbackRedirectOptions = {},
): string {
  const suffix = port === undefined ? "" : `:${port}`;
  return isMicrosoftAuthority(authority) ? `http://localhost${suffix}` : `http://127.0.0.1${suffix}${redirectPath}`;
}

/**
 * Checks the path that a caller chose for the browser's redirect URI.
 *
 * @throws {TypeError} if it is not the path of a URL, or only a slash: apps of Microsoft's have `http://127.0.0.1` without a path.
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

/**
 * Returns true if an address is a redirect URI: scheme, host, port and path. Query and fragment are the answer's.
 *
 * @param address The address that the answer came to.
 * @param redirectUri The redirect URI that was sent.
 */
export function isAtRedirectUri(address: string | URL, redirectUri: string): boolean {
  if (!URL.canParse(address) || !URL.canParse(redirectUri)) return false;
  const [one, other] = [address, redirectUri].map((text) => {
    const url = new URL(text);
    [url.search, url.hash] = ["", ""];
    return url.href;
  });
  return one === other;
}

/**
 * Returns what has to be registered for a redirect URI to be taken: on loopback any port is (RFC 8252, 7.3).
 *
 * @param redirectUri The one that was sent.
 */
export function uriToRegister(redirectUri: string): string {
  return redirectUri.replace(/^(http:\/\/(?:localhost|127\.0\.0\.1)):\d+(?=\/|$)/, "$1");
}

/** The authority that redirect URIs are registered at. */
export interface RedirectUriOptions {
  /** URL of the authority. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string | undefined;
  /** The app's `redirectPath`. @default the authority's own path */
  readonly redirectPath?: string | undefined;
}

/**
 * Returns the redirect URIs that an app has to have registered to sign people in on every platform, with a broker and without. At
 * an authority that is not Microsoft's it is the browser's alone.
 *
 * @param clientId Application (client) id of the app registration.
 * @param options The authority, if it is not Microsoft's.
 * @returns The URIs. An app needs those of its own platforms, and the browser's.
 * @throws {TypeError} if the authority or the path is invalid.
 *
 * @example Telling a person what to register
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

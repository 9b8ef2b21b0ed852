/**
 * Redirect URIs: of the brokers by platform, and of the browser on loopback.
 *
 * @module
 */
import {
  type Authority,
  DEFAULT_AUTHORITY,
  isLoopbackHost,
  isMicrosoftAuthority,
  parseAuthority,
} from "./authority.ts";
import { ArgumentError } from "./errors.ts";

/** A way to sign in, by the receiver of Microsoft Entra ID's response. */
export type SignInWay = "windows" | "wsl" | "macos" | "linux" | "browser";

/** A redirect URI, and the ways to sign in that use it. */
export interface RedirectUri {
  /** The URI, to be registered exactly as it is for mobile and desktop applications. */
  readonly uri: string;
  /** The brokers that sign in with it, by platform; `browser`: the sign-in without a broker. */
  readonly ways: readonly SignInWay[];
}

/** Redirect URI of the broker on Linux. WSL's broker is passed it too, although another one must be registered there. */
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
 * Returns the redirect URIs that an app must register to sign users in on every platform, with and without a broker. At an
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

/**
 * Redirect URIs that an app registration has to have, each for a way to sign in.
 *
 * An authority could redirect its own sign-in page on to another authority, and would get that one's code if both sent the browser
 * back to one address (RFC 9700, 4.4). So each authority that is not Microsoft's has a redirect URI of its own (RFC 8252, 8.10).
 *
 * @module
 */
import { type Authority, DEFAULT_AUTHORITY, isMicrosoftAuthority, parseAuthority } from "./authority.ts";
import { ArgumentError } from "./errors.ts";

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
export interface LoopbackRedirectOptions {
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

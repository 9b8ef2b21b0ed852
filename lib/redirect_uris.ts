/**
 * Redirect URIs that an app registration has to have, each for a way to sign in.
 *
 * @module
 */

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
 * What has to be registered for a redirect URI to be taken: of `http://localhost` any port is (RFC 8252, 7.3).
 *
 * @param redirectUri The one that was sent.
 */
export function uriToRegister(redirectUri: string): string {
  return redirectUri.replace(/^(http:\/\/localhost):\d+(?=\/|$)/, "$1");
}

/**
 * The redirect URIs that an app has to have registered to sign people in on every platform, with a broker and without.
 *
 * @param clientId Application (client) id of the app registration.
 * @returns The URIs. An app needs those of its own platforms, and the browser's.
 *
 * @example Telling a person what to register
 * ```ts
 * import { redirectUris } from "@latchkey/latchkey";
 *
 * for (const { uri, ways } of redirectUris("11111111-2222-4333-8444-555555555555")) console.log(uri, ways.join(", "));
 * ```
 */
export function redirectUris(clientId: string): readonly RedirectUri[] {
  return [
    { uri: brokerPluginUri(clientId), ways: ["windows", "wsl"] },
    { uri: UNSIGNED_APP_URI, ways: ["macos"] },
    { uri: NATIVE_CLIENT_URI, ways: ["linux"] },
    { uri: "http://localhost", ways: ["browser"] },
  ];
}

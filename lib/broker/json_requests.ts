/**
 * Requests in the JSON that brokers speak. Pure.
 *
 * @module
 */
import { NATIVE_CLIENT_URI } from "../redirect_uris.ts";
import { type PopScheme, RESERVED_SCOPES } from "../request.ts";
import type { BrokerInteractiveRequest, BrokerTokenRequest } from "./broker.ts";
import { isObject, type JsonObject, text } from "../json_values.ts";
import { readWindow } from "./json_window.ts";

/** Ways to a token, by the numbers of `authorizationType`. */
const SILENT = 1, INTERACTIVE = 6, SSO_COOKIE = 8;
/** A cookie is for no resource; the request for one names this, as the browsers' does. */
const SCOPE_OF_COOKIES = "https://graph.microsoft.com/.default";
/** What a broker is told of the asking client: the version of Microsoft's whose requests ours are like. */
const CLIENT_VERSION = "0.20.7";
/** MSALRuntime's status for a sign-in that was cancelled. */
const USER_CANCELED = 7;

/** Request of `getAccounts`. Microsoft's client sends the client id for the redirect URI as well. */
export function accountsRequest(clientId: string): string {
  return JSON.stringify({ clientId, redirectUri: clientId });
}

/** Request of `getLinuxBrokerVersion`. */
export function versionRequest(): string {
  return JSON.stringify({ msalCppVersion: CLIENT_VERSION });
}

/**
 * Request of `acquireTokenSilently`.
 *
 * @param clientId The app.
 * @param request What is asked for.
 * @param account The chosen account as the broker gave it; without it the account that is signed in to the device is meant.
 */
export function silentRequest(clientId: string, request: BrokerTokenRequest, account: JsonObject | undefined): string {
  const authParameters = authParametersOf(clientId, request, account, SILENT);
  // The first himmelblau releases, known by accounts without an environment, look for the account at the root. A null
  // there would hide the one below from later ones.
  return JSON.stringify(account && !account.environment ? { account, authParameters } : { authParameters });
}

/** Request of `acquireTokenInteractively`; `account` as with {@linkcode silentRequest}. */
export function interactiveRequest(
  clientId: string,
  request: BrokerInteractiveRequest,
  account: JsonObject | undefined,
): string {
  const window = readWindow(request.parentWindowHandle);
  const authParameters = {
    ...authParametersOf(clientId, request, account, INTERACTIVE),
    parentWindow: "id" in window ? { handle: window.id } : window,
  };
  return JSON.stringify({
    ...(account && !account.environment && { account }),
    authParameters,
    ...("id" in window ? { parentWindowHandle: window.id } : { parentWindowExportedHandle: window.exportedHandle }),
  });
}

/** Request of `cancelInteractiveFlow`, as Microsoft's client words it. */
export function cancelRequest(): string {
  const context = "The InteractiveRequest was canceled on behalf of the user";
  return JSON.stringify({
    error: { context, status: USER_CANCELED, subStatus: 0, errorCode: 0, tag: 0, diagnostics: null },
  });
}

/** Request of `removeAccount`. */
export function removeAccountRequest(clientId: string, account: JsonObject): string {
  return JSON.stringify({ clientId, account });
}

/** Request of `acquirePrtSsoCookie`: for the host of `url`. */
export function cookieRequest(
  clientId: string,
  request: BrokerTokenRequest & { readonly url: string },
  account: JsonObject,
): string {
  const { url: ssoUrl } = request, cookie = { ...request, scopes: [SCOPE_OF_COOKIES] };
  const authParameters = { ...authParametersOf(clientId, cookie, account, SSO_COOKIE), ssoUrl };
  return JSON.stringify({ account, authParameters, mamEnrollment: false, ssoUrl });
}

/** Request of `generateSignedHttpRequest`. */
export function signedHttpRequestRequest(clientId: string, scheme: PopScheme, homeAccountId: string): string {
  return JSON.stringify({ clientId, popParams: popParameters(scheme, homeAccountId) });
}

/** The same with nothing to sign: a broker that knows the method says what is missing. */
export function emptySignedHttpRequestRequest(clientId: string): string {
  return JSON.stringify({ clientId, popParams: {} });
}

function authParametersOf(
  clientId: string,
  request: BrokerTokenRequest,
  account: JsonObject | undefined,
  authorizationType: number,
): JsonObject {
  const homeAccountId = text(account?.homeAccountId) ?? request.account?.homeAccountId ?? "";
  return {
    accessTokenToRenew: request.accessTokenToRenew ?? "",
    account: account ?? null,
    additionalQueryParametersForAuthorization: request.extraParameters ?? {},
    authority: request.authority.url,
    authorizationType,
    clientId,
    decodedClaims: request.claims ?? "",
    enrollmentId: "",
    isTestMode: false,
    password: "",
    popParams: request.pop ? popParameters(request.pop, homeAccountId) : null,
    redirectUri: NATIVE_CLIENT_URI, // on every platform of this dialect; others are registered, never sent
    requestedScopes: request.scopes.filter((scope) => !RESERVED_SCOPES.includes(scope)),
    username: text(isObject(account) ? account.username : undefined) ?? request.loginHint ?? "",
    uxContextHandle: -1,
    ...(!account && { isSignIn: true }),
  };
}

function popParameters({ method, url, nonce = "" }: PopScheme, homeAccountId: string): JsonObject {
  const { host, pathname } = new URL(url);
  return { clientClaims: "", homeAccountId, httpMethod: method, nonce, uriHost: host, uriPath: pathname };
}

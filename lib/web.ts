/**
 * Microsoft Entra ID, or another OpenID provider, for web apps and for workers on the edge: sign-in in two requests, renewal,
 * and a memory cache. This entry needs only web APIs of the runtime.
 *
 * @example A web app's sign-in
 * ```ts
 * import { type AuthCodeFlow, WebApplication } from "@latchkey/latchkey/web";
 *
 * const app = new WebApplication({ clientId: "11111111-2222-4333-8444-555555555555" });
 *
 * async function begin(): Promise<AuthCodeFlow> {
 *   const redirectUri = "https://app.contoso.com/signed-in";
 *   return await app.initiateAuthCodeFlow({ scopes: ["User.Read"], redirectUri, responseMode: "query" });
 * }
 *
 * async function end(flow: AuthCodeFlow, request: Request): Promise<string> {
 *   const { searchParams } = new URL(request.url);
 *   const { account } = await app.acquireTokenByAuthCodeFlow(flow, searchParams, { redirectUri: request.url });
 *   return account.homeAccountId;
 * }
 * ```
 *
 * @module
 */
import { type AccountInfo, checkAccount } from "./account.ts";
import { checkClientId, DEFAULT_AUTHORITY, environmentOf, parseAuthority } from "./authority.ts";
import { type CacheStore, memoryStore } from "./cache/store.ts";
import { TokenCache } from "./cache/token_cache.ts";
import { checkCapabilities } from "./claims.ts";
import { checkRuntime, isInteractionRequired, LatchkeyError, type Logger } from "./errors.ts";
import type { AuthCodeFlow, AuthorizationFlow } from "./oauth/authorization_code.ts";
import type { Fetch } from "./oauth/bounded_fetch.ts";
import {
  type AccountFilter,
  type AuthCodeFlowRequest,
  checkCall,
  checkOptions,
  checkRequest,
  type OptionNames,
  type RequestOptions,
  type SilentRequest,
  tokenQuery,
} from "./request.ts";
import { type FinishOptions, ProviderSource } from "./sources/provider.ts";
import type { AuthenticationResult } from "./token.ts";

export { redirectPath } from "./redirect_uris.ts";
export { type CacheCall, type CacheStore, memoryStore } from "./cache/store.ts";
export {
  ArgumentError,
  type BrokerErrorDetails,
  LatchkeyError,
  type LatchkeyErrorCode,
  type LatchkeyErrorDetails,
  type Logger,
  type LogLevel,
} from "./errors.ts";
export type { Remedy, RemedyContext, RequestParameter } from "./remedies.ts";
export type { PopScheme, Prompt, SignInOptions, TokenRequest, WindowHandle } from "./request.ts";
export type {
  AccountInfo,
  AuthCodeFlow,
  AuthCodeFlowRequest,
  AuthenticationResult,
  AuthorizationFlow,
  Fetch,
  FinishOptions,
  RequestOptions,
  SilentRequest,
};

/** Options of {@linkcode WebApplication}. */
export interface WebApplicationOptions {
  /** Application (client) id of the app registration. */
  readonly clientId: string;
  /** URL of the authority. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** Capabilities of the app, such as `cp1` for continuous access evaluation. @default [] */
  readonly clientCapabilities?: readonly string[];
  /** Store of the tokens. @default in memory, for this object */
  readonly cache?: CacheStore;
  /** Function that sends requests. @default globalThis.fetch */
  readonly fetch?: Fetch;
  /** Function that receives log lines. @default none */
  readonly logger?: Logger;
  /** Current time, in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

const WEB_APPLICATION: OptionNames<WebApplicationOptions> = {
  ...{ clientId: true, authority: true, clientCapabilities: true, cache: true, fetch: true, logger: true, now: true },
};
const ACCOUNT_FILTER: OptionNames<Omit<AccountFilter, "includeSignedOut">> = {
  ...{ correlationId: true, signal: true, username: true },
};

/**
 * An app that signs people in over the web: a public client, without a secret. It has the tokens of all who signed in: the
 * person's session decides which account a request may use. On the edge, where requests cannot wait for each other's promises,
 * make one for each request, and let them share a store.
 *
 * Authorities may share a redirect URI if each of them is Microsoft's or names itself in its responses (RFC 9207). Any other one
 * needs a redirect URI that ends in its {@linkcode redirectPath}: otherwise it could get the codes of the authorities that it
 * shares one with (the mix-up attack, RFC 9700, 4.4).
 *
 * Microsoft Entra ID requires a client secret for redirect URIs of the platform "Web": register this app's for "Mobile and
 * desktop applications".
 *
 * @example A token for the person of a session
 * ```ts
 * import { memoryStore, WebApplication } from "@latchkey/latchkey/web";
 *
 * const app = new WebApplication({ clientId: "11111111-2222-4333-8444-555555555555", cache: memoryStore() });
 *
 * async function tokenOf(homeAccountId: string): Promise<string | undefined> {
 *   const account = (await app.getAccounts()).find((account) => account.homeAccountId === homeAccountId);
 *   return account && (await app.acquireTokenSilent({ scopes: ["User.Read"], account }))?.accessToken;
 * }
 * ```
 */
export class WebApplication {
  readonly #app: Parameters<typeof tokenQuery>[1];
  readonly #logger: Logger | undefined;
  readonly #cache: TokenCache;
  readonly #provider: ProviderSource;

  /**
   * Makes an application.
   *
   * @param options Options of the application. Nothing is requested before the first call.
   * @throws {TypeError} if an option does not exist, or `clientId`, `authority` or `clientCapabilities` is invalid.
   */
  constructor(options: WebApplicationOptions) {
    const { clientId, cache: store = memoryStore(), fetch, logger, now = Date.now, clientCapabilities } = options ?? {};
    checkRuntime();
    checkOptions("WebApplication", options, WEB_APPLICATION);
    const authority = parseAuthority(options?.authority ?? DEFAULT_AUTHORITY);
    checkClientId(clientId, authority);
    checkCapabilities(clientCapabilities);
    this.#app = { authority, clientCapabilities };
    this.#logger = logger;
    const log: Logger = (level, message) => logger?.(level, message);
    this.#cache = new TokenCache(store, { clientId, environment: environmentOf(authority), now, log });
    const send = () => Promise.resolve(fetch);
    this.#provider = new ProviderSource({ clientId, authority, cache: this.#cache, fetch: send, now, log });
  }

  /**
   * Returns the accounts of all cached tokens, not only those of one session.
   *
   * @param filter `username`: only the accounts of this user name, regardless of case.
   * @returns The accounts.
   * @throws {LatchkeyError} `configuration` if the store cannot be read.
   */
  async getAccounts(filter: Omit<AccountFilter, "includeSignedOut"> = {}): Promise<AccountInfo[]> {
    checkOptions("getAccounts", filter, ACCOUNT_FILTER);
    checkCall(filter);
    const { username, signal } = filter;
    return (await this.#cache.findAccounts({ username, signal })).map(({ account }) => account);
  }

  /**
   * Returns a token for an account without a prompt: a cached one, or one for a refresh token (RFC 6749, 6).
   *
   * @param request Scopes and account.
   * @returns The token; `null` if the person has to sign in.
   * @throws {LatchkeyError} any code except `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} if `account`, `scopes` or `claims` is invalid.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    checkRequest("acquireTokenSilent", request);
    checkAccount(request?.account);
    try {
      return await this.#provider.acquireSilently(tokenQuery(request, this.#app));
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !isInteractionRequired(error)) throw error;
      this.#logger?.("info", `No silent token: ${error.code} (correlation id ${error.correlationId})`);
      return null;
    }
  }

  /**
   * Starts a sign-in whose response arrives in another request (RFC 6749, 4.1).
   *
   * @param request Parameters of the sign-in, and the app's address that receives the response.
   * @returns Plain JSON: the address to send the person to (`authUri`), and the flow that
   * {@linkcode acquireTokenByAuthCodeFlow} needs. Keep it in the person's session, or encrypted in a cookie.
   * @throws {LatchkeyError} `configuration` if another authority can have the redirect URI; the error of the authority's
   * discovery, which Microsoft Entra ID does not need.
   * @throws {TypeError} if a parameter is invalid.
   */
  async initiateAuthCodeFlow(request: AuthCodeFlowRequest): Promise<AuthCodeFlow> {
    checkRequest("initiateAuthCodeFlow", request);
    const query = tokenQuery(request, this.#app, { username: request?.loginHint });
    return await this.#provider.startFlow(query, request);
  }

  /**
   * Finishes a sign-in that {@linkcode initiateAuthCodeFlow} started.
   *
   * @param flow Its flow, with or without `authUri`. Use it once.
   * @param response Parameters of the query, or of the posted form.
   * @param options Address at which the response arrived (`redirectUri`), and more.
   * @returns The token.
   * @throws {LatchkeyError} the server's refusal; `invalid_response` if the response is to another sign-in, or arrived at
   * another address; `configuration` if the authority needs that address and it is missing; `timed_out` if the sign-in started an
   * hour ago.
   * @throws {TypeError} if the flow is invalid, or is another app's.
   */
  async acquireTokenByAuthCodeFlow(
    flow: AuthorizationFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    options: FinishOptions = {},
  ): Promise<AuthenticationResult> {
    return await this.#provider.finishFlow(flow, response, options);
  }

  /**
   * Removes an account's tokens. It cannot be used silently until it signs in again.
   *
   * @param account The account.
   * @param options Signal and correlation id.
   * @throws {LatchkeyError} `configuration` if the store cannot be read or written.
   * @throws {TypeError} if the account is invalid.
   */
  async removeAccount(account: AccountInfo, options: RequestOptions = {}): Promise<void> {
    checkRequest("removeAccount", options);
    const known = checkAccount(account);
    checkCall(options);
    await this.#cache.removeAccount(known, { signal: options.signal });
  }
}

/**
 * Microsoft Entra ID, or another OpenID provider, for web apps and for workers on the edge: sign-in in two requests, renewal,
 * and a cache in memory. Web APIs are all that this entry needs of a runtime.
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
import type { AccountInfo } from "./account.ts";
import { DEFAULT_AUTHORITY, environmentOf, parseAuthority } from "./authority.ts";
import { type CacheStore, memoryStore } from "./cache/store.ts";
import { TokenCache } from "./cache/token_cache.ts";
import { ArgumentError, INTERACTION_REQUIRED_CODES, LatchkeyError, type Logger } from "./errors.ts";
import type { AuthCodeFlow, AuthorizationFlow } from "./oauth/authorization_code.ts";
import type { Fetch } from "./oauth/provider.ts";
import {
  type AuthCodeFlowRequest,
  checkAccount,
  checkCall,
  checkCapabilities,
  type RequestOptions,
  type SilentRequest,
  tokenQuery,
} from "./request.ts";
import { type FinishOptions, ProviderSource } from "./sources/provider.ts";
import type { AuthenticationResult } from "./token.ts";

export type { AccountInfo } from "./account.ts";
export type { CacheCall, CacheStore } from "./cache/store.ts";
export { memoryStore } from "./cache/store.ts";
export type { RedisClient } from "./cache/redis.ts";
export { redisStore, type RedisStoreOptions } from "./redis.ts";
export {
  ArgumentError,
  type BrokerErrorDetails,
  LatchkeyError,
  type LatchkeyErrorCode,
  type LatchkeyErrorDetails,
} from "./errors.ts";
export type { Logger, LogLevel } from "./errors.ts";
export type { AuthCodeFlow, AuthorizationFlow } from "./oauth/authorization_code.ts";
export type { Fetch } from "./oauth/provider.ts";
export { redirectPath } from "./authority.ts";
export type {
  AuthCodeFlowRequest,
  PopScheme,
  Prompt,
  RequestOptions,
  SignInOptions,
  SilentRequest,
  TokenRequest,
} from "./request.ts";
export type { FinishOptions } from "./sources/provider.ts";
export type { AuthenticationResult } from "./token.ts";
export type { WindowHandle } from "./request.ts";

/** What a web application is made of. */
export interface WebApplicationOptions {
  /** Application (client) id of the app registration. */
  readonly clientId: string;
  /** Who issues the tokens. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** What the app can handle, such as `cp1` for continuous access evaluation. @default [] */
  readonly clientCapabilities?: readonly string[];
  /** Where tokens are kept. @default in memory, for this object */
  readonly cache?: CacheStore;
  /** Sends requests. @default globalThis.fetch */
  readonly fetch?: Fetch;
  /** Takes log lines. @default none */
  readonly logger?: Logger;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

/**
 * An app that signs people in over the web: a public client, without a secret of its own. It holds the tokens of all who
 * signed in: which account a request may use is for the person's session to say. On the edge, where requests do not share
 * what they wait for, make one for each request, and let them share a store.
 *
 * Authorities may share a redirect URI if each of them is Microsoft's or names itself in its answers (RFC 9207). Every other one
 * needs a redirect URI that ends in its {@linkcode redirectPath}: it could get the codes of those that it shares one with (the mix-up
 * attack, RFC 9700, 4.4).
 *
 * Microsoft Entra ID wants a secret of redirect URIs that are registered for the platform "Web": register this app's among
 * those of "Mobile and desktop applications".
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
   * @param options What it is made of. Nothing is asked before the first call.
   * @throws {TypeError} when the client id is missing or the authority is not one.
   */
  constructor(options: WebApplicationOptions) {
    const { clientId, cache: store = memoryStore(), fetch, logger, now = Date.now, clientCapabilities } = options ?? {};
    if (typeof clientId !== "string" || !clientId.trim()) {
      throw new ArgumentError("Cannot make an application: clientId is missing");
    }
    const authority = parseAuthority(options.authority ?? DEFAULT_AUTHORITY);
    checkCapabilities(clientCapabilities);
    this.#app = { authority, clientCapabilities };
    this.#logger = logger;
    const log: Logger = (level, message) => logger?.(level, message);
    this.#cache = new TokenCache(store, { clientId, environment: environmentOf(authority), now, log });
    this.#provider = new ProviderSource({
      clientId,
      authority,
      cache: this.#cache,
      // deno-lint-ignore require-await -- it is asked for asynchronously, and is there already
      fetch: async () => fetch,
      now,
      log,
    });
  }

  /**
   * All accounts that tokens are kept of: not those of one session alone.
   *
   * @param filter Only the accounts of one user name, compared without case.
   * @returns The accounts.
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async getAccounts(filter: RequestOptions & { readonly username?: string | undefined } = {}): Promise<AccountInfo[]> {
    checkCall(filter);
    const { username, signal } = filter;
    return (await this.#cache.findAccounts({ username, signal })).map(({ account }) => account);
  }

  /**
   * A token for an account without the person: one that is kept, else one for a refresh token (RFC 6749, 6).
   *
   * @param request What is asked for.
   * @returns The token; `null` when the person has to sign in.
   * @throws {LatchkeyError} any code but `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    checkAccount(request?.account);
    try {
      return await this.#provider.acquireSilently(tokenQuery(request, this.#app));
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !INTERACTION_REQUIRED_CODES.has(error.code)) throw error;
      this.#logger?.("info", `No silent token: ${error.code} (correlation id ${error.correlationId})`);
      return null;
    }
  }

  /**
   * Begins a sign-in whose answer comes in another request (RFC 6749, 4.1).
   *
   * @param request What is asked for, and the app's address that the answer goes to.
   * @returns Plain JSON: the address to send the person to (`authUri`), and what {@linkcode acquireTokenByAuthCodeFlow}
   * needs. Keep it in the person's session, or sealed in a cookie.
   * @throws {LatchkeyError} `configuration` if the redirect URI could be another authority's; what asking an authority for its
   * endpoints failed with; those of Microsoft Entra ID are known.
   * @throws {TypeError} when scopes, claims or parameters are none.
   */
  async initiateAuthCodeFlow(request: AuthCodeFlowRequest): Promise<AuthCodeFlow> {
    const query = tokenQuery(request, this.#app, { username: request?.loginHint });
    return await this.#provider.startFlow(query, request);
  }

  /**
   * Ends a sign-in that {@linkcode initiateAuthCodeFlow} began.
   *
   * @param flow What it gave, with or without the address. Use it once.
   * @param response The answer: parameters of the query, or of the form that was posted.
   * @param options Where the answer came to (`redirectUri`), and more.
   * @returns The token.
   * @throws {LatchkeyError} the server's refusal; `invalid_response` for an answer to another sign-in, or at another address;
   * `configuration` if the authority needs that address and it is missing; `timed_out` when the sign-in began an hour ago.
   * @throws {TypeError} when the flow is none, or another app's.
   */
  async acquireTokenByAuthCodeFlow(
    flow: AuthorizationFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    options: FinishOptions = {},
  ): Promise<AuthenticationResult> {
    return await this.#provider.finishFlow(flow, response, options);
  }

  /**
   * Forgets an account: its tokens, and any silent use until it signs in again.
   *
   * @param account The account.
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written.
   * @throws {TypeError} when the account is none.
   */
  async removeAccount(account: AccountInfo, options: RequestOptions = {}): Promise<void> {
    checkAccount(account);
    checkCall(options);
    await this.#cache.removeAccount(account, { signal: options.signal });
  }
}

/**
 * The application: in which order a token is looked for.
 *
 * @module
 */
import type { AccountInfo } from "./account.ts";
import {
  type Authority,
  authorityOfAccount,
  checkRedirectPath,
  DEFAULT_AUTHORITY,
  loopbackRedirectUri,
  parseAuthority,
} from "./authority.ts";
import {
  type BrokerChange,
  type BrokerStatus,
  DEFAULT_TIME_LIMITS,
  type SsoCookie,
  type TimeLimits,
} from "./broker/broker.ts";
import { type BrokerFlags, isBrokerEnabled } from "./broker/detect.ts";
import { checkWindow } from "./broker/wire.ts";
import type { CacheStore } from "./cache/store.ts";
import { ArgumentError, INTERACTION_REQUIRED_CODES, LatchkeyError, type Logger } from "./errors.ts";
import type { AuthCodeFlow } from "./oauth/authorization_code.ts";
import type { BrowserSignInOptions } from "./oauth/browser_sign_in.ts";
import type { Fetch } from "./oauth/fetch.ts";
import {
  type AccountFilter,
  type AcquireTokenRequest,
  type AuthCodeFlowRequest,
  checkAccount,
  checkCapabilities,
  checkPop,
  checkRequest,
  correlationIdOf,
  type DeviceCodeSignIn,
  type InteractiveRequest,
  type RequestOptions,
  type SignedHttpRequest,
  type SilentRequest,
  type SsoCookieRequest,
  type TokenQuery,
  tokenQuery,
} from "./request.ts";
import type { FinishOptions } from "./sources/provider.ts";
import { TokenRouter } from "./sources/router.ts";
import type { AuthenticationResult } from "./token.ts";

/** What an application is made of. */
export interface PublicClientApplicationOptions extends BrokerFlags, BrowserSignInOptions {
  /** Application (client) id of the app registration. */
  readonly clientId: string;
  /** Who issues the tokens. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** Fail with `broker_unavailable` rather than go on without a broker. @default false */
  readonly requireBroker?: boolean;
  /** What the app can handle, such as `cp1` for continuous access evaluation. @default [] */
  readonly clientCapabilities?: readonly string[];
  /** Time limits in milliseconds. */
  readonly timeLimits?: Partial<TimeLimits>;
  /** Where tokens that came without a broker are kept. @default in memory, for this object */
  readonly cache?: CacheStore;
  /** Sends requests. @default one that knows proxies and the system's certificates */
  readonly fetch?: Fetch;
  /** Takes log lines. @default none */
  readonly logger?: Logger;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

/**
 * An app that signs people in: a public client, without a secret of its own. Make one and keep it: it holds tokens and
 * shares calls under way.
 *
 * @example A token from the device's broker
 * ```ts
 * import { PublicClientApplication } from "@latchkey/latchkey";
 *
 * const app = new PublicClientApplication({ clientId: "11111111-2222-4333-8444-555555555555", enableBrokerOnLinux: true });
 * const { accessToken } = await app.acquireToken({ scopes: ["User.Read"], interactive: "never" });
 * await fetch("https://graph.microsoft.com/v1.0/me", { headers: { authorization: `Bearer ${accessToken}` } });
 * app.close();
 * ```
 */
export class PublicClientApplication implements AsyncDisposable {
  readonly #options: PublicClientApplicationOptions;
  readonly #authority: Authority;
  readonly #sources: TokenRouter;

  /**
   * Makes an application.
   *
   * @param options What it is made of. Nothing is opened or asked before the first call.
   * @throws {TypeError} when the client id is missing, or the authority or `redirectPath` is not one.
   * @throws {RangeError} when a time limit is not above 0.
   */
  constructor(options: PublicClientApplicationOptions) {
    const { clientId, authority = DEFAULT_AUTHORITY, timeLimits, logger, now = Date.now } = options ?? {};
    if (typeof clientId !== "string" || !clientId.trim()) {
      throw new ArgumentError("Cannot make an application: clientId is missing");
    }
    checkCapabilities(options.clientCapabilities);
    checkRedirectPath(options.redirectPath);
    this.#options = options;
    this.#authority = parseAuthority(authority);
    const limits = { ...DEFAULT_TIME_LIMITS, ...timeLimits };
    for (const [name, limit] of Object.entries(limits)) {
      if (!(typeof limit === "number" && limit > 0)) {
        throw new RangeError(`Cannot make an application: timeLimits.${name} has to be a number above 0`);
      }
    }
    this.#sources = new TokenRouter({
      clientId,
      authority: this.#authority,
      timeLimits: limits,
      now,
      log: (level, message) => logger?.(level, message),
      flags: options,
      requireBroker: options.requireBroker ?? false,
      store: options.cache,
      fetch: options.fetch,
      browser: options,
    });
  }

  /**
   * The accounts that tokens can be had for: the broker's (`getAccounts`), and those that are kept in the cache. One that both
   * know is listed once, as the broker's.
   *
   * @param filter Which accounts.
   * @returns The accounts.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`, `missing_dependency`, `invalid_response`, or the broker's refusal.
   */
  async getAccounts(filter: AccountFilter = {}): Promise<AccountInfo[]> {
    const correlationId = correlationIdOf(filter), { signal } = filter;
    return await this.#sources.accounts(filter, { correlationId, signal });
  }

  /**
   * A token for an account without any window: one that is held already, else the broker's (`acquireTokenSilently`); for an
   * account that signed in without a broker, one for its refresh token.
   *
   * @param request What is asked for.
   * @returns The token; `null` when a person is needed, so that an interactive request is the way on.
   * @throws {LatchkeyError} any code but `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    checkAccount(request?.account);
    try {
      return await this.#sources.silently(this.#query(request));
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !INTERACTION_REQUIRED_CODES.has(error.code)) throw error;
      this.#options.logger?.("info", `No silent token: ${error.code} (correlation id ${error.correlationId})`);
      return null;
    }
  }

  /**
   * A token by the person's sign-in. With a broker silently first, where the prompt allows it: for the account that the
   * hint names, then for the account that is signed in to the device; then by the broker's window
   * (`acquireTokenInteractively`), which takes as long as the person does. Without one in the browser, whose way back is
   * `http://localhost`: add that to the app's redirect URIs for desktop apps. At an authority that is not Microsoft's it is
   * `http://127.0.0.1` with a path, which `redirectUris` gives.
   *
   * @param request What is asked for.
   * @returns The token.
   * @throws {LatchkeyError} the broker's or the server's refusal; `user_canceled`; `interaction_required` when somebody else
   * signed in than `username` names; `timed_out` when nobody came back from the browser; with the prompt `none`, why nobody had to be asked in vain.
   * @throws {TypeError} when scopes or claims are none, or `parentWindowHandle` is missing where a broker is enabled.
   */
  async acquireTokenInteractive(request: InteractiveRequest): Promise<AuthenticationResult> {
    checkRequest(request);
    if (request.parentWindowHandle === undefined && isBrokerEnabled(this.#options, this.#authority)) {
      throw new ArgumentError(
        "Cannot acquire a token interactively: parentWindowHandle is missing: pass the window's handle, " +
          "or CONSOLE_WINDOW_HANDLE from a program without windows",
      );
    }
    const { loginHint, username } = request, query = this.#query({ ...request, username: loginHint ?? username });
    return await this.#sources.signIn({ ...query, requiredUsername: username }, "silent-first");
  }

  /**
   * A token in one call: for the account or user name that is given, else for the account that is signed in to the device;
   * by the person's sign-in where there is none without it.
   *
   * @param request What is asked for.
   * @returns The token.
   * @throws {LatchkeyError} with `interactive: "never"`, what the silent step was refused with, `claims` and `subError`
   * included; else what the sign-in was refused with.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireToken(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    const query = this.#query(request), { interactive = "if-needed" } = request;
    switch (interactive) {
      case "always":
        return await this.#sources.signIn(query, "window");
      case "never":
        return await this.#sources.silently(query);
      case "if-needed":
        try {
          return await this.#sources.silently(query);
        } catch (error) {
          if (
            !(error instanceof LatchkeyError) || !INTERACTION_REQUIRED_CODES.has(error.code) || query.prompt === "none"
          ) {
            throw error;
          }
          this.#options.logger?.("info", `A person is needed: ${error.code} (correlation id ${error.correlationId})`);
          const asked = this.#query({ ...request, claims: error.claims ?? request.claims });
          return await this.#sources.signIn({ ...asked, correlationId: query.correlationId }, "window");
        }
      default:
        throw new ArgumentError('Cannot acquire a token: interactive has to be "if-needed", "never" or "always"');
    }
  }

  /**
   * Forgets an account for this app: what is held of it, and any silent use until it signs in again.
   *
   * @param account The account.
   * @param options `fromBroker` takes it from the broker as well (`removeAccount`), and so perhaps from other apps.
   * @throws {LatchkeyError} why the cache cannot be read or written; with `fromBroker` the broker's refusal, or why there is
   * no broker. The other half is done even so, and `hint` says so.
   */
  async removeAccount(
    account: AccountInfo,
    options: RequestOptions & { readonly fromBroker?: boolean | undefined } = {},
  ): Promise<void> {
    checkAccount(account);
    const correlationId = correlationIdOf(options), { fromBroker = false, signal } = options;
    const call = { correlationId, signal };
    if (!fromBroker) return await this.#sources.forget(account, call);
    const [forgotten, removed] = await Promise.allSettled([
      this.#sources.forget(account, call),
      (async () => await (await this.#sources.broker.broker(call)).removeAccount(account, call))(),
    ]);
    if (forgotten.status === "fulfilled" && removed.status === "fulfilled") return;
    throw (await import("./sources/router.ts")).removalFailure({ forgotten, removed });
  }

  /**
   * Cookies that sign a browser in as an account, without a password (`acquirePrtSsoCookie`). They are as good as a
   * password: hand them to that browser alone.
   *
   * @param request The account, and the address of the sign-in page.
   * @returns Cookies, as a rule one.
   * @throws {LatchkeyError} the broker's refusal, or why there is no broker.
   * @throws {TypeError} when the address does not begin with `https://`.
   */
  async acquireSsoCookies(request: SsoCookieRequest): Promise<SsoCookie[]> {
    const correlationId = correlationIdOf(request), { account, url, signal } = request;
    checkAccount(account);
    if (!URL.canParse(url) || new URL(url).protocol !== "https:") {
      throw new ArgumentError("Cannot acquire cookies: url has to begin with https://");
    }
    const call = { correlationId, signal }, broker = await this.#sources.broker.brokerFor(account, call);
    const authority = authorityOfAccount(this.#authority, account);
    return await broker.acquireSsoCookies({ account, authority, url }, call);
  }

  /**
   * A token that is bound to one HTTP request and signed with it (`generateSignedHttpRequest`), to be sent as
   * `Authorization: pop <token>`.
   *
   * @param request The account, and the request that is signed.
   * @returns The Signed HTTP Request, a JWT.
   * @throws {LatchkeyError} the broker's refusal, or why there is no broker.
   * @throws {TypeError} when method or address are none.
   */
  async signHttpRequest(request: SignedHttpRequest): Promise<string> {
    const correlationId = correlationIdOf(request), { account, method, url, nonce, signal } = request;
    const scheme = { type: "pop", method, url, nonce } as const, call = { correlationId, signal };
    checkAccount(account);
    checkPop(scheme);
    return await (await this.#sources.broker.brokerFor(account, call)).signHttpRequest({ account, scheme }, call);
  }

  /**
   * Whether tokens can be bound to HTTP requests (`authenticationScheme`): there is a broker, and it knows how.
   *
   * @throws {LatchkeyError} `timed_out`, `broker_unavailable` when the broker that was found does not answer.
   */
  async isPopSupported(options: RequestOptions = {}): Promise<boolean> {
    const correlationId = correlationIdOf(options), { signal } = options;
    const finding = await this.#sources.broker.find({ correlationId, signal });
    return finding.state === "active" && await finding.broker.isPopSupported({ correlationId, signal });
  }

  /**
   * The address that a person, or an administrator, opens to consent to what the app asks for (RFC 6749, 4.1.1).
   *
   * @param request The scopes that consent is missing for, and what else the address is to say.
   * @returns The address.
   * @throws {LatchkeyError} what asking an authority for its endpoints failed with; those of Microsoft Entra ID are known.
   * @throws {TypeError} when the scopes are none.
   */
  async getAuthorizationRequestUrl(request: InteractiveRequest): Promise<string> {
    const { clientId } = this.#options, query = this.#query(request), { loginHint } = request;
    const { authorizationUrl } = await import("./oauth/provider.ts");
    const { provider } = await (await this.#sources.provider()).find(query.authority, query);
    const redirectUri = loopbackRedirectUri(query.authority, this.#options);
    return authorizationUrl(provider, { ...query, clientId, loginHint, redirectUri });
  }

  /**
   * A token by a sign-in on another device (RFC 8628), for where no browser can be opened. Organisations that let in managed
   * devices alone refuse it, and it is never chosen by itself.
   *
   * @param request What is asked for; `onUserCode` tells the person what to type where.
   * @returns The token.
   * @throws {LatchkeyError} `timed_out` when nobody typed the code in time; `user_canceled`; the server's refusal;
   * `interaction_required` when somebody else signed in than `username` names, of whom nothing is kept.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireTokenByDeviceCode(request: DeviceCodeSignIn): Promise<AuthenticationResult> {
    if (typeof request?.onUserCode !== "function") throw new ArgumentError("onUserCode has to be a function");
    return await this.#sources.byDeviceCode(this.#query(request), request);
  }

  /**
   * Begins a sign-in whose answer comes in another request, as in a web app (RFC 6749, 4.1).
   *
   * @param request What is asked for, and the app's address that the answer goes to.
   * @returns Plain JSON: the address to send the person to (`authUri`), and what {@linkcode acquireTokenByAuthCodeFlow}
   * needs. Keep it in the person's session.
   * @throws {LatchkeyError} `configuration` if the redirect URI could be another authority's.
   * @throws {TypeError} when scopes, claims or parameters are none.
   */
  async initiateAuthCodeFlow(request: AuthCodeFlowRequest): Promise<AuthCodeFlow> {
    checkRequest(request);
    const query = this.#query({ ...request, username: request.loginHint });
    return await (await this.#sources.provider()).startFlow(query, request);
  }

  /**
   * Ends a sign-in that {@linkcode initiateAuthCodeFlow} began.
   *
   * @param flow What it gave. Use it once.
   * @param response The answer: parameters of the query, or of the form that was posted.
   * @param options Where the answer came to (`redirectUri`), and more.
   * @returns The token.
   * @throws {LatchkeyError} the server's refusal; `invalid_response` for an answer to another sign-in, or at another address;
   * `configuration` if the authority needs that address and it is missing; `timed_out` when the sign-in began an hour ago.
   * @throws {TypeError} when the flow is none, or another app's.
   */
  async acquireTokenByAuthCodeFlow(
    flow: AuthCodeFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    options: FinishOptions = {},
  ): Promise<AuthenticationResult> {
    return await (await this.#sources.provider()).finishFlow(flow, response, options);
  }

  /** What is known of the broker, which is started when it is to be used. Never throws. */
  async brokerStatus(options: Pick<RequestOptions, "signal"> = {}): Promise<BrokerStatus> {
    return await this.#sources.broker.status(options?.signal);
  }

  /**
   * Tells when the broker comes and goes: it stops when it is idle, and after an upgrade. The broker is started to find it.
   * Does not keep the program alive.
   *
   * @param listener Called at each change, until what is returned is disposed of or the application is closed.
   * @throws {TypeError} when the listener is none.
   */
  onBrokerChange(listener: (change: BrokerChange) => void): Disposable {
    if (typeof listener !== "function") {
      throw new ArgumentError("Cannot tell of the broker: listener has to be a function");
    }
    return this.#sources.broker.watch(listener);
  }

  /**
   * Frees the connection to the broker; calls of it under way fail with `broker_unavailable`, other calls with `unexpected`, and
   * sign-ins are listened for no longer. A program that is done ends without
   * it, too; a later call connects anew.
   *
   * @returns Resolves when the renewals that were sent are finished and stored: a refresh token may be good once.
   */
  async close(): Promise<void> {
    await this.#sources.close();
  }

  /** The same as {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #query(request: AcquireTokenRequest): TokenQuery {
    const { clientCapabilities } = this.#options;
    checkRequest(request);
    checkWindow(request.parentWindowHandle);
    return tokenQuery(request, { authority: this.#authority, clientCapabilities });
  }
}

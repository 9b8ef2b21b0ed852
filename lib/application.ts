/**
 * The application for people at a device: its calls, and nothing of how they are done.
 *
 * @module
 */
import { type AccountInfo, checkAccount } from "./account.ts";
import { type Authority, authorityOfAccount, checkClientId, DEFAULT_AUTHORITY, parseAuthority } from "./authority.ts";
import { checkRedirectPath, loopbackRedirectUri } from "./redirect_uris.ts";
import type { BrokerFlags, BrokerStatus, SsoCookie } from "./broker/broker.ts";
import { DEFAULT_TIME_LIMITS, type TimeLimits } from "./broker/time_limits.ts";
import { isBrokerEnabled } from "./broker/detect.ts";
import { checkWindow } from "./broker/wire.ts";
import type { CacheStore } from "./cache/store.ts";
import { checkCapabilities } from "./claims.ts";
import { ArgumentError, checkRuntime, isInteractionRequired, type LatchkeyError, type Logger } from "./errors.ts";
import type { AuthCodeFlow } from "./oauth/authorization_code.ts";
import type { BrowserSignInOptions } from "./oauth/browser_sign_in.ts";
import type { Fetch } from "./oauth/bounded_fetch.ts";
import {
  type AccountFilter,
  type AcquireTokenRequest,
  type AuthCodeFlowRequest,
  type BrokerStatusOptions,
  checkCall,
  checkOptions,
  checkPop,
  checkRequest,
  type DeviceCodeSignIn,
  type InteractiveRequest,
  type OptionNames,
  type RemoveAccountOptions,
  type RequestOptions,
  type SignedHttpRequest,
  type SilentRequest,
  type SsoCookieRequest,
  type TokenQuery,
  tokenQuery,
  withChallenge,
} from "./request.ts";
import type { FinishOptions } from "./sources/provider.ts";
import { TokenRouter } from "./sources/router.ts";
import type { AuthenticationResult } from "./token.ts";

/** Options of an application. */
export interface PublicClientApplicationOptions extends BrokerFlags, BrowserSignInOptions {
  /** Application (client) id of the app registration. */
  readonly clientId: string;
  /** URL of the issuer of the tokens. @default "https://login.microsoftonline.com/common" */
  readonly authority?: string;
  /** Fails with `broker_unavailable` instead of falling back if there is no broker. @default false */
  readonly requireBroker?: boolean;
  /**
   * Goes on without the broker of Windows or macOS, instead of failing with `missing_dependency`, if the package for it is not
   * installed. For a program that enables the broker on behalf of its users, as the command line does. @default false
   */
  readonly isBrokerOptional?: boolean;
  /** Capabilities of the app, such as `cp1` for continuous access evaluation. @default [] */
  readonly clientCapabilities?: readonly string[];
  /** Time limits in milliseconds. */
  readonly timeLimits?: Partial<TimeLimits>;
  /** Store of the tokens that came without a broker. @default in memory, for this object */
  readonly cache?: CacheStore;
  /** Sends HTTP requests. @default one that respects proxies and the system's certificates */
  readonly fetch?: Fetch;
  /** Receives log lines. @default none */
  readonly logger?: Logger;
  /** Returns the time, in milliseconds since 1970. @default Date.now */
  readonly now?: () => number;
}

const TIME_LIMITS: OptionNames<TimeLimits> = {
  ...{ pingMs: true, startMs: true, accountsMs: true, silentMs: true, browserMs: true },
};

/** Everything that the options of an application may have. */
export const APPLICATION_OPTIONS: OptionNames<PublicClientApplicationOptions> = {
  ...{ clientId: true, authority: true, requireBroker: true, isBrokerOptional: true, clientCapabilities: true },
  ...{ timeLimits: true, cache: true, fetch: true, logger: true, now: true },
  ...{ enableBrokerOnWindows: true, enableBrokerOnWsl: true, enableBrokerOnMac: true, enableBrokerOnLinux: true },
  ...{ openBrowser: true, onSignInAddress: true, readRedirect: true, redirectPath: true, resultPage: true },
};

/**
 * An app that signs people in: a public client, without a secret of its own. Create one and keep it: it caches tokens in memory
 * and shares calls in flight.
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
   * Creates an application. Nothing is opened before the first call.
   *
   * @param options Client id, brokers and more.
   * @throws {TypeError} if an option does not exist, or `clientId`, `authority`, `clientCapabilities` or `redirectPath` is invalid:
   * Microsoft's client ids are GUIDs.
   * @throws {RangeError} if a time limit is not above 0.
   */
  constructor(options: PublicClientApplicationOptions) {
    const { clientId, authority = DEFAULT_AUTHORITY, timeLimits, logger, now = Date.now } = options ?? {};
    checkRuntime();
    checkOptions("PublicClientApplication", options, APPLICATION_OPTIONS);
    checkOptions("timeLimits", timeLimits, TIME_LIMITS);
    this.#authority = parseAuthority(authority);
    checkClientId(clientId, this.#authority);
    checkCapabilities(options.clientCapabilities);
    checkRedirectPath(options.redirectPath);
    this.#options = options;
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
      isLogged: logger !== undefined,
      flags: options,
      requireBroker: options.requireBroker ?? false,
      search: { isOptional: options.isBrokerOptional },
      store: options.cache,
      fetch: options.fetch,
      browser: { ...options, timeLimitMs: timeLimits?.browserMs },
    });
  }

  /**
   * Lists the accounts of the broker (`getAccounts`) and of the cache. One that both know is listed once, as the broker's.
   *
   * @param filter A user name, and more.
   * @returns The accounts.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`, `missing_dependency`, `invalid_response`, or the broker's refusal.
   */
  async getAccounts(filter: AccountFilter = {}): Promise<AccountInfo[]> {
    checkRequest("getAccounts", filter);
    return await this.#sources.accounts(filter, checkCall(filter));
  }

  /**
   * Returns a token without showing a window: a cached one, else the broker's (`acquireTokenSilently`), else, for an account that
   * signed in without a broker, one for its refresh token.
   *
   * @param request Scopes, account and more.
   * @returns The token; `null` if a person has to sign in, so that an interactive call is the next step.
   * @throws {LatchkeyError} any code but `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} if `account`, `scopes` or `claims` is invalid.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    checkRequest("acquireTokenSilent", request);
    checkAccount(request?.account);
    try {
      return await this.#sources.silently(this.#query(request));
    } catch (error) {
      if (!isInteractionRequired(error)) throw error;
      this.#logRefusal("No silent token", error);
      return null;
    }
  }

  /**
   * Signs a person in if that is necessary, and returns a token.
   *
   * With a broker, it first tries silently if the prompt allows it: for the account of the hint, then for the account that is
   * signed in to the device. Then the broker shows its window (`acquireTokenInteractively`), without a time limit.
   *
   * Without a broker, the person signs in in the browser, whose redirect URI is `http://localhost`: register it for desktop apps.
   * At an authority that is not Microsoft's it is `http://127.0.0.1` with a path; see `redirectUris`.
   *
   * @param request Scopes, window and more.
   * @returns The token.
   * @throws {LatchkeyError} the refusal of the broker or the server; `user_canceled`.
   * @throws {LatchkeyError} `interaction_required` if somebody other than `username` signed in.
   * @throws {LatchkeyError} `timed_out` if nobody came back from the browser.
   * @throws {LatchkeyError} with the prompt `none`, the refusal of the silent attempt.
   * @throws {TypeError} if `scopes` or `claims` is invalid, or `parentWindowHandle` is missing and a broker is enabled.
   */
  async acquireTokenInteractive(request: InteractiveRequest): Promise<AuthenticationResult> {
    checkRequest("acquireTokenInteractive", request);
    const requiredUsername = request?.username;
    const username = request?.loginHint ?? requiredUsername;
    const query = this.#query(request, { username, requiredUsername });
    if (query.parentWindowHandle === undefined && isBrokerEnabled(this.#options, this.#authority)) {
      throw new ArgumentError(
        "Cannot acquire a token interactively: parentWindowHandle is missing: pass the window's handle, " +
          "or CONSOLE_WINDOW_HANDLE from a program without windows",
      );
    }
    return await this.#sources.signIn(query, "silent-first");
  }

  /**
   * Returns a token in one call: silently if possible, else through a sign-in. It is for the given account or user name, else for the
   * account that is signed in to the device.
   *
   * @param request Scopes, account and more.
   * @returns The token.
   * @throws {LatchkeyError} with `interactive: "never"`, the refusal of the silent attempt, with its `claims` and `subError`.
   * @throws {LatchkeyError} otherwise the refusal of the sign-in.
   * @throws {TypeError} if `scopes` or `claims` is invalid.
   */
  async acquireToken(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    checkRequest("acquireToken", request);
    const query = this.#query(request);
    const { interactive = "if-needed" } = request;
    switch (interactive) {
      case "always":
        return await this.#sources.signIn(query, "window");
      case "never":
        return await this.#sources.silently(query, { isLast: true });
      case "if-needed":
        try {
          return await this.#sources.silently(query);
        } catch (error) {
          if (!isInteractionRequired(error) || query.prompt === "none") throw error;
          const { claims } = this.#logRefusal("A person is needed", error);
          return await this.#sources.signIn(claims === undefined ? query : withChallenge(query, claims), "window");
        }
      default:
        throw new ArgumentError('Cannot acquire a token: interactive has to be "if-needed", "never" or "always"');
    }
  }

  /**
   * Signs an account out of this app: its tokens are removed, and there is no silent token until it signs in again.
   *
   * @param account The account.
   * @param options `fromBroker` removes it from the broker as well (`removeAccount`), and so possibly from other apps.
   * @throws {LatchkeyError} the failure to read or write the cache.
   * @throws {LatchkeyError} with `fromBroker`, the broker's refusal, or the reason why there is no broker. If only the broker
   * or only the cache has forgotten the account, `hint` says so.
   */
  async removeAccount(
    account: AccountInfo,
    options: RemoveAccountOptions = {},
  ): Promise<void> {
    checkRequest("removeAccount", options);
    const known = checkAccount(account);
    const call = checkCall(options);
    await (options.fromBroker ? this.#sources.forgetEverywhere(known, call) : this.#sources.forget(known, call));
  }

  /**
   * Returns cookies that sign a browser in as an account, without a password (`acquirePrtSsoCookie`). They are as good as a
   * password: give them only to that browser.
   *
   * @param request The account, and the address of the sign-in page.
   * @returns Cookies, usually one.
   * @throws {LatchkeyError} the broker's refusal, or the reason why there is no broker.
   * @throws {TypeError} if `url` does not begin with `https://`.
   */
  async acquireSsoCookies(request: SsoCookieRequest): Promise<SsoCookie[]> {
    checkRequest("acquireSsoCookies", request);
    const call = checkCall(request);
    const { url } = request;
    const account = checkAccount(request.account);
    if (!URL.canParse(url) || new URL(url).protocol !== "https:") {
      throw new ArgumentError("Cannot acquire cookies: url has to begin with https://");
    }
    const broker = await this.#sources.broker.brokerFor(account, call);
    const authority = authorityOfAccount(this.#authority, account);
    return await broker.acquireSsoCookies({ account, authority, url }, call);
  }

  /**
   * Returns a token that is bound to one HTTP request and signed with it (`generateSignedHttpRequest`). Send it as
   * `Authorization: pop <token>`.
   *
   * @param request The account, and the request to sign.
   * @returns The Signed HTTP Request, a JWT.
   * @throws {LatchkeyError} the broker's refusal, or the reason why there is no broker.
   * @throws {TypeError} if `method` or `url` is invalid.
   */
  async signHttpRequest(request: SignedHttpRequest): Promise<string> {
    checkRequest("signHttpRequest", request);
    const call = checkCall(request);
    const { method, url, nonce } = request;
    const scheme = { type: "pop", method, url, nonce } as const;
    const account = checkAccount(request.account);
    checkPop(scheme);
    return await (await this.#sources.broker.brokerFor(account, call)).signHttpRequest({ account, scheme }, call);
  }

  /**
   * Returns true if tokens can be bound to HTTP requests (`authenticationScheme`): there is a broker, and it supports it.
   *
   * @param options The signal, and more.
   * @throws {LatchkeyError} `timed_out`, `broker_unavailable` if the broker does not answer.
   */
  async isPopSupported(options: RequestOptions = {}): Promise<boolean> {
    checkRequest("isPopSupported", options);
    const call = checkCall(options);
    const finding = await this.#sources.broker.find(call);
    return finding.state === "active" && await finding.broker.isPopSupported(call);
  }

  /**
   * Returns the address at which a person, or an administrator, consents to an app's scopes (RFC 6749, 4.1.1).
   *
   * @param request The scopes that consent is missing for, and more.
   * @returns The address.
   * @throws {LatchkeyError} the failure to fetch the authority's endpoints. Those of Microsoft Entra ID are known.
   * @throws {TypeError} if `scopes` is invalid.
   */
  async getAuthorizationRequestUrl(request: InteractiveRequest): Promise<string> {
    checkRequest("getAuthorizationRequestUrl", request);
    const { clientId } = this.#options;
    const query = this.#query(request);
    const { loginHint } = request;
    const { authorizationUrl } = await import("./oauth/provider.ts");
    const { provider } = await (await this.#sources.provider()).find(query.authority, query);
    const redirectUri = loopbackRedirectUri(query.authority, this.#options);
    return authorizationUrl(provider, { ...query, clientId, loginHint, redirectUri });
  }

  /**
   * Returns a token by a sign-in on another device (RFC 8628), for machines without a browser. Organizations that require
   * managed devices refuse it, so latchkey never chooses it by itself.
   *
   * @param request Scopes and more; `onUserCode` shows the code to the person.
   * @returns The token.
   * @throws {LatchkeyError} `timed_out` if nobody typed the code in time; `user_canceled`; the server's refusal.
   * @throws {LatchkeyError} `interaction_required` if somebody other than `username` signed in. Nothing of them is stored.
   * @throws {TypeError} if `scopes`, `claims` or `onUserCode` is invalid.
   */
  async acquireTokenByDeviceCode(request: DeviceCodeSignIn): Promise<AuthenticationResult> {
    checkRequest("acquireTokenByDeviceCode", request);
    if (typeof request?.onUserCode !== "function") throw new ArgumentError("onUserCode has to be a function");
    return await this.#sources.byDeviceCode(this.#query(request), request.onUserCode);
  }

  /**
   * Begins a sign-in whose answer arrives in another request, as in a web app (RFC 6749, 4.1).
   *
   * @param request Scopes, the app's redirect URI, and more.
   * @returns Plain JSON: the address to send the person to (`authUri`), and the state for {@linkcode acquireTokenByAuthCodeFlow}.
   * Keep it in the person's session.
   * @throws {LatchkeyError} `configuration` if the redirect URI could be another authority's.
   * @throws {TypeError} if `scopes`, `claims` or a parameter is invalid.
   */
  async initiateAuthCodeFlow(request: AuthCodeFlowRequest): Promise<AuthCodeFlow> {
    checkRequest("initiateAuthCodeFlow", request);
    const query = this.#query(request, { username: request?.loginHint });
    return await (await this.#sources.provider()).startFlow(query, request);
  }

  /**
   * Completes a sign-in that {@linkcode initiateAuthCodeFlow} began.
   *
   * @param flow Its result. Use it once.
   * @param response The answer: parameters of the query, or of the posted form.
   * @param options The address that the answer came to (`redirectUri`), and more.
   * @returns The token.
   * @throws {LatchkeyError} the server's refusal.
   * @throws {LatchkeyError} `invalid_response` for an answer to another sign-in, or at another address.
   * @throws {LatchkeyError} `configuration` if the authority requires that address and it is missing.
   * @throws {LatchkeyError} `timed_out` if the sign-in began more than an hour ago.
   * @throws {TypeError} if the flow is invalid, or another app's.
   */
  async acquireTokenByAuthCodeFlow(
    flow: AuthCodeFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    options: FinishOptions = {},
  ): Promise<AuthenticationResult> {
    return await (await this.#sources.provider()).finishFlow(flow, response, options);
  }

  /** Returns the state of the broker, and starts it if it is enabled. Never throws, except a `TypeError` if an option does not exist. */
  async brokerStatus(options: BrokerStatusOptions = {}): Promise<BrokerStatus> {
    checkRequest("brokerStatus", options);
    return await this.#sources.broker.status(options ?? {});
  }

  /**
   * Frees the connection to the broker and stops waiting for sign-ins. The broker's calls in flight fail with
   * `broker_unavailable`, all others with `unexpected`. A program that is done ends without `close`, too. A later call connects
   * again.
   *
   * @returns Resolves when the renewals that were sent are stored: a refresh token may be valid only once.
   */
  async close(): Promise<void> {
    await this.#sources.close();
  }

  /** Does the same as {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #query(request: AcquireTokenRequest, names?: Parameters<typeof tokenQuery>[2]): TokenQuery {
    const { clientCapabilities } = this.#options;
    const query = tokenQuery(request, { authority: this.#authority, clientCapabilities }, names);
    checkWindow(query.parentWindowHandle);
    return query;
  }

  #logRefusal(what: string, error: unknown): LatchkeyError {
    const refusal = error as LatchkeyError;
    const { code, correlationId } = refusal;
    this.#options.logger?.("info", `${what}: ${code} (correlation id ${correlationId})`);
    return refusal;
  }
}

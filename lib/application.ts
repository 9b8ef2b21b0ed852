/**
 * The application: in which order a token is looked for.
 *
 * @module
 */
import { type AccountInfo, isSameUsername } from "./account.ts";
import { type Authority, authorityOfAccount, DEFAULT_AUTHORITY, parseAuthority } from "./authority.ts";
import {
  type BrokerChange,
  type BrokerStatus,
  DEFAULT_TIME_LIMITS,
  type SsoCookie,
  type TimeLimits,
} from "./broker/broker.ts";
import { type BrokerFlags, isBrokerEnabled, noBroker } from "./broker/find_broker.ts";
import { LatchkeyError, PERSON_NEEDED } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { authorizationUrl } from "./oauth/authorization_request.ts";
import {
  type AcquireTokenRequest,
  checkPop,
  checkScopes,
  correlationIdOf,
  type InteractiveRequest,
  type RequestOptions,
  type SignedHttpRequest,
  type SilentRequest,
  type SsoCookieRequest,
} from "./request.ts";
import { BrokerSource } from "./sources/broker_source.ts";
import { checkAccount, type TokenQuery, tokenQuery } from "./sources/token_query.ts";
import type { AuthenticationResult } from "./token.ts";

/** What an application is made of. */
export interface PublicClientApplicationOptions extends BrokerFlags {
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
  readonly #broker: BrokerSource;

  /**
   * Makes an application.
   *
   * @param options What it is made of. Nothing is opened or asked before the first call.
   * @throws {TypeError} when the client id is missing or the authority is not one.
   * @throws {RangeError} when a time limit is not above 0.
   */
  constructor(options: PublicClientApplicationOptions) {
    const { clientId, authority = DEFAULT_AUTHORITY, timeLimits, logger, now = Date.now } = options ?? {};
    if (typeof clientId !== "string" || !clientId.trim()) {
      throw new TypeError("Cannot make an application: clientId is missing");
    }
    this.#options = options;
    this.#authority = parseAuthority(authority);
    const limits = { ...DEFAULT_TIME_LIMITS, ...timeLimits };
    for (const [name, limit] of Object.entries(limits)) {
      if (!(typeof limit === "number" && limit > 0)) {
        throw new RangeError(`Cannot make an application: timeLimits.${name} has to be a number above 0`);
      }
    }
    this.#broker = new BrokerSource(options, {
      clientId,
      authority: this.#authority,
      timeLimits: limits,
      now,
      log: (level, message) => logger?.(level, message),
    });
  }

  /**
   * The accounts that tokens can be had for: the broker's (`getAccounts`).
   *
   * @param filter Only the accounts of one user name, compared without case.
   * @returns The accounts; none when there is no broker.
   * @throws {LatchkeyError} `broker_unavailable`, `timed_out`, `missing_dependency`, `invalid_response`, or the broker's refusal.
   */
  async getAccounts(filter: RequestOptions & { readonly username?: string | undefined } = {}): Promise<AccountInfo[]> {
    const { username, signal } = filter, correlationId = correlationIdOf(filter);
    const finding = await this.#broker.find(signal);
    if (finding.state !== "active") {
      if (this.#options.requireBroker) throw noBroker(finding, correlationId);
      return [];
    }
    const accounts = await this.#broker.accounts(finding.broker, { correlationId, signal });
    return username === undefined ? accounts : accounts.filter((account) => isSameUsername(account.username, username));
  }

  /**
   * A token for an account without any window: one that is held already, else the broker's (`acquireTokenSilently`).
   *
   * @param request What is asked for.
   * @returns The token; `null` when a person is needed, so that an interactive request is the way on.
   * @throws {LatchkeyError} any code but `interaction_required`, `account_unusable`, `account_not_found`.
   * @throws {TypeError} when scopes or claims are none.
   */
  async acquireTokenSilent(request: SilentRequest): Promise<AuthenticationResult | null> {
    checkAccount(request?.account);
    try {
      return await this.#broker.acquireSilently(this.#query(request));
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !PERSON_NEEDED.has(error.code)) throw error;
      this.#options.logger?.("info", `No silent token: ${error.code} (correlation id ${error.correlationId})`);
      return null;
    }
  }

  /**
   * A token by the person's sign-in. With a broker silently first, where the prompt allows it: for the account that the
   * hint names, then for the account that is signed in to the device; then by the broker's window
   * (`acquireTokenInteractively`), which takes as long as the person does.
   *
   * @param request What is asked for.
   * @returns The token.
   * @throws {LatchkeyError} the broker's refusal; `user_canceled`; with the prompt `none`, why nobody had to be asked in vain.
   * @throws {TypeError} when scopes or claims are none, or `parentWindowHandle` is missing where a broker is enabled.
   */
  async acquireTokenInteractive(request: InteractiveRequest): Promise<AuthenticationResult> {
    if (request?.parentWindowHandle === undefined && isBrokerEnabled(this.#options, this.#authority)) {
      throw new TypeError(
        "Cannot acquire a token interactively: parentWindowHandle is missing: pass the window's handle, " +
          "or CONSOLE_WINDOW_HANDLE from a program without windows",
      );
    }
    return await this.#broker.signIn(this.#query({ ...request, username: request.loginHint }), "silent-first");
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
        return await this.#broker.signIn(query, "window");
      case "never":
        return await this.#broker.acquireSilently(query);
      case "if-needed":
        try {
          return await this.#broker.acquireSilently(query);
        } catch (error) {
          if (!(error instanceof LatchkeyError) || !PERSON_NEEDED.has(error.code) || query.prompt === "none") {
            throw error;
          }
          this.#options.logger?.("info", `A person is needed: ${error.code} (correlation id ${error.correlationId})`);
          const asked = this.#query({ ...request, claims: error.claims ?? request.claims });
          return await this.#broker.signIn(asked, "window");
        }
      default:
        throw new TypeError('Cannot acquire a token: interactive has to be "if-needed", "never" or "always"');
    }
  }

  /**
   * Forgets an account for this app: what is held of it, and any silent use until it signs in again.
   *
   * @param account The account.
   * @param options `fromBroker` takes it from the broker as well (`removeAccount`), and so perhaps from other apps.
   * @throws {LatchkeyError} with `fromBroker`: the broker's refusal, or why there is no broker. The account is forgotten even so.
   */
  async removeAccount(
    account: AccountInfo,
    options: RequestOptions & { readonly fromBroker?: boolean | undefined } = {},
  ): Promise<void> {
    checkAccount(account);
    const { fromBroker, signal } = options, call = { correlationId: correlationIdOf(options), signal };
    this.#broker.forget(account);
    if (fromBroker) await (await this.#broker.broker(call)).removeAccount(account, call);
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
      throw new TypeError("Cannot acquire cookies: url has to begin with https://");
    }
    const call = { correlationId, signal }, broker = await this.#broker.brokerFor(account, call);
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
    return await (await this.#broker.brokerFor(account, call)).signHttpRequest({ account, scheme }, call);
  }

  /**
   * Whether tokens can be bound to HTTP requests (`authenticationScheme`): there is a broker, and it knows how.
   *
   * @throws {LatchkeyError} `timed_out`, `broker_unavailable` when the broker that was found does not answer.
   */
  async isPopSupported(options: RequestOptions = {}): Promise<boolean> {
    const correlationId = correlationIdOf(options), { signal } = options, finding = await this.#broker.find(signal);
    return finding.state === "active" && await finding.broker.isPopSupported({ correlationId, signal });
  }

  /**
   * The address that a person, or an administrator, opens to consent to what the app asks for (RFC 6749, 4.1.1).
   *
   * @param request The scopes that consent is missing for.
   * @returns The address.
   * @throws {LatchkeyError} `configuration` when the authority is not one of Microsoft Entra ID's.
   * @throws {TypeError} when the scopes are none.
   */
  // deno-lint-ignore require-await -- other authorities are asked where their endpoint is
  async getAuthorizationRequestUrl({ scopes }: { readonly scopes: readonly string[] }): Promise<string> {
    const { clientId } = this.#options;
    if (this.#authority.kind !== "entra") {
      throw new LatchkeyError("configuration", `The endpoints of ${this.#authority.url} are not known`);
    }
    return authorizationUrl({ clientId, authority: this.#authority, scopes: checkScopes(scopes) });
  }

  /** What is known of the broker, which is started when it is to be used. Never throws. */
  async brokerStatus({ signal }: Pick<RequestOptions, "signal"> = {}): Promise<BrokerStatus> {
    return await this.#broker.status(signal);
  }

  /**
   * Tells when the broker comes and goes: it stops when it is idle, and after an upgrade. The broker is started to find it.
   * Does not keep the program alive.
   *
   * @param listener Called at each change, until what is returned is disposed of or the application is closed.
   */
  onBrokerChange(listener: (change: BrokerChange) => void): Disposable {
    return this.#broker.watch(listener);
  }

  /**
   * Frees the connection to the broker; calls under way fail with `broker_unavailable`. A program that is done ends without
   * it, too; a later call connects anew.
   */
  close(): void {
    this.#broker.close();
  }

  /** The same as {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #query(request: AcquireTokenRequest): TokenQuery {
    const { clientCapabilities } = this.#options;
    return tokenQuery(request, { authority: this.#authority, clientCapabilities });
  }
}

/**
 * Credential for Azure's SDKs for JavaScript. The types are those of `@azure/core-auth`, which is not imported.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import { APPLICATION_OPTIONS, PublicClientApplication, type PublicClientApplicationOptions } from "../application.ts";
import { untilAborted } from "../async.ts";
import { DEFAULT_AUTHORITY, isMultiTenant, parseAuthority } from "../authority.ts";
import { ArgumentError, isInteractionRequired, LatchkeyError, withDetails } from "../errors.ts";
import { API_WORDS, consentAt, hintOf, type HintWords, SIGN_IN_WITH } from "../remedies.ts";
import { type AcquireTokenRequest, checkOptions, type OptionNames, type SignInOptions } from "../request.ts";
import { type AuthenticationResult, redacted } from "../token.ts";

/** A credential as Azure's SDKs accept it: latchkey's, or any other. */
export interface TokenCredential {
  /**
   * Returns a token.
   *
   * @param scopes Scopes of the token.
   * @param options Options of the request.
   */
  getToken(scopes: string | string[], options?: GetTokenOptions): Promise<AccessToken | null>;
}

/** Options with which a client of an Azure SDK requests a token. */
export interface GetTokenOptions {
  /** Signal that ends the call. */
  readonly abortSignal?: AbortSignalLike;
  /** Claims challenge to answer: JSON, base64 of it, or a whole `WWW-Authenticate` header. */
  readonly claims?: string;
  /** True if the client answers claims challenges (continuous access evaluation). @default false */
  readonly enableCae?: boolean;
  /** Tenant to use instead of the authority's, such as one that a challenge names. */
  readonly tenantId?: string;
  /** HTTP request that the token is bound to. @default a bearer token */
  readonly proofOfPossessionOptions?: ProofOfPossessionOptions;
}

/** HTTP request that a token is bound to. */
export interface ProofOfPossessionOptions {
  /** Nonce of the resource. */
  readonly nonce: string;
  /** Method, such as `GET`. */
  readonly resourceRequestMethod: string;
  /** Address of the request. */
  readonly resourceRequestUrl: string;
}

/** A token in the form of Azure's SDKs. */
export interface AccessToken {
  /** The token. */
  token: string;
  /** End of its lifetime, in milliseconds since 1970. */
  expiresOnTimestamp: number;
  /** Time to renew it before its end, in milliseconds since 1970. */
  refreshAfterTimestamp?: number;
  /** Scheme of the `Authorization` header. */
  tokenType?: "Bearer" | "pop";
}

/** An `AbortSignal` of the platform, or one of Azure's that is like it. */
export interface AbortSignalLike {
  /** True if the call must end. */
  readonly aborted: boolean;
  /** Adds a listener. */
  // deno-lint-ignore no-explicit-any -- as in Azure's type, any listener is accepted
  addEventListener(type: "abort", listener: (this: AbortSignalLike, event: any) => any, options?: any): void;
  /** Removes a listener. */
  // deno-lint-ignore no-explicit-any -- the same
  removeEventListener(type: "abort", listener: (this: AbortSignalLike, event: any) => any, options?: any): void;
}

/** Thrown if the credential cannot be used here: there is no broker, or the tenant is not allowed. */
export class CredentialUnavailableError extends Error {
  /** Name by which chains of credentials recognize it. */
  override readonly name = "CredentialUnavailableError";
}

/** Thrown if a person has to sign in, and `interactive` is `"never"`. */
export class AuthenticationRequiredError extends Error {
  /** Name by which chains of credentials recognize it. */
  override readonly name = "AuthenticationRequiredError";
  /** Scopes of the token. */
  readonly scopes: string[];
  readonly #options: GetTokenOptions;

  /**
   * Makes the error.
   *
   * @param cause Reason for which a person is needed.
   * @param scopes Scopes of the token.
   * @param options Options of the request.
   */
  constructor(cause: LatchkeyError, scopes: readonly string[], options: GetTokenOptions) {
    super(messageOf(cause), { cause: withoutHint(cause) });
    this.scopes = [...scopes];
    this.#options = cause.claims === undefined ? options : { ...options, claims: cause.claims };
  }

  /**
   * Options for `LatchkeyCredential.authenticate`, including the claims that the person has to fulfil. A getter, so that
   * inspecting the error does not print them.
   */
  get getTokenOptions(): GetTokenOptions {
    return this.#options;
  }
}

/** Options of {@linkcode LatchkeyCredential}: those of its application, and the account. */
export interface LatchkeyCredentialOptions
  extends PublicClientApplicationOptions, Pick<SignInOptions, "parentWindowHandle" | "onBeforeLaunchingUi"> {
  /** Account of the tokens. @default the account that is signed in to the device, or the first that signs in */
  readonly account?: AccountInfo | undefined;
  /** Account of the tokens, by user name. */
  readonly username?: string | undefined;
  /** `"never"` to fail instead of asking a person to sign in. @default "if-needed" */
  readonly interactive?: "if-needed" | "never" | undefined;
  /**
   * Tenants beside the authority's that a client, or the challenge of a service, may request; `*` for any. If the authority is
   * for many tenants, any may be requested.
   *
   * @default []
   */
  readonly additionallyAllowedTenants?: readonly string[] | undefined;
}

const CREDENTIAL_OPTIONS: OptionNames<LatchkeyCredentialOptions> = {
  ...APPLICATION_OPTIONS,
  ...{ account: true, username: true, interactive: true, additionallyAllowedTenants: true },
  ...{ parentWindowHandle: true, onBeforeLaunchingUi: true },
};

/** Capability that tells resources that the client answers claims challenges. */
const CONTINUOUS_ACCESS_EVALUATION = "cp1";

/**
 * A credential for Azure's SDKs for JavaScript: tokens from the device's broker, or without one from the browser. It
 * answers claims challenges, uses other tenants if they are allowed, and binds tokens to requests if the broker can.
 *
 * @example A secret from Key Vault
 * ```ts
 * import { SecretClient } from "@azure/keyvault-secrets";
 * import { LatchkeyCredential } from "@latchkey/latchkey/azure";
 *
 * const credential = new LatchkeyCredential({
 *   clientId: "11111111-2222-4333-8444-555555555555",
 *   enableBrokerOnLinux: true,
 * });
 * const { value } = await new SecretClient("https://contoso.vault.azure.net", credential).getSecret("password");
 * credential.close();
 * ```
 */
export class LatchkeyCredential implements AsyncDisposable {
  /** Application of the tokens: to list accounts, or to sign one out. */
  readonly app: PublicClientApplication;
  readonly #options: LatchkeyCredentialOptions;
  /** Account of all requests. @default the one of the first token */
  #account: Pick<AcquireTokenRequest, "account" | "username"> | undefined;
  /** Mutex of the calls that begin before an account is chosen. */
  #choosing: Promise<void> = Promise.resolve();

  /**
   * Makes a credential.
   *
   * @param options Options of the credential. Nothing is opened or requested before the first call.
   * @throws {TypeError} if an option does not exist, or `clientId`, `authority` or `interactive` is invalid.
   * @throws {RangeError} if a time limit is not above 0.
   */
  constructor(options: LatchkeyCredentialOptions) {
    checkOptions("LatchkeyCredential", options, CREDENTIAL_OPTIONS);
    const { account, username, interactive = "if-needed", ...others } = options ?? {};
    const { additionallyAllowedTenants: _, parentWindowHandle: __, onBeforeLaunchingUi: ___, ...ofApp } = others;
    this.app = new PublicClientApplication(ofApp);
    if (!["if-needed", "never"].includes(interactive)) {
      throw new ArgumentError('Cannot make a credential: interactive has to be "if-needed" or "never"');
    }
    this.#options = options;
    if (account) this.#account = { account };
    else if (username !== undefined) this.#account = { username };
  }

  /**
   * Returns a token: a cached one that is valid for five more minutes, the broker's, a renewed one, or one from an
   * interactive sign-in if that is allowed.
   *
   * @param scopes Scopes of the token, such as `https://vault.azure.net/.default`.
   * @param options Options of the request. A token for a client that answers claims challenges (`enableCae`) is never given to
   * one that does not, nor the reverse.
   * @returns The token. Inspecting or logging it does not show it; its fields and `JSON.stringify` have it.
   * @throws {CredentialUnavailableError} if a broker is required and there is none, or the tenant is not allowed.
   * @throws {AuthenticationRequiredError} if a person has to sign in and `interactive` is `"never"`.
   * @throws {LatchkeyError} for any other failure; a chain of credentials ends there.
   * @throws {TypeError} if `scopes` or `claims` is invalid.
   */
  async getToken(scopes: string | readonly string[], options: GetTokenOptions = {}): Promise<AccessToken> {
    const { interactive } = this.#options;
    const { accessToken, expiresOn, refreshOn, tokenType } = await this.#acquire(scopes, options, interactive);
    const token: AccessToken = {
      token: accessToken,
      expiresOnTimestamp: expiresOn.getTime(),
      ...(refreshOn && { refreshAfterTimestamp: refreshOn.getTime() }),
      tokenType,
    };
    return redacted(token, () => ({ ...token, token: "[concealed]" }));
  }

  /**
   * Signs a person in if necessary, whatever `interactive` says. After an {@linkcode AuthenticationRequiredError}, pass its
   * `scopes` and `getTokenOptions`.
   *
   * @param scopes Scopes to consent to.
   * @param options Options of the request, including the claims that the person has to fulfil.
   * @returns The account that signed in. The credential uses it from now on.
   * @throws {LatchkeyError} the refusal of the sign-in; `user_canceled`; `timed_out`.
   */
  async authenticate(scopes: string | readonly string[], options: GetTokenOptions = {}): Promise<AccountInfo> {
    return (await this.#acquire(scopes, options, "if-needed")).account;
  }

  /**
   * Closes the connection to the broker; pending calls fail. A program can end without calling it.
   *
   * @returns Resolves when pending renewals are stored.
   */
  async close(): Promise<void> {
    await this.app.close();
  }

  /** Calls {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]();
  }

  async #acquire(
    scopes: string | readonly string[],
    options: GetTokenOptions,
    interactive: "if-needed" | "never" = "if-needed",
  ): Promise<AuthenticationResult> {
    const { parentWindowHandle, onBeforeLaunchingUi, clientCapabilities = [] } = this.#options;
    const { claims, enableCae = false, proofOfPossessionOptions: pop, abortSignal } = options;
    const scopeList = typeof scopes === "string" ? [scopes] : scopes;
    const { signal, stop } = signalOf(abortSignal);
    const others = clientCapabilities.filter((each) => each.toLowerCase() !== CONTINUOUS_ACCESS_EVALUATION);
    const turn = Promise.withResolvers<void>();
    try {
      if (!this.#account) {
        const before = this.#choosing;
        this.#choosing = Promise.all([before, turn.promise]).then(() => {});
        await untilAborted(before, signal); // two concurrent sign-ins could be of two people
      }
      const result = await this.app.acquireToken({
        ...this.#account,
        scopes: scopeList,
        claims: claims || undefined,
        clientCapabilities: enableCae ? [...others, CONTINUOUS_ACCESS_EVALUATION] : others,
        tenantId: this.#tenantFor(options.tenantId),
        authenticationScheme: pop &&
          { type: "pop", method: pop.resourceRequestMethod, url: pop.resourceRequestUrl, nonce: pop.nonce },
        interactive,
        parentWindowHandle,
        onBeforeLaunchingUi,
        signal,
      });
      // The first account is used from now on: another scope must not be acquired for another person. By its user name, as an
      // account that is a guest of one tenant would send all other requests to that tenant.
      const { account } = result;
      this.#account ??= account.username ? { username: account.username } : { account };
      return result;
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      const failure = inCredentialWords(error);
      const isUnavailable = error.code === "broker_unavailable" || error.code === "missing_dependency";
      if (isUnavailable) throw new CredentialUnavailableError(messageOf(failure), { cause: withoutHint(failure) });
      if (interactive !== "never" || !isInteractionRequired(error)) throw failure;
      throw new AuthenticationRequiredError(failure, scopeList, options);
    } finally {
      turn.resolve();
      stop();
    }
  }

  #tenantFor(requested: string | undefined): string | undefined {
    const { additionallyAllowedTenants = [] } = this.#options;
    const authority = parseAuthority(this.#options.authority ?? DEFAULT_AUTHORITY);
    const isSame = (tenant: string) => tenant.toLowerCase() === requested?.toLowerCase();
    if (!requested || authority.kind !== "entra" || isSame(authority.tenant)) return undefined;
    if (isMultiTenant(authority) || additionallyAllowedTenants.some((tenant) => tenant === "*" || isSame(tenant))) {
      return requested;
    }
    throw new CredentialUnavailableError(
      `The credential is for ${authority.url}, not for the tenant ${JSON.stringify(requested)}: ` +
        "add it, or *, to additionallyAllowedTenants",
    );
  }
}

/** Words of the credential for remedies: where it has no method of its own, those of `app`. */
const CREDENTIAL_WORDS: HintWords = {
  ...API_WORDS,
  sign_in: () => "Sign in: authenticate",
  sign_in_again: (step) => `Sign in again: authenticate${step.with ? SIGN_IN_WITH[step.with] : ""}`,
  list_accounts: () => "List the accounts: app.getAccounts",
  choose_account: () => "Choose one: account or username in the credential's options (app.getAccounts)",
  consent: ({ url }) => consentAt(url ?? "the URL of app.getAuthorizationRequestUrl"),
  run_doctor: () => "Look for the cause: app.brokerStatus",
  omit_parameter: ({ parameter }) =>
    parameter === "kid" ? "Ask without kid" : "Ask without proofOfPossessionOptions (see app.isPopSupported)",
  enable_broker: ({ options }) => `To use the device's broker, set ${options.join(" or ")}; or sign in: authenticate`,
};

/** Returns a failure whose hint names what the credential has. */
function inCredentialWords(error: LatchkeyError): LatchkeyError {
  const { remedy } = error;
  return remedy ? Object.assign(withDetails(error, {}), { hint: hintOf(remedy, CREDENTIAL_WORDS) }) : error;
}

/** Returns the message with the hint: Azure's chains show only the message. */
function messageOf({ message, hint }: LatchkeyError): string {
  return hint ? `${message}. ${hint}` : message;
}

/** Returns the cause of an error whose message has the hint already. */
function withoutHint(error: LatchkeyError): LatchkeyError {
  return withDetails(error, { remedy: undefined });
}

/** Returns a signal of the platform for one that is like it, and a function that stops listening to the latter. */
function signalOf(like: AbortSignalLike | undefined): { readonly signal?: AbortSignal | undefined; stop(): void } {
  if (!like || like instanceof AbortSignal) return { signal: like, stop: () => {} };
  const controller = new AbortController();
  const abort = () => controller.abort(new DOMException("The operation was aborted", "AbortError"));
  if (like.aborted) abort();
  else like.addEventListener("abort", abort);
  return { signal: controller.signal, stop: () => like.removeEventListener("abort", abort) };
}

/** An `AuthenticationProvider` of Microsoft Graph's client. */
export interface GraphAuthenticationProvider {
  /** Returns a token for the scopes of one request, or for the provider's. */
  getAccessToken(options?: { readonly scopes?: string[] }): Promise<string>;
}

/**
 * Returns an `authProvider` for `Client.initWithMiddleware`. That client does not answer claims challenges, so the tokens are
 * those of clients that do not.
 *
 * @param credential Source of the tokens.
 * @param options `scopes`: scopes of the tokens. @default ["https://graph.microsoft.com/.default"]
 * @returns The provider.
 *
 * @example The person who is signed in
 * ```ts
 * import { Client } from "@microsoft/microsoft-graph-client";
 * import { graphAuthenticationProvider, LatchkeyCredential } from "@latchkey/latchkey/azure";
 *
 * const credential = new LatchkeyCredential({
 *   clientId: "11111111-2222-4333-8444-555555555555",
 *   enableBrokerOnLinux: true,
 * });
 * const graph = Client.initWithMiddleware({
 *   authProvider: graphAuthenticationProvider(credential, { scopes: ["User.Read"] }),
 * });
 * console.log(await graph.api("/me").get());
 * credential.close();
 * ```
 */
export function graphAuthenticationProvider(
  credential: TokenCredential,
  options: { readonly scopes?: readonly string[] } = {},
): GraphAuthenticationProvider {
  checkOptions("graphAuthenticationProvider", options, { scopes: true });
  const { scopes: own = ["https://graph.microsoft.com/.default"] } = options;
  return {
    async getAccessToken({ scopes } = {}) {
      const token = await credential.getToken(scopes?.length ? scopes : [...own]);
      if (token) return token.token;
      throw new TypeError("The credential returned no token");
    },
  };
}

/**
 * What Azure's SDKs for JavaScript call a credential: the shapes of `@azure/core-auth`, which is not imported.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import { PublicClientApplication, type PublicClientApplicationOptions } from "../application.ts";
import { untilAborted } from "../async.ts";
import { DEFAULT_AUTHORITY, isMultiTenant, parseAuthority } from "../authority.ts";
import { ArgumentError, INTERACTION_REQUIRED_CODES, LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";
import type { AcquireTokenRequest, PopScheme, SignInOptions } from "../request.ts";
import { type AuthenticationResult, redacted } from "../token.ts";

/** A credential as Azure's SDKs take it: latchkey's, or any other. */
export interface TokenCredential {
  /**
   * Gives a token.
   *
   * @param scopes What it is for.
   * @param options What else is said of it.
   */
  getToken(scopes: string | string[], options?: GetTokenOptions): Promise<AccessToken | null>;
}

/** What a client of an Azure SDK says of the token that it wants. */
export interface GetTokenOptions {
  /** Ends the call. */
  readonly abortSignal?: AbortSignalLike;
  /** A claims challenge to answer: JSON, base64 of it, or a whole `WWW-Authenticate` header. */
  readonly claims?: string;
  /** Whether the client can answer claims challenges (continuous access evaluation). @default false */
  readonly enableCae?: boolean;
  /** Tenant to ask instead of the authority's, such as one that a challenge names. */
  readonly tenantId?: string;
  /** Binds the token to one HTTP request. @default a bearer token */
  readonly proofOfPossessionOptions?: ProofOfPossessionOptions;
}

/** The HTTP request that a token is to be bound to. */
export interface ProofOfPossessionOptions {
  /** What the resource sent to be signed. */
  readonly nonce: string;
  /** Such as `GET`. */
  readonly resourceRequestMethod: string;
  /** The address that is called. */
  readonly resourceRequestUrl: string;
}

/** A token as Azure's SDKs want it. */
export interface AccessToken {
  /** The token. */
  token: string;
  /** When it ends, in milliseconds since 1970. */
  expiresOnTimestamp: number;
  /** When to renew it ahead of its end, in milliseconds since 1970. */
  refreshAfterTimestamp?: number;
  /** How it is sent. */
  tokenType?: "Bearer" | "pop";
}

/** A signal of the platform's, or one of Azure's that looks like it. */
export interface AbortSignalLike {
  /** Whether the call is to end. */
  readonly aborted: boolean;
  /** Calls a listener when it is. */
  // deno-lint-ignore no-explicit-any -- as Azure has it: a listener of whatever type is to fit
  addEventListener(type: "abort", listener: (this: AbortSignalLike, event: any) => any, options?: any): void;
  /** Does not call it any more. */
  // deno-lint-ignore no-explicit-any -- the same
  removeEventListener(type: "abort", listener: (this: AbortSignalLike, event: any) => any, options?: any): void;
}

/** Failures that say that this credential cannot be used here. */
const UNAVAILABLE: ReadonlySet<LatchkeyErrorCode> = new Set(["broker_unavailable", "missing_dependency"]);

/** The credential cannot be used here: there is no broker, or it is not for that tenant. */
export class CredentialUnavailableError extends Error {
  /** By which chains of credentials know it. */
  override readonly name = "CredentialUnavailableError";
}

/** A person is needed, and none may be asked. */
export class AuthenticationRequiredError extends Error {
  /** By which chains of credentials know it. */
  override readonly name = "AuthenticationRequiredError";
  /** What the token was to be for. */
  readonly scopes: string[];
  readonly #options: GetTokenOptions;

  /**
   * Makes an error.
   *
   * @param cause Why a person is needed.
   * @param scopes What the token was to be for.
   * @param options What was said of it.
   */
  constructor(cause: LatchkeyError, scopes: readonly string[], options: GetTokenOptions) {
    super(messageOf(cause), { cause });
    this.scopes = [...scopes];
    this.#options = cause.claims === undefined ? options : { ...options, claims: cause.claims };
  }

  /**
   * What to give to `LatchkeyCredential.authenticate`, the claims that the person has to fulfil included. A getter, so that
   * no inspection prints those.
   */
  get getTokenOptions(): GetTokenOptions {
    return this.#options;
  }
}

/**
 * The error under the name that Azure's chains know.
 *
 * @param error What a request for a token failed with.
 * @param asked What it was for.
 * @returns The error to throw: another one when a chain is to go on.
 */
function credentialError(
  error: unknown,
  asked: { readonly scopes: readonly string[]; readonly options: GetTokenOptions; readonly mayAsk: boolean },
): unknown {
  if (!(error instanceof LatchkeyError)) return error;
  if (UNAVAILABLE.has(error.code)) return new CredentialUnavailableError(messageOf(error), { cause: error });
  if (asked.mayAsk || !INTERACTION_REQUIRED_CODES.has(error.code)) return error;
  return new AuthenticationRequiredError(error, asked.scopes, asked.options);
}

/** A chain shows messages alone. */
function messageOf({ message, hint }: LatchkeyError): string {
  return hint ? `${message}. ${hint}` : message;
}

/** What a credential is made of: an application, and whose tokens it gives. */
export interface LatchkeyCredentialOptions
  extends PublicClientApplicationOptions, Pick<SignInOptions, "parentWindowHandle" | "onBeforeLaunchingUi"> {
  /** Whose tokens. @default the account that is signed in to the device, or the one that signs in first */
  readonly account?: AccountInfo | undefined;
  /** Whose tokens, by user name. */
  readonly username?: string | undefined;
  /** Whether a person may be asked where there is no token without. @default "if-needed" */
  readonly interactive?: "if-needed" | "never" | undefined;
  /**
   * Tenants beside the authority's that a client, or the challenge of a service, may ask for; `*` for any. Where the
   * authority is for many tenants, any may be asked for.
   *
   * @default []
   */
  readonly additionallyAllowedTenants?: readonly string[] | undefined;
}

/** Tells resources that their claims challenges will be answered. */
const CONTINUOUS_ACCESS_EVALUATION = "cp1";

/**
 * A credential that Azure's SDKs for JavaScript take: tokens from the device's broker, or by the browser where there is
 * none. It answers claims challenges, asks other tenants where it may, and binds tokens to requests where the broker can.
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
  /** The application that the tokens are of: to list accounts, or to sign one out. */
  readonly app: PublicClientApplication;
  readonly #options: LatchkeyCredentialOptions;
  #whose: Pick<AcquireTokenRequest, "account" | "username">;
  /** Ends when the last call has ended that began while nobody was chosen. */
  #choosing: Promise<void> = Promise.resolve();

  /**
   * Makes a credential.
   *
   * @param options What it is made of. Nothing is opened or asked before the first call.
   * @throws {TypeError} when the client id is missing, the authority is not one, or `interactive` is none of its words.
   * @throws {RangeError} when a time limit is not above 0.
   */
  constructor(options: LatchkeyCredentialOptions) {
    this.app = new PublicClientApplication(options);
    const { account, username, interactive = "if-needed" } = options;
    if (!["if-needed", "never"].includes(interactive)) {
      throw new ArgumentError('Cannot make a credential: interactive has to be "if-needed" or "never"');
    }
    this.#options = options;
    this.#whose = account ? { account } : { username };
  }

  /**
   * A token, as Azure's SDKs ask for it: one that is held and good for five more minutes, the broker's, a renewed one, or
   * by the person's sign-in where that is allowed.
   *
   * @param scopes What it is for, such as `https://vault.azure.net/.default`.
   * @param options What else is said of it. A token for a client that answers claims challenges (`enableCae`) is never given
   * to one that does not, nor the reverse.
   * @returns The token. Inspecting or logging it does not show it; its fields and `JSON.stringify` have it.
   * @throws {CredentialUnavailableError} where there is no broker and one is needed, or for a tenant that is not allowed.
   * @throws {AuthenticationRequiredError} with `interactive: "never"`, when a person is needed.
   * @throws {LatchkeyError} what else the request failed with, after which a chain of credentials ends.
   * @throws {TypeError} when scopes or claims are none.
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
   * Signs a person in where that is needed, whatever `interactive` says: the way on from an
   * {@linkcode AuthenticationRequiredError}, whose `scopes` and `getTokenOptions` are what to give.
   *
   * @param scopes What they are to consent to.
   * @param options The claims that they have to fulfil, and what else is said of the token.
   * @returns Who signed in: whose tokens the credential gives from now on.
   * @throws {LatchkeyError} what the sign-in was refused with; `user_canceled`; `timed_out`.
   */
  async authenticate(scopes: string | readonly string[], options: GetTokenOptions = {}): Promise<AccountInfo> {
    return (await this.#acquire(scopes, options, "if-needed")).account;
  }

  /**
   * Frees the connection to the broker; calls under way fail. A program that is done ends without it, too.
   *
   * @returns Resolves when the renewals that were sent are finished and stored.
   */
  async close(): Promise<void> {
    await this.app.close();
  }

  /** The same as {@linkcode close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]();
  }

  async #acquire(
    scopes: string | readonly string[],
    options: GetTokenOptions,
    interactive: "if-needed" | "never" = "if-needed",
  ): Promise<AuthenticationResult> {
    const { parentWindowHandle, onBeforeLaunchingUi, clientCapabilities = [] } = this.#options;
    const { claims, enableCae = false, proofOfPossessionOptions, abortSignal } = options;
    const wanted = typeof scopes === "string" ? [scopes] : scopes, listening = signalOf(abortSignal);
    const others = clientCapabilities.filter((each) => each.toLowerCase() !== CONTINUOUS_ACCESS_EVALUATION);
    const turn = Promise.withResolvers<void>();
    try {
      if (!this.#isChosen()) {
        const before = this.#choosing;
        this.#choosing = Promise.all([before, turn.promise]).then(() => {});
        await untilAborted(before, listening.signal); // two calls at once could be given two people
      }
      const result = await this.app.acquireToken({
        ...this.#whose,
        scopes: wanted,
        claims: claims || undefined,
        clientCapabilities: enableCae ? [...others, CONTINUOUS_ACCESS_EVALUATION] : others,
        tenantId: this.#tenantFor(options.tenantId),
        authenticationScheme: popOf(proofOfPossessionOptions),
        interactive,
        parentWindowHandle,
        onBeforeLaunchingUi,
        signal: listening.signal,
      });
      this.#keepTo(result.account);
      return result;
    } catch (error) {
      throw credentialError(error, { scopes: wanted, options, mayAsk: interactive !== "never" });
    } finally {
      turn.resolve();
      listening.stop();
    }
  }

  #isChosen(): boolean {
    return this.#whose.account !== undefined || this.#whose.username !== undefined;
  }

  /** Whoever was chosen first is meant from now on: another scope must not be had for another person. */
  #keepTo(account: AccountInfo): void {
    if (this.#isChosen()) return;
    // An account as a guest of one tenant would have that tenant asked for all else.
    this.#whose = account.username ? { username: account.username } : { account };
  }

  #tenantFor(asked: string | undefined): string | undefined {
    const { additionallyAllowedTenants = [] } = this.#options;
    const authority = parseAuthority(this.#options.authority ?? DEFAULT_AUTHORITY);
    const isSame = (tenant: string) => tenant.toLowerCase() === asked?.toLowerCase();
    if (!asked || authority.kind !== "entra" || isSame(authority.tenant)) return undefined;
    if (isMultiTenant(authority) || additionallyAllowedTenants.some((tenant) => tenant === "*" || isSame(tenant))) {
      return asked;
    }
    throw new CredentialUnavailableError(
      `The credential is for ${authority.url}, and not for the tenant ${JSON.stringify(asked)}: ` +
        "name that, or *, among additionallyAllowedTenants",
    );
  }
}

function popOf(options: ProofOfPossessionOptions | undefined): PopScheme | undefined {
  if (!options) return undefined;
  const { nonce, resourceRequestMethod: method, resourceRequestUrl: url } = options;
  return { type: "pop", method, url, nonce };
}

/** A signal of the platform's for one that only looks like it, and what stops it from listening to that. */
function signalOf(like: AbortSignalLike | undefined): {
  readonly signal: AbortSignal | undefined;
  readonly stop: () => void;
} {
  if (!like || like instanceof AbortSignal) return { signal: like, stop: () => {} };
  const controller = new AbortController();
  const abort = () => controller.abort(new DOMException("The operation was aborted", "AbortError"));
  if (like.aborted) abort();
  else like.addEventListener("abort", abort);
  return { signal: controller.signal, stop: () => like.removeEventListener("abort", abort) };
}

/** What that client calls an `AuthenticationProvider`. */
export interface GraphAuthenticationProvider {
  /** A token for the scopes of one request, else for those that the provider was made with. */
  getAccessToken(options?: { readonly scopes?: string[] }): Promise<string>;
}

/**
 * An `authProvider` for `Client.initWithMiddleware`. The tokens are those of clients that do not answer claims challenges,
 * since that client does not.
 *
 * @param credential Where tokens come from.
 * @param options `scopes`: what they are for. @default ["https://graph.microsoft.com/.default"]
 * @returns The provider.
 *
 * @example Who is signed in
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
  const { scopes: own = ["https://graph.microsoft.com/.default"] } = options;
  return {
    async getAccessToken({ scopes } = {}) {
      const token = await credential.getToken(scopes?.length ? scopes : [...own]);
      if (token) return token.token;
      throw new TypeError("The credential gave no token");
    },
  };
}

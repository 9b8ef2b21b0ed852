/**
 * What Azure's SDKs for JavaScript call a credential: the shapes of `@azure/core-auth`, which is not imported.
 *
 * @module
 */

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

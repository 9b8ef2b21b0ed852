/**
 * The tokens of `latchkey serve --upstream`, with those that answered a claims challenge.
 *
 * @module
 */
import { LatchkeyError } from "../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import type { AuthenticationResult } from "../../lib/token.ts";

/** A source of tokens. */
export interface TokenSource {
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "claims" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Receives the error of each request for a token, or `undefined`. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
}

/** A token that answered a challenge is used until shortly before its end: one without the claims would be refused again. */
const MARGIN_MS = 5 * 60_000;

/** Tokens by their scope. */
export class UpstreamTokens {
  readonly #source: TokenSource;
  readonly #challenged = new Map<string, AuthenticationResult>();
  readonly #pending = new Map<string, string>();

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /** Answers a challenge with the next request for a scope. */
  answerNext(scope: string, claims: string): void {
    this.#pending.set(scope, claims);
  }

  /** Returns a token for a scope, which answers a challenge if there are claims. */
  async acquire(
    scope: string,
    { claims: challenge, signal }: { readonly claims: string | undefined; readonly signal: AbortSignal },
  ): Promise<AuthenticationResult> {
    const claims = challenge ?? this.#pending.get(scope);
    this.#pending.delete(scope);
    const challenged = this.#challenged.get(scope);
    if (claims === undefined && challenged && challenged.expiresOn.getTime() - MARGIN_MS > Date.now()) {
      return challenged;
    }
    const { acquire, onOutcome } = this.#source;
    try {
      const result = await acquire({ scopes: [scope], signal, ...(claims !== undefined && { claims }) });
      onOutcome(scope, undefined);
      if (claims === undefined) this.#challenged.delete(scope);
      else this.#challenged.set(scope, result);
      return result;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LatchkeyError) onOutcome(scope, error);
      throw error;
    }
  }
}

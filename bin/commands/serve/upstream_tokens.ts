/**
 * The tokens of `latchkey serve --upstream`, with those that met a claims challenge.
 *
 * @module
 */
import { untilAborted } from "../../../lib/async.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { ChallengeLimits } from "../../../lib/oauth/challenged_fetch.ts";
import type { AcquireTokenRequest } from "../../../lib/request.ts";
import { type AuthenticationResult, isFresh } from "../../../lib/token.ts";

/** A source of tokens. */
export interface TokenSource {
  readonly acquire: (
    request: Pick<AcquireTokenRequest, "scopes" | "claims" | "signal">,
  ) => Promise<AuthenticationResult>;
  /** Receives the error of each request for a token, or `undefined`. */
  readonly onOutcome: (scope: string, error: LatchkeyError | undefined) => void;
}

/** A claims challenge. */
interface ClaimsChallenge {
  readonly claims: string;
  /** The token that the upstream answered with the challenge. */
  readonly refused: AuthenticationResult;
}

/** Tokens by their scope. */
export class UpstreamTokens {
  readonly #source: TokenSource;
  readonly #now: () => number;
  readonly #byScope = new Map<string, ScopeTokens>();

  constructor(source: TokenSource, now: () => number = Date.now) {
    this.#source = source;
    this.#now = now;
  }

  /** Returns the tokens for a scope. */
  of(scope: string): ScopeTokens {
    const known = this.#byScope.get(scope);
    if (known) return known;
    const tokens = new ScopeTokens(scope, this.#source, this.#now);
    this.#byScope.set(scope, tokens);
    return tokens;
  }
}

/** A request for a token that meets claims, which clients share. */
interface Renewal {
  readonly claims: string;
  readonly token: Promise<AuthenticationResult>;
  readonly end: AbortController;
  waiting: number;
}

/** The tokens for one scope. What an upstream's challenges can cause is limited by {@linkcode ChallengeLimits}. */
export class ScopeTokens {
  readonly #scope: string;
  readonly #source: TokenSource;
  readonly #now: () => number;
  readonly #limits: ChallengeLimits;
  /** The token that met the last challenge. */
  #challenged: AuthenticationResult | undefined;
  /** A challenge that the next request meets. */
  #next: ClaimsChallenge | undefined;
  #renewal: Renewal | undefined;

  constructor(scope: string, source: TokenSource, now: () => number) {
    this.#scope = scope;
    this.#source = source;
    this.#now = now;
    this.#limits = new ChallengeLimits(now);
  }

  /** Returns a token. */
  async acquire(signal: AbortSignal): Promise<AuthenticationResult> {
    const next = this.#next;
    this.#next = undefined;
    const renewed = next && this.answer(next, signal);
    if (renewed !== undefined) return await renewed;
    // It is used until shortly before it expires: a token without the claims would be refused again.
    if (this.#challenged && isFresh(this.#challenged.expiresOn, this.#now())) return this.#challenged;
    this.#challenged = undefined;
    this.#limits.forgetAnswered();
    return await this.#request({ signal });
  }

  /** Meets a challenge with the next request. */
  answerNext(challenge: ClaimsChallenge): void {
    this.#next = challenge;
  }

  /** Requests a token that meets a challenge; `undefined` if the upstream asks for new ones too often, or again for the same. */
  answer({ claims, refused }: ClaimsChallenge, signal: AbortSignal): Promise<AuthenticationResult> | undefined {
    const challenged = this.#challenged;
    // Another client's request was challenged before, and its token is here meanwhile.
    if (challenged && challenged.accessToken !== refused.accessToken) return Promise.resolve(challenged);
    if (this.#renewal?.claims === claims) return this.#share(this.#renewal, signal);
    if (!this.#limits.isWithin(claims)) return undefined;
    this.#renewal = this.#renew(claims);
    return this.#share(this.#renewal, signal);
  }

  #renew(claims: string): Renewal {
    this.#limits.countRequest();
    const end = new AbortController();
    const token = this.#request({ claims, signal: end.signal }).then((result) => {
      this.#limits.addAnswered(claims);
      this.#challenged = result;
      return result;
    });
    return { claims, token, end, waiting: 0 };
  }

  /** Waits for a renewal, which ends once no client waits any longer. */
  async #share(renewal: Renewal, signal: AbortSignal): Promise<AuthenticationResult> {
    renewal.waiting++;
    try {
      return await untilAborted(renewal.token, signal);
    } finally {
      renewal.waiting--;
      if (renewal.waiting === 0) {
        renewal.end.abort();
        if (this.#renewal === renewal) this.#renewal = undefined;
      }
    }
  }

  async #request(
    request: { readonly claims?: string; readonly signal: AbortSignal },
  ): Promise<AuthenticationResult> {
    const { acquire, onOutcome } = this.#source;
    try {
      const result = await acquire({ scopes: [this.#scope], ...request });
      onOutcome(this.#scope, undefined);
      return result;
    } catch (error) {
      request.signal.throwIfAborted();
      if (error instanceof LatchkeyError) onOutcome(this.#scope, error);
      throw error;
    }
  }
}

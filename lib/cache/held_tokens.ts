/**
 * Broker tokens that this program holds. They live in memory alone: the broker keeps them for the next run.
 *
 * @module
 */
import { type AuthenticationResult, EXPIRY_MARGIN_MS, Lifetimes } from "../token.ts";

/** Tokens by what they were asked for with. */
export class HeldTokens {
  readonly #tokens = new Map<string, AuthenticationResult>();
  readonly #lifetimes = new Lifetimes();

  /**
   * The token that was held for a request.
   *
   * @param key What is asked for.
   * @param now The time, in milliseconds since 1970.
   * @returns A token that is good for five more minutes.
   */
  find(key: string, now: number): AuthenticationResult | undefined {
    const held = this.#tokens.get(key), token = held && this.#lifetimes.bounded(held, now);
    return token && token.expiresOn.getTime() - now > EXPIRY_MARGIN_MS ? token : undefined;
  }

  /** The token that was held for a request, good or not: what a broker is shown to renew it. */
  findOld(key: string): AuthenticationResult | undefined {
    return this.#tokens.get(key);
  }

  /** Holds a token for requests like the ones that it answers. What has ended is dropped. */
  hold(keys: readonly string[], token: AuthenticationResult, now: number): void {
    this.#lifetimes.note(token, now);
    for (const key of keys) this.#tokens.set(key, token);
    for (const [key, old] of this.#tokens) {
      if (this.#lifetimes.bounded(old, now).expiresOn.getTime() <= now) this.#tokens.delete(key);
    }
  }

  /** Drops the tokens that are meant. */
  forget(isMeant: (token: AuthenticationResult) => boolean): void {
    for (const [key, token] of this.#tokens) {
      if (isMeant(token)) this.#tokens.delete(key);
    }
  }
}

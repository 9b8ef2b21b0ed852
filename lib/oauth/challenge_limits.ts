/**
 * Limits of the new tokens that a server's challenges can cause.
 *
 * @module
 */

/** New tokens that a server's challenges can cause in {@linkcode NEW_TOKENS_MS}. */
const MAX_NEW_TOKENS = 5;
const NEW_TOKENS_MS = 10 * 60_000;
/** Greatest number of different demands that are answered. */
const MAX_DEMANDS = 100;

/**
 * Limits of the new tokens that one server can cause, whatever it responds to them: Entra takes many requests for a loop
 * (AADSTS50196). A demand is what a challenge names, such as claims or scopes.
 */
export class ChallengeLimits {
  readonly #now: () => number;
  readonly #answered = new Set<string>();
  #requestedMs: number[] = [];

  /** `now` returns the time, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns true if a challenge may be answered by a new token. A demand that was met is not met again. */
  isWithin(demand?: string): boolean {
    const sinceMs = this.#now() - NEW_TOKENS_MS;
    this.#requestedMs = this.#requestedMs.filter((time) => time > sinceMs);
    const isNew = demand === undefined || !this.#answered.has(demand) && this.#answered.size < MAX_DEMANDS;
    return isNew && this.#requestedMs.length < MAX_NEW_TOKENS;
  }

  /** Counts a request for a token. */
  countRequest(): void {
    this.#requestedMs.push(this.#now());
  }

  /** Remembers a demand that a token has met. */
  addAnswered(demand: string): void {
    this.#answered.add(demand);
  }

  /** Forgets the demands that were met: the token that met them has expired. */
  forgetAnswered(): void {
    this.#answered.clear();
  }
}

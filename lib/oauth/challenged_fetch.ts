/**
 * Requests with a token that a server may challenge: what a challenge asks for, one more request for each kind of it, and the
 * limits of the new tokens that challenges can cause.
 *
 * @module
 */
import { challengeParameters, claimsRequest } from "../claims.ts";

/** A demand of a server, in its `WWW-Authenticate` header. */
export interface Challenge {
  /** `first`: it was sent no token; `refused`: it accepts the token no longer; `claims`, `scopes`: it needs other ones. */
  readonly kind: "first" | "refused" | "claims" | "scopes";
  readonly header: string;
  /** The claims request of the kind `claims`, as JSON. */
  readonly claims?: string | undefined;
  /** The demand that {@linkcode ChallengeLimits} remember, of the kinds `claims` and `scopes`. */
  readonly demand?: string | undefined;
}

interface ChallengedRequest<Token> {
  /** Sends the request, with the token if there is one. */
  readonly send: (token: Token) => Promise<Response>;
  /** Acquires a token that meets a challenge; `undefined` if the caller is to get the response. */
  readonly answer: (challenge: Challenge, sent: Token) => Promise<Token> | undefined;
}

/**
 * Sends a request with a token, and again with another one after a challenge: once for each kind.
 *
 * @param token The first token; `undefined` to send none.
 */
export async function challengedFetch<Token>(
  token: Token,
  { send, answer }: ChallengedRequest<Token>,
): Promise<Response> {
  const answered = new Set<Challenge["kind"]>();
  let sent = token;
  for (;;) {
    const response = await send(sent);
    const challenge = challengeOf(response, { isTokenSent: sent !== undefined });
    if (!challenge || answered.has(challenge.kind)) return response;
    const acquired = answer(challenge, sent);
    if (acquired === undefined) return response;
    answered.add(challenge.kind);
    [sent] = await Promise.all([acquired, response.body?.cancel()]);
  }
}

/** Returns the challenge of a response; `undefined` if the server asks for no other token. */
function challengeOf(
  { status, headers }: Response,
  { isTokenSent }: { readonly isTokenSent: boolean },
): Challenge | undefined {
  if (status !== 401 && status !== 403) return undefined;
  const header = headers.get("www-authenticate") ?? "";
  const claims = isTokenSent ? claimsIn(header) : undefined;
  if (claims !== undefined) return { kind: "claims", header, claims, demand: `claims ${claims}` };
  if (status === 401) return { kind: isTokenSent ? "refused" : "first", header };
  const parameters = [...challengeParameters(header)];
  if (!parameters.some(({ name, value }) => name === "error" && value === "insufficient_scope")) return undefined;
  if (!isTokenSent) return { kind: "first", header };
  const scope = parameters.find(({ name }) => name === "scope")?.value ?? "";
  return { kind: "scopes", header, demand: `scopes ${scope.split(" ").toSorted().join(" ")}` };
}

/** Returns the claims request in a `WWW-Authenticate` header, as JSON; `undefined` if it has none that can be read. */
export function claimsIn(header: string): string | undefined {
  try {
    return claimsRequest(header);
  } catch {
    return undefined;
  }
}

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

/**
 * Requests to one server, with a token once it asks for one.
 *
 * @module
 */
import { untilAborted } from "../../../lib/async.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { type Challenge, challengedFetch, ChallengeLimits } from "../../../lib/oauth/challenged_fetch.ts";
import { EXPIRY_MARGIN_MS } from "../../../lib/token.ts";

/** A token, and what it was requested with. */
export interface ServerToken {
  /** The header field. */
  readonly authorization: string;
  readonly expiresOn: Date;
  readonly scopes: readonly string[];
}

/** The reason for a new token. */
export interface TokenReason {
  readonly kind: Challenge["kind"] | "expired";
  /** The `WWW-Authenticate` header that gives it, if a server did. */
  readonly challenge: string | undefined;
  /** False if no message of the client waits for the token, or the user was prompted a short time ago. */
  readonly mayPrompt: boolean;
  /** To be called right before the user is prompted. */
  readonly onPrompt: () => void;
}

/** A challenge, or what makes a new token necessary without one. */
type Demand = Challenge | {
  readonly kind: "first" | "expired";
  readonly header?: undefined;
  readonly demand?: undefined;
};
type Send = (url: string | URL, init?: RequestInit) => Promise<Response>;

interface Options {
  readonly fetch: Send;
  readonly acquire: (reason: TokenReason, held: ServerToken | undefined) => Promise<ServerToken>;
  /** True to send the first request with a token: its scopes are known. */
  readonly isEager: boolean;
  /** Tells the user. */
  readonly tell: (message: string) => void;
  /** Returns the time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/** Time in milliseconds until a renewal that failed is tried again. */
const PAUSE_MS = 60_000;
/** Shortest time between two prompts, in milliseconds: users who are prompted again and again give in. */
const PROMPT_MS = 60_000;
const MESSAGES: Readonly<Record<TokenReason["kind"], string | undefined>> = {
  first: undefined,
  expired: undefined,
  refused: "accepts the token no longer: a new one is sent",
  claims: "asks for a token with other claims: a new one is sent",
  scopes: "asks for a token with more scopes: a new one is sent",
};

/** The token of one server. */
class TokenHolder {
  readonly #host: string;
  readonly #options: Options;
  readonly #now: () => number;
  readonly #limits: ChallengeLimits;
  #promptedMs = -Infinity;
  #token: ServerToken | undefined;
  #renewAtMs = 0;
  #renewal: { readonly token: Promise<ServerToken>; readonly mayPrompt: boolean } | undefined;

  constructor(host: string, options: Options) {
    this.#host = host;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#limits = new ChallengeLimits(this.#now);
  }

  /** Returns true if a challenge may be answered by a new token. */
  mayAnswer({ demand }: Challenge): boolean {
    return this.#limits.isWithin(demand);
  }

  /** Returns the token to send with a request; `undefined` if the server has asked for none. */
  async current(init: RequestInit): Promise<ServerToken | undefined> {
    const token = this.#token;
    if (!token && this.#options.isEager) return await this.renew({ kind: "first" }, token, init);
    if (!token || this.#now() < this.#renewAtMs) return token;
    const endMs = token.expiresOn.getTime();
    try {
      return await this.renew({ kind: "expired" }, token, init);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || endMs < this.#now()) throw error;
      this.#renewAtMs = Math.min(this.#now() + PAUSE_MS, endMs);
      return token; // it is still good
    }
  }

  /** Returns a new token. Requests that are challenged at the same time share one. */
  async renew(
    reason: Demand,
    sent: ServerToken | undefined,
    { method, signal }: RequestInit,
  ): Promise<ServerToken> {
    const isForMessage = method === "POST";
    const message = MESSAGES[reason.kind];
    if (isForMessage && this.#renewal?.mayPrompt === false) {
      await untilAborted(this.#renewal.token.catch(() => {}), signal ?? undefined);
    }
    if (this.#token && this.#token !== sent) return this.#token;
    if (!this.#renewal) {
      if (message) this.#options.tell(`${this.#host} ${message}`);
      const token = this.#acquire(reason, { isForMessage }).finally(() => {
        this.#renewal = undefined;
      });
      this.#renewal = { token, mayPrompt: isForMessage };
    }
    return await untilAborted(this.#renewal.token, signal ?? undefined);
  }

  async #acquire(
    { kind, header, demand }: Demand,
    { isForMessage }: { readonly isForMessage: boolean },
  ): Promise<ServerToken> {
    // A renewal is not the server's doing; the first token comes once, however often the user has to be waited for.
    if (kind !== "expired" && kind !== "first") this.#limits.countRequest();
    const token = await this.#options.acquire({
      kind,
      challenge: header,
      mayPrompt: isForMessage && this.#now() - this.#promptedMs >= PROMPT_MS,
      onPrompt: () => {
        this.#promptedMs = this.#now();
      },
    }, this.#token);
    if (demand !== undefined) this.#limits.addAnswered(demand);
    if (kind === "first") {
      this.#limits.countRequest();
      this.#promptedMs = -Infinity; // it delays no prompt: many servers ask for more scopes right after the first sign-in
    }
    const now = this.#now();
    const leftMs = token.expiresOn.getTime() - now;
    // A token that lasts a few minutes is renewed at half of them.
    this.#renewAtMs = now + Math.max(leftMs - EXPIRY_MARGIN_MS, leftMs / 2);
    this.#token = token;
    return token;
  }
}

/**
 * Returns a `fetch` for one origin: it sends no request elsewhere, and follows no redirect. Each kind of challenge is answered by
 * one new token a request, within the limits of {@linkcode ChallengeLimits}; otherwise the caller gets the response.
 */
export function fetchWithToken(server: URL, options: Options): Send {
  const holder = new TokenHolder(server.host, options);

  async function send(url: URL, init: RequestInit, token: ServerToken | undefined): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.delete("authorization");
    if (token) headers.set("authorization", token.authorization);
    return await options.fetch(url, { ...init, headers, redirect: "manual" });
  }

  return async (address, init = {}) => {
    const url = new URL(address);
    if (url.origin !== server.origin) {
      throw new LatchkeyError("invalid_response", `${server.host} redirects to ${url.host}, which gets no token`);
    }
    return await challengedFetch(await holder.current(init), {
      send: (token) => send(url, init, token),
      answer: (challenge, sent) => {
        if (holder.mayAnswer(challenge)) return holder.renew(challenge, sent, init);
        options.tell(`${server.host} asks for new tokens too often, or again for the same: it gets none`);
        return undefined;
      },
    });
  };
}

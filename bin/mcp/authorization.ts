/**
 * Requests to one server, with a token once it asks for one.
 *
 * @module
 */
import { untilAborted } from "../../lib/async.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { challengeParameters, claimsRequest } from "../../lib/request.ts";

/** A token, and what it was requested with. */
export interface ServerToken {
  /** The header field. */
  readonly authorization: string;
  readonly expiresOn: Date;
  readonly scopes: readonly string[];
  readonly tenantId?: string | undefined;
  readonly resource?: string | undefined;
}

/** The reason for a new token, with the `WWW-Authenticate` that gives it, if a server did. */
export interface TokenReason {
  /** `first`: it was sent none; `refused`: it accepts the token no longer; `claims`, `scopes`: it needs other ones. */
  readonly kind: "first" | "refused" | "claims" | "scopes" | "expired";
  readonly challenge: string | undefined;
}

type Send = (url: string | URL, init?: RequestInit) => Promise<Response>;

interface Options {
  readonly fetch: Send;
  readonly acquire: (reason: TokenReason, held: ServerToken | undefined) => Promise<ServerToken>;
  /** True to send the first request with a token: its scopes are known. */
  readonly isEager: boolean;
  /** Tells a person. */
  readonly tell: (message: string) => void;
}

/** A token is renewed this long before it expires, in milliseconds. */
const RENEW_BEFORE_MS = 5 * 60_000;
/** Answers in a row that the server refused, after which it gets no new tokens for a time. */
const MAX_REFUSED = 3, PAUSE_MS = 60_000;
const MESSAGES: Readonly<Record<TokenReason["kind"], string | undefined>> = {
  first: undefined,
  expired: undefined,
  refused: "accepts the token no longer: a new one is sent",
  claims: "asks for a token with other claims: a new one is sent",
  scopes: "asks for a token with more scopes: a new one is sent",
};

/**
 * Returns a `fetch` for one origin: it sends no request elsewhere, and follows no redirect. Each kind of challenge is answered by
 * one new token a request; if the server refuses those as well, no new ones are requested for a minute.
 */
export function fetchWithToken(server: URL, { fetch, acquire, isEager, tell }: Options): Send {
  let held: ServerToken | undefined, renewal: Promise<ServerToken> | undefined, refused = 0, pausedUntil = 0;

  /** Requests that are challenged at the same time share one new token. */
  async function renew(reason: TokenReason, sent: ServerToken | undefined, init: RequestInit): Promise<ServerToken> {
    if (held && held !== sent) return held;
    const message = MESSAGES[reason.kind];
    if (!renewal) {
      if (message) tell(`${server.host} ${message}`);
      renewal = acquire(reason, held).then((token) => held = token).finally(() => renewal = undefined);
    }
    return await untilAborted(renewal, init.signal ?? undefined);
  }

  async function current(init: RequestInit): Promise<ServerToken | undefined> {
    if (!held && isEager) return await renew({ kind: "first", challenge: undefined }, undefined, init);
    if (!held || held.expiresOn.getTime() - Date.now() > RENEW_BEFORE_MS) return held;
    const old = held;
    try {
      return await renew({ kind: "expired", challenge: undefined }, old, init);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || old.expiresOn.getTime() < Date.now()) throw error;
      return old; // it is still good
    }
  }

  async function send(url: URL, init: RequestInit, token: ServerToken | undefined): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.delete("authorization");
    if (token) headers.set("authorization", token.authorization);
    return await fetch(url, { ...init, headers, redirect: "manual" });
  }

  return async (address, init = {}) => {
    const url = new URL(address), answered = new Set<string>();
    if (url.origin !== server.origin) {
      throw new LatchkeyError("invalid_response", `${server.host} redirects to ${url.host}, which gets no token`);
    }
    let sent = await current(init), response = await send(url, init, sent);
    for (;;) {
      const reason = reasonOf(response, sent);
      if (!reason) refused = 0;
      if (!reason || answered.has(reason.kind) || Date.now() < pausedUntil) {
        if (reason && answered.size > 0 && ++refused >= MAX_REFUSED) {
          [refused, pausedUntil] = [0, Date.now() + PAUSE_MS];
        }
        return response;
      }
      answered.add(reason.kind);
      await response.body?.cancel();
      sent = await renew(reason, sent, init);
      response = await send(url, init, sent);
    }
  };
}

/** Returns the reason for a new token; `undefined` if the server asks for none. */
function reasonOf({ status, headers }: Response, sent: ServerToken | undefined): TokenReason | undefined {
  if (status !== 401 && status !== 403) return undefined;
  const challenge = headers.get("www-authenticate") ?? "";
  if (sent && hasClaims(challenge)) return { kind: "claims", challenge };
  if (status === 401) return { kind: sent ? "refused" : "first", challenge };
  const isStepUp = challengeParameters(challenge).some(({ name, value }) =>
    name === "error" && value === "insufficient_scope"
  );
  return isStepUp ? { kind: sent ? "scopes" : "first", challenge } : undefined;
}

function hasClaims(challenge: string): boolean {
  try {
    return claimsRequest(challenge) !== undefined;
  } catch {
    return false; // it has others, or none that can be read
  }
}

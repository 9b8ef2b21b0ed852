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
  /** False if no message of the client waits for the token: a stream is opened again, or the session ends. */
  readonly mayPrompt: boolean;
}

type Challenged = Omit<TokenReason, "mayPrompt">;
type Send = (url: string | URL, init?: RequestInit) => Promise<Response>;

interface Options {
  readonly fetch: Send;
  readonly acquire: (reason: TokenReason, held: ServerToken | undefined) => Promise<ServerToken>;
  /** True to send the first request with a token: its scopes are known. */
  readonly isEager: boolean;
  /** Tells a person. */
  readonly tell: (message: string) => void;
}

/** A token is renewed this long before it expires, in milliseconds; one that lasts a few minutes, at half of them. */
const RENEW_BEFORE_MS = 5 * 60_000;
/** Answers in a row that the server refused, after which it gets no new tokens for a time, as after a renewal that failed. */
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
  let held: ServerToken | undefined, refused = 0, pausedUntil = 0, renewAt = 0;
  let renewal: { readonly token: Promise<ServerToken>; readonly mayPrompt: boolean } | undefined;

  function hold(token: ServerToken): ServerToken {
    const now = Date.now(), leftMs = token.expiresOn.getTime() - now;
    renewAt = now + Math.max(leftMs - RENEW_BEFORE_MS, leftMs / 2);
    return held = token;
  }

  /** Requests that are challenged at the same time share one new token. */
  async function renew(
    { kind, challenge }: Challenged,
    sent: ServerToken | undefined,
    { method, signal }: RequestInit,
  ): Promise<ServerToken> {
    const mayPrompt = method === "POST", message = MESSAGES[kind];
    if (mayPrompt && renewal?.mayPrompt === false) {
      await untilAborted(renewal.token.catch(() => {}), signal ?? undefined);
    }
    if (held && held !== sent) return held;
    if (!renewal) {
      if (message) tell(`${server.host} ${message}`);
      const token = acquire({ kind, challenge, mayPrompt }, held).then(hold).finally(() => renewal = undefined);
      renewal = { token, mayPrompt };
    }
    return await untilAborted(renewal.token, signal ?? undefined);
  }

  async function current(init: RequestInit): Promise<ServerToken | undefined> {
    if (!held && isEager) return await renew({ kind: "first", challenge: undefined }, undefined, init);
    if (!held || Date.now() < renewAt) return held;
    const old = held, endMs = old.expiresOn.getTime();
    try {
      return await renew({ kind: "expired", challenge: undefined }, old, init);
    } catch (error) {
      if (!(error instanceof LatchkeyError) || endMs < Date.now()) throw error;
      renewAt = Math.min(Date.now() + PAUSE_MS, endMs);
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
function reasonOf({ status, headers }: Response, sent: ServerToken | undefined): Challenged | undefined {
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

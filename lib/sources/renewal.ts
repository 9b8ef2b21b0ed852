/**
 * The renewal of a token with an account's refresh tokens: the app's own, then those of its family of apps, until one is accepted.
 * Loaded when a token is renewed: a cached one does not need it.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import { mayReuseRefreshTokens } from "../authority.ts";
import type { ReplyToSave } from "../cache/changes.ts";
import { type CachedRefreshToken, nameOfResource, nameOfScope } from "../cache/lookup.ts";
import type { CachedToken } from "../cache/freshness.ts";
import type { RenewalState } from "../cache/token_cache.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import type { HttpOptions } from "../oauth/bounded_fetch.ts";
import type { Provider } from "../oauth/provider.ts";
import { refreshTokens, refuseDeclined, type TokenReply } from "../oauth/token_endpoint.ts";
import type { TokenQuery } from "../request.ts";
import { type AuthenticationResult, LEFT_TO_CALLER_MS, refuseOld } from "../token.ts";
import { signInRequired } from "./account_choice.ts";

interface RenewalOptions {
  readonly clientId: string;
  readonly query: TokenQuery;
  readonly account: AccountInfo;
  readonly provider: Provider;
  /** Options of the requests. They have no signal: a renewal that was sent is finished. */
  readonly http: Omit<HttpOptions, "signal"> & { readonly now: () => number };
  /** Aborts before the next request. */
  readonly signal: AbortSignal;
  /** The cache when the renewal begins. */
  readonly stored: RenewalState;
  /** Reads it again. */
  readonly readStored: () => Promise<RenewalState>;
  /** Returns the cached token for a query; `undefined` if the query wants a new one. */
  readonly findToken: (query: TokenQuery) => Promise<CachedToken | undefined>;
  readonly save: (reply: TokenReply & Pick<ReplyToSave, "replaces">) => Promise<void>;
  readonly log: Logger;
}

/** Refusals of a refresh token itself: `invalid_request` is Dex's. */
const TOKEN_REFUSALS: readonly string[] = ["invalid_grant", "invalid_request"];

/** Time for an unfinished renewal whose refresh token may be used again: nothing is lost without its response. */
const REPEATABLE_HOLD_MS = 2_000;
/** Time for any other one. Without its response, the provider may want the user to sign in again. */
const MAX_HOLD_MS = 30_000;

/** A renewal, of one query. */
export class Renewal {
  readonly #options: RenewalOptions;
  readonly #tried = new Set<string>();
  /** The first refusal by the server. */
  #refusal: LatchkeyError | undefined;
  /** False once the server said that the app is in no family of apps, which share refresh tokens. */
  #isFamilyMember = true;
  /** True if the token that was tried last is for another resource. */
  #isOtherResource = false;

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  /** The milliseconds that it may keep a program whose result is out, unfinished. */
  get holdMs(): number {
    const { query: { authority }, stored, http } = this.#options;
    if (mayReuseRefreshTokens(authority)) return REPEATABLE_HOLD_MS;
    const expiresOn = stored.token?.result.expiresOn;
    const leftMs = expiresOn ? expiresOn.getTime() - http.now() : 0;
    if (leftMs <= 0) return MAX_HOLD_MS; // the caller has no token that could end
    return Math.min(Math.max(leftMs - LEFT_TO_CALLER_MS, 0), MAX_HOLD_MS);
  }

  /** Tries each refresh token until one is accepted. */
  async run(): Promise<AuthenticationResult> {
    const { query, stored, readStored } = this.#options;
    const result = await this.#tryEach(stored.refreshTokens);
    if (result) return result;
    if (TOKEN_REFUSALS.includes(this.#refusal?.error ?? "")) {
      // Another process may have renewed meanwhile: a process that stands still for long loses its lock.
      const later = await readStored();
      if (later.token?.state === "use" && !query.skipCache) return later.token.result;
      const laterResult = await this.#tryEach(later.refreshTokens);
      if (laterResult) return laterResult;
    }
    if (this.#refusal) throw this.#refusal;
    throw this.#isOtherResource ? resourceNotGranted(query) : signInRequired(query);
  }

  async #tryEach(tokens: readonly CachedRefreshToken[]): Promise<AuthenticationResult | undefined> {
    for (const token of tokens) {
      const result = await this.#try(token);
      if (result) return result;
    }
    return undefined;
  }

  /** Renews with one refresh token. Returns `undefined` if the next one is to be tried. */
  async #try({ refreshToken, holder, declinedScopes, resources }: CachedRefreshToken) {
    const { query, clientId, save, signal, http } = this.#options;
    if (this.#tried.has(refreshToken) || holder === "perhaps" && !this.#isFamilyMember) return undefined;
    this.#isOtherResource = query.resource !== undefined &&
      resources?.includes(nameOfResource(query.resource)) === false;
    if (this.#isOtherResource) return undefined;
    const known = query.skipCache ? undefined : await this.#findGranted(declinedScopes);
    if (known) return known;
    signal.throwIfAborted();
    this.#tried.add(refreshToken);
    const reply = await this.#redeem(refreshToken);
    if (!reply) return undefined;
    // Before anything else: the old refresh token may be invalid now.
    await save({ ...reply, replaces: [...this.#tried] });
    refuseDeclined(reply, query, clientId);
    if (query.maxAge !== undefined) refuseOld(reply.result, query.maxAge, http.now());
    return reply.result;
  }

  /** Returns the server's reply to a refresh token, and `undefined` if the server refused the token. */
  async #redeem(refreshToken: string): Promise<TokenReply | undefined> {
    const { provider, query, clientId, account, http, log } = this.#options;
    const { scopes, claims, resource, agentSession } = query;
    const request = { scopes, claims, resource, agentSession, clientId, refreshToken, account };
    try {
      return await refreshTokens(provider, request, http);
    } catch (error) {
      // Only a server's refusal: a reply for another account may have spent the refresh token.
      if (!(error instanceof LatchkeyError) || error.code !== "interaction_required" || !error.error) throw error;
      this.#refusal ??= error;
      // The request, and not the token, may be the reason: then each sign-in is for this renewal only.
      if (error.error === "invalid_request") log("warn", `A renewal was refused: ${error.message}`);
      this.#isFamilyMember = error.subError !== "client_mismatch"; // this app has no family
      return undefined;
    }
  }

  /**
   * Spares a refresh token for scopes that the provider has left out of a renewal before. Returns the cached token for the others,
   * if they are enough; `undefined` if a renewal is to be tried.
   */
  async #findGranted(declinedNames: readonly string[]): Promise<AuthenticationResult | undefined> {
    const { query, clientId, findToken } = this.#options;
    const { scopes, resource } = query;
    const declinedScopes = scopes.filter((scope) => declinedNames.includes(nameOfScope(scope, resource)));
    if (declinedScopes.length === 0) return undefined;
    refuseDeclined({ declinedScopes }, query, clientId);
    const granted = scopes.filter((scope) => !declinedScopes.includes(scope));
    const cached = await findToken({ ...query, scopes: granted });
    return cached?.state === "use" ? cached.result : undefined;
  }
}

/** Returns the error of a sign-in that was for another resource, or for none. */
function resourceNotGranted({ resource, correlationId }: TokenQuery): LatchkeyError {
  const message = `The sign-in was not for the resource ${resource}`;
  return new LatchkeyError("interaction_required", message, { correlationId, remedy: { kind: "sign_in_again" } });
}

/**
 * Tokens from the identity provider: cached, renewed, or by the person's sign-in in the browser or on another device.
 *
 * @module
 */
import type { AccountInfo } from "../account.ts";
import { InFlight, renewalsInFlight, SingleFlight, untilAborted } from "../async.ts";
import {
  type Authority,
  authorityOfAccount,
  authorityOfTenant,
  isMicrosoftAuthority,
  isMultiTenant,
  parseAuthority,
  realmOf,
} from "../authority.ts";
import type { ReplyToSave } from "../cache/changes.ts";
import { type CachedRefreshToken, type CachedToken, nameOfResource, nameOfScope } from "../cache/lookup.ts";
import { extendedCacheKey } from "../cache/schema.ts";
import { isNotWritable, type TokenCache } from "../cache/token_cache.ts";
import { capabilitiesOf } from "../claims.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { ArgumentError, GRANT_SCOPES, LatchkeyError, type LatchkeyErrorCode, type Logger } from "../errors.ts";
import type { AuthCodeFlow, AuthorizationFlow } from "../oauth/authorization_code.ts";
import type { HttpOptions } from "../oauth/fetch.ts";
import type { Provider } from "../oauth/provider.ts";
import type { TokenReply } from "../oauth/token_endpoint.ts";
import {
  type AuthCodeFlowRequest,
  checkOptions,
  type OptionNames,
  type RequestOptions,
  singleFlightKey,
  type TokenQuery,
} from "../request.ts";
import { RESERVED_SCOPES } from "../scopes.ts";
import { type AuthenticationResult, refuseOld, refuseOther } from "../token.ts";
import { accountNames, accountsMeant, isOneUser } from "./account_choice.ts";

interface ProviderSourceOptions {
  readonly clientId: string;
  readonly authority: Authority;
  readonly cache: TokenCache;
  /** Returns the function that sends HTTP requests. Called on first use. */
  readonly fetch: () => Promise<HttpOptions["fetch"]>;
  readonly now: () => number;
  readonly log: Logger;
}

interface SignIn {
  /** Signs the person in. `accept` throws if somebody else signed in. */
  readonly sign: (
    provider: Provider,
    call: HttpOptions & { readonly signal: AbortSignal; readonly accept: (reply: TokenReply) => void },
  ) => Promise<TokenReply>;
  /** Name of the grant in MSAL's cache. */
  readonly accountSource: "authorization_code" | "urn:ietf:params:oauth:grant-type:device_code";
  /** User name that has to sign in, if the query has no account. @default anybody may sign in */
  readonly username?: string | undefined;
  /** Key of the sign-in: calls in flight with the same key share it. @default not shared */
  readonly key?: string | undefined;
}

/** Options of the second half of a sign-in in two requests. */
export interface FinishOptions extends Pick<RequestOptions, "signal"> {
  /** The tenant at which the sign-in began, if it is not the app's. */
  readonly tenantId?: string | undefined;
  /**
   * The address that the answer came to, as the person's browser shows it, with or without its query: it has to be the flow's
   * redirect URI. Required if the authority is not Microsoft's and does not name itself in its answers (RFC 9207).
   *
   * @default not checked
   */
  readonly redirectUri?: string | undefined;
}

const FINISH_OPTIONS: OptionNames<FinishOptions> = { signal: true, tenantId: true, redirectUri: true };

/** Failures in which a token that has nearly expired is better than none. */
const OUTAGES: ReadonlySet<LatchkeyErrorCode> = new Set(["no_network", "temporarily_unavailable", "timed_out"]);

/** Refusals of a refresh token itself: `invalid_request` is Dex's. */
const TOKEN_REFUSALS: readonly string[] = ["invalid_grant", "invalid_request"];

/** Time limit of a renewal while the cached token is still good. */
const RENEWAL_MS = 5_000;

/** Time for an unfinished renewal whose refresh token may be used again: nothing is lost without its response. */
const REPEATABLE_HOLD_MS = 2_000;
/** Time for any other one. Without its response, the provider may want the user to sign in again. */
const MAX_HOLD_MS = 30_000;
/** Part of a token's lifetime that is left to the caller, who gets the token when the program ends. */
const LEFT_TO_CALLER_MS = 5_000;

/** Returns true if a refresh token may be used again after a renewal. */
function mayReuseRefreshTokens(authority: Authority): boolean {
  return authority.kind === "adfs" || isMicrosoftAuthority(authority);
}

/**
 * Returns the milliseconds that an unfinished renewal may keep a program whose result is out: `expiresOn` is the expiry of the
 * token that is at hand.
 */
function holdOf(authority: Authority, expiresOn: Date | undefined, now: number): number {
  if (mayReuseRefreshTokens(authority)) return REPEATABLE_HOLD_MS;
  const leftMs = expiresOn ? expiresOn.getTime() - now : 0;
  if (leftMs <= 0) return MAX_HOLD_MS; // the caller has no token that could end
  return Math.min(Math.max(leftMs - LEFT_TO_CALLER_MS, 0), MAX_HOLD_MS);
}

/** The identity provider as an application uses it. */
export class ProviderSource {
  readonly #options: ProviderSourceOptions;
  readonly #cache: TokenCache;
  readonly #calls = new SingleFlight<AuthenticationResult>();
  readonly #renewals = new InFlight();

  constructor(options: ProviderSourceOptions) {
    this.#options = options;
    this.#cache = options.cache;
  }

  /** Returns a cached token, else one for a cached refresh token. */
  async acquireSilently(query: TokenQuery): Promise<AuthenticationResult> {
    refusePop(query);
    return await this.#calls.run(singleFlightKey("silent", query), query.signal, async (signal) => {
      const { correlationId } = query;
      const account = query.account ?? await this.#onlyAccount(query, { correlationId, signal });
      const call = { account, correlationId, signal };
      const cached = await this.#findToken(query, call);
      if (cached?.state === "use") return cached.result;
      const isStillGood = cached !== undefined && cached.result.expiresOn.getTime() > this.#options.now();
      try {
        return await (isStillGood ? this.#renewSoon(query, call) : this.#renewWithLock(query, call));
      } catch (error) {
        if (!cached || signal.aborted || !(error instanceof LatchkeyError)) throw error;
        const isEnough = OUTAGES.has(error.code) || isStillGood && isNotWritable(error);
        if (cached.state === "outage" && !isEnough) throw error;
        this.#options.log("warn", `The token could not be renewed (${error.code}): the cached one is used`);
        return cached.result;
      }
    });
  }

  /** Stops waiting for a renewal after a short time. One that was sent is finished even so. */
  async #renewSoon(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const limit = new AbortController();
    const { correlationId } = call;
    const message = `No answer within ${RENEWAL_MS / 1000} seconds`;
    const abort = () => limit.abort(new LatchkeyError("timed_out", message, { correlationId }));
    const timer = setTimeout(abort, RENEWAL_MS);
    try {
      const signal = AbortSignal.any([call.signal, limit.signal]);
      return await untilAborted(this.#renewWithLock(query, { ...call, signal }), limit.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #renewWithLock(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const mayGoUnsaved = mayReuseRefreshTokens(query.authority);
    return await this.#cache.withLock(call.account, async () => {
      const renewed = await this.#findToken(query, call); // by whoever had the lock before
      return renewed?.state === "use" ? renewed.result : await this.#renew(query, call);
    }, { signal: call.signal, mayGoUnsaved });
  }

  async signIn(query: TokenQuery, { key, sign, username, accountSource }: SignIn): Promise<AuthenticationResult> {
    refusePop(query);
    return await this.#calls.run(key ?? crypto.randomUUID(), query.signal, async (signal) => {
      const { correlationId } = query;
      const authority = authorityOfAccount(query.authority, query.account);
      const { provider, http } = await this.find(authority, { correlationId, signal });
      const expected = { account: query.account, username };
      const accept = (reply: TokenReply) => {
        refuseOther(reply.result, expected, otherAccount);
      };
      const reply = await sign(provider, { ...http, correlationId, signal, accept });
      accept(reply);
      await this.#save(query, reply, accountSource);
      refuseDeclined(reply, query, this.#options.clientId); // the sign-in is good for the granted scopes
      return reply.result;
    });
  }

  /** Begins a sign-in whose answer arrives in another request. */
  async startFlow(
    query: TokenQuery,
    { redirectUri, responseMode }: Pick<AuthCodeFlowRequest, "redirectUri" | "responseMode">,
  ): Promise<AuthCodeFlow> {
    if (!URL.canParse(redirectUri)) throw new ArgumentError("Cannot sign in: redirectUri is missing, or is no address");
    const { clientId, now } = this.#options;
    const { provider } = await this.find(query.authority, query);
    const { checkRedirectUri, startAuthorization } = await import("../oauth/authorization_code.ts");
    checkRedirectUri(provider, redirectUri, query);
    const request = { ...query, clientId, loginHint: query.username, redirectUri, responseMode, now };
    return await startAuthorization(provider, request);
  }

  /** Completes a sign-in that {@linkcode startFlow} began. */
  async finishFlow(
    flow: AuthorizationFlow,
    response: URLSearchParams | Readonly<Record<string, string>>,
    options: FinishOptions,
  ): Promise<AuthenticationResult> {
    checkOptions("acquireTokenByAuthCodeFlow", options, FINISH_OPTIONS);
    const { signal, tenantId, redirectUri: address } = options;
    if (typeof flow?.authority !== "string") {
      throw new ArgumentError("Cannot finish a sign-in: the flow is not one that was started");
    }
    const authority = parseAuthority(flow.authority);
    const { correlationId } = flow;
    if (flow.clientId !== this.#options.clientId || !isOwn(authority, this.#options.authority, tenantId)) {
      throw new ArgumentError("Cannot finish a sign-in: it was started by another app, or at another authority");
    }
    const { provider, http } = await this.find(authority, { correlationId, signal });
    const { checkRedirectUri, finishAuthorization } = await import("../oauth/authorization_code.ts");
    checkRedirectUri(provider, flow.redirectUri, { correlationId, answered: { address } });
    const reply = await finishAuthorization(provider, flow, new URLSearchParams(response), http);
    const { agentSession } = flow;
    const capabilities = capabilitiesOf(flow.claims, flow.resource);
    await this.#save({ authority, capabilities, agentSession, resource: flow.resource }, reply, "authorization_code");
    refuseDeclined(reply, flow, flow.clientId);
    return reply.result;
  }

  /** Returns the endpoints of an authority, and the options of HTTP requests to it. */
  async find(
    authority: Authority,
    { signal, correlationId }: RequestOptions,
  ): Promise<{ readonly provider: Provider; readonly http: HttpOptions }> {
    const http = { fetch: await this.#options.fetch(), now: this.#options.now, signal, correlationId };
    const { findProvider } = await import("../oauth/provider.ts"); // not needed for a cached token
    return { provider: await findProvider(authority, http), http };
  }

  /** Notes that an account signed in with a broker, which renews its tokens from now on. The tokens are not stored. */
  async noteBrokerSignIn(result: AuthenticationResult): Promise<void> {
    await this.#save({ ...this.#options, capabilities: "" }, { result }, "broker");
  }

  /** Aborts all calls in flight. Resolves when the renewals that were sent are stored. */
  async close(reason: unknown): Promise<void> {
    this.#calls.abort(reason);
    await this.#renewals.drained();
    await this.#cache.saveUnsaved();
  }

  async #onlyAccount(query: TokenQuery, { correlationId, signal }: Omit<Call, "account">): Promise<AccountInfo> {
    const { username, authority } = query;
    const cached = await this.#cache.findAccounts({ username, signal });
    const accounts = cached.map(({ account }) => account);
    const meant = accountsMeant(accounts, { username, tenant: realmOf(authority) });
    if (meant.length > 1) throw ambiguousAccount(meant, correlationId);
    if (!meant[0]) throw signInRequired(query, correlationId);
    return meant[0];
  }

  async #findToken(query: TokenQuery, call: Call): Promise<CachedToken | undefined> {
    const { scopes, capabilities, agentSession, authority, skipCache } = query;
    return skipCache ? undefined : await this.#cache.findAccessToken({
      ...call,
      scopes,
      realm: realmOf(authority),
      capabilities,
      extension: await extensionOf(agentSession),
    });
  }

  /** Once a renewal is sent, it is finished and stored even if all its callers give up. */
  async #renew(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const { account, correlationId, signal } = call;
    const { provider } = await this.find(authorityOfAccount(query.authority, account), { correlationId, signal });
    const { refreshTokens } = await import("../oauth/token_endpoint.ts");
    // The refresh tokens of the app's family can still be there.
    if (await this.#cache.isSignedOut(account, { signal })) throw signInRequired(query, correlationId);
    const { clientId, fetch, now } = this.#options;
    const { scopes, claims, resource, agentSession } = query;
    const http = { fetch: await fetch(), now, correlationId };
    const request = { scopes, claims, resource, agentSession };
    const redeem = (refreshToken: string) =>
      refreshTokens(provider, { ...request, clientId, refreshToken, account }, http);
    const atHand = await this.#findToken({ ...query, skipCache: false }, call);
    const holdMs = () => holdOf(query.authority, atHand?.result.expiresOn, now());
    const work = () => this.#redeemEach(redeem, query, call);
    return await this.#renewals.run(() => renewalsInFlight.run(work, holdMs));
  }

  /** Tries each refresh token until one is accepted: the app's own, then those of its family. */
  async #redeemEach(
    redeem: (refreshToken: string) => Promise<TokenReply>,
    query: TokenQuery,
    call: Call,
  ): Promise<AuthenticationResult> {
    const { account, correlationId, signal } = call;
    const renewal: Renewal = {
      redeem,
      query,
      call,
      tried: new Set(),
      refusal: undefined,
      isFamilyMember: true,
      isOtherResource: false,
    };
    for (let look = 1; look <= 2; look++) {
      for (const token of await this.#cache.findRefreshTokens(account, { signal })) {
        const result = await this.#tryToken(token, renewal);
        if (result) return result;
      }
      if (!TOKEN_REFUSALS.includes(renewal.refusal?.error ?? "")) break;
      // Another process may have renewed meanwhile: a process that stands still for long loses its lock.
      const renewed = await this.#findToken(query, call);
      if (renewed?.state === "use") return renewed.result;
    }
    if (renewal.refusal) throw renewal.refusal;
    throw renewal.isOtherResource ? resourceNotGranted(query) : signInRequired(query, correlationId);
  }

  /** Renews with one refresh token. Returns `undefined` if the next one is to be tried. */
  async #tryToken(token: CachedRefreshToken, renewal: Renewal): Promise<AuthenticationResult | undefined> {
    const { query, call, tried } = renewal;
    const { refreshToken, holder, declinedScopes, resources } = token;
    if (tried.has(refreshToken) || holder === "perhaps" && !renewal.isFamilyMember) return undefined;
    renewal.isOtherResource = query.resource !== undefined &&
      resources?.includes(nameOfResource(query.resource)) === false;
    if (renewal.isOtherResource) return undefined;
    const known = query.skipCache ? undefined : await this.#findGranted(query, declinedScopes, call);
    if (known) return known;
    call.signal.throwIfAborted();
    tried.add(refreshToken);
    const reply = await this.#redeem(refreshToken, renewal);
    if (!reply) return undefined;
    // Before anything else: the old refresh token may be invalid now.
    await this.#save(query, { ...reply, replaces: [...tried] });
    refuseDeclined(reply, query, this.#options.clientId);
    if (query.maxAge !== undefined) refuseOld(reply.result, query.maxAge, this.#options.now());
    return reply.result;
  }

  /** Returns the server's reply to a refresh token, and `undefined` if the server refused the token. */
  async #redeem(refreshToken: string, renewal: Renewal): Promise<TokenReply | undefined> {
    try {
      return await renewal.redeem(refreshToken);
    } catch (error) {
      // Only a server's refusal: a reply for another account may have spent the refresh token.
      if (!(error instanceof LatchkeyError) || error.code !== "interaction_required" || !error.error) throw error;
      renewal.refusal ??= error;
      // The request, and not the token, may be the reason: then each sign-in is for this renewal only.
      if (error.error === "invalid_request") this.#options.log("warn", `A renewal was refused: ${error.message}`);
      renewal.isFamilyMember = error.subError !== "client_mismatch"; // this app has no family
      return undefined;
    }
  }

  /**
   * Spares a refresh token for scopes that the provider has left out of a renewal before. Returns the cached token for the others,
   * if they are enough; `undefined` if a renewal is to be tried.
   */
  async #findGranted(
    query: TokenQuery,
    declinedNames: readonly string[],
    call: Call,
  ): Promise<AuthenticationResult | undefined> {
    const { scopes, resource } = query;
    const declinedScopes = scopes.filter((scope) => declinedNames.includes(nameOfScope(scope, resource)));
    if (declinedScopes.length === 0) return undefined;
    refuseDeclined({ declinedScopes }, query, this.#options.clientId);
    const granted = scopes.filter((scope) => !declinedScopes.includes(scope));
    const cached = await this.#findToken({ ...query, scopes: granted }, call);
    return cached?.state === "use" ? cached.result : undefined;
  }

  /** Stores an answer. A failure is only logged: the token is good even so. */
  async #save(
    { authority, capabilities, agentSession, resource }: Pick<
      TokenQuery,
      "authority" | "capabilities" | "agentSession" | "resource"
    >,
    reply: TokenReply & Pick<ReplyToSave, "replaces">,
    accountSource?: SignIn["accountSource"] | "broker",
  ): Promise<void> {
    const realm = realmOf(authority);
    const kind = authority.kind === "adfs" ? { authorityType: "ADFS" } as const : {};
    try {
      const extension = await extensionOf(agentSession);
      await this.#cache.save({
        ...{ ...reply, accountSource, realm, capabilities, extension, ...kind },
        ...(authority.kind === "oidc" && { resource: resource ?? "" }),
      });
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      const stake = reply.refreshToken === undefined
        ? ""
        : "until it can be, the refresh token is held in memory, and if the program ends before, the account may have to " +
          "sign in again: ";
      this.#options.log("warn", `The token could not be stored: ${stake}${error.message}`);
    }
  }
}

/** A renewal that tries one refresh token after the other. */
interface Renewal {
  readonly redeem: (refreshToken: string) => Promise<TokenReply>;
  readonly query: TokenQuery;
  readonly call: Call;
  readonly tried: Set<string>;
  /** The first refusal by the server. */
  refusal: LatchkeyError | undefined;
  /** False once the server said that the app is in no family of apps, which share refresh tokens. */
  isFamilyMember: boolean;
  /** True if the token that was tried last is for another resource. */
  isOtherResource: boolean;
}

/** The error of a sign-in that was for another resource, or for none. */
function resourceNotGranted({ resource, correlationId }: TokenQuery): LatchkeyError {
  const message = `The sign-in was not for the resource ${resource}`;
  const hint = "Sign in for it: acquireTokenInteractive";
  return new LatchkeyError("interaction_required", message, { correlationId, hint });
}

function declinedHint(clientId: string): string {
  return `Consent to these scopes at the sign-in, or ask the provider's administrator to allow them for the app ${clientId}. ` +
    'Keycloak does not name a scope that it grants if the switch "Include in token scope" of that client scope is off: turn it ' +
    `on. A request without these scopes needs no new sign-in. ${GRANT_SCOPES}`;
}

/**
 * Throws `interaction_required` if a provider granted less than was requested. With a resource (RFC 8707), one of the scopes is
 * enough: they are what its server proposes, and it says which one a request lacks (RFC 6750, 3.1).
 */
function refuseDeclined(
  { declinedScopes: declined = [], result }: Pick<TokenReply, "declinedScopes"> & Partial<Pick<TokenReply, "result">>,
  { scopes, resource, correlationId }: Pick<TokenQuery, "scopes" | "resource" | "correlationId">,
  clientId: string,
): void {
  if (declined.length === 0) return;
  const isUseful = scopes.some((scope) => !declined.includes(scope) && !RESERVED_SCOPES.includes(scope));
  if (resource !== undefined && isUseful) return;
  const granted = result ? `. It granted ${firstOf(result.scopes)}` : "";
  const message = `The identity provider has not granted ${declined.join(", ")}${granted}`;
  throw new LatchkeyError("interaction_required", message, { correlationId, hint: declinedHint(clientId) });
}

async function extensionOf(agentSession: string | undefined): Promise<string | undefined> {
  return agentSession === undefined ? undefined : await extendedCacheKey({ client_session: agentSession });
}

interface Call {
  readonly account: AccountInfo;
  readonly correlationId: string;
  readonly signal: AbortSignal;
}

/**
 * Returns true if an app begins sign-ins at an authority. A flow may have passed through the person's hands, who must not choose
 * the authority that says who they are. An app for one tenant has to name another tenant again.
 */
function isOwn(authority: Authority, own: Authority, tenantId: string | undefined): boolean {
  const asked = tenantId === undefined ? own : authorityOfTenant(own, tenantId);
  const isAnyTenant = isMultiTenant(asked) && authority.kind === own.kind && authority.origin === own.origin;
  return authority.url === asked.url || isAnyTenant;
}

function refusePop({ pop }: TokenQuery): void {
  if (!pop) return;
  throw new LatchkeyError("broker_unavailable", "Only a broker binds tokens to requests, and none is in use here", {
    hint: "Ask without authenticationScheme",
  });
}

/** Providers may omit the user name in ID tokens (OpenID Connect Core, 5.4). */
const NAMELESS = "The identity provider did not say who signed in: choose an account, or name nobody";

/** The person chooses who signs in, and can choose somebody else than the program expects. */
const otherAccount: Parameters<typeof refuseOther>[2] = (answered, expected) => ({
  message: `${answered || "Somebody else"} signed in, and not ${expected || "the account that was asked for"}`,
  hint: [`Sign in as ${expected || "that account"}`, ...(answered ? [] : [NAMELESS])].join(". "),
});

function signInRequired({ account, username }: TokenQuery, correlationId: string): LatchkeyError {
  const who = account?.username || username;
  const message = who ? `${who} has to sign in` : "Nobody is signed in";
  return new LatchkeyError("interaction_required", message, { correlationId, remedy: { kind: "sign_in" } });
}

const MAX_NAMES = 5;

/** Returns the first of some names that a server chose, and the number of the others. */
function firstOf(names: readonly string[]): string {
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : "";
  return names.slice(0, MAX_NAMES).map(escapeControlCharacters).join(", ") + more;
}

function ambiguousAccount(accounts: readonly AccountInfo[], correlationId: string): LatchkeyError {
  const names = firstOf(accountNames(accounts));
  return new LatchkeyError("interaction_required", `Several accounts are signed in: ${names}`, {
    correlationId,
    hint: isOneUser(accounts)
      ? "Choose one: tenantId or account in the request (getAccounts)"
      : "Choose one: account in the request (getAccounts)",
  });
}

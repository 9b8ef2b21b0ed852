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
  isMultiTenant,
  mayReuseRefreshTokens,
  parseAuthority,
  realmOf,
} from "../authority.ts";
import type { ReplyToSave } from "../cache/changes.ts";
import type { CachedTokenQuery } from "../cache/lookup.ts";
import type { CachedToken } from "../cache/freshness.ts";
import { extendedCacheKey } from "../cache/schema.ts";
import { isNotWritable, type TokenCache } from "../cache/token_cache.ts";
import { capabilitiesOf } from "../claims.ts";
import { ArgumentError, LatchkeyError, type LatchkeyErrorCode, type Logger } from "../errors.ts";
import { advice } from "../remedies.ts";
import type { AuthCodeFlow, AuthorizationFlow } from "../oauth/authorization_code.ts";
import type { HttpOptions } from "../oauth/bounded_fetch.ts";
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
import { type AuthenticationResult, refuseOther } from "../token.ts";
import { accountsMeant, ambiguousAccount, signInRequired, wishOf } from "./account_choice.ts";

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

/** Time limit of a renewal while the cached token is still good. */
const RENEWAL_MS = 5_000;

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
      const token = await this.#findToken(query, call); // renewed by the holder of the lock before
      return token?.state === "use" ? token.result : await this.#renew(query, call);
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
      const { refuseDeclined } = await import("../oauth/token_endpoint.ts");
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
    const { refuseDeclined } = await import("../oauth/token_endpoint.ts");
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
    const cached = await this.#cache.findAccounts({ username: query.username, signal });
    const accounts = cached.map(({ account }) => account);
    const meant = accountsMeant(accounts, wishOf(query));
    if (meant.length > 1) throw ambiguousAccount(meant, correlationId);
    if (!meant[0]) throw signInRequired(query);
    return meant[0];
  }

  async #findToken(query: TokenQuery, call: Call): Promise<CachedToken | undefined> {
    return query.skipCache ? undefined : await this.#cache.findAccessToken({ ...await cachedQuery(query), ...call });
  }

  /** Once a renewal is sent, it is finished and stored even if all its callers give up. */
  async #renew(query: TokenQuery, call: Call): Promise<AuthenticationResult> {
    const { account, correlationId, signal } = call;
    const { provider } = await this.find(authorityOfAccount(query.authority, account), { correlationId, signal });
    const { Renewal } = await import("./renewal.ts");
    const { clientId, log, fetch, now } = this.#options;
    const http = { fetch: await fetch(), now, correlationId };
    const readStored = async () => await this.#cache.findForRenewal({ ...await cachedQuery(query), ...call });
    // The last thing before the renewal: meanwhile the account may have signed out, or in again.
    const stored = await readStored();
    if (stored.isSignedOut) throw signInRequired(query);
    const renewal = new Renewal({
      ...{ clientId, log, query, account, provider, http, signal, stored, readStored },
      findToken: async (query) => await this.#findToken(query, call),
      save: async (reply) => await this.#save(query, reply),
    });
    return await this.#renewals.run(() => renewalsInFlight.run(() => renewal.run(), () => renewal.holdMs));
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

/** Returns what a query asks of the cache, except the account. */
async function cachedQuery(
  { scopes, authority, capabilities, agentSession }: TokenQuery,
): Promise<Omit<CachedTokenQuery, "account" | "correlationId">> {
  return { scopes, realm: realmOf(authority), capabilities, extension: await extensionOf(agentSession) };
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
    remedy: { kind: "omit_parameter", parameter: "authenticationScheme" },
  });
}

/** Providers may omit the user name in ID tokens (OpenID Connect Core, 5.4). */
const NAMELESS = "The identity provider did not say who signed in: choose an account, or pass no user name";

/** The person chooses who signs in, and can choose somebody else than the program expects. */
const otherAccount: Parameters<typeof refuseOther>[2] = (answered, expected) => ({
  message: `${answered || "Somebody else"} signed in, and not ${expected || "the account that was asked for"}`,
  remedy: { ...advice(`Sign in as ${expected || "that account"}`), because: answered ? undefined : NAMELESS },
});

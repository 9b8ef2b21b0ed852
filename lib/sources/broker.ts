/**
 * Tokens from the broker, cached in memory: the broker keeps them for the next run.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { SingleFlight } from "../async.ts";
import { authorityOfAccount } from "../authority.ts";
import {
  type Broker,
  type BrokerCall,
  type BrokerFinding,
  type BrokerFlags,
  type BrokerStatus,
  type BrokerTokenRequest,
  noBroker,
} from "../broker/broker.ts";
import type { JsonBrokerOptions } from "../broker/client.ts";
import { type BrokerSearch, findBroker } from "../broker/detect.ts";
import { withAgentSession } from "../claims.ts";
import { readJwt } from "../encoding.ts";
import { isInteractionRequired, LatchkeyError, withCorrelationId } from "../errors.ts";
import {
  type BrokerStatusOptions,
  cacheKeyOf,
  type RequestOptions,
  singleFlightKey,
  type TokenQuery,
  withAccount,
} from "../request.ts";
import {
  type AuthenticationResult,
  boundedBy,
  isFresh,
  monotonicEnd,
  redactTokens,
  refuseOld,
  refuseOther,
} from "../token.ts";
import { isAccountChosen, onlyAccountMeant, wishOf } from "./account_choice.ts";

export interface BrokerSourceOptions extends Omit<JsonBrokerOptions, "onUnusable"> {
  /** Platforms on which the app wants a broker. */
  readonly flags: BrokerFlags;
  /** True if somebody reads the log, so that a debug line may cost some work. @default false */
  readonly isLogged?: boolean | undefined;
  /** Returns true if an account signed out of this app in an earlier run. */
  readonly isSignedOut: (account: AccountInfo, signal: AbortSignal | undefined) => Promise<boolean>;
  /** Options of the search for the broker. */
  readonly search?: BrokerSearch | undefined;
}

/** The way that a user signs in, and the user who must. */
export interface SignInWay {
  /** `silent-first`: with a window only if the prompt requires it, or there is no silent token. `window`: at once. */
  readonly how: "silent-first" | "window";
  /** Key that only equal sign-ins have: they are shared. @default not shared */
  readonly key?: string | undefined;
  /** User name that must sign in. @default any */
  readonly username?: string | undefined;
}

type RunningQuery = TokenQuery & { readonly signal: AbortSignal };

/** The broker as an application uses it. */
export class BrokerSource {
  readonly #options: BrokerSourceOptions;
  readonly #cache = new MemoryCache();
  readonly #tokenCalls = new SingleFlight<AuthenticationResult>();
  readonly #findCalls = new SingleFlight<BrokerFinding>();
  /** Home account ids of the accounts that signed out of this app. */
  readonly #signedOut = new Set<string>();
  #finding: BrokerFinding | undefined;
  #turnedOff = false;

  constructor(options: BrokerSourceOptions) {
    this.#options = options;
  }

  /** Looks for the broker once. A broker that cannot be started stays off for this object. */
  async find({ signal, correlationId }: RequestOptions): Promise<BrokerFinding> {
    try {
      return this.#finding ?? await this.#findCalls.run("broker", signal, (signal) => this.#search(signal));
    } catch (error) {
      throw withCorrelationId(error, correlationId);
    }
  }

  async #search(signal: AbortSignal): Promise<BrokerFinding> {
    const { flags, log, search } = this.#options;
    const onUnusable = this.#turnOff.bind(this);
    const finding = await findBroker(flags, { ...this.#options, onUnusable }, { ...search, signal });
    if (signal.aborted && finding.state === "active") finding.broker.close(); // nobody waits for it any more
    signal.throwIfAborted();
    if (finding.state === "active") {
      log("info", `The broker (${finding.broker.kind}) is active${finding.reason ? `; ${finding.reason}` : ""}`);
    } else log(finding.state === "off" ? "info" : "warn", `Going on without a broker: ${finding.reason}`);
    this.#finding = finding;
    return finding;
  }

  /** Returns true if a broker was found that lacks what every client needs. */
  isTurnedOff(): boolean {
    return this.#turnedOff;
  }

  #turnOff(why: Parameters<JsonBrokerOptions["onUnusable"]>[0]): void {
    const finding = this.#finding;
    if (finding?.state !== "active") return;
    this.#options.log("warn", `Going on without a broker: ${why.reason}`);
    this.#finding = { state: "unavailable", ...why };
    this.#turnedOff = true;
    finding.broker.close();
  }

  /** Returns the broker, or throws `broker_unavailable`. */
  async broker(call: RequestOptions): Promise<Broker> {
    const finding = await this.find(call);
    if (finding.state === "active") return finding.broker;
    throw noBroker(finding, call.correlationId);
  }

  /** Returns the broker for an account that has not signed out of this app. */
  async brokerFor(account: AccountInfo, call: BrokerCall): Promise<Broker> {
    await this.#refuseSignedOut(account, call);
    return await this.broker(call);
  }

  /** Lists the accounts of a broker that have not signed out of this app. */
  async accounts(broker: Broker, call: BrokerCall): Promise<AccountInfo[]> {
    const accounts = await broker.getAccounts(call);
    const signedOut = await Promise.all(accounts.map((account) => this.#isSignedOut(account, call.signal)));
    return accounts.filter((_, index) => !signedOut[index]);
  }

  /** Starts the broker if it is enabled. Never throws. */
  async status({ signal, version: isAsked = false }: BrokerStatusOptions): Promise<BrokerStatus> {
    try {
      const finding = await this.find({ signal });
      const { state, reason = null } = finding;
      if (finding.state !== "active") {
        return { state, reason, ...NO_VERSION, ...(finding.isInstalled && { failure: noBroker(finding) }) };
      }
      const { broker } = finding;
      const call = { correlationId: crypto.randomUUID(), signal };
      const version = isAsked ? await broker.version(call) : undefined;
      return { state, kind: broker.kind, version: version ?? null, reason };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { state: "unavailable", reason, ...NO_VERSION };
    }
  }

  /**
   * Returns a cached token, or the result of one call for all equal queries.
   *
   * @param signedIn The account that is known not to have signed out of this app. @default the store is read
   */
  async acquireSilently(query: TokenQuery, broker: Broker, signedIn?: AccountInfo): Promise<AuthenticationResult> {
    const { correlationId, username, maxAge } = query;
    const cached = query.skipCache ? undefined : this.#cache.find(query.cacheKey, this.#options.now());
    if (cached) return redactTokens({ ...cached, source: "cache", correlationId });
    const key = query.pop ? crypto.randomUUID() : singleFlightKey("silent", query); // a signed request is sent once
    return await this.#tokenCalls.run(key, query.signal, async (signal) => {
      const call = { correlationId, signal };
      const account = query.account ?? onlyAccountMeant(await broker.getAccounts(call), wishOf(query));
      if (account) await this.#refuseSignedOut(account, call, signedIn);
      // The only account was not chosen: the request names it, but its tenant does not replace /common.
      const request = brokerRequest({ ...query, account }, isAccountChosen(query) ? account : undefined);
      // A broker renews only a token that it is shown.
      const isRenewal = query.renew && !query.pop && !broker.requestsAreVisible;
      const old = isRenewal
        ? this.#cache.findAny(query.cacheKey) ?? await broker.acquireTokenSilently(request, call)
        : undefined;
      const result = await broker.acquireTokenSilently({ ...request, accessTokenToRenew: old?.accessToken }, call);
      this.#logToken(result);
      refuseOther(result, { account, username }, otherAccount);
      await this.#refuseSignedOut(result.account, call); // perhaps since the call began, by another program
      if (maxAge !== undefined) refuseOld(result, maxAge, this.#options.now());
      this.#save(query, [query.cacheKey], result);
      return result;
    });
  }

  /** Signs the user in by a broker that was found. */
  async signIn(query: TokenQuery, broker: Broker, way: SignInWay): Promise<AuthenticationResult> {
    const { how, key = crypto.randomUUID(), username } = way;
    const isSilentFirst = how === "silent-first" && (query.prompt === undefined || query.prompt === "none");
    return await this.#tokenCalls.run(key, query.signal, async (signal) => {
      const running = { ...query, signal };
      const result = isSilentFirst ? await this.#signInSilently(running, broker) : undefined;
      if (!result) return await this.#requestByWindow(running, broker, way);
      refuseOther(result, { username }, otherAccount);
      return result;
    });
  }

  /**
   * Signs in without a window, as MSAL Python does: as the account of the hint, then as that of the device.
   *
   * @returns The token; `undefined` if a window is needed.
   * @throws {LatchkeyError} a refusal that a window would not resolve; with the prompt `none`, every refusal.
   */
  async #signInSilently(query: RunningQuery, broker: Broker): Promise<AuthenticationResult | undefined> {
    const { prompt, username, signal } = query;
    if (username !== undefined) {
      try {
        const account = onlyAccountMeant(await this.accounts(broker, query), wishOf(query));
        if (account) return await this.acquireSilently(withAccount(query, { account }), broker);
      } catch (error) {
        if (signal.aborted || !(error instanceof LatchkeyError)) throw error;
        this.#refuseTurnedOff(query);
      }
    }
    try {
      const result = await this.acquireSilently(withAccount(query, { account: undefined }), broker);
      refuseOther(result, { username }, otherAccount);
      return result;
    } catch (error) {
      if (prompt === "none" || signal.aborted || !isResolvedByWindow(error)) throw error;
      this.#refuseTurnedOff(query);
    }
    return undefined;
  }

  /** Throws `broker_unavailable` if the broker was turned off during a call, which would connect to it again. */
  #refuseTurnedOff({ correlationId }: RequestOptions): void {
    const finding = this.#finding;
    if (this.#turnedOff && finding && finding.state !== "active") throw noBroker(finding, correlationId);
  }

  /** Forgets an account for this app: it is not used silently until it signs in again. */
  forget({ homeAccountId }: AccountInfo): void {
    this.#signedOut.add(idKey(homeAccountId));
    this.#cache.delete(({ account }) => this.#signedOut.has(idKey(account.homeAccountId)));
  }

  /** Frees the connection. Calls in flight fail, and a later call connects again. */
  close(): void {
    const finding = this.#finding;
    const reason = new LatchkeyError("broker_unavailable", "The application was closed");
    this.#finding = undefined;
    this.#turnedOff = false;
    this.#findCalls.abort(reason);
    this.#tokenCalls.abort(reason);
    if (finding?.state === "active") finding.broker.close();
  }

  async #requestByWindow(
    query: RunningQuery,
    broker: Broker,
    { username }: Pick<SignInWay, "username">,
  ): Promise<AuthenticationResult> {
    const { correlationId, signal, account, prompt, parentWindowHandle, onBeforeLaunchingUi } = query;
    const request = brokerRequest(query, account);
    if (query.extraScopesToConsent?.length) this.#options.log("warn", "The broker does not take extraScopesToConsent");
    const result = await broker.acquireTokenInteractively({
      ...request,
      ...(prompt === "select_account" && { loginHint: undefined }), // the person is to choose
      extraParameters: { ...request.extraParameters, ...(prompt !== undefined && { prompt }) },
      parentWindowHandle,
      onBeforeWindow: () => onBeforeLaunchingUi?.({ ui: "broker" }),
    }, { correlationId, signal });
    this.#logToken(result);
    refuseOther(result, { account, username }, otherAccount);
    this.#signedOut.delete(idKey(result.account.homeAccountId));
    this.#save(query, account ? [query.cacheKey] : [], result);
    return result;
  }

  /** Caches a token under the given keys, and under its account. A token that is bound to one request is not cached. */
  #save(query: TokenQuery, keys: readonly string[], result: AuthenticationResult): void {
    if (query.pop) return;
    const { account } = result;
    const { username } = account;
    const isOwnTenant = result.tenantId === account.realm;
    const holders = [{ account }, ...(!query.account && username && isOwnTenant ? [{ username }] : [])];
    const own = holders.map((holder) => cacheKeyOf(query, holder));
    this.#cache.save([...keys, ...own], result, this.#options.now());
  }

  /** Returns true if an account signed out of this app. The store is not read for `signedIn`. */
  async #isSignedOut(account: AccountInfo, signal: AbortSignal | undefined, signedIn?: AccountInfo): Promise<boolean> {
    const id = idKey(account.homeAccountId);
    if (this.#signedOut.has(id)) return true; // perhaps since a moment ago
    return (!signedIn || idKey(signedIn.homeAccountId) !== id) && await this.#options.isSignedOut(account, signal);
  }

  async #refuseSignedOut(
    account: AccountInfo,
    { correlationId, signal }: BrokerCall,
    signedIn?: AccountInfo,
  ): Promise<void> {
    if (!await this.#isSignedOut(account, signal, signedIn)) return;
    throw new LatchkeyError("interaction_required", "The account has signed out of this app", {
      correlationId,
      remedy: { kind: "sign_in_again" },
    });
  }

  #logToken({ accessToken, tokenType, expiresOn, correlationId }: AuthenticationResult): void {
    const { log, isLogged } = this.#options;
    const id = `(correlation id ${correlationId})`;
    if (!isLogged) return; // to read the token takes time
    log("info", `Token from the broker until ${expiresOn.toISOString()} ${id}`);
    // Windows' broker is known to do so sometimes (microsoft/vscode issue 319673).
    if (tokenType !== "Bearer" || readJwt(accessToken)?.cnf === undefined) return;
    log("debug", `The bearer token is bound to a key (cnf), for which a resource may refuse it (401) ${id}`);
  }
}

const NO_VERSION = { kind: null, version: null };

function brokerRequest(query: TokenQuery, chosen: AccountInfo | undefined): BrokerTokenRequest {
  const { scopes, account, username: loginHint, pop, domainHint, maxAge } = query;
  const claims = withAgentSession(query.claims, query.agentSession);
  const extraParameters = {
    ...query.extraQueryParameters,
    ...(domainHint !== undefined && { domain_hint: domainHint }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
  };
  const authority = authorityOfAccount(query.authority, chosen);
  return { scopes, authority, account, loginHint, claims, pop, extraParameters };
}

/** The account of the device, or of a confused broker, can be another person's than the expected one. */
const otherAccount: Parameters<typeof refuseOther>[2] = (answered, expected) => ({
  message: `The broker answered for ${answered || "another account"}, not for ${expected}`,
  remedy: `Sign in to the device's broker as ${expected}`,
});

/** Statuses after which MSAL Python opens the window: interaction required, account unusable. */
const WINDOW_HELPS: readonly number[] = [2, 13];

/**
 * Refusals without a status are our own: the answer was for somebody else, or too old. Where the broker tells the server's error,
 * that decides.
 */
function isResolvedByWindow(error: unknown): boolean {
  const { broker, error: serverError } = error instanceof LatchkeyError ? error : {};
  const isByCode = broker === undefined || serverError !== undefined;
  return isByCode ? isInteractionRequired(error) : WINDOW_HELPS.includes(broker.status);
}

/** Tokens by the cache keys of their queries, with their ends by the monotonic clock. */
export class MemoryCache {
  readonly #tokens = new Map<string, { readonly token: AuthenticationResult; readonly endMs: number }>();
  /** Times before which no token has expired, by the system's clock and by the monotonic one. */
  #firstEnd = Infinity;
  #firstEndMs = Infinity;

  /** Returns a token that is good for five more minutes. `now` is in milliseconds since 1970. */
  find(key: string, now: number): AuthenticationResult | undefined {
    const cached = this.#tokens.get(key);
    const token = cached && boundedBy(cached.endMs, cached.token, now);
    return token && isFresh(token.expiresOn, now) ? token : undefined;
  }

  /** Returns a token, good or not: a broker is shown it to renew it. */
  findAny(key: string): AuthenticationResult | undefined {
    return this.#tokens.get(key)?.token;
  }

  /** Adds a token under several keys, and deletes expired ones. */
  save(keys: readonly string[], token: AuthenticationResult, now: number): void {
    const endMs = monotonicEnd(token, now);
    for (const key of keys) this.#tokens.set(key, { token, endMs });
    this.#noteEnd(token, endMs);
    if (now < this.#firstEnd && performance.now() < this.#firstEndMs) return; // there can be thousands
    this.delete((old, endMs) => boundedBy(endMs, old, now).expiresOn.getTime() <= now);
    this.#firstEnd = this.#firstEndMs = Infinity;
    for (const { token, endMs } of this.#tokens.values()) this.#noteEnd(token, endMs);
  }

  #noteEnd({ expiresOn }: AuthenticationResult, endMs: number): void {
    this.#firstEnd = Math.min(this.#firstEnd, expiresOn.getTime());
    this.#firstEndMs = Math.min(this.#firstEndMs, endMs);
  }

  delete(isMatch: (token: AuthenticationResult, endMs: number) => boolean): void {
    for (const [key, { token, endMs }] of this.#tokens) {
      if (isMatch(token, endMs)) this.#tokens.delete(key);
    }
  }
}

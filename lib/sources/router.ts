/**
 * The order of the sources: the device's broker if there is one, else the cache, a renewal, and the person's sign-in in the
 * browser.
 *
 * @module
 */
import { type AccountInfo, idKey, isSameUsername } from "../account.ts";
import { environmentOf, realmOf } from "../authority.ts";
import { type BrokerCall, type BrokerFinding, noBroker } from "../broker/broker.ts";
import type { CachedAccount } from "../cache/lookup.ts";
import type { CacheStore } from "../cache/store.ts";
import type { TokenCache } from "../cache/token_cache.ts";
import { isInteractionRequired, LatchkeyError, withCorrelationId, withDetails } from "../errors.ts";
import type { BrowserSignInOptions } from "../oauth/browser_sign_in.ts";
import type { Fetch } from "../oauth/fetch.ts";
import {
  type AccountFilter,
  type DeviceCodeSignIn,
  type RequestOptions,
  singleFlightKey,
  type TokenQuery,
} from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import { accountsMeant } from "./account_choice.ts";
import { BrokerSource, type BrokerSourceOptions } from "./broker.ts";
import type { ProviderSource } from "./provider.ts";

interface TokenRouterOptions extends Omit<BrokerSourceOptions, "isSignedOut"> {
  /** Fails instead of falling back if there is no broker. */
  readonly requireBroker: boolean;
  /** Store of the tokens that came without a broker. @default in memory */
  readonly store?: CacheStore | undefined;
  /** Sends HTTP requests. @default one for company networks */
  readonly fetch?: Fetch | undefined;
  readonly browser: BrowserSignInOptions & { readonly timeLimitMs?: number | undefined };
}

/** The broker and the identity provider, one after the other. */
export class TokenRouter {
  readonly broker: BrokerSource;
  readonly #options: TokenRouterOptions;
  readonly #cached: CachedAccounts;
  #provider: Promise<ProviderSource> | undefined;

  /** Creates the sources. Nothing is opened before the first call. */
  constructor(options: TokenRouterOptions) {
    this.#options = options;
    this.#cached = new CachedAccounts(options);
    this.broker = new BrokerSource({ ...options, isSignedOut: this.#cached.isSignedOut.bind(this.#cached) });
  }

  /** Lists the accounts of the broker and of the cache. An account that both have is listed as the broker's. */
  async accounts({ username, includeSignedOut = false }: AccountFilter, call: BrokerCall): Promise<AccountInfo[]> {
    const finding = await this.#find(call);
    const { signal } = call;
    let known: readonly AccountInfo[] = [];
    let cached: readonly CachedAccount[] = [];
    if (finding.state === "active") {
      const { broker } = finding;
      try {
        known = await (includeSignedOut ? broker.getAccounts(call) : this.broker.accounts(broker, call));
      } catch (error) {
        if (!this.#mayFallBack(error)) throw error;
      }
      // With a broker, a cache that cannot be read counts as empty. Without one, that is an error.
      if (!this.#options.requireBroker) cached = await this.#cached.accounts(username, signal);
    } else if (this.#mayHoldTokens()) cached = await (await this.#cached.cache()).findAccounts({ username, signal });
    const isNamed = (account: AccountInfo) => username === undefined || isSameUsername(account.username, username);
    const ids = new Set(known.map(({ homeAccountId }) => idKey(homeAccountId)));
    const others = cached.map(({ account }) => account).filter(({ homeAccountId }) => !ids.has(idKey(homeAccountId)));
    return [...known.filter(isNamed), ...others];
  }

  /**
   * Returns a token without a window. `isLast`: no sign-in follows, which could go on in the browser: the failure of a broker that
   * is installed is then the cause.
   */
  async silently(query: TokenQuery, how: { readonly isLast?: boolean } = {}): Promise<AuthenticationResult> {
    const finding = await this.#find(query);
    if (finding.state !== "active") return await this.#silentlyWithoutBroker(query, finding, how);
    const origin = await this.#originOf(query);
    if (origin === "provider") return await (await this.provider()).acquireSilently(query);
    try {
      return await this.broker.acquireSilently(query);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      if (this.#mayFallBack(error)) return await this.#silentlyWithoutBroker(query, await this.#find(query), how);
      if (origin !== "unknown" || !(error.broker || isInteractionRequired(error))) throw error;
      // The cache does not say how this account signed in, so the broker's refusal is not final.
      return await (await this.provider()).acquireSilently(query).catch((second) => {
        throw isInteractionRequired(second) ? error : second;
      });
    }
  }

  async #silentlyWithoutBroker(
    query: TokenQuery,
    finding: BrokerFinding,
    { isLast = false }: { readonly isLast?: boolean },
  ): Promise<AuthenticationResult> {
    try {
      return await (await this.provider()).acquireSilently(query);
    } catch (error) {
      const failure = isLast ? brokerFailureBehind(error, finding, query) : undefined;
      if (failure) throw failure;
      if (isInteractionRequired(error) && finding.state === "off") throw withOptIn(error as LatchkeyError, finding);
      throw withReason(error, finding);
    }
  }

  /** Signs the person in: by the broker's window, else in the browser. */
  async signIn(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    const finding = await this.#find(query);
    if (finding.state === "active") {
      try {
        const result = await this.broker.signIn(query, how);
        // From now on the broker renews this account. A cache that does not know the account need not be told.
        if (await this.#cached.has(result.account)) await (await this.provider()).noteBrokerSignIn(result);
        return result;
      } catch (error) {
        if (!this.#mayFallBack(error)) throw error;
      }
    }
    try {
      return await this.#signInByBrowser(query, how);
    } catch (error) {
      const failure = brokerFailureBehind(error, finding, query);
      if (failure) throw failure;
      throw query.pop ? withReason(error, finding) : error;
    }
  }

  async #signInByBrowser(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    const { signInByBrowser } = await import("../oauth/browser_sign_in.ts");
    const { clientId, browser } = this.#options;
    const { port, account, username, prompt } = query;
    const request = { ...query, clientId, loginHint: account?.username || username };
    const onBeforeLaunching = () => query.onBeforeLaunchingUi?.({ ui: "browser" });
    const options = { ...browser, port, onBeforeLaunching };
    return await (await this.provider()).signIn(query, {
      accountSource: "authorization_code",
      sign: (provider, call) => signInByBrowser(provider, request, { ...options, ...call }),
      username: query.requiredUsername,
      // As with a broker: two calls of `acquireTokenInteractive` mean two windows, and its user name is only a hint.
      ...(how === "window" && {
        key: singleFlightKey("window", query),
        username: prompt === "select_account" ? undefined : username,
      }),
    });
  }

  /** Returns a token by a sign-in on another device, which no broker supports. */
  async byDeviceCode(query: TokenQuery, onUserCode: DeviceCodeSignIn["onUserCode"]): Promise<AuthenticationResult> {
    const { pollDeviceCode, startDeviceCode } = await import("../oauth/device_code.ts");
    const { clientId } = this.#options;
    return await (await this.provider()).signIn(query, {
      accountSource: "urn:ietf:params:oauth:grant-type:device_code",
      username: query.username,
      sign: async (provider, http) => {
        const code = await startDeviceCode(provider, { ...query, clientId }, http);
        const { deviceCode: _, codeVerifier: __, interval: ___, request: ____, correlationId: _____, ...shown } = code;
        await onUserCode(shown);
        return await pollDeviceCode(provider, code, http);
      },
    });
  }

  async forget(account: AccountInfo, { correlationId, signal }: RequestOptions): Promise<void> {
    this.broker.forget(account);
    if (!this.#mayHoldTokens()) return;
    try {
      await (await this.#cached.cache()).removeAccount(account, { signal });
    } catch (error) {
      throw withCorrelationId(error, correlationId);
    }
  }

  /** Forgets an account for this app, and removes it from the broker. If one of them fails, the other is done even so. */
  async forgetEverywhere(account: AccountInfo, call: BrokerCall): Promise<void> {
    const [forgotten, removed] = await Promise.allSettled([
      this.forget(account, call),
      this.broker.broker(call).then((broker) => broker.removeAccount(account, call)),
    ]);
    const failures = [removed, forgotten].filter((half) => half.status === "rejected").map(({ reason }) => reason);
    for (const failure of failures) if (!(failure instanceof LatchkeyError)) throw failure;
    const [first, second] = failures as LatchkeyError[];
    if (!first) return;
    if (!second) {
      const done = removed.status === "fulfilled"
        ? "The broker has forgotten the account all the same"
        : "The account is signed out of this app all the same";
      throw withDetails(first, { hint: sentences(first.hint, done) });
    }
    const message = `${first.message}. The app cannot forget the account: ${second.message}`;
    const cause = new AggregateError(failures, message);
    const hint = sentences(first.hint, second.hint);
    const details = { ...first, claims: first.claims, cause, errorDescription: message, hint };
    throw new LatchkeyError(first.code, message, details);
  }

  /** Returns the identity provider. Its code is loaded on first use. */
  async provider(): Promise<ProviderSource> {
    this.#provider ??= this.#makeProvider();
    return await this.#provider;
  }

  async #makeProvider(): Promise<ProviderSource> {
    const { ProviderSource } = await import("./provider.ts");
    const cache = await this.#cached.cache();
    const { fetch, ...options } = this.#options;
    let made: Promise<Fetch> | undefined; // one for all calls: it remembers what it found out about the network
    const makeFetch = async () => fetch ?? (await import("../http/client.ts")).makeFetch();
    const fetchOnce = (): Promise<Fetch> => {
      made ??= makeFetch();
      return made;
    };
    return new ProviderSource({ ...options, cache, fetch: fetchOnce });
  }

  /** Aborts all calls in flight, and frees the connection to the broker. Resolves when renewals that were sent are stored. */
  async close(): Promise<void> {
    this.broker.close();
    const reason = new LatchkeyError("unexpected", "The application was closed");
    const provider = await this.#provider?.catch(() => undefined); // its callers have the error
    await provider?.close(reason);
  }

  /** Returns what was found, or throws if the app requires a broker and there is none. */
  async #find(call: RequestOptions): Promise<BrokerFinding> {
    const finding = await this.broker.find(call);
    if (finding.state !== "active" && this.#options.requireBroker) throw noBroker(finding, call.correlationId);
    return finding;
  }

  /** Returns true if a call failed because the broker is unusable, and the app does not require one. */
  #mayFallBack(error: unknown): boolean {
    const isGone = error instanceof LatchkeyError && error.code === "broker_unavailable";
    return isGone && this.broker.isTurnedOff() && !this.#options.requireBroker;
  }

  /** Returns false if the cache must be empty: our own store is empty until a sign-in without the broker. */
  #mayHoldTokens(): boolean {
    return this.#options.store !== undefined || this.#provider !== undefined;
  }

  /** Returns the source that renews an account's tokens. */
  async #originOf(query: TokenQuery): Promise<"broker" | "provider" | "unknown"> {
    const { account, username, signal } = query;
    if (account?.source === "broker" || this.#options.requireBroker || !this.#mayHoldTokens()) return "broker";
    const cached = account ? await this.#cached.account(account, signal) : await this.#onlyCached(query);
    if (!cached && account) return "provider"; // it was the cache's, and signed out
    if (!cached || cached.accountSource === "broker") return "broker";
    if (cached.accountSource === undefined) return "unknown";
    // Without a name, the account of the device has priority over one that signed in to this app only.
    return account || username !== undefined ? "provider" : "unknown";
  }

  /** Returns the cached account that a query without one means, unless it can mean several. */
  async #onlyCached({ username, authority, signal }: TokenQuery): Promise<CachedAccount | undefined> {
    const cached = await this.#cached.accounts(username, signal);
    const wish = { username, tenant: realmOf(authority) };
    const [only, ...more] = accountsMeant(cached.map(({ account }) => account), wish);
    return more.length === 0 ? cached.find(({ account }) => account === only) : undefined;
  }
}

/**
 * Returns the failure of a broker that is installed, if a call needs a sign-in only because of it: with the broker's fix, and then
 * another way on.
 */
function brokerFailureBehind(
  error: unknown,
  finding: BrokerFinding,
  { correlationId }: TokenQuery,
): LatchkeyError | undefined {
  if (!(error instanceof LatchkeyError) || error.remedy?.kind !== "sign_in") return undefined;
  if (finding.state !== "unavailable" || !finding.isInstalled) return undefined;
  const otherWay = isInteractionRequired(error)
    ? "Or, to go on without the broker, sign in: acquireTokenInteractive"
    : error.hint;
  const failure = noBroker(finding, correlationId);
  return withDetails(failure, { hint: sentences(failure.hint, otherWay), cause: error });
}

/** Says that no broker is enabled if nobody is signed in, since it could know the user. */
function withOptIn(
  error: LatchkeyError,
  { enabledBy: options }: Exclude<BrokerFinding, { readonly state: "active" }>,
): LatchkeyError {
  if (error.remedy?.kind !== "sign_in" || options === undefined) return error;
  const details = { ...error, remedy: { kind: "enable_broker", options }, hint: undefined } as const;
  return new LatchkeyError(error.code, `${error.message}, and no broker is enabled`, details);
}

/** Adds to a failure why there was no broker, if one could have helped. */
function withReason(error: unknown, finding: BrokerFinding): unknown {
  const isHelped = isInteractionRequired(error) ||
    error instanceof LatchkeyError && error.code === "broker_unavailable";
  if (!isHelped || finding.state === "active") return error;
  const { hint } = error as LatchkeyError;
  return withDetails(error as LatchkeyError, {
    hint: sentences(hint, `There was no broker to ask: ${finding.reason}`, finding.hint),
  });
}

function sentences(...texts: readonly (string | undefined)[]): string | undefined {
  return texts.filter(Boolean).join(". ") || undefined;
}

class CachedAccounts {
  readonly #options: TokenRouterOptions;
  #cache: Promise<TokenCache> | undefined;

  constructor(options: TokenRouterOptions) {
    this.#options = options;
  }

  /** Returns the cache. Its code is loaded on first use. */
  async cache(): Promise<TokenCache> {
    this.#cache ??= this.#makeCache();
    return await this.#cache;
  }

  async #makeCache(): Promise<TokenCache> {
    const { TokenCache } = await import("../cache/token_cache.ts");
    const { clientId, authority, now, log } = this.#options;
    const store = this.#options.store ?? (await import("../cache/store.ts")).memoryStore();
    return new TokenCache(store, { clientId, environment: environmentOf(authority), now, log });
  }

  /** Lists the accounts that signed in without the broker. */
  async accounts(username: string | undefined, signal: AbortSignal | undefined): Promise<CachedAccount[]> {
    return await this.#readOr(async (store) => {
      if (!this.#cache && (await store?.readAccounts({ signal }))?.length === 0) return [];
      return await (await this.cache()).findAccounts({ username, signal });
    }, { empty: [] });
  }

  async account(account: AccountInfo, signal: AbortSignal | undefined): Promise<CachedAccount | undefined> {
    return await this.#readOr(async (store) => {
      if (!await this.#has(store, account, signal)) return undefined;
      return await (await this.cache()).findAccount(account, { signal });
    }, { empty: undefined });
  }

  /** Returns true if an account signed out of the app, in this run or an earlier one. */
  async isSignedOut(account: AccountInfo, signal: AbortSignal | undefined): Promise<boolean> {
    const read = async (store?: CacheStore) =>
      await this.#has(store, account, signal) && await (await this.cache()).isSignedOut(account, { signal });
    return await this.#readOr(read, { empty: false });
  }

  /** Returns true if the cache knows an account, even if only that it signed out. */
  async has(account: AccountInfo): Promise<boolean> {
    return await this.#readOr((store) => this.#has(store, account, undefined), { empty: false });
  }

  async #has(
    store: CacheStore | undefined,
    { homeAccountId }: AccountInfo,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!store) return this.#cache !== undefined;
    return await store.read(idKey(homeAccountId), { signal }) !== undefined;
  }

  /** Reads the cache. Returns `empty` if that fails, which must not stop a broker, or if nothing is stored in memory yet. */
  async #readOr<T>(
    read: (store: CacheStore | undefined) => Promise<T>,
    { empty }: { readonly empty: T },
  ): Promise<T> {
    const { store, log } = this.#options;
    if (!store && !this.#cache) return empty;
    try {
      return await read(store);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      log("warn", `The token cache was passed over: ${error.message}`);
      return empty;
    }
  }
}

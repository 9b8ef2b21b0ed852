/**
 * The order of the sources: the device's broker if there is one, else the cache, a renewal, and the person's sign-in in the
 * browser.
 *
 * @module
 */
import { type AccountInfo, hasUsername, idKey } from "../account.ts";
import { environmentOf } from "../authority.ts";
import { type BrokerCall, type BrokerFinding, noBroker } from "../broker/broker.ts";
import type { CachedAccount } from "../cache/lookup.ts";
import type { CacheStore } from "../cache/store.ts";
import type { TokenCache } from "../cache/token_cache.ts";
import { isInteractionRequired, LatchkeyError, withCorrelationId, withDetails } from "../errors.ts";
import { followedBy, type Remedy, withNote } from "../remedies.ts";
import type { BrowserSignInOptions } from "../oauth/browser_sign_in.ts";
import type { Fetch } from "../oauth/bounded_fetch.ts";
import {
  type AccountFilter,
  type DeviceCodeSignIn,
  type RequestOptions,
  singleFlightKey,
  type TokenQuery,
} from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import { isAccountChosen, onlyAccountMeant, wishOf } from "./account_choice.ts";
import { BrokerSource, type BrokerSourceOptions, type SignInWay } from "./broker.ts";
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

/** Knowledge of the cache about an account. */
interface AccountState {
  /** The source that renews the account's tokens. */
  readonly origin: "broker" | "provider" | "unknown";
  /** The account, if it is known that it has not signed out of the app. */
  readonly signedIn?: AccountInfo;
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
    const ids = new Set(known.map(({ homeAccountId }) => idKey(homeAccountId)));
    const others = cached.map(({ account }) => account).filter(({ homeAccountId }) => !ids.has(idKey(homeAccountId)));
    return [...known.filter((account) => hasUsername(account, username)), ...others];
  }

  /**
   * Returns a token without a window. `isLast`: no sign-in follows, which could go on in the browser: the failure of a broker that
   * is installed is then the cause.
   */
  async silently(query: TokenQuery, how: { readonly isLast?: boolean } = {}): Promise<AuthenticationResult> {
    const finding = await this.#find(query);
    if (finding.state !== "active") return await this.#silentlyWithoutBroker(query, finding, how);
    // Without a name, the account of the device has priority over one that signed in to this app only.
    const state = isAccountChosen(query) ? await this.#stateOf(query) : undefined;
    if (state?.origin === "provider") return await (await this.provider()).acquireSilently(query);
    try {
      return await this.broker.acquireSilently(query, finding.broker, state?.signedIn);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      if (this.#mayFallBack(error)) return await this.#silentlyWithoutBroker(query, await this.#find(query), how);
      if (!(error.broker || isInteractionRequired(error))) throw error;
      const { origin } = state ?? await this.#stateOf(query);
      if (origin === "broker") throw error;
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
      throw withFinding(error, finding, { ...query, isSilent: true, isLast });
    }
  }

  /** Signs the person in: by the broker's window, else in the browser. */
  async signIn(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    let finding = await this.#find(query);
    const { prompt, username, requiredUsername } = query;
    // Two calls of `acquireTokenInteractive`, which is silent first, mean two windows, and its user name is only a hint.
    const way: SignInWay = how === "silent-first" ? { how, username: requiredUsername } : {
      how,
      key: singleFlightKey("window", query),
      username: prompt === "select_account" ? undefined : username,
    };
    if (finding.state === "active") {
      try {
        const result = await this.broker.signIn(query, finding.broker, way);
        // From now on the broker renews this account. A cache that does not know the account need not be told.
        if (await this.#cached.has(result.account)) await (await this.provider()).noteBrokerSignIn(result);
        return result;
      } catch (error) {
        if (!this.#mayFallBack(error)) throw error;
        finding = await this.#find(query);
      }
    }
    try {
      return await this.#signInByBrowser(query, way);
    } catch (error) {
      throw withFinding(error, finding, { ...query, isSilent: false, isLast: true });
    }
  }

  async #signInByBrowser(query: TokenQuery, { key, username }: SignInWay): Promise<AuthenticationResult> {
    const { signInByBrowser } = await import("../oauth/browser_sign_in.ts");
    const { clientId, browser } = this.#options;
    const { port, account } = query;
    const request = { ...query, clientId, loginHint: account?.username || query.username };
    const onBeforeLaunching = () => query.onBeforeLaunchingUi?.({ ui: "browser" });
    const options = { ...browser, port, onBeforeLaunching };
    return await (await this.provider()).signIn(query, {
      accountSource: "authorization_code",
      sign: (provider, call) => signInByBrowser(provider, request, { ...options, ...call }),
      key,
      username,
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
        const { userCode, verificationUri, verificationUriComplete, message, expiresOn } = code;
        const link = verificationUriComplete === undefined ? {} : { verificationUriComplete };
        await onUserCode({ userCode, verificationUri, ...link, message, expiresOn });
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
    const failure = removalFailure(forgotten, removed);
    if (failure !== undefined) throw failure;
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

  /** Returns what the cache knows of the account of a query. */
  async #stateOf(query: TokenQuery): Promise<AccountState> {
    const { account, signal } = query;
    const isBrokers = account?.source === "broker" || this.#options.requireBroker;
    if (isBrokers || !this.#mayHoldTokens()) return { origin: "broker" };
    const cached = account ? await this.#cached.account(account, signal) : await this.#onlyCached(query);
    if (!cached) return { origin: account ? "provider" : "broker" }; // an account of the cache that is gone has signed out
    const origins: Readonly<Record<string, AccountState["origin"]>> = { broker: "broker", "": "unknown" };
    return { origin: origins[cached.accountSource ?? ""] ?? "provider", signedIn: cached.account };
  }

  /** Returns the cached account that a query without one means, unless it can mean several. */
  async #onlyCached(query: TokenQuery): Promise<CachedAccount | undefined> {
    const cached = await this.#cached.accounts(query.username, query.signal);
    const only = onlyAccountMeant(cached.map(({ account }) => account), wishOf(query));
    return cached.find(({ account }) => account === only);
  }
}

/** Returns the error of a removal from the app and from the broker; `undefined` if both were done. */
function removalFailure(forgotten: PromiseSettledResult<void>, removed: PromiseSettledResult<void>): unknown {
  const reasons = [removed, forgotten].flatMap((half) => half.status === "rejected" ? [half.reason] : []);
  const [first, second] = reasons;
  const unknown = reasons.find((reason) => !(reason instanceof LatchkeyError));
  if (unknown !== undefined || first === undefined) return unknown;
  if (second !== undefined) return bothFailures(first, second);
  const done = removed.status === "fulfilled"
    ? "The broker has forgotten the account anyway"
    : "The account is signed out of this app anyway";
  return withDetails(first, { remedy: withNote(first.remedy, done) });
}

function bothFailures(removed: LatchkeyError, forgotten: LatchkeyError): LatchkeyError {
  const message = `${removed.message}. The app cannot forget the account: ${forgotten.message}`;
  const cause = new AggregateError([removed, forgotten], message);
  const remedy = removed.remedy ? followedBy(removed.remedy, forgotten.remedy) : forgotten.remedy;
  const details = { ...removed, claims: removed.claims, cause, errorDescription: message, remedy };
  return new LatchkeyError(removed.code, message, details);
}

/**
 * Returns the failure of a call without a broker, with why there was none if one could have helped.
 *
 * 1. A broker that is installed and could not be started is the cause of a sign-in that only its failure makes necessary: its fix
 *    comes first.
 * 2. A broker that is not enabled could know the user.
 * 3. The reason for any other finding is added to the hint.
 */
function withFinding(
  error: unknown,
  finding: BrokerFinding,
  { correlationId, isSilent, isLast }: {
    readonly correlationId: string;
    /** True if a sign-in may follow, which a broker could make unnecessary. */
    readonly isSilent: boolean;
    /** True if no other step follows. */
    readonly isLast: boolean;
  },
): unknown {
  if (!(error instanceof LatchkeyError) || finding.state === "active") return error;
  const isSignInDue = isSilent && isInteractionRequired(error);
  const { remedy = { kind: "sign_in_again" } } = error;
  const isForSignIn = remedy.kind === "sign_in" || remedy.kind === "sign_in_elsewhere";
  if (isLast && isForSignIn && finding.state === "unavailable" && finding.isInstalled) {
    const failure = noBroker(finding, correlationId);
    const otherWay: Remedy = { ...remedy, when: "To go on without the broker" };
    return withDetails(failure, {
      remedy: failure.remedy ? followedBy(failure.remedy, otherWay) : otherWay,
      cause: error,
    });
  }
  if (isSignInDue && finding.state === "off") {
    const options = remedy.kind === "sign_in" ? finding.enabledBy : undefined;
    if (options === undefined) return error;
    const details = { ...error, remedy: { kind: "enable_broker", options } } as const;
    return new LatchkeyError(error.code, `${error.message}, and no broker is enabled`, details);
  }
  if (!isSignInDue && error.code !== "broker_unavailable") return error;
  const noted = withNote(remedy, `There was no broker to ask: ${finding.reason}`);
  return withDetails(error, { remedy: followedBy(noted, finding.remedy) });
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
      const stored = await store?.readAccounts({ signal });
      if (!this.#cache && stored?.length === 0) return [];
      return await (await this.cache()).findAccounts({ username, stored, signal });
    }, { empty: [] });
  }

  /** Returns an account if it is signed in. */
  async account(account: AccountInfo, signal: AbortSignal | undefined): Promise<CachedAccount | undefined> {
    const find = (cache: TokenCache, document?: string) => cache.findAccount(account, { document, signal });
    return await this.#readOf(account, signal, find, { empty: undefined });
  }

  /** Returns true if an account signed out of the app, in this run or an earlier one. */
  async isSignedOut(account: AccountInfo, signal: AbortSignal | undefined): Promise<boolean> {
    const find = (cache: TokenCache, document?: string) => cache.isSignedOut(account, { document, signal });
    return await this.#readOf(account, signal, find, { empty: false });
  }

  /** Returns true if the cache knows an account, even if only that it signed out. */
  async has(account: AccountInfo): Promise<boolean> {
    const isKnown = async (store: CacheStore | undefined) =>
      store === undefined || await store.read(idKey(account.homeAccountId)) !== undefined;
    return await this.#readOr(isKnown, { empty: false });
  }

  /** Reads an account's document, once. The cache's code is not loaded if there is none. */
  async #readOf<T>(
    account: AccountInfo,
    signal: AbortSignal | undefined,
    read: (cache: TokenCache, document?: string) => Promise<T>,
    { empty }: { readonly empty: T },
  ): Promise<T> {
    return await this.#readOr(async (store) => {
      if (!store || this.#cache) return await read(await this.cache());
      const document = await store.read(idKey(account.homeAccountId), { signal });
      return document === undefined ? empty : await read(await this.cache(), document);
    }, { empty });
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

/**
 * In which order a token is looked for: the device's broker, where there is one and it applies; else what is kept, what
 * renews it, and the person's sign-in in the browser.
 *
 * @module
 */
import { type AccountInfo, idKey, isSameUsername } from "../account.ts";
import { type Authority, environmentOf } from "../authority.ts";
import { type Broker, type BrokerCall, type BrokerFinding, noBroker } from "../broker/broker.ts";
import type { JsonBrokerOptions } from "../broker/client.ts";
import type { BrokerFlags, BrokerSearch } from "../broker/detect.ts";
import type { CachedAccount } from "../cache/lookup.ts";
import type { CacheStore } from "../cache/store.ts";
import type { TokenCache } from "../cache/token_cache.ts";
import { INTERACTION_REQUIRED_CODES, LatchkeyError, type Logger, withCorrelationId, withDetails } from "../errors.ts";
import type { BrowserSignInOptions } from "../oauth/browser_sign_in.ts";
import type { Fetch } from "../oauth/fetch.ts";
import {
  type AccountFilter,
  type DeviceCodeSignIn,
  type RequestOptions,
  sharedKey,
  type TokenQuery,
} from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import { BrokerSource } from "./broker.ts";
import type { ProviderSource } from "./provider.ts";

/** What the sources are made of. */
interface TokenRouterOptions extends Omit<JsonBrokerOptions, "onTooOld"> {
  /** On which platforms the app wants a broker. */
  readonly flags: BrokerFlags;
  /** How the broker is looked for. */
  readonly search?: BrokerSearch | undefined;
  /** Whether there is no way on without a broker. */
  readonly requireBroker: boolean;
  /** Where tokens that came without a broker are kept. @default in memory */
  readonly store?: CacheStore | undefined;
  /** Sends requests. @default one for company networks */
  readonly fetch?: Fetch | undefined;
  /** How the browser is used. */
  readonly browser: BrowserSignInOptions;
}

/** Who renews an account's tokens: whoever it was signed in with. */
type Origin = "broker" | "provider" | "unknown";

/** The broker and the identity provider, one after the other. */
export class TokenRouter {
  /** The broker. */
  readonly broker: BrokerSource;
  readonly #options: TokenRouterOptions;
  readonly #kept: CachedAccounts;
  #provider: Promise<ProviderSource> | undefined;

  /** @param options What they are made of. Nothing is opened or asked before the first call. */
  constructor(options: TokenRouterOptions) {
    this.#options = options;
    this.#kept = new CachedAccounts(options);
    const isSignedOut = this.#kept.isSignedOut.bind(this.#kept);
    this.broker = new BrokerSource(options.flags, { ...options, isSignedOut });
  }

  /** The accounts of both; one that both know is the broker's. */
  async accounts(
    { username, includeSignedOut = false }: AccountFilter,
    call: RequestOptions & { readonly correlationId: string },
  ): Promise<AccountInfo[]> {
    const finding = await this.#find(call), { signal } = call;
    const known = finding.state === "active"
      ? await this.#accountsOfBroker(finding.broker, { ...call, includeSignedOut })
      : [];
    const cached = this.#options.requireBroker ? [] : await this.#cachedAccounts(finding, username, signal);
    const ids = new Set(known.map(({ homeAccountId }) => idKey(homeAccountId)));
    const others = cached.map(({ account }) => account).filter(({ homeAccountId }) => !ids.has(idKey(homeAccountId)));
    return [
      ...known.filter((account) => username === undefined || isSameUsername(account.username, username)),
      ...others,
    ];
  }

  /** Those of a cache that cannot be read are missing beside a broker's; without a broker that is an error. */
  async #cachedAccounts(
    finding: BrokerFinding,
    username: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<readonly CachedAccount[]> {
    if (finding.state === "active") return await this.#kept.accounts(username, signal);
    return this.#mayHoldTokens() ? await (await this.#kept.cache()).findAccounts({ username, signal }) : [];
  }

  /** None when the broker proves too old to be asked. */
  async #accountsOfBroker(
    broker: Broker,
    { includeSignedOut, ...call }: BrokerCall & { readonly includeSignedOut: boolean },
  ): Promise<AccountInfo[]> {
    try {
      return await (includeSignedOut ? broker.getAccounts(call) : this.broker.accounts(broker, call));
    } catch (error) {
      if (!this.#goesOn(error)) throw error;
      return [];
    }
  }

  /** A token without any window. */
  async silently(query: TokenQuery): Promise<AuthenticationResult> {
    const finding = await this.#find(query);
    if (finding.state !== "active") return await this.#silentlyWithout(query, finding);
    const origin = await this.#originOf(query);
    if (origin === "provider") return await (await this.provider()).acquireSilently(query);
    try {
      return await this.broker.acquireSilently(query);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      if (this.#goesOn(error)) return await this.#silentlyWithout(query, await this.#find(query));
      if (origin !== "unknown" || !(error.broker || INTERACTION_REQUIRED_CODES.has(error.code))) throw error;
      // Nobody wrote down how this account was signed in: the broker's refusal is not the last word.
      return await (await this.provider()).acquireSilently(query).catch((second) => {
        throw second instanceof LatchkeyError && INTERACTION_REQUIRED_CODES.has(second.code) ? error : second;
      });
    }
  }

  /** A token by the person's sign-in: the broker's window, else the browser. */
  async signIn(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    const finding = await this.#find(query);
    if (finding.state === "active") {
      try {
        return await this.#noted(await this.broker.signIn(query, how));
      } catch (error) {
        if (!this.#goesOn(error)) throw error;
      }
    }
    return await this.#signInByBrowser(query, how);
  }

  /** Whoever signed in with the broker is its from now on, whatever the cache had of them; where it had nothing, it stays so. */
  async #noted(result: AuthenticationResult): Promise<AuthenticationResult> {
    if (await this.#kept.has(result.account)) await (await this.provider()).noteBrokerSignIn(result);
    return result;
  }

  async #signInByBrowser(query: TokenQuery, how: "silent-first" | "window"): Promise<AuthenticationResult> {
    const { signInByBrowser } = await import("../oauth/browser_sign_in.ts");
    const { clientId, browser, timeLimits } = this.#options, { port, account, username, prompt } = query;
    const asked = { ...query, clientId, loginHint: account?.username || username };
    const onBeforeLaunching = () => query.onBeforeLaunchingUi?.({ ui: "browser" });
    const options = { ...browser, port, timeLimitMs: timeLimits.browserMs, onBeforeLaunching };
    return await (await this.provider()).signIn(query, {
      accountSource: "authorization_code",
      sign: (provider, call) => signInByBrowser(provider, asked, { ...options, ...call }),
      username: query.requiredUsername,
      // As with a broker: who calls `acquireTokenInteractive` twice means two windows, and gives a hint and no more.
      ...(how === "window" && {
        key: sharedKey("window", query),
        username: prompt === "select_account" ? undefined : username,
      }),
    });
  }

  /** A token by a sign-in on another device: no broker does that. */
  async byDeviceCode(
    query: TokenQuery,
    { onUserCode }: Pick<DeviceCodeSignIn, "onUserCode">,
  ): Promise<AuthenticationResult> {
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

  /** Forgets an account. */
  async forget(account: AccountInfo, { correlationId, signal }: RequestOptions): Promise<void> {
    this.broker.forget(account);
    if (!this.#mayHoldTokens()) return;
    try {
      await (await this.#kept.cache()).removeAccount(account, { signal });
    } catch (error) {
      throw withCorrelationId(error, correlationId);
    }
  }

  /** The identity provider; its code is loaded when it is first needed. */
  async provider(): Promise<ProviderSource> {
    return await (this.#provider ??= this.#makeProvider());
  }

  /** Ends all calls under way, and frees the connection to the broker. Resolves when renewals that were sent are stored. */
  async close(): Promise<void> {
    this.broker.close();
    const reason = new LatchkeyError("unexpected", "The application was closed");
    const provider = await this.#provider?.catch(() => undefined); // whoever waits for it has the error
    await provider?.close(reason);
  }

  async #makeProvider(): Promise<ProviderSource> {
    const { ProviderSource } = await import("./provider.ts");
    const cache = await this.#kept.cache(), { fetch, ...options } = this.#options;
    let made: Promise<Fetch> | undefined; // one for all calls: what was found out through it is known to the next
    const makeFetch = async () => fetch ?? (await import("../http/client.ts")).makeFetch();
    return new ProviderSource({ ...options, cache, fetch: () => made ??= makeFetch() });
  }

  /** What was found; the error where there is no way on without it. */
  async #find(call: RequestOptions): Promise<BrokerFinding> {
    const finding = await this.broker.find(call);
    if (finding.state !== "active" && this.#options.requireBroker) throw noBroker(finding, call.correlationId);
    return finding;
  }

  async #silentlyWithout(query: TokenQuery, finding: BrokerFinding): Promise<AuthenticationResult> {
    try {
      return await (await this.provider()).acquireSilently(query);
    } catch (error) {
      if (
        !(error instanceof LatchkeyError) || finding.state !== "unavailable" ||
        !INTERACTION_REQUIRED_CODES.has(error.code)
      ) {
        throw error;
      }
      const why = `There was no broker to ask: ${finding.reason}`;
      throw withDetails(error, { hint: [error.hint, why, finding.hint].filter(Boolean).join(". ") });
    }
  }

  /** Whether a call failed because the broker is too old, and there is a way on without it. */
  #goesOn(error: unknown): boolean {
    const isGone = error instanceof LatchkeyError && error.code === "broker_unavailable";
    return isGone && this.broker.isTooOld() && !this.#options.requireBroker;
  }

  /** Whether anything can be kept: until a sign-in without the broker, a store of our own has nothing. */
  #mayHoldTokens(): boolean {
    return this.#options.store !== undefined || this.#provider !== undefined;
  }

  async #originOf({ account, username, signal }: TokenQuery): Promise<Origin> {
    if (account?.source === "broker" || this.#options.requireBroker || !this.#mayHoldTokens()) return "broker";
    const [cached, ...more] = account
      ? [await this.#kept.account(account, signal)]
      : await this.#kept.accounts(username, signal);
    if (!cached && account) return "provider"; // it was the cache's, and signed out
    if (!cached || more.length > 0 || cached.accountSource === "broker") return "broker";
    if (cached.accountSource === undefined) return "unknown";
    // Without a name, the account of the device goes before one that signed in to this app alone.
    return account || username !== undefined ? "provider" : "unknown";
  }
}

/** Whose accounts, and where they are kept. */
interface KeptAccountsOptions {
  /** The app. */
  readonly clientId: string;
  /** The app's authority. */
  readonly authority: Authority;
  /** Where tokens that came without a broker are kept. @default in memory */
  readonly store?: CacheStore | undefined;
  /** The time, in milliseconds since 1970. */
  readonly now: () => number;
  /** Takes log lines. */
  readonly log: Logger;
}

/** The accounts of a cache, and the cache. */
class CachedAccounts {
  readonly #options: KeptAccountsOptions;
  #cache: Promise<TokenCache> | undefined;

  /** @param options Whose, and where. Nothing is read before the first call. */
  constructor(options: KeptAccountsOptions) {
    this.#options = options;
  }

  /** The cache; its code is loaded when it is first needed. */
  async cache(): Promise<TokenCache> {
    return await (this.#cache ??= this.#makeCache());
  }

  /** Who is signed in beside the broker's accounts. A cache that cannot be read does not stand in a broker's way. */
  async accounts(username: string | undefined, signal: AbortSignal | undefined): Promise<CachedAccount[]> {
    return await this.#orElse([], async (store) => {
      if (!this.#cache && (await store?.readAccounts({ signal }))?.length === 0) return [];
      return await (await this.cache()).findAccounts({ username, signal });
    });
  }

  /** What is kept of one account. */
  async account(account: AccountInfo, signal: AbortSignal | undefined): Promise<CachedAccount | undefined> {
    return await this.#orElse(undefined, async (store) => {
      if (!await this.#has(store, account, signal)) return undefined;
      return await (await this.cache()).findAccount(account, { signal });
    });
  }

  /** Whether an account signed out of the app, in this run or an earlier one. */
  async isSignedOut(account: AccountInfo, signal: AbortSignal | undefined): Promise<boolean> {
    return await this.#orElse(false, async (store) => {
      return await this.#has(store, account, signal) &&
        await (await this.cache()).isSignedOut(account, { signal });
    });
  }

  /** Whether anything is kept of an account, be it that it signed out. */
  async has(account: AccountInfo, signal?: AbortSignal): Promise<boolean> {
    return await this.#orElse(false, (store) => this.#has(store, account, signal));
  }

  async #has(
    store: CacheStore | undefined,
    { homeAccountId }: AccountInfo,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!store) return this.#cache !== undefined;
    return await store.read(idKey(homeAccountId), { signal }) !== undefined;
  }

  /** Until something is kept in memory, there is nothing to look at without a store. */
  async #orElse<T>(otherwise: T, look: (store: CacheStore | undefined) => Promise<T>): Promise<T> {
    const { store, log } = this.#options;
    if (!store && !this.#cache) return otherwise;
    try {
      return await look(store);
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error;
      log("warn", `The token cache was passed over: ${error.message}`);
      return otherwise;
    }
  }

  async #makeCache(): Promise<TokenCache> {
    const { TokenCache } = await import("../cache/token_cache.ts");
    const { clientId, authority, now, log } = this.#options;
    const store = this.#options.store ?? (await import("../cache/store.ts")).memoryStore();
    return new TokenCache(store, { clientId, environment: environmentOf(authority), now, log });
  }
}

/** What both ended with. */
interface Removal {
  /** By the app. */
  readonly forgotten: PromiseSettledResult<void>;
  /** By the broker. */
  readonly removed: PromiseSettledResult<void>;
}

/** The error to report, where one of them failed: it says what was done all the same. */
export function removalFailure({ forgotten, removed }: Removal): unknown {
  const [first, second] = [removed, forgotten].flatMap((end) => end.status === "rejected" ? [end.reason] : []);
  if (!(first instanceof LatchkeyError)) return first;
  if (second === undefined) {
    const done = removed.status === "fulfilled"
      ? "The broker has forgotten the account all the same"
      : "The account is signed out of this app all the same";
    return withDetails(first, { hint: sentences(first.hint, done) });
  }
  if (!(second instanceof LatchkeyError)) return second;
  const { code, claims } = first, message = `${first.message}. The app cannot forget the account: ${second.message}`;
  return new LatchkeyError(code, message, {
    ...{ ...first, claims, cause: new AggregateError([first, second], message) },
    errorDescription: message,
    hint: sentences(first.hint, second.hint),
  });
}

function sentences(...texts: readonly (string | undefined)[]): string | undefined {
  return texts.filter(Boolean).join(". ") || undefined;
}

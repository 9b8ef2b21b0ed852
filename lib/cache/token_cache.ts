/**
 * Tokens that came without a broker, kept so that the next run needs no sign-in. The schema is MSAL's, so that MSAL for
 * Python, MSAL for Node and the Azure CLI read what is written here, and the reverse.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { Mutex, untilAborted } from "../async.ts";
import { environmentAliases, environmentKey, isMicrosoftHost } from "../authority.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { monotonicEnd } from "../token.ts";
import { accessTokenPlace, changesOfReply, changesOfSignOut, type ReplyToSave } from "./changes.ts";
import {
  accessTokenIn,
  accountIn,
  accountsIn,
  type CachedAccount,
  type CachedRefreshToken,
  type CachedTokenQuery,
  isSignedOutIn,
  lastTokenEndIn,
  ownRefreshTokens,
  refreshTokensIn,
} from "./lookup.ts";
import { boundedToken, type CachedToken } from "./freshness.ts";
import { type CacheApp, type CacheChange, CacheDocument, MOVE_AWAY, readEpochSeconds } from "./schema.ts";
import type { CacheCall, CacheStore } from "./store.ts";

/** Options of a {@linkcode TokenCache}. */
export interface TokenCacheOptions {
  readonly clientId: string;
  /** Host of the authority. All names of its cloud count as one. */
  readonly environment: string;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Receives log lines. @default none */
  readonly log?: Logger | undefined;
}

/** A call for one account. */
interface AccountCall extends CacheCall {
  /** The account's document, if it was read just now. @default it is read */
  readonly document?: string | undefined;
}

/** Delays between retries of a failed write, in milliseconds: the first, and the longest. */
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 30_000;

/** Returns true if a store reported, before a renewal, that it could not store the new tokens. */
export function isNotWritable(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && error.error === "cache_not_writable";
}

/** The cache as a renewal finds it. */
export interface RenewalState {
  /** The best access token. */
  readonly token: CachedToken | undefined;
  /** The refresh tokens in the order in which to try them. */
  readonly refreshTokens: readonly CachedRefreshToken[];
  /** True if the account signed out of this app. Refresh tokens of the app's family can still be there. */
  readonly isSignedOut: boolean;
}

/** A token that was received: its end by the monotonic clock, and by the system's (`until`), in milliseconds. */
interface ReceivedToken {
  readonly account: string;
  readonly endMs: number;
  readonly places: Set<string>;
  readonly until: number;
}

/** A store's documents as one app sees them. Calls that read or write the store throw `configuration` if that fails. */
export class TokenCache {
  readonly #store: CacheStore;
  readonly #options: TokenCacheOptions;
  readonly #environments: readonly string[];
  /** The last document that was read: mostly the next one is the same. */
  #last: { readonly json: string; readonly document: CacheDocument } | undefined;
  readonly #unsaved = new UnsavedReplies();
  /** Of received access tokens, the ends by the monotonic clock, and the places in the cache until another token takes them. */
  readonly #ends = new Map<string, ReceivedToken>();
  /**
   * Renewals of this object, by account. `memoryStore` and plug-ins of MSAL have no `withLock`: with one, two applications that
   * share a store would deadlock if the `fetch` of one needs a token of the other. At worst both renew at once.
   */
  readonly #renewals = new Mutex();
  #isRetrying = false;

  /** Nothing is read before the first call. */
  constructor(store: CacheStore, options: TokenCacheOptions) {
    const own = environmentKey(options.environment);
    this.#store = store;
    this.#options = options;
    this.#environments = [...new Set([own, ...environmentAliases(own)])];
  }

  /**
   * Returns the accounts that are signed in to this app; only those of a user name if one is given.
   *
   * @param call `stored`: the records of all accounts, if they were read just now.
   */
  async findAccounts(
    { username, stored, signal }: CacheCall & {
      readonly username?: string | undefined;
      readonly stored?: readonly string[] | undefined;
    } = {},
  ): Promise<CachedAccount[]> {
    const documents = (stored ?? await this.#store.readAccounts({ signal })).flatMap((json) => {
      const document = this.#parse(json);
      if (!document) this.#options.log?.("warn", "A document of the token cache is damaged and was skipped");
      return document ?? [];
    });
    return accountsIn([...documents, ...this.#unsaved.signIns(this.#app())], this.#app(), username);
  }

  /** Returns one account if it is signed in, without a look at others. */
  async findAccount(account: AccountInfo, call: AccountCall = {}): Promise<CachedAccount | undefined> {
    return accountIn(await this.#read(account, call), account.homeAccountId, this.#app());
  }

  /** Returns the best cached access token for a request. */
  async findAccessToken(query: CachedTokenQuery & CacheCall): Promise<CachedToken | undefined> {
    return this.#tokenIn(await this.#read(query.account, query), query);
  }

  #tokenIn(document: CacheDocument, query: CachedTokenQuery): CachedToken | undefined {
    const app = this.#app();
    const token = accessTokenIn(document, query, app);
    const endMs = token && this.#ends.get(token.result.accessToken)?.endMs;
    return endMs === undefined ? token : boundedToken(endMs, token!, app.now);
  }

  /** Returns what a renewal needs, of one moment. */
  async findForRenewal(query: CachedTokenQuery & CacheCall): Promise<RenewalState> {
    const document = await this.#read(query.account, query);
    const app = this.#app();
    const { homeAccountId } = query.account;
    return {
      token: this.#tokenIn(document, query),
      refreshTokens: refreshTokensIn(document, homeAccountId, app),
      isSignedOut: isSignedOutIn(document, homeAccountId, app),
    };
  }

  /** Returns an account's refresh tokens in the order in which to try them. */
  async findRefreshTokens(account: AccountInfo, call: CacheCall = {}): Promise<CachedRefreshToken[]> {
    return refreshTokensIn(await this.#read(account, call), account.homeAccountId, this.#app());
  }

  /** Returns the end of the account's token that lasts longest, and true for `isRenewable` if there is a refresh token. */
  async describeAccount(
    account: AccountInfo,
    call: CacheCall = {},
  ): Promise<{ readonly expiresOn: Date | undefined; readonly isRenewable: boolean }> {
    const document = await this.#read(account, call);
    const app = this.#app();
    const { homeAccountId } = account;
    return {
      expiresOn: lastTokenEndIn(document, homeAccountId, app),
      isRenewable: refreshTokensIn(document, homeAccountId, app).length > 0,
    };
  }

  /** Returns true if an account signed out of this app. Then no silent call may get it a token, a broker's included. */
  async isSignedOut(account: AccountInfo, call: AccountCall = {}): Promise<boolean> {
    return isSignedOutIn(await this.#read(account, call), account.homeAccountId, this.#app());
  }

  /**
   * Stores the reply to a sign-in (it has `accountSource`) or to a renewal. Of a broker's reply, only the account's
   * record is stored; a token that is bound to one request is not stored. If the write fails, this object keeps the
   * reply in memory, and retries as long as the program runs.
   *
   * @returns False if it was not stored: a renewal whose account has signed out meanwhile.
   */
  async save(reply: ReplyToSave, call: CacheCall = {}): Promise<boolean> {
    const { homeAccountId } = reply.result.account;
    const app = this.#app();
    const endMs = monotonicEnd(reply.result, app.now);
    const changesOf = (document: CacheDocument) => changesOfReply(document, reply, this.#app());
    try {
      const isSaved = await this.#change(homeAccountId, changesOf, call);
      if (isSaved) this.#noteEnd(reply, endMs, app);
      return isSaved;
    } catch (error) {
      if (error instanceof LatchkeyError && reply.result.source !== "broker") {
        this.#unsaved.add(reply, this.#app().now);
        this.#noteEnd(reply, endMs, app);
        this.#retryLater(FIRST_RETRY_MS);
      }
      throw error;
    }
  }

  #noteEnd(reply: ReplyToSave, endMs: number, app: CacheApp): void {
    const { accessToken, expiresOn, extendedExpiresOn = expiresOn } = reply.result;
    const place = accessTokenPlace(reply, app);
    if (place === undefined) return;
    const places = new Set(this.#ends.get(accessToken)?.places).add(place);
    for (const [old, end] of this.#ends) {
      end.places.delete(place);
      if (end.places.size === 0 || end.until <= app.now) this.#ends.delete(old);
    }
    const account = idKey(reply.result.account.homeAccountId);
    this.#ends.set(accessToken, { account, endMs, places, until: extendedExpiresOn.getTime() });
  }

  /** Retries failed writes. Never throws. */
  async saveUnsaved(): Promise<void> {
    for (const homeAccountId of this.#unsaved.accounts()) {
      try {
        await this.#change(homeAccountId, () => [], {});
        this.#options.log?.("info", "A token that could not be stored before is stored now");
      } catch (error) {
        const reason = error instanceof Error ? error.message : error;
        this.#options.log?.("debug", `A token still cannot be stored: ${reason}`);
      }
    }
  }

  /** Signs an account out of this app: removes its tokens, not those of other apps, and leaves a mark, which MSAL ignores. */
  async removeAccount(account: AccountInfo, call: CacheCall = {}): Promise<void> {
    if (this.#isForeign(account)) return;
    const { homeAccountId } = account;
    this.#unsaved.drop(homeAccountId);
    for (const [token, { account }] of this.#ends) {
      if (account === idKey(homeAccountId)) this.#ends.delete(token);
    }
    await this.#change(homeAccountId, (document) => changesOfSignOut(document, homeAccountId, this.#app()), call);
  }

  /**
   * Returns true for an account of another issuer, whose id means somebody else here. An account of a broker can have
   * any of Microsoft's hosts, or none.
   */
  #isForeign({ environment }: AccountInfo): boolean {
    if (!environment) return false;
    const key = environmentKey(environment);
    const [own] = this.#environments;
    return !this.#environments.includes(key) && !(isMicrosoftHost(key) && isMicrosoftHost(own!));
  }

  /**
   * Renews an account's tokens while no other process does.
   *
   * @param work Reads the cache again, then renews if that is still needed.
   * @param call `mayGoUnsaved`: true to renew although the store could not save the new tokens. That is also done if
   * the refresh token is in memory only.
   * @throws {LatchkeyError} `configuration` with the error `cache_not_writable` if the new tokens could not be saved.
   */
  async withLock<T>(
    { homeAccountId }: AccountInfo,
    work: () => Promise<T>,
    { signal, mayGoUnsaved = false }: CacheCall & { readonly mayGoUnsaved?: boolean } = {},
  ): Promise<T> {
    const id = idKey(homeAccountId);
    const renewing = this.#renewals.run(id, async () => {
      let working: Promise<T> | undefined;
      const begin = (): Promise<T> => {
        working = work();
        return working;
      };
      try {
        return await (this.#store.withLock?.(id, begin, { signal }) ?? begin());
      } catch (error) {
        const isGoingOn = mayGoUnsaved || this.#unsaved.of(homeAccountId).length > 0;
        if (!isNotWritable(error) || !isGoingOn) throw error;
        this.#options.log?.("warn", `A token is renewed, but cannot be stored: ${error.message}`);
        return await begin();
      } finally {
        await working?.catch(() => {}); // a store may stop waiting for it at an abort: the next renewal does not
      }
    }, { signal });
    return await untilAborted(renewing, signal);
  }

  #app(): CacheApp {
    const { clientId, now = Date.now } = this.#options;
    return { clientId, environments: this.#environments, now: now() };
  }

  /** Reads a document; `undefined` if it is damaged. */
  #parse(json: string = ""): CacheDocument | undefined {
    if (this.#last?.json === json) {
      // Of equal strings, the one that comes again and again compares at once with itself, megabytes with another copy.
      this.#last = { json, document: this.#last.document };
      return this.#last.document;
    }
    const document = CacheDocument.parse(json);
    if (document) this.#last = { json, document };
    return document;
  }

  /** Reads an account's document. Of a foreign account, there is nothing. */
  async #read(account: AccountInfo, { signal, document: stored }: AccountCall): Promise<CacheDocument> {
    if (this.#isForeign(account)) return CacheDocument.EMPTY;
    const { homeAccountId } = account;
    let json = stored;
    return await this.#pastDamage(homeAccountId, signal, async () => {
      const document = this.#parse(json ?? await this.#store.read(idKey(homeAccountId), { signal }));
      json = undefined;
      return document && this.#unsaved.over(document, homeAccountId, this.#app());
    });
  }

  /** Changes an account's document. Returns false if `changesOf` gave no changes. */
  async #change(
    homeAccountId: string,
    changesOf: (document: CacheDocument) => readonly CacheChange[] | undefined,
    { signal }: CacheCall,
  ): Promise<boolean> {
    return await this.#pastDamage(homeAccountId, signal, async () => {
      let isChanged: boolean | undefined;
      let saved = this.#unsaved.of(homeAccountId);
      await this.#store.update(idKey(homeAccountId), (json) => {
        const stored = this.#parse(json);
        saved = this.#unsaved.of(homeAccountId);
        const document = stored && this.#unsaved.over(stored, homeAccountId, this.#app());
        const changes = document && changesOf(document);
        isChanged = document && changes !== undefined;
        const changed = document?.with(changes ?? []);
        if (!changed || changed === stored) return json;
        this.#last = { json: changed.toString(), document: changed };
        return this.#last.json;
      }, { signal });
      if (isChanged !== undefined) this.#unsaved.drop(homeAccountId, saved);
      return isChanged;
    });
  }

  #retryLater(delayMs: number): void {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    // Not a timer, which would keep the program from ending.
    AbortSignal.timeout(delayMs).addEventListener("abort", async () => {
      await this.saveUnsaved();
      this.#isRetrying = false;
      if (this.#unsaved.accounts().length > 0) this.#retryLater(Math.min(delayMs * 2, MAX_RETRY_MS));
    });
  }

  /** Returns the result of an attempt. If that is `undefined`, sets the damaged document aside and tries again. */
  async #pastDamage<T>(
    homeAccountId: string,
    signal: AbortSignal | undefined,
    attempt: () => Promise<T | undefined>,
  ): Promise<T> {
    const first = await attempt();
    if (first !== undefined) return first;
    const isDamaged = (json: string): boolean => CacheDocument.parse(json) === undefined;
    const place = await this.#store.setAside?.(idKey(homeAccountId), isDamaged, { signal });
    if (place !== undefined) {
      this.#options.log?.("warn", `The token cache was damaged. It was set aside as ${place}, and a new one begun`);
    }
    const second = await attempt();
    if (second !== undefined) return second;
    throw new LatchkeyError("configuration", "Cannot read the token cache: it is damaged", { remedy: MOVE_AWAY });
  }
}

interface UnsavedReply {
  readonly reply: ReplyToSave;
  /** In milliseconds since 1970. */
  readonly receivedAt: number;
}

/** Number of replies per account: a token for each resource that is requested while nothing can be stored. */
const MAX_REPLIES = 32;

/** Replies that could not be stored, by account. Until they are, reads see them on top of the stored document. */
class UnsavedReplies {
  readonly #replies = new Map<string, readonly UnsavedReply[]>();

  add(reply: ReplyToSave, receivedAt: number): void {
    const { homeAccountId } = reply.result.account;
    const before = this.of(homeAccountId);
    this.#replies.set(idKey(homeAccountId), [...before, { reply, receivedAt }].slice(-MAX_REPLIES));
  }

  accounts(): readonly string[] {
    return [...this.#replies.keys()];
  }

  of(homeAccountId: string): readonly UnsavedReply[] {
    return this.#replies.get(idKey(homeAccountId)) ?? [];
  }

  /** Drops those of an account's replies that were stored; by default all. */
  drop(homeAccountId: string, replies: readonly UnsavedReply[] = this.of(homeAccountId)): void {
    const left = this.of(homeAccountId).filter((reply) => !replies.includes(reply));
    if (left.length > 0) this.#replies.set(idKey(homeAccountId), left);
    else this.#replies.delete(idKey(homeAccountId));
  }

  /** Returns a document with an account's replies in it; the same document if there are none. */
  over(document: CacheDocument, homeAccountId: string, app: CacheApp): CacheDocument {
    return this.of(homeAccountId).reduce((before, unsaved) => withReply(before, unsaved, app), document);
  }

  /** Returns documents with the accounts that signed in. */
  signIns(app: CacheApp): readonly CacheDocument[] {
    const signIns = [...this.#replies.values()].flat().filter(({ reply }) => reply.accountSource !== undefined);
    return signIns.map((unsaved) => withReply(CacheDocument.EMPTY, unsaved, app));
  }
}

function withReply(document: CacheDocument, unsaved: UnsavedReply, app: CacheApp): CacheDocument {
  const { reply, receivedAt } = unsaved;
  if (isOvertaken(document, unsaved, app)) return document;
  return document.with(changesOfReply(document, reply, { ...app, now: receivedAt }) ?? []);
}

/** Returns true if another process has stored a newer refresh token, which an older one must not replace. */
function isOvertaken(document: CacheDocument, { reply, receivedAt }: UnsavedReply, app: CacheApp): boolean {
  const { result, refreshToken, replaces, accountSource } = reply;
  const [own] = ownRefreshTokens(document, result.account.homeAccountId, app);
  if (!own || refreshToken === undefined || own.entry.secret === refreshToken) return false;
  if (accountSource === undefined) return !replaces?.includes(String(own.entry.secret));
  return (readEpochSeconds(own.entry.last_modification_time) ?? 0) > receivedAt;
}

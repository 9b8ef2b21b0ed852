/**
 * Tokens that came without a broker, kept so that the next run needs no sign-in. The schema is MSAL's, so that MSAL for
 * Python, MSAL for Node and the Azure CLI read what is written here, and the reverse.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { untilAborted } from "../async.ts";
import { environmentAliases, environmentKey } from "../authority.ts";
import { LatchkeyError, type Logger } from "../errors.ts";
import { Lifetimes } from "../token.ts";
import { changesOfReply, changesOfSignOut, type ReplyToSave } from "./changes.ts";
import {
  accessTokenIn,
  accountIn,
  accountsIn,
  boundedToken,
  type CachedAccount,
  type CachedRefreshToken,
  type CachedToken,
  type CachedTokenQuery,
  isSignedOutIn,
  ownRefreshTokens,
  refreshTokensIn,
} from "./lookup.ts";
import { type CacheApp, type CacheChange, CacheDocument, readEpochSeconds } from "./schema.ts";
import type { CacheCall, CacheStore } from "./store.ts";

/** What a token cache is made of. */
export interface TokenCacheOptions {
  /** Application (client) id: whose tokens are looked for. */
  readonly clientId: string;
  /** Host of the authority. All names of its cloud count as one. */
  readonly environment: string;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Takes log lines. @default none */
  readonly log?: Logger | undefined;
}

/** Between attempts to store what could not be stored, in milliseconds: at first, and at most. */
const FIRST_RETRY_MS = 250, MAX_RETRY_MS = 30_000;

/** Whether an error says that a store could not save new tokens, which was known before they were asked for. */
export function isNotWritable(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && error.error === "cache_not_writable";
}

/** A store's documents as one app sees them. */
export class TokenCache {
  readonly #store: CacheStore;
  readonly #options: TokenCacheOptions;
  readonly #environments: readonly string[];
  /** The document that was read last: mostly the next one is the same. */
  #last: { readonly json: string; readonly document: CacheDocument } | undefined;
  readonly #unsaved = new UnsavedReplies();
  readonly #lifetimes = new Lifetimes();
  /** By account, the promise that resolves when all renewals that began so far are over. */
  readonly #renewals = new Map<string, Promise<void>>();
  #isRetrying = false;

  /**
   * @param store Where the documents are. Nothing is read before the first call.
   * @param options Whose tokens are looked for.
   */
  constructor(store: CacheStore, options: TokenCacheOptions) {
    const own = environmentKey(options.environment);
    this.#store = store;
    this.#options = options;
    this.#environments = [...new Set([own, ...environmentAliases(own)])];
  }

  /**
   * Who is signed in, but those who signed out of this app; of one user name alone, where one is given.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async findAccounts(
    { username, signal }: CacheCall & { readonly username?: string | undefined } = {},
  ): Promise<CachedAccount[]> {
    const documents = (await this.#store.readAccounts({ signal })).flatMap((json) => {
      const document = this.#parse(json);
      if (!document) this.#options.log?.("warn", "A document of the token cache is damaged and was passed over");
      return document ?? [];
    });
    return accountsIn([...documents, ...this.#unsaved.signIns(this.#app())], this.#app(), username);
  }

  /**
   * What is known of one account, without looking at others.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async findAccount({ homeAccountId }: AccountInfo, call: CacheCall = {}): Promise<CachedAccount | undefined> {
    return accountIn(await this.#read(homeAccountId, call), homeAccountId, this.#app());
  }

  /**
   * The best access token that is there for a request.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async findAccessToken(query: CachedTokenQuery & CacheCall): Promise<CachedToken | undefined> {
    const app = this.#app(), token = accessTokenIn(await this.#read(query.account.homeAccountId, query), query, app);
    return token && boundedToken(token, this.#lifetimes, app.now);
  }

  /**
   * The refresh tokens that can be tried for an account, in the order in which to try them.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async findRefreshTokens({ homeAccountId }: AccountInfo, call: CacheCall = {}): Promise<CachedRefreshToken[]> {
    return refreshTokensIn(await this.#read(homeAccountId, call), homeAccountId, this.#app());
  }

  /**
   * Whether an account signed out of this app, so that nothing is to be had for it silently, a broker's tokens included.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read.
   */
  async isSignedOut({ homeAccountId }: AccountInfo, call: CacheCall = {}): Promise<boolean> {
    return isSignedOutIn(await this.#read(homeAccountId, call), homeAccountId, this.#app());
  }

  /**
   * Stores what a sign-in (a reply with `accountSource`) or a renewal brought. Of a broker's reply that is the account's
   * record and no token; tokens that are bound to one request are not stored either. A reply that cannot be stored counts
   * as stored in this object, which tries again for as long as the program runs.
   *
   * @returns Whether it was stored: a renewal is not when its account has signed out meanwhile.
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written. The caller has the token even so.
   */
  async save(reply: ReplyToSave, call: CacheCall = {}): Promise<boolean> {
    const { homeAccountId } = reply.result.account;
    this.#lifetimes.note(reply.result, this.#app().now);
    try {
      return await this.#change(homeAccountId, (document) => changesOfReply(document, reply, this.#app()), call);
    } catch (error) {
      if (error instanceof LatchkeyError && reply.result.source !== "broker") {
        this.#unsaved.add(reply, this.#app().now);
        this.#retryLater(FIRST_RETRY_MS);
      }
      throw error;
    }
  }

  /** Stores what could not be stored before, as far as that is possible now. Never throws. */
  async saveUnsaved(): Promise<void> {
    for (const homeAccountId of this.#unsaved.accounts()) {
      try {
        await this.#change(homeAccountId, () => [], {});
        this.#options.log?.("info", "A token that could not be stored before is stored now");
      } catch (error) {
        this.#options.log?.(
          "debug",
          `A token still cannot be stored: ${error instanceof Error ? error.message : error}`,
        );
      }
    }
  }

  /**
   * Signs an account out of this app: its tokens go, those of other apps stay. A mark is left, which MSAL does not look at.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written.
   */
  async removeAccount({ homeAccountId }: AccountInfo, call: CacheCall = {}): Promise<void> {
    this.#unsaved.drop(homeAccountId);
    await this.#change(homeAccountId, (document) => changesOfSignOut(document, homeAccountId, this.#app()), call);
  }

  /**
   * Renews an account's tokens while nobody else does so, in whatever process.
   *
   * @param work Looks whether it was done meanwhile, then does it.
   * @param call `mayGoUnsaved`: whether to work although the store knows that it could not save the new tokens. The work is
   * done as well if the tokens to be renewed are held in memory only.
   * @returns What `work` gives.
   * @throws {LatchkeyError} `configuration` with the error `cache_not_writable` if the new tokens could not be saved.
   */
  async withLock<T>(
    { homeAccountId }: AccountInfo,
    work: () => Promise<T>,
    { signal, mayGoUnsaved = false }: CacheCall & { readonly mayGoUnsaved?: boolean } = {},
  ): Promise<T> {
    const id = idKey(homeAccountId), before = this.#renewals.get(id), over = Promise.withResolvers<void>();
    const all = Promise.all([before, over.promise]).then(() => {});
    this.#renewals.set(id, all);
    let working: Promise<T> | undefined; // a store may let go of it at an abort
    const begin = () => working = work();
    try {
      // A call that was given up may have left a renewal under way, and not every store lets others wait for it.
      if (before) await untilAborted(before, signal);
      return await (this.#store.withLock?.(id, begin, { signal }) ?? begin());
    } catch (error) {
      const isGoingOn = mayGoUnsaved || this.#unsaved.has(homeAccountId);
      if (!isNotWritable(error) || !isGoingOn) throw error;
      this.#options.log?.("warn", `A token is renewed, and cannot be stored: ${error.message}`);
      return await begin();
    } finally {
      void Promise.allSettled([working]).then(() => over.resolve());
      void all.then(() => this.#renewals.get(id) === all && this.#renewals.delete(id));
    }
  }

  #app(): CacheApp {
    const { clientId, now = Date.now } = this.#options;
    return { clientId, environments: this.#environments, now: now() };
  }

  /** Reads a document; `undefined` if it is damaged. */
  #parse(json: string = ""): CacheDocument | undefined {
    if (this.#last?.json === json) return this.#last.document;
    const document = CacheDocument.parse(json);
    if (document) this.#last = { json, document };
    return document;
  }

  async #read(homeAccountId: string, { signal }: CacheCall): Promise<CacheDocument> {
    return await this.#pastDamage(homeAccountId, signal, async () => {
      const document = this.#parse(await this.#store.read(idKey(homeAccountId), { signal }));
      return document && this.#unsaved.over(document, homeAccountId, this.#app());
    });
  }

  /** Changes the document that an account is in. @returns Whether there was a change to be made. */
  async #change(
    homeAccountId: string,
    changesOf: (document: CacheDocument) => readonly CacheChange[] | undefined,
    { signal }: CacheCall,
  ): Promise<boolean> {
    return await this.#pastDamage(homeAccountId, signal, async () => {
      let isChanged: boolean | undefined, saved = this.#unsaved.of(homeAccountId);
      await this.#store.update(idKey(homeAccountId), (json) => {
        const stored = this.#parse(json);
        saved = this.#unsaved.of(homeAccountId);
        const document = stored && this.#unsaved.over(stored, homeAccountId, this.#app());
        const changes = document && changesOf(document);
        isChanged = document && changes !== undefined;
        const changed = changes?.length ? document?.with(changes) : document;
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

  /** What an attempt gives; when a damaged document is in its way (`undefined`), once more after that was set aside. */
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
    throw new LatchkeyError("configuration", "Cannot read the token cache: it is damaged", {
      hint: "Move the token cache away, then sign in again: latchkey login, or acquireTokenInteractive",
    });
  }
}

/** A reply that could not be stored. */
interface UnsavedReply {
  readonly reply: ReplyToSave;
  /** When it came, in milliseconds since 1970. */
  readonly receivedAt: number;
}

/** How many replies are held for one account: a token for each resource that is asked for while nothing can be stored. */
const MAX_REPLIES = 32;

/** Replies that could not be stored, by account. Until they are, they lie over what is stored. */
class UnsavedReplies {
  readonly #replies = new Map<string, readonly UnsavedReply[]>();

  /** Holds a reply. */
  add(reply: ReplyToSave, receivedAt: number): void {
    const { homeAccountId } = reply.result.account, before = this.of(homeAccountId);
    this.#replies.set(idKey(homeAccountId), [...before, { reply, receivedAt }].slice(-MAX_REPLIES));
  }

  /** The accounts that replies are held of. */
  accounts(): readonly string[] {
    return [...this.#replies.keys()];
  }

  /** Returns true if a reply is held of an account. */
  has(homeAccountId: string): boolean {
    return this.#replies.has(idKey(homeAccountId));
  }

  /** The replies of an account. */
  of(homeAccountId: string): readonly UnsavedReply[] {
    return this.#replies.get(idKey(homeAccountId)) ?? [];
  }

  /** Drops replies of an account. @param replies Those that were stored. By default all. */
  drop(homeAccountId: string, replies: readonly UnsavedReply[] = this.of(homeAccountId)): void {
    const left = this.of(homeAccountId).filter((reply) => !replies.includes(reply));
    if (left.length > 0) this.#replies.set(idKey(homeAccountId), left);
    else this.#replies.delete(idKey(homeAccountId));
  }

  /** The document with an account's replies in it; the same document if there are none. */
  over(document: CacheDocument, homeAccountId: string, app: CacheApp): CacheDocument {
    return this.of(homeAccountId).reduce((before, unsaved) => withReply(before, unsaved, app), document);
  }

  /** Documents with the accounts that signed in. */
  signIns(app: CacheApp): readonly CacheDocument[] {
    const signIns = [...this.#replies.values()].flat().filter(({ reply }) => reply.accountSource !== undefined);
    return signIns.map((unsaved) => withReply(CacheDocument.parse("")!, unsaved, app));
  }
}

function withReply(document: CacheDocument, unsaved: UnsavedReply, app: CacheApp): CacheDocument {
  const { reply, receivedAt } = unsaved;
  if (isOvertaken(document, unsaved, app)) return document;
  const changes = changesOfReply(document, reply, { ...app, now: receivedAt });
  return changes?.length ? document.with(changes) : document;
}

/** Whether another process has stored a refresh token since, which must not be lost to one that is older. */
function isOvertaken(document: CacheDocument, { reply, receivedAt }: UnsavedReply, app: CacheApp): boolean {
  const { result, refreshToken, replaces, accountSource } = reply;
  const [own] = ownRefreshTokens(document, result.account.homeAccountId, app);
  if (!own || refreshToken === undefined || own.entry.secret === refreshToken) return false;
  if (accountSource === undefined) return !replaces?.includes(String(own.entry.secret));
  return (readEpochSeconds(own.entry.last_modification_time) ?? 0) > receivedAt;
}

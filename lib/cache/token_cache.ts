/**
 * Tokens that came without a broker, kept so that the next run needs no sign-in. The schema is MSAL's, so that MSAL for
 * Python, MSAL for Node and the Azure CLI read what is written here, and the reverse.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { environmentAliases, environmentKey } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { CacheApp } from "./cache_app.ts";
import { changesOfReply, changesOfSignOut, type ReplyToSave } from "./cache_changes.ts";
import { type CacheChange, CacheDocument } from "./cache_document.ts";
import type { CacheCall, CacheStore } from "./cache_store.ts";
import { accountIn, accountsIn, type CachedAccount, isSignedOutIn } from "./cached_accounts.ts";
import { type CachedRefreshToken, refreshTokensIn } from "./cached_refresh_tokens.ts";
import { accessTokenIn, type CachedToken, type CachedTokenQuery } from "./cached_tokens.ts";

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

/** A store's documents as one app sees them. */
export class TokenCache {
  readonly #store: CacheStore;
  readonly #options: TokenCacheOptions;
  readonly #environments: readonly string[];
  /** The document that was read last: mostly the next one is the same. */
  #last: { readonly json: string; readonly document: CacheDocument } | undefined;

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
    return accountsIn(documents, this.#app(), username);
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
    return accessTokenIn(await this.#read(query.account.homeAccountId, query), query, this.#app());
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
   * record and no token; tokens that are bound to one request are not stored either.
   *
   * @returns Whether it was stored: a renewal is not when its account has signed out meanwhile.
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written. The caller has the token even so.
   */
  async save(reply: ReplyToSave, call: CacheCall = {}): Promise<boolean> {
    return await this.#change(
      reply.result.account.homeAccountId,
      (document) => changesOfReply(document, reply, this.#app()),
      call,
    );
  }

  /**
   * Signs an account out of this app: its tokens go, those of other apps stay. A mark is left, which MSAL does not look at.
   *
   * @throws {LatchkeyError} `configuration` when the store cannot be read or written.
   */
  async removeAccount({ homeAccountId }: AccountInfo, call: CacheCall = {}): Promise<void> {
    await this.#change(homeAccountId, (document) => changesOfSignOut(document, homeAccountId, this.#app()), call);
  }

  /**
   * Renews an account's tokens while nobody else does so, in whatever process.
   *
   * @param work Looks whether it was done meanwhile, then does it.
   * @returns What `work` gives.
   */
  async alone<T>({ homeAccountId }: AccountInfo, work: () => Promise<T>, { signal }: CacheCall = {}): Promise<T> {
    return await (this.#store.alone?.(idKey(homeAccountId), work, { signal }) ?? work());
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
      return this.#parse(await this.#store.read(idKey(homeAccountId), { signal }));
    });
  }

  /** Changes the document that an account is in. @returns Whether there was a change to be made. */
  async #change(
    homeAccountId: string,
    changesOf: (document: CacheDocument) => readonly CacheChange[] | undefined,
    { signal }: CacheCall,
  ): Promise<boolean> {
    return await this.#pastDamage(homeAccountId, signal, async () => {
      let isChanged: boolean | undefined;
      await this.#store.update(idKey(homeAccountId), (json) => {
        const document = this.#parse(json), changes = document && changesOf(document);
        isChanged = document && changes !== undefined;
        return document && changes?.length ? document.with(changes).toString() : json;
      }, { signal });
      return isChanged;
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

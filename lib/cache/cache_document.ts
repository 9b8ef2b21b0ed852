/**
 * A document of the token cache, read once and looked things up in often.
 *
 * @module
 */
import { clientKey, idKey } from "../account.ts";
import { environmentAliases } from "../authority.ts";
import { LatchkeyError } from "../errors.ts";
import { isObject } from "../json_values.ts";
import { type CacheEntry, type CacheIdentity, type CacheSection, scopesOf, tenantOf, text } from "./cache_schema.ts";

/** An entry and its key. */
export interface KeyedEntry {
  /** Its name in its section. */
  readonly key: string;
  /** What is stored. */
  readonly entry: CacheEntry;
}

/** One entry that comes, changes or goes. */
export interface CacheChange {
  /** Where. */
  readonly section: CacheSection;
  /** Its name there. */
  readonly key: string;
  /** What is stored from then on; nothing when it goes. */
  readonly entry?: CacheEntry | undefined;
}

/** What an access token is looked for by. */
export interface TokenPlace extends CacheIdentity {
  /** One of the scopes that it is for. */
  readonly scope: string;
}

/**
 * A document. It never changes: a change makes another. What it does not know of, be it a section, an entry or a field, is
 * in the other as well.
 */
export class CacheDocument {
  readonly #root: CacheEntry;
  /** Entries by account; made when first asked for, as a lookup by key needs none. */
  readonly #byAccount = new Map<CacheSection, ReadonlyMap<string, readonly KeyedEntry[]>>();
  /** One account's access tokens by place. */
  readonly #byPlace = new Map<string, ReadonlyMap<string, readonly CacheEntry[]>>();

  private constructor(root: CacheEntry) {
    this.#root = root;
  }

  /**
   * Reads a document.
   *
   * @param json Its text; nothing, or nothing but white space, is a document without entries.
   * @returns The document; `undefined` when it is damaged. Why is not told: a parser's message quotes what it read.
   */
  static parse(json: string | undefined): CacheDocument | undefined {
    try {
      const trimmed = json?.trim(), root: unknown = trimmed ? JSON.parse(trimmed) : {}; // a byte order mark goes, too
      return isObject(root) ? new CacheDocument(root) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The entry of that key. */
  entry(section: CacheSection, key: string): CacheEntry | undefined {
    const entries = this.#section(section), entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    return isObject(entry) ? entry : undefined;
  }

  /** All entries of a section. */
  entries(section: CacheSection): readonly KeyedEntry[] {
    const entries = this.#section(section), found: KeyedEntry[] = [];
    for (const key of Object.keys(entries)) { // without lists in between: there can be thousands
      const entry = entries[key];
      if (isObject(entry)) found.push({ key, entry });
    }
    return found;
  }

  /** The entries of one account. Those of none, such as the tokens that services have for themselves, are nobody's. */
  ofAccount(section: CacheSection, homeAccountId: string): readonly KeyedEntry[] {
    if (homeAccountId === "") return [];
    let byAccount = this.#byAccount.get(section);
    if (!byAccount) {
      byAccount = groupByAccount(this.#section(section));
      this.#byAccount.set(section, byAccount);
    }
    return byAccount.get(idKey(homeAccountId)) ?? [];
  }

  /** The access tokens at a place, under whatever names of the cloud and the tenant. */
  accessTokensAt(place: TokenPlace): readonly CacheEntry[] {
    const holder = idKey(place.homeAccountId);
    let byPlace = this.#byPlace.get(holder);
    if (!byPlace) {
      const tokens = this.ofAccount("AccessToken", holder).flatMap(({ entry }) => {
        const { environment, client_id, realm, target } = entry;
        const identity = {
          homeAccountId: holder,
          environment: text(environment) ?? "",
          clientId: text(client_id) ?? "",
          realm: text(realm) ?? "",
        };
        return [...new Set(scopesOf(target))].map((scope) => ({ entry, place: placeKey({ ...identity, scope }) }));
      });
      const grouped = Map.groupBy(tokens, ({ place }) => place);
      byPlace = new Map([...grouped].map(([key, tokens]) => [key, tokens.map(({ entry }) => entry)]));
      this.#byPlace.set(holder, byPlace);
    }
    return byPlace.get(placeKey(place)) ?? [];
  }

  /** The same document with changes made. */
  with(changes: readonly CacheChange[]): CacheDocument {
    const root: Record<string, unknown> = { ...this.#root };
    for (const [section, ofSection] of Map.groupBy(changes, ({ section }) => section)) {
      const entries: Record<string, unknown> = { ...this.#section(section) };
      for (const { key, entry } of ofSection) {
        if (entry) entries[key] = entry;
        else delete entries[key];
      }
      root[section] = entries;
    }
    return new CacheDocument(root);
  }

  /**
   * Its text.
   *
   * @throws {LatchkeyError} `configuration` when what others wrote into it can be read, and not written again.
   */
  toString(): string {
    try {
      return JSON.stringify(this.#root);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // the stack's end: values stand in each other thousands deep
      throw new LatchkeyError("configuration", "Cannot write the token cache: values in it are nested too deeply", {
        hint: "Move the token cache away, then sign in again: latchkey login, or acquireTokenInteractive",
      });
    }
  }

  #section(section: CacheSection): CacheEntry {
    const entries = Object.hasOwn(this.#root, section) ? this.#root[section] : undefined;
    return isObject(entries) ? entries : {};
  }
}

/** In one go without lists in between: MSAL's own file can have tens of thousands of entries. */
function groupByAccount(entries: CacheEntry): ReadonlyMap<string, readonly KeyedEntry[]> {
  const byAccount = new Map<string, KeyedEntry[]>();
  for (const key of Object.keys(entries)) {
    const entry = entries[key];
    if (!isObject(entry)) continue;
    const holder = idKey(text(entry.home_account_id) ?? ""), others = byAccount.get(holder);
    if (others) others.push({ key, entry });
    else byAccount.set(holder, [{ key, entry }]);
  }
  return byAccount;
}

function placeKey({ homeAccountId, environment, clientId, realm, scope }: TokenPlace): string {
  const tenant = tenantOf(homeAccountId, realm).toLowerCase();
  return [environmentAliases(environment)[0], clientKey(clientId), tenant, scope.toLowerCase()].join("\n");
}

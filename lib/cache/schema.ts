/**
 * MSAL's unified cache schema: keys of entries, and a document of them. Facts of MSAL for Python 1.39 and MSAL for Node
 * 7.2. If they differ, the keys are Python's, which looks entries up by key. Pure.
 *
 * @module
 */
import { clientKey, homeTenantOf, idKey } from "../account.ts";
import { environmentAliases, environmentKey } from "../authority.ts";
import { encodeBase64, isObject, readText as text } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";

/** A section of a document. The last is latchkey's own, which MSAL ignores: accounts that signed out of an app. */
export type CacheSection = "AccessToken" | "RefreshToken" | "IdToken" | "Account" | "AppMetadata" | "LatchkeySignedOut";

/** An entry as it was read: any field may be missing or have a wrong type. */
export type CacheEntry = { readonly [field: string]: unknown };

/** Identity of an entry in its section. */
export interface CacheIdentity {
  readonly homeAccountId: string;
  readonly environment: string;
  readonly clientId: string;
  readonly realm: string;
}

/** Words of an authority's path that stand for no single tenant. */
const PATH_WORDS: ReadonlySet<string> = new Set(["", "organizations", "common", "consumers"]);

export const MOVE_AWAY: Remedy = { ...advice("Move the token cache away"), then: { kind: "sign_in_again" } };

/** Scopes are sorted, so that the same ones have the same key. */
export function accessTokenKey(identity: CacheIdentity, scopes: readonly string[], extension = ""): string {
  const { homeAccountId, environment, clientId, realm } = identity;
  const type = extension ? "atext" : "AccessToken";
  const parts = [homeAccountId, environment, type, clientId, realm, targetOf(scopes)];
  return keyOf(...parts, ...(extension ? [extension] : []));
}

/** Returns MSAL's `ext_cache_key`: the hash of the parameters beside the standards' that a token was requested with. */
export async function extendedCacheKey(parameters: Readonly<Record<string, string>>): Promise<string> {
  const encoder = new TextEncoder();
  const sized = (text: string) => `${encoder.encode(text).length}:${text}`;
  const text = Object.keys(parameters).sort().map((name) => sized(name) + sized(parameters[name]!)).join("");
  const hash = await crypto.subtle.digest("SHA-256", encoder.encode(text));
  return encodeBase64(new Uint8Array(hash)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "").toLowerCase();
}

/** It has neither tenant nor scopes: Microsoft Entra's refresh tokens are for all. */
export function refreshTokenKey({ homeAccountId, environment, clientId }: Omit<CacheIdentity, "realm">): string {
  return keyOf(homeAccountId, environment, "RefreshToken", clientId, "", "");
}

export function idTokenKey({ homeAccountId, environment, clientId, realm }: CacheIdentity): string {
  return keyOf(homeAccountId, environment, "IdToken", clientId, realm, "");
}

export function accountKey({ homeAccountId, environment, realm }: Omit<CacheIdentity, "clientId">): string {
  return keyOf(homeAccountId, environment, realm);
}

/** MSAL for Python, which finds the entry by this key, keeps its case. */
export function appMetadataKey({ environment, clientId }: Pick<CacheIdentity, "environment" | "clientId">): string {
  return `appmetadata-${environment}-${clientId}`;
}

export function signedOutKey({ homeAccountId, environment, clientId }: Omit<CacheIdentity, "realm">): string {
  return keyOf(homeAccountId, environment, clientId);
}

function keyOf(...parts: readonly string[]): string {
  return parts.join("-").toLowerCase();
}

/** Returns scopes as a `target`. */
export function targetOf(scopes: readonly string[]): string {
  return scopes.toSorted().join(" ");
}

/** Returns the scopes of a `target` in lower case: they compare without case. */
export function scopesOf(target: unknown): readonly string[] {
  return (text(target) ?? "").toLowerCase().split(" ").filter(Boolean);
}

/** Returns the tenant of a `realm`. MSAL for Python stores the authority's path: a word such as `common` is the home tenant. */
export function tenantOf(homeAccountId: string, realm: string): string {
  return PATH_WORDS.has(realm.toLowerCase()) ? homeTenantOf(homeAccountId) ?? realm : realm;
}

/** Returns true if a value can be a token (RFC 6749, A.12 and A.17). A line break in a header would begin another header. */
export function isSecret(value: unknown): value is string {
  return typeof value === "string" && /^[\x20-\x7E]+$/.test(value);
}

/** Returns a time in the schema's form. */
export function epochSeconds(milliseconds: number): string {
  return String(Math.floor(milliseconds / 1000));
}

/** Returns a time of an entry in milliseconds since 1970. Early writers stored it as a number. */
export function readEpochSeconds(value: unknown): number | undefined {
  const isTime = typeof value === "number" || typeof value === "string" && /^\d{1,12}(\.\d+)?$/.test(value);
  const milliseconds = isTime ? Number(value) * 1000 : NaN;
  return milliseconds >= 0 && milliseconds <= 8_640_000_000_000_000 ? milliseconds : undefined; // the last that a Date has
}

/** An entry and its key. */
export interface KeyedEntry {
  readonly key: string;
  readonly entry: CacheEntry;
}

/** A new, changed or removed entry. */
export interface CacheChange {
  readonly section: CacheSection;
  readonly key: string;
  /** The new entry; `undefined` removes it. */
  readonly entry?: CacheEntry | undefined;
}

type TokenQueryKey = CacheIdentity & { readonly scope: string };

/** An immutable document. Changes make another one, which keeps unknown sections, entries and fields. */
export class CacheDocument {
  static readonly EMPTY: CacheDocument = new CacheDocument({});
  readonly #root: CacheEntry;
  /** Entries by account; made on first use, since a lookup by key needs none. */
  readonly #byAccount = new Map<CacheSection, ReadonlyMap<string, readonly KeyedEntry[]>>();
  /** Access tokens by account, then by {@linkcode tokenQueryKey}. */
  readonly #tokens = new Map<string, ReadonlyMap<string, readonly CacheEntry[]>>();

  private constructor(root: CacheEntry) {
    this.#root = root;
  }

  /**
   * Parses a document. An empty text is a document without entries.
   *
   * @returns The document; `undefined` if it is damaged, without a reason: a parser's message quotes what it read.
   */
  static parse(json: string | undefined): CacheDocument | undefined {
    try {
      const trimmed = json?.trim();
      const root: unknown = trimmed ? JSON.parse(trimmed) : {}; // a byte order mark goes, too
      return isObject(root) ? new CacheDocument(root) : undefined;
    } catch {
      return undefined;
    }
  }

  entry(section: CacheSection, key: string): CacheEntry | undefined {
    const entries = this.#section(section);
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    return isObject(entry) ? entry : undefined;
  }

  entries(section: CacheSection): readonly KeyedEntry[] {
    const entries = this.#section(section);
    const found: KeyedEntry[] = [];
    for (const key of Object.keys(entries)) { // Object.entries() would make a pair for each: MSAL's own file can have tens of thousands
      const entry = entries[key];
      if (isObject(entry)) found.push({ key, entry });
    }
    return found;
  }

  /**
   * Returns the entries of an account, those under today's keys first. Entries without one, such as a service's own tokens,
   * belong to nobody.
   */
  ofAccount(section: CacheSection, homeAccountId: string): readonly KeyedEntry[] {
    if (homeAccountId === "") return [];
    let byAccount = this.#byAccount.get(section);
    if (!byAccount) {
      byAccount = Map.groupBy(this.entries(section), ({ entry }) => holderOf(entry));
      this.#byAccount.set(section, byAccount);
    }
    return currentFirst(byAccount.get(idKey(homeAccountId)) ?? []);
  }

  /** Returns the access tokens for a scope, under any name of the cloud and the tenant. */
  accessTokensFor(query: TokenQueryKey): readonly CacheEntry[] {
    const holder = idKey(query.homeAccountId);
    let tokensByKey = this.#tokens.get(holder);
    if (!tokensByKey) {
      const tokens = this.ofAccount("AccessToken", holder).flatMap(({ entry }) => {
        const environment = text(entry.environment) ?? "";
        const clientId = text(entry.client_id) ?? "";
        const identity = { homeAccountId: holder, environment, clientId, realm: text(entry.realm) ?? "" };
        const scopes = [...new Set(scopesOf(entry.target))];
        return scopes.map((scope) => ({ entry, key: tokenQueryKey({ ...identity, scope }) }));
      });
      const grouped = Map.groupBy(tokens, ({ key }) => key);
      tokensByKey = new Map([...grouped].map(([key, tokens]) => [key, tokens.map(({ entry }) => entry)]));
      if (tokens.length > 0) this.#tokens.set(holder, tokensByKey); // else EMPTY would grow
    }
    return tokensByKey.get(tokenQueryKey(query)) ?? [];
  }

  /** Returns the document with changes; the same one if there are none. */
  with(changes: readonly CacheChange[]): CacheDocument {
    if (changes.length === 0) return this;
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

  /** @throws {LatchkeyError} `configuration` if another program's values can be read, but not written again. */
  toString(): string {
    try {
      return JSON.stringify(this.#root);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // stack overflow: values are nested thousands deep
      throw new LatchkeyError("configuration", "Cannot write the token cache: values in it are nested too deeply", {
        remedy: MOVE_AWAY,
      });
    }
  }

  #section(section: CacheSection): CacheEntry {
    const entries = Object.hasOwn(this.#root, section) ? this.#root[section] : undefined;
    return isObject(entries) ? entries : {};
  }
}

/** Sorts entries of one account: MSAL for Go 1.0 did not write keys in lower case, and left those entries when it did. */
export function currentFirst<T extends { readonly key: string }>(entries: readonly T[]): readonly T[] {
  const isOld = ({ key }: T) => Number(key !== key.toLowerCase());
  return entries.length < 2 ? entries : entries.toSorted((one, other) => isOld(one) - isOld(other));
}

function tokenQueryKey({ homeAccountId, environment, clientId, realm, scope }: TokenQueryKey): string {
  const tenant = tenantOf(homeAccountId, realm).toLowerCase();
  return [environmentAliases(environment)[0], clientKey(clientId), tenant, scope.toLowerCase()].join("\n");
}

/** The app that uses the cache. */
export interface CacheApp {
  /** Application (client) id. */
  readonly clientId: string;
  /** The names of the app's cloud, as {@linkcode environmentKey} has them, which count as one; the app's own first. */
  readonly environments: readonly string[];
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** Returns the account of an entry, as {@linkcode idKey} has it. */
export function holderOf({ home_account_id }: CacheEntry): string {
  return idKey(text(home_account_id) ?? "");
}

/** Returns the cloud of an entry, under the entry's name for it. */
export function hostOf({ environment }: CacheEntry): string | undefined {
  const name = text(environment);
  return name && environmentKey(name);
}

/** Returns true if an entry belongs to the app's cloud. */
export function isInCloud(entry: CacheEntry, { environments }: CacheApp): boolean {
  return environments.includes(hostOf(entry) ?? "");
}

/** Returns true if an entry is the app's own, under any name of the cloud. */
export function isOfApp(entry: CacheEntry, app: CacheApp): boolean {
  return isInCloud(entry, app) && clientKey(text(entry.client_id) ?? "") === clientKey(app.clientId);
}

/** Returns the app's metadata: one entry, or one for each name of the cloud if several programs wrote them. */
export function appMetadataIn(document: CacheDocument, { clientId, environments }: CacheApp): readonly KeyedEntry[] {
  // MSAL for Node lowers the case of these keys.
  const ids = [...new Set([clientId, clientId.toLowerCase()])];
  return environments.flatMap((environment) => ids.map((clientId) => appMetadataKey({ environment, clientId })))
    .flatMap((key) => {
      const entry = document.entry("AppMetadata", key);
      return entry ? [{ key, entry }] : [];
    });
}

/**
 * MSAL's unified cache schema: how entries are named, and when two of them speak of the same. Facts as MSAL for Python 1.39
 * and MSAL for Node 7.2 have them; where the two differ, the names are Python's, which looks entries up by them. Pure.
 *
 * @module
 */
import { clientKey, idKey } from "../account.ts";
import { environmentAliases, environmentKey } from "../authority.ts";
import { isObject } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";

/**
 * A part of a document. The last is latchkey's own, and no MSAL looks at it: which accounts signed out of which app.
 */
export type CacheSection = "AccessToken" | "RefreshToken" | "IdToken" | "Account" | "AppMetadata" | "LatchkeySignedOut";

/** An entry as it was read: any field may be absent or of another type than it should be. */
export type CacheEntry = { readonly [field: string]: unknown };

/** What tells an entry from others of its section. */
export interface CacheIdentity {
  /** The account's identity everywhere. */
  readonly homeAccountId: string;
  /** Host of the cloud. */
  readonly environment: string;
  /** Application (client) id. */
  readonly clientId: string;
  /** Tenant. */
  readonly realm: string;
}

const GUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
const PATH_WORDS: ReadonlySet<string> = new Set(["", "organizations", "common", "consumers"]);

/** Key of an access token. Scopes are in the order of their characters, so that the same ones have the same key. */
export function accessTokenKey(identity: CacheIdentity, scopes: readonly string[]): string {
  const { homeAccountId, environment, clientId, realm } = identity;
  return keyOf(homeAccountId, environment, "AccessToken", clientId, realm, targetOf(scopes));
}

/** Key of a refresh token. It has neither tenant nor scopes: Microsoft Entra's are good for all. */
export function refreshTokenKey({ homeAccountId, environment, clientId }: Omit<CacheIdentity, "realm">): string {
  return keyOf(homeAccountId, environment, "RefreshToken", clientId, "", "");
}

/** Key of an id token. */
export function idTokenKey({ homeAccountId, environment, clientId, realm }: CacheIdentity): string {
  return keyOf(homeAccountId, environment, "IdToken", clientId, realm, "");
}

/** Key of an account's record. */
export function accountKey({ homeAccountId, environment, realm }: Omit<CacheIdentity, "clientId">): string {
  return keyOf(homeAccountId, environment, realm);
}

/** Key of what is known of an app. MSAL for Python, which finds it by this key, leaves the case as it is. */
export function appMetadataKey({ environment, clientId }: Pick<CacheIdentity, "environment" | "clientId">): string {
  return `appmetadata-${environment}-${clientId}`;
}

/** Key of the mark that an account signed out of an app. */
export function signedOutKey({ homeAccountId, environment, clientId }: Omit<CacheIdentity, "realm">): string {
  return keyOf(homeAccountId, environment, clientId);
}

function keyOf(...parts: readonly string[]): string {
  return parts.join("-").toLowerCase();
}

/** Scopes as `target` has them. */
export function targetOf(scopes: readonly string[]): string {
  return scopes.toSorted().join(" ");
}

/** The scopes of a `target`. They compare without case. */
export function scopesOf(target: unknown): readonly string[] {
  return (text(target) ?? "").toLowerCase().split(" ").filter(Boolean);
}

/** Whether it is a tenant's id, and neither a domain nor a word such as `organizations`. */
export function isTenantId(realm: string): boolean {
  return GUID.test(realm);
}

/**
 * The tenant that an entry's `realm` means. MSAL for Python has the authority's path there, which can be a word for many
 * tenants; who is asked by it answers for the account's own.
 */
export function tenantOf(homeAccountId: string, realm: string): string {
  return isTenantId(realm) || !PATH_WORDS.has(realm.toLowerCase()) ? realm : homeTenantOf(homeAccountId) ?? realm;
}

/** The tenant that an account is at home in. ADFS and other providers have none in their ids. */
export function homeTenantOf(homeAccountId: string): string | undefined {
  const tenant = homeAccountId.slice(homeAccountId.lastIndexOf(".") + 1);
  return tenant.length < homeAccountId.length && isTenantId(tenant) ? tenant.toLowerCase() : undefined;
}

/** The text, unless it is empty or none. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Whether it can be a token (RFC 6749, A.12 and A.17). A line's end in a header would begin another. */
export function isSecret(value: unknown): value is string {
  return typeof value === "string" && /^[\x20-\x7E]+$/.test(value);
}

/** A time as the schema has it. */
export function epochSeconds(milliseconds: number): string {
  return String(Math.floor(milliseconds / 1000));
}

/** A time of an entry, in milliseconds since 1970. Early writers stored it as a number. */
export function readEpochSeconds(value: unknown): number | undefined {
  const isTime = typeof value === "number" || typeof value === "string" && /^\d{1,12}(\.\d+)?$/.test(value);
  const milliseconds = isTime ? Number(value) * 1000 : NaN;
  return milliseconds >= 0 && milliseconds <= 8_640_000_000_000_000 ? milliseconds : undefined; // the last that a Date has
}

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
interface TokenPlace extends CacheIdentity {
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

/** The app that looks. */
export interface CacheApp {
  /** Application (client) id. */
  readonly clientId: string;
  /** The names of the app's cloud, as {@linkcode environmentKey} has them, which count as one; the app's own first. */
  readonly environments: readonly string[];
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** The cloud that an entry is of, under the name that it has there. */
export function hostOf({ environment }: CacheEntry): string | undefined {
  const name = text(environment);
  return name && environmentKey(name);
}

/** Whether an entry is of the app's cloud. */
export function isInCloud(entry: CacheEntry, { environments }: CacheApp): boolean {
  return environments.includes(hostOf(entry) ?? "");
}

/** Whether an entry is the app's own, under whatever name of the cloud. */
export function isOfApp(entry: CacheEntry, app: CacheApp): boolean {
  return isInCloud(entry, app) && clientKey(text(entry.client_id) ?? "") === clientKey(app.clientId);
}

/** What is known of the app: one entry, or one for each name of the cloud, where several programs wrote them. */
export function appMetadataIn(document: CacheDocument, { clientId, environments }: CacheApp): readonly KeyedEntry[] {
  // MSAL for Node lowers the case of these keys.
  const ids = [...new Set([clientId, clientId.toLowerCase()])];
  return environments.flatMap((environment) => ids.map((clientId) => appMetadataKey({ environment, clientId })))
    .flatMap((key) => {
      const entry = document.entry("AppMetadata", key);
      return entry ? [{ key, entry }] : [];
    });
}

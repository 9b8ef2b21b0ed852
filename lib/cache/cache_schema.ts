/**
 * MSAL's unified cache schema: how entries are named, and when two of them speak of the same. Facts as MSAL for Python 1.39
 * and MSAL for Node 7.2 have them; where the two differ, the names are Python's, which looks entries up by them. Pure.
 *
 * @module
 */

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

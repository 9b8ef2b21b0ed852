/**
 * Tokens and accounts in a document of the token cache. Pure.
 *
 * @module
 */
import { type AccountInfo, hasUsername, homeTenantOf, idKey } from "../account.ts";
import { isMicrosoftHost } from "../authority.ts";
import { isGuid, type JsonObject, readJwt, readText as text } from "../encoding.ts";
import { withoutReserved } from "../scopes.ts";
import { type AuthenticationResult, redacted, redactTokens } from "../token.ts";
import { type CachedToken, stateOf, TOKEN_STATES, type TokenState } from "./freshness.ts";
import {
  accessTokenKey,
  appMetadataIn,
  type CacheApp,
  type CacheDocument,
  type CacheEntry,
  currentFirst,
  holderOf,
  hostOf,
  idTokenKey,
  isInCloud,
  isOfApp,
  isSecret,
  type KeyedEntry,
  readEpochSeconds,
  scopesOf,
  tenantOf,
} from "./schema.ts";

/** A cached refresh token. */
export interface CachedRefreshToken {
  readonly refreshToken: string;
  /**
   * `app`: this app's. `family`: another app's of the same Microsoft family, which works as well. `perhaps`: of a
   * family that this app may belong to, which no reply has said yet. If it does not, the server's `suberror` is
   * `client_mismatch`, for all such tokens.
   */
  readonly holder: "app" | "family" | "perhaps";
  /**
   * Names of the scopes that the provider left out of a response; see {@linkcode nameOfScope}. The user has not granted them,
   * and only a sign-in can change that (RFC 6749, 6). MSAL does not know this field.
   */
  readonly declinedScopes: readonly string[];
  /**
   * Names of the resources that it was issued for (RFC 8707, 2.2), as {@linkcode nameOfResource} returns them; `undefined` if
   * they are not known. A request for another one cannot succeed, and can end the sign-in, as the provider may take the refresh token for used. MSAL does not know this field.
   */
  readonly resources: readonly string[] | undefined;
}

/**
 * Returns an account's refresh tokens: the app's own, then its family's, the newest first. Refused ones are included:
 * the next request can be another one.
 */
export function refreshTokensIn(document: CacheDocument, homeAccountId: string, app: CacheApp): CachedRefreshToken[] {
  const metadata = appMetadataIn(document, app)[0]?.entry;
  const ofFamily = document.ofAccount("RefreshToken", homeAccountId).filter(({ entry }) => {
    const family = text(entry.family_id);
    return isInCloud(entry, app) && !isOfApp(entry, app) && isUsable(entry) && family !== undefined &&
      (metadata === undefined || family === metadata.family_id);
  });
  const tokensOf = (entries: readonly KeyedEntry[], holder: CachedRefreshToken["holder"]): CachedRefreshToken[] =>
    entries.toSorted((one, other) => storedAtSeconds(other) - storedAtSeconds(one))
      .map(({ entry }) => {
        const shown = { holder, declinedScopes: declinedScopesIn(entry), resources: resourcesIn(entry) };
        return redacted({ refreshToken: text(entry.secret)!, ...shown }, () => shown);
      });
  const own = tokensOf(ownRefreshTokens(document, homeAccountId, app), "app");
  const all = [...own, ...tokensOf(ofFamily, metadata ? "family" : "perhaps")];
  return [...Map.groupBy(all, ({ refreshToken }) => refreshToken).values()].map(([first]) => first!);
}

/** Returns the name of a resource in an entry, which separates names by spaces. An HTTP form replaces lone surrogates, too. */
export function nameOfResource(resource: string): string {
  return encodeURI(resource.toWellFormed());
}

/** Returns the name of a declined scope in an entry, without case. One resource can have the scope, and another not. */
export function nameOfScope(scope: string, resource: string | undefined): string {
  const name = scope.toLowerCase();
  return resource ? `${name}\\${nameOfResource(resource)}` : name; // no scope contains a backslash
}

/** Returns the names of the scopes that a refresh token's entry says were not granted; see {@linkcode nameOfScope}. */
export function declinedScopesIn({ declined_scopes }: CacheEntry): readonly string[] {
  return (text(declined_scopes) ?? "").split(" ").filter(Boolean);
}

/** Returns the names of the resources that a refresh token's entry is for; `undefined` if it does not say. */
export function resourcesIn({ granted_resources: resources }: CacheEntry): readonly string[] | undefined {
  return typeof resources === "string" ? resources.split(" ").filter(Boolean) : undefined;
}

/** Returns the refresh tokens that were issued to the app itself. */
export function ownRefreshTokens(document: CacheDocument, homeAccountId: string, app: CacheApp): readonly KeyedEntry[] {
  return document.ofAccount("RefreshToken", homeAccountId)
    .filter(({ entry }) => isOfApp(entry, app) && isUsable(entry));
}

/** Web services also store on-behalf-of tokens, which are for one assertion only. */
function isUsable({ secret, userAssertionHash, user_assertion_hash }: CacheEntry): boolean {
  return isSecret(secret) && !text(userAssertionHash) && !text(user_assertion_hash);
}

/** Returns the time at which an entry was stored, in seconds since 1970; zero for those of MSAL for Node, which stores no time. */
function storedAtSeconds({ entry }: KeyedEntry): number {
  return readEpochSeconds(entry.last_modification_time) ?? 0;
}

/** A cached account. */
export interface CachedAccount {
  readonly account: AccountInfo;
  /**
   * Source of the sign-in: `broker`, or the grant, such as `authorization_code`. Only the same source renews it.
   * `undefined`: an older MSAL did not store it.
   */
  readonly accountSource: string | undefined;
}

interface AccountRecord extends KeyedEntry {
  readonly account: AccountInfo;
}

/**
 * Returns the accounts that are signed in, each once however many tenants it has records of. With a user name, which is
 * compared without case, other accounts are skipped early: there can be thousands.
 */
export function accountsIn(documents: readonly CacheDocument[], app: CacheApp, username?: string): CachedAccount[] {
  const records = documents.flatMap((document) => {
    const entries = document.entries("Account");
    if (username === undefined) return readRecords(document, entries, app);
    const meant = entries.filter(({ entry }) => hasUsername({ username: text(entry.username) ?? "" }, username));
    const ids = new Set(meant.map(({ entry }) => holderOf(entry)));
    return readRecords(document, entries.filter(({ entry }) => ids.has(holderOf(entry))), app);
  });
  return [...Map.groupBy(records, ({ account }) => idKey(account.homeAccountId)).values()]
    .flatMap((ofOne) => accountOf(ofOne, app) ?? []).filter(({ account }) => hasUsername(account, username));
}

/** Returns one account if it is signed in. */
export function accountIn(document: CacheDocument, homeAccountId: string, app: CacheApp): CachedAccount | undefined {
  return accountOf(readRecords(document, document.ofAccount("Account", homeAccountId), app), app);
}

function readRecords(document: CacheDocument, entries: readonly KeyedEntry[], app: CacheApp): AccountRecord[] {
  return entries.flatMap(({ key, entry }) => {
    const account = isInCloud(entry, app) ? readAccount(entry) : undefined;
    return account && !isSignedOutIn(document, account.homeAccountId, app) ? [{ account, key, entry }] : [];
  });
}

function accountOf(records: readonly AccountRecord[], app: CacheApp): CachedAccount | undefined {
  const inOrder = currentFirst(records).toSorted((one, other) => rank(one.account, app) - rank(other.account, app));
  const sources = inOrder.map(({ entry }) => text(entry.account_source));
  return inOrder[0] &&
    { account: inOrder[0].account, accountSource: sources.find((source) => source !== undefined) };
}

/** The home tenant's record precedes a guest's, the cloud's usual name its aliases. */
function rank({ homeAccountId, environment, realm }: AccountInfo, { environments }: CacheApp): number {
  const isAtHome = realm.toLowerCase() === homeTenantOf(homeAccountId);
  return (isAtHome ? 0 : environments.length) + environments.indexOf(environment);
}

/** Returns an account's records in the app's cloud, those under its usual name first. */
export function accountRecords(document: CacheDocument, homeAccountId: string, app: CacheApp): readonly KeyedEntry[] {
  const order = ({ entry }: KeyedEntry): number => app.environments.indexOf(hostOf(entry)!);
  return document.ofAccount("Account", homeAccountId).filter(({ entry }) => isInCloud(entry, app))
    .toSorted((one, other) => order(one) - order(other));
}

/**
 * Returns true if an account signed out of the app. If the app has a refresh token of it, it has signed in again by a
 * program that does not know the mark.
 */
export function isSignedOutIn(document: CacheDocument, homeAccountId: string, app: CacheApp): boolean {
  return document.ofAccount("LatchkeySignedOut", homeAccountId).some(({ entry }) => isOfApp(entry, app)) &&
    ownRefreshTokens(document, homeAccountId, app).length === 0;
}

/** Returns the account of a record; `undefined` if the record has no account id. */
export function readAccount(entry: CacheEntry): AccountInfo | undefined {
  const homeAccountId = text(entry.home_account_id);
  const environment = hostOf(entry);
  if (!homeAccountId || !environment) return undefined;
  const realm = tenantOf(homeAccountId, text(entry.realm) ?? "");
  const name = text(entry.name);
  return {
    homeAccountId,
    localAccountId: text(entry.local_account_id) ?? homeAccountId.split(".")[0]!,
    environment,
    tenantId: realm,
    realm,
    username: text(entry.username) ?? "",
    ...(name && { name }),
    source: "cache",
  };
}

/** A request for a cached token. */
export interface CachedTokenQuery {
  readonly account: AccountInfo;
  readonly scopes: readonly string[];
  /** Tenant of the request: its id or its domain. @default the account's `realm` */
  readonly realm?: string | undefined;
  /** Client capabilities of the request. @default none */
  readonly capabilities?: string | undefined;
  /** `ext_cache_key` of the request: tokens with another one, or none, are not for it. @default none */
  readonly extension?: string | undefined;
  /** UUID of the request. */
  readonly correlationId: string;
}

/** Fields of MSAL for Python, Node and .NET that bind a token to more than its account, app, tenant and scopes. */
export const TOKEN_BINDINGS: readonly string[] = [
  ...["key_id", "kid", "ext_cache_key", "ext", "additionalCacheKeyComponents", "resource"],
  ...["userAssertionHash", "user_assertion_hash", "requested_claims"],
];

/** Returns the best cached token: by its key, else the newest one for all of the scopes, and maybe more. */
export function accessTokenIn(
  document: CacheDocument,
  query: CachedTokenQuery,
  app: CacheApp,
): CachedToken | undefined {
  const { homeAccountId, realm: ownRealm } = query.account;
  const { clientId, environments } = app;
  const realm = tenantOf(homeAccountId, query.realm ?? ownRealm).toLowerCase();
  const wanted = withoutReserved(query.scopes);
  const { capabilities = "", extension } = query;
  if (wanted.length === 0 || homeAccountId === "") return undefined;
  for (const environment of environments) {
    const key = accessTokenKey({ homeAccountId, environment, clientId, realm }, wanted, extension);
    const entry = document.entry("AccessToken", key);
    if (!entry || !isMatching(entry) || !hasScopes(entry, wanted) || capabilitiesIn(entry) !== capabilities) continue;
    if (plainStateOf(entry, app.now, extension) === "use") {
      return { result: readResult(document, entry, query, app), state: "use" };
    }
  }
  const key = { homeAccountId, environment: environments[0]!, clientId, realm, scope: wanted[0]! };
  const found = document.accessTokensFor(key).flatMap((entry) => {
    const state = hasScopes(entry, wanted) && capabilitiesIn(entry) === capabilities
      ? plainStateOf(entry, app.now, extension)
      : undefined;
    return state ? [{ entry, state, cachedAt: readEpochSeconds(entry.cached_at) ?? 0 }] : [];
  });
  const [best] = found.sort((one, other) =>
    TOKEN_STATES.indexOf(one.state) - TOKEN_STATES.indexOf(other.state) || other.cachedAt - one.cachedAt
  );
  return best && { result: readResult(document, best.entry, query, app), state: best.state };

  // A key is not proof: its parts can contain the separator, and it ignores case that matters.
  function isMatching(entry: CacheEntry): boolean {
    return isOfApp(entry, app) && holderOf(entry) === idKey(homeAccountId) &&
      realm === (text(entry.realm)?.toLowerCase() ?? "");
  }
}

/** Returns true for a bearer token that is bound only to its account, app, tenant and scopes, and to an `ext_cache_key` if one is given. */
export function isPlainToken(entry: CacheEntry, extension = ""): boolean {
  return ["accesstoken", ...(extension ? ["atext"] : [])].includes(
    (text(entry.credential_type) ?? "AccessToken").toLowerCase(),
  ) &&
    (text(entry.token_type) ?? "Bearer").toLowerCase() === "bearer" &&
    TOKEN_BINDINGS.every((field) => (entry[field] ?? "") === (field === "ext_cache_key" ? extension : ""));
}

/** A client that cannot answer a claims challenge must not get a token for one that can. MSAL stores no capabilities. */
function capabilitiesIn({ client_capabilities }: CacheEntry): string {
  return text(client_capabilities) ?? "";
}

/** Returns the end of an account's cached access token that lasts longest; `undefined` if none can be used. */
export function lastTokenEndIn(document: CacheDocument, homeAccountId: string, app: CacheApp): Date | undefined {
  const ends = document.ofAccount("AccessToken", homeAccountId)
    .filter(({ entry }) => isOfApp(entry, app) && isInCloud(entry, app))
    .flatMap(({ entry }) =>
      ["use", "renew"].includes(plainStateOf(entry, app.now)!) ? [readEpochSeconds(entry.expires_on)!] : []
    );
  return ends.length > 0 ? new Date(Math.max(...ends)) : undefined;
}

function hasScopes({ target }: CacheEntry, wanted: readonly string[]): boolean {
  const granted = scopesOf(target);
  return wanted.every((scope) => granted.includes(scope.toLowerCase()));
}

/** Entries whose secrets were checked, which takes microseconds for a token. Entries never change. */
const checkedSecrets = new WeakMap<CacheEntry, boolean>();

function hasSecret(entry: CacheEntry): boolean {
  let isChecked = checkedSecrets.get(entry);
  if (isChecked === undefined) {
    isChecked = isSecret(entry.secret);
    checkedSecrets.set(entry, isChecked);
  }
  return isChecked;
}

/** Returns the state of an entry's token; `undefined` if the token cannot be used, or is not a plain one. */
function plainStateOf(entry: CacheEntry, now: number, extension?: string): TokenState | undefined {
  const state = stateOf(entry, now);
  return state !== undefined && hasSecret(entry) && isPlainToken(entry, extension) ? state : undefined;
}

function readResult(
  document: CacheDocument,
  entry: CacheEntry,
  { account, correlationId }: CachedTokenQuery,
  app: CacheApp,
): AuthenticationResult {
  const { expires_on, extended_expires_on, refresh_on } = entry;
  const [expiresOn = 0, extendedExpiresOn = 0, refreshOn] = [expires_on, extended_expires_on, refresh_on]
    .map(readEpochSeconds);
  const realm = text(entry.realm) ?? "";
  const idTokenEntry = idTokenOf(document, entry, account, app);
  const idToken = text(idTokenEntry?.secret);
  const idTokenClaims = idTokenEntry && claimsOf(idTokenEntry);
  return redactTokens({
    accessToken: text(entry.secret)!,
    tokenType: "Bearer",
    expiresOn: new Date(expiresOn),
    ...(extendedExpiresOn > expiresOn && { extendedExpiresOn: new Date(extendedExpiresOn) }),
    ...(refreshOn !== undefined && { refreshOn: new Date(refreshOn) }),
    scopes: text(entry.target)?.split(" ").filter(Boolean) ?? [],
    ...(idToken && { idToken }),
    ...(idTokenClaims && { idTokenClaims }),
    account,
    tenantId: isGuid(realm)
      ? realm
      : (isMicrosoftHost(hostOf(entry) ?? "") && text(idTokenClaims?.tid)) || account.realm,
    source: "cache",
    correlationId,
  });
}

/** Claims of the id tokens that were decoded: to decode one takes longer than the rest of a lookup. */
const decoded = new WeakMap<CacheEntry, JsonObject | undefined>();

/** Returns the claims of an id token's entry, as an object of the caller's own. */
function claimsOf(entry: CacheEntry): JsonObject | undefined {
  if (!decoded.has(entry)) decoded.set(entry, readJwt(text(entry.secret)));
  const claims = decoded.get(entry);
  return claims && { ...claims };
}

/** Returns the id token of the same account, app and tenant. */
function idTokenOf(
  document: CacheDocument,
  { environment, realm }: CacheEntry,
  { homeAccountId }: AccountInfo,
  app: CacheApp,
): CacheEntry | undefined {
  const isMatching = (entry: CacheEntry | undefined): boolean =>
    entry !== undefined && hasSecret(entry) && isOfApp(entry, app) && entry.realm === realm &&
    holderOf(entry) === idKey(homeAccountId);
  const host = text(environment) ?? "";
  const tenant = text(realm) ?? "";
  const identity = { homeAccountId, clientId: app.clientId, environment: host, realm: tenant };
  const byKey = document.entry("IdToken", idTokenKey(identity));
  if (isMatching(byKey)) return byKey;
  return document.ofAccount("IdToken", homeAccountId).find(({ entry }) => isMatching(entry))?.entry;
}

/**
 * The access tokens that a token cache has for an account. Pure.
 *
 * @module
 */
import { type AccountInfo, idKey } from "../account.ts";
import { isMicrosoftHost } from "../authority.ts";
import { readJwt } from "../json_values.ts";
import { RESERVED_SCOPES } from "../request.ts";
import { type AuthenticationResult, concealTokens, EXPIRY_MARGIN_MS, type Lifetimes } from "../token.ts";
import { type CacheApp, hostOf, isOfApp } from "./cache_app.ts";
import type { CacheDocument } from "./cache_document.ts";
import {
  accessTokenKey,
  type CacheEntry,
  idTokenKey,
  isSecret,
  isTenantId,
  readEpochSeconds,
  scopesOf,
  tenantOf,
  text,
} from "./cache_schema.ts";

/** A token that is looked for. */
export interface CachedTokenQuery {
  /** Whose. */
  readonly account: AccountInfo;
  /** What it has to be for. */
  readonly scopes: readonly string[];
  /** The tenant that is asked: its id, or its domain when it is asked by that. @default the account's `realm` */
  readonly realm?: string | undefined;
  /** The client capabilities of who is to use it. @default none */
  readonly capabilities?: string | undefined;
  /** UUID of the request that it answers. */
  readonly correlationId: string;
}

/** A token that is there. */
export interface CachedToken {
  /** The token, its `source` being `cache`. */
  readonly result: AuthenticationResult;
  /**
   * What it is good for. `use`: to be used. `renew`: to be renewed ahead of its end, and used when that fails. `outage`: to
   * be used only while the issuer cannot be reached, as it has ended or is about to.
   */
  readonly state: "use" | "renew" | "outage";
}

const STATES: readonly CachedToken["state"][] = ["use", "renew", "outage"];

/** What binds a token to more than its account, app, tenant and scopes, in the words of MSAL for Python, Node and .NET. */
export const TOKEN_BINDINGS: readonly string[] = [
  ...["key_id", "kid", "ext_cache_key", "ext", "additionalCacheKeyComponents", "resource"],
  ...["userAssertionHash", "user_assertion_hash", "requested_claims"],
];

/** The best token that is there: by its key, else the newest that is for all of the scopes, and maybe more. */
export function accessTokenIn(
  document: CacheDocument,
  query: CachedTokenQuery,
  app: CacheApp,
): CachedToken | undefined {
  const { homeAccountId, realm: ownRealm } = query.account, { clientId, environments } = app;
  const realm = tenantOf(homeAccountId, query.realm ?? ownRealm).toLowerCase();
  const wanted = query.scopes.filter((scope) => !RESERVED_SCOPES.includes(scope)), { capabilities = "" } = query;
  if (wanted.length === 0 || homeAccountId === "") return undefined;
  for (const environment of environments) {
    const key = accessTokenKey({ homeAccountId, environment, clientId, realm }, wanted);
    const entry = document.entry("AccessToken", key);
    if (!entry || !isAt(entry) || !isFor(entry, wanted) || capabilitiesIn(entry) !== capabilities) continue;
    if (stateOf(entry, app.now) === "use") return { result: readResult(document, entry, query, app), state: "use" };
  }
  const place = { homeAccountId, environment: environments[0]!, clientId, realm, scope: wanted[0]! };
  const found = document.accessTokensAt(place).flatMap((entry) => {
    const state = isFor(entry, wanted) && capabilitiesIn(entry) === capabilities ? stateOf(entry, app.now) : undefined;
    return state ? [{ entry, state, cachedAt: readEpochSeconds(entry.cached_at) ?? 0 }] : [];
  });
  const [best] = found.sort((one, other) =>
    STATES.indexOf(one.state) - STATES.indexOf(other.state) || other.cachedAt - one.cachedAt
  );
  return best && { result: readResult(document, best.entry, query, app), state: best.state };

  // A key is not proof: it joins what can have its separator in it, and lowers the case of what is not the same without.
  function isAt(entry: CacheEntry): boolean {
    return isOfApp(entry, app) && idKey(text(entry.home_account_id) ?? "") === idKey(homeAccountId) &&
      realm === (text(entry.realm)?.toLowerCase() ?? "");
  }
}

/**
 * The same token, which ends no later than it would have, had the clock not been set since it was received.
 *
 * @param token The token.
 * @param lifetimes Of the tokens that were received here.
 * @param now The time, in milliseconds since 1970.
 * @returns The token; `undefined` when it has ended.
 */
export function boundedToken(
  { result, state }: CachedToken,
  lifetimes: Lifetimes,
  now: number,
): CachedToken | undefined {
  const bounded = lifetimes.bounded(result, now);
  if (bounded === result) return { result, state };
  const { expiresOn, extendedExpiresOn = expiresOn, refreshOn } = bounded;
  if (expiresOn.getTime() - now > EXPIRY_MARGIN_MS) {
    return { result: bounded, state: refreshOn && refreshOn.getTime() <= now ? "renew" : state };
  }
  return extendedExpiresOn.getTime() > now ? { result: bounded, state: "outage" } : undefined;
}

/** Whether a token is a bearer token that nothing but its account, app, tenant and scopes limits. */
export function isPlainToken(entry: CacheEntry): boolean {
  return (text(entry.credential_type) ?? "AccessToken").toLowerCase() === "accesstoken" &&
    (text(entry.token_type) ?? "Bearer").toLowerCase() === "bearer" &&
    TOKEN_BINDINGS.every((field) => entry[field] === undefined || entry[field] === null || entry[field] === "");
}

/**
 * The client capabilities that a token was asked for with: whoever cannot answer a claims challenge must not have a token
 * that can be revoked by one. MSAL writes none down.
 */
function capabilitiesIn({ client_capabilities }: CacheEntry): string {
  return text(client_capabilities) ?? "";
}

/** When a token can no longer be used for anything, in milliseconds since 1970. */
export function endOf({ expires_on, extended_expires_on }: CacheEntry): number {
  return Math.max(readEpochSeconds(expires_on) ?? 0, readEpochSeconds(extended_expires_on) ?? 0);
}

function isFor({ target }: CacheEntry, wanted: readonly string[]): boolean {
  const granted = scopesOf(target);
  return wanted.every((scope) => granted.includes(scope.toLowerCase()));
}

function stateOf(entry: CacheEntry, now: number): CachedToken["state"] | undefined {
  const { secret, cached_at, expires_on, refresh_on } = entry;
  const expiresOn = readEpochSeconds(expires_on), cachedAt = readEpochSeconds(cached_at) ?? 0;
  if (expiresOn === undefined || !isSecret(secret) || !isPlainToken(entry)) return undefined;
  // The clock was set back since, so that nobody knows when the token ends.
  if (cachedAt > now + EXPIRY_MARGIN_MS) return undefined;
  if (expiresOn - now > EXPIRY_MARGIN_MS) return (readEpochSeconds(refresh_on) ?? Infinity) <= now ? "renew" : "use";
  return endOf(entry) > now ? "outage" : undefined;
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
  const idToken = idTokenBeside(document, entry, account, app);
  const idTokenClaims = readJwt(idToken);
  return concealTokens({
    accessToken: text(entry.secret)!,
    tokenType: "Bearer",
    expiresOn: new Date(expiresOn),
    ...(extendedExpiresOn > expiresOn && { extendedExpiresOn: new Date(extendedExpiresOn) }),
    ...(refreshOn !== undefined && { refreshOn: new Date(refreshOn) }),
    scopes: text(entry.target)?.split(" ").filter(Boolean) ?? [],
    ...(idToken && { idToken }),
    ...(idTokenClaims && { idTokenClaims }),
    account,
    tenantId: isTenantId(realm)
      ? realm
      : (isMicrosoftHost(hostOf(entry) ?? "") && text(idTokenClaims?.tid)) || account.realm,
    source: "cache",
    correlationId,
  });
}

/** The id token of the same account, app and tenant. */
function idTokenBeside(
  document: CacheDocument,
  { environment, realm }: CacheEntry,
  { homeAccountId }: AccountInfo,
  app: CacheApp,
): string | undefined {
  const isBeside = (entry: CacheEntry | undefined): boolean =>
    entry !== undefined && isSecret(entry.secret) && isOfApp(entry, app) && entry.realm === realm &&
    idKey(text(entry.home_account_id) ?? "") === idKey(homeAccountId);
  const host = text(environment) ?? "", tenant = text(realm) ?? "";
  const identity = { homeAccountId, clientId: app.clientId, environment: host, realm: tenant };
  const byKey = document.entry("IdToken", idTokenKey(identity));
  const entry = isBeside(byKey)
    ? byKey
    : document.ofAccount("IdToken", homeAccountId).find(({ entry }) => isBeside(entry))?.entry;
  return text(entry?.secret);
}

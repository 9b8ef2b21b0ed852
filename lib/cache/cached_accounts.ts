/**
 * The accounts that a token cache knows. Pure.
 *
 * @module
 */
import { type AccountInfo, idKey, isSameUsername } from "../account.ts";
import { type CacheApp, hostOf, isInCloud, isOfApp } from "./cache_app.ts";
import type { CacheDocument, KeyedEntry } from "./cache_document.ts";
import { ownRefreshTokens } from "./cached_refresh_tokens.ts";
import { type CacheEntry, homeTenantOf, tenantOf, text } from "./cache_schema.ts";

/** An account that was signed in. */
export interface CachedAccount {
  /** The account. */
  readonly account: AccountInfo;
  /**
   * How it was signed in: `broker`, or the grant, such as `authorization_code`. It decides who renews: an account that was
   * signed in without the broker is not renewed through it, nor the reverse. `undefined`: an older MSAL did not say.
   */
  readonly accountSource: string | undefined;
}

interface AccountRecord {
  readonly account: AccountInfo;
  readonly entry: CacheEntry;
}

/**
 * Who is signed in, each account once however many tenants it has a record for.
 *
 * @param documents Where.
 * @param app The app that looks.
 * @param username Only the accounts of one user name, compared without case: of thousands, the others are hardly looked at.
 */
export function accountsIn(documents: readonly CacheDocument[], app: CacheApp, username?: string): CachedAccount[] {
  const isMeant = (name: string): boolean => username === undefined || isSameUsername(name, username);
  const records = documents.flatMap((document) => {
    const entries = document.entries("Account");
    if (username === undefined) return readRecords(document, entries, app);
    const idOf = ({ entry }: KeyedEntry): string => idKey(text(entry.home_account_id) ?? "");
    const ids = new Set(entries.filter(({ entry }) => isMeant(text(entry.username) ?? "")).map(idOf));
    return readRecords(document, entries.filter((one) => ids.has(idOf(one))), app);
  });
  return [...Map.groupBy(records, ({ account }) => idKey(account.homeAccountId)).values()]
    .flatMap((ofOne) => accountOf(ofOne, app) ?? []).filter(({ account }) => isMeant(account.username));
}

/** One account, when it is signed in. */
export function accountIn(document: CacheDocument, homeAccountId: string, app: CacheApp): CachedAccount | undefined {
  return accountOf(readRecords(document, document.ofAccount("Account", homeAccountId), app), app);
}

function readRecords(document: CacheDocument, entries: readonly KeyedEntry[], app: CacheApp): AccountRecord[] {
  return entries.flatMap(({ entry }) => {
    const account = isInCloud(entry, app) ? readAccount(entry) : undefined;
    return account && !isSignedOutIn(document, account.homeAccountId, app) ? [{ account, entry }] : [];
  });
}

function accountOf(records: readonly AccountRecord[], app: CacheApp): CachedAccount | undefined {
  const inOrder = records.toSorted((one, other) => rank(one.account, app) - rank(other.account, app));
  const sources = inOrder.map(({ entry }) => text(entry.account_source));
  return inOrder[0] &&
    { account: inOrder[0].account, accountSource: sources.find((source) => source !== undefined) };
}

/** The record of the tenant at home goes before a guest's, one under the cloud's usual name before those of its aliases. */
function rank({ homeAccountId, environment, realm }: AccountInfo, { environments }: CacheApp): number {
  const isAtHome = realm.toLowerCase() === homeTenantOf(homeAccountId);
  return (isAtHome ? 0 : environments.length) + environments.indexOf(environment);
}

/** The records of one account in the app's cloud, those under its usual name first. */
export function accountRecords(
  document: CacheDocument,
  homeAccountId: string,
  app: CacheApp,
): readonly KeyedEntry[] {
  const order = ({ entry }: KeyedEntry): number => app.environments.indexOf(hostOf(entry)!);
  return document.ofAccount("Account", homeAccountId).filter(({ entry }) => isInCloud(entry, app))
    .toSorted((one, other) => order(one) - order(other));
}

/**
 * Whether an account signed out of the app. An account that the app has a refresh token of has signed in since: another
 * program, which does not know of the mark, can have done that.
 */
export function isSignedOutIn(document: CacheDocument, homeAccountId: string, app: CacheApp): boolean {
  return document.ofAccount("LatchkeySignedOut", homeAccountId).some(({ entry }) => isOfApp(entry, app)) &&
    ownRefreshTokens(document, homeAccountId, app).length === 0;
}

/** An account as its record has it; `undefined` when that does not say whose it is. */
export function readAccount(entry: CacheEntry): AccountInfo | undefined {
  const homeAccountId = text(entry.home_account_id), environment = hostOf(entry);
  if (!homeAccountId || !environment) return undefined;
  const realm = tenantOf(homeAccountId, text(entry.realm) ?? ""), name = text(entry.name);
  return {
    homeAccountId,
    localAccountId: text(entry.local_account_id) ?? homeAccountId.split(".")[0]!,
    environment,
    realm,
    username: text(entry.username) ?? "",
    ...(name && { name }),
    source: "cache",
  };
}

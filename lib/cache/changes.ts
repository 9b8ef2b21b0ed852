/**
 * Changes of a document by a sign-in, a renewal or a sign-out. Pure.
 *
 * @module
 */
import { idKey } from "../account.ts";
import { readText as text } from "../encoding.ts";
import type { AuthenticationResult } from "../token.ts";
import {
  accountRecords,
  declinedScopesIn,
  isPlainToken,
  isSignedOutIn,
  nameOfResource,
  nameOfScope,
  ownRefreshTokens,
  readAccount,
  resourcesIn,
  TOKEN_BINDINGS,
} from "./lookup.ts";
import { endOf } from "./freshness.ts";
import {
  accessTokenKey,
  accountKey,
  appMetadataIn,
  appMetadataKey,
  type CacheApp,
  type CacheChange,
  type CacheDocument,
  type CacheEntry,
  type CacheIdentity,
  type CacheSection,
  epochSeconds,
  hostOf,
  idTokenKey,
  isInCloud,
  isOfApp,
  type KeyedEntry,
  refreshTokenKey,
  scopesOf,
  signedOutKey,
  targetOf,
} from "./schema.ts";

/** A reply of a token endpoint or a broker. */
export interface ReplyToSave {
  /** The token and its account. */
  readonly result: AuthenticationResult;
  /** The refresh token that came with it. */
  readonly refreshToken?: string | undefined;
  /** The refresh tokens that the renewal was tried with, which it replaces. */
  readonly replaces?: readonly string[] | undefined;
  /** Microsoft Entra's `foci`: the family of apps that may use the refresh token. */
  readonly familyId?: string | undefined;
  /** Microsoft Entra's `client_info`, unchanged. */
  readonly clientInfo?: string | undefined;
  /** Source of the sign-in: `broker`, or the grant, such as `authorization_code`. Absent after a renewal. */
  readonly accountSource?: string | undefined;
  /** Scopes that the provider did not grant; see {@linkcode CachedRefreshToken.declinedScopes}. @default none */
  readonly declinedScopes?: readonly string[] | undefined;
  /**
   * Resource of the request (RFC 8707), empty if it had none; see {@linkcode CachedRefreshToken.resources}.
   *
   * @default the provider knows no resources, as Microsoft's
   */
  readonly resource?: string | undefined;
  /** Tenant of the request: its id or its domain. @default the result's `tenantId` */
  readonly realm?: string | undefined;
  /** Client capabilities of the request. @default none */
  readonly capabilities?: string | undefined;
  /** `ext_cache_key` of the request. @default none */
  readonly extension?: string | undefined;
  /** MSAL's name for the kind of server. @default "MSSTS" */
  readonly authorityType?: "MSSTS" | "ADFS" | undefined;
}

/** Optional fields that latchkey writes. Other fields of an entry are kept when it is replaced. */
const OWN_FIELDS: Partial<Record<CacheSection, readonly string[]>> = {
  AccessToken: ["refresh_on", "client_capabilities", ...TOKEN_BINDINGS],
  RefreshToken: ["family_id", "target", "declined_scopes", "granted_resources"],
  AppMetadata: ["family_id"],
};

/** Returns the changes by a reply; `undefined` if it renews an account that has signed out meanwhile, or has no account id. */
export function changesOfReply(
  document: CacheDocument,
  reply: ReplyToSave,
  app: CacheApp,
): readonly CacheChange[] | undefined {
  const { result, accountSource } = reply;
  const { homeAccountId } = result.account;
  const records = accountRecords(document, homeAccountId, app);
  if (homeAccountId === "") return undefined;
  if (accountSource === undefined && (records.length === 0 || isSignedOutIn(document, homeAccountId, app))) {
    return undefined;
  }
  // An account keeps its name of the cloud: under two names, MSAL would list it twice.
  const environment = (records[0] && hostOf(records[0].entry)) ?? app.environments[0]!;
  const identity = { homeAccountId, environment, clientId: app.clientId, realm: reply.realm ?? result.tenantId };
  const context = { document, reply, app, identity };
  const changes: CacheChange[] = [];
  if (accountSource !== undefined) {
    const marks = document.ofAccount("LatchkeySignedOut", homeAccountId).filter(({ entry }) => isOfApp(entry, app));
    changes.push(accountChange(context, records));
    changes.push(...marks.map(({ key }) => ({ section: "LatchkeySignedOut" as const, key })));
  }
  if (result.source !== "broker") changes.push(...tokenChanges(context)); // a broker keeps its own tokens
  return changes;
}

/**
 * Returns the changes by a sign-out. It removes the tokens of the app and of its family, which share a refresh token.
 * If other apps have tokens, the account's record stays for them. A mark says that the account signed out of this app.
 */
export function changesOfSignOut(
  document: CacheDocument,
  homeAccountId: string,
  app: CacheApp,
): readonly CacheChange[] {
  const familyId = text(appMetadataIn(document, app)[0]?.entry.family_id);
  const ofCloud = (section: CacheSection): readonly KeyedEntry[] =>
    document.ofAccount(section, homeAccountId).filter(({ entry }) => isInCloud(entry, app));
  const isOfFamily = ({ entry }: KeyedEntry): boolean => familyId !== undefined && entry.family_id === familyId;
  const family = new Set(ofCloud("RefreshToken").filter(isOfFamily).map(({ entry }) => entry.client_id));

  const environment = app.environments[0]!;
  const { clientId } = app;
  const mark = {
    home_account_id: homeAccountId,
    environment,
    client_id: clientId,
    signed_out_on: epochSeconds(app.now),
  };
  const changes: CacheChange[] = [
    { section: "LatchkeySignedOut", key: signedOutKey({ homeAccountId, environment, clientId }), entry: mark },
  ];
  let isUsedByOthers = false;
  for (const section of ["RefreshToken", "AccessToken", "IdToken"] as const) {
    for (const { key, entry } of ofCloud(section)) {
      if (isOfApp(entry, app) || family.has(entry.client_id)) changes.push({ section, key });
      else isUsedByOthers = true;
    }
  }
  if (!isUsedByOthers) changes.push(...ofCloud("Account").map(({ key }) => ({ section: "Account" as const, key })));
  return changes;
}

/** Returns the place of an access token, under any name of the cloud; `undefined` if it is a broker's, or bound to a request. */
export function accessTokenPlace({ result, realm, extension }: ReplyToSave, app: CacheApp): string | undefined {
  const { account: { homeAccountId }, tenantId, scopes, source, tokenType } = result;
  const { clientId, environments } = app;
  if (source === "broker" || tokenType !== "Bearer" || scopes.length === 0) return undefined;
  const identity = { homeAccountId, environment: environments[0]!, clientId, realm: realm ?? tenantId };
  return `${idKey(homeAccountId)} ${accessTokenKey(identity, scopes, extension)}`; // only some accounts' ids ignore case
}

interface ReplyContext {
  readonly document: CacheDocument;
  readonly reply: ReplyToSave;
  readonly app: CacheApp;
  readonly identity: CacheIdentity;
}

function accountChange({ reply, identity }: ReplyContext, records: readonly KeyedEntry[]): CacheChange {
  const { account } = reply.result;
  const { homeAccountId, environment } = identity;
  // MSAL for Python names records by the authority's path, so that this tenant's record can have another key than ours.
  const isSame = ({ entry }: KeyedEntry): boolean =>
    readAccount(entry)?.realm.toLowerCase() === account.realm.toLowerCase();
  const known = records.find(isSame);
  const old = known?.entry;
  const key = known?.key ?? accountKey({ homeAccountId, environment, realm: account.realm });
  const entry = {
    realm: account.realm,
    ...old,
    home_account_id: homeAccountId,
    environment: text(old?.environment) ?? environment,
    local_account_id: account.localAccountId,
    username: account.username,
    authority_type: reply.authorityType ?? "MSSTS",
    ...(account.name && { name: account.name }),
    ...(reply.clientInfo && { client_info: reply.clientInfo }),
    account_source: reply.accountSource,
  };
  return { section: "Account", key, entry };
}

function tokenChanges(context: ReplyContext): CacheChange[] {
  const { document, reply, app, identity } = context;
  const { result, refreshToken, familyId } = reply;
  const { homeAccountId, environment, clientId, realm } = identity;
  const { idToken } = result;
  const ofIdentity = { home_account_id: homeAccountId, environment, client_id: clientId };
  const family = familyId ? { family_id: familyId } : {};
  const changes: CacheChange[] = [];

  if (accessTokenPlace(reply, app) !== undefined) changes.push(...accessTokenChanges(context));
  if (idToken) {
    const old = document.ofAccount("IdToken", homeAccountId)
      .filter(({ entry }) => isOfApp(entry, app) && isOfRealm(entry, realm));
    const entry = { credential_type: "IdToken", secret: idToken, ...ofIdentity, realm };
    changes.push(...replace(document, "IdToken", old, idTokenKey(identity), entry));
  }
  const ownTokens = ownRefreshTokens(document, homeAccountId, app);
  const declined = declinedScopes(ownTokens, reply);
  if (refreshToken) {
    // An old one must not be tried: a server that rotates them takes that for theft (RFC 9700, 4.14.2).
    const times = { last_modification_time: epochSeconds(app.now) };
    const entry = {
      credential_type: "RefreshToken",
      secret: refreshToken,
      ...ofIdentity,
      ...family,
      ...times,
      ...declined,
      ...grantedResources(ownTokens, reply),
    };
    changes.push(...replace(document, "RefreshToken", ownTokens, refreshTokenKey(identity), entry));
  } else {
    for (const { key, entry: { declined_scopes: before, ...entry } } of ownTokens) {
      if (before === declined.declined_scopes) continue;
      changes.push({ section: "RefreshToken", key, entry: { ...entry, ...declined } });
    }
  }
  // One entry: MSAL for Node fails if there are several under different names of the cloud.
  const old = appMetadataIn(document, app);
  const [known] = old;
  changes.push(...replace(document, "AppMetadata", old, known?.key ?? appMetadataKey(identity), {
    client_id: text(known?.entry.client_id) ?? clientId,
    environment: text(known?.entry.environment) ?? environment,
    ...family,
  }));
  return changes;
}

/** Returns the scopes that refresh tokens do not cover, as the field of an entry. A sign-in begins anew. */
function declinedScopes(
  tokens: readonly KeyedEntry[],
  { accountSource, declinedScopes = [], result, resource }: ReplyToSave,
): { readonly declined_scopes?: string } {
  const namesOf = (scopes: readonly string[]) => scopes.map((scope) => nameOfScope(scope, resource));
  const names = new Set(accountSource === undefined ? tokens.flatMap(({ entry }) => declinedScopesIn(entry)) : []);
  for (const name of namesOf(declinedScopes)) names.add(name);
  for (const name of namesOf(result.scopes)) names.delete(name);
  return names.size > 0 ? { declined_scopes: [...names].join(" ") } : {};
}

/** Returns the resources that a new refresh token covers, as the field of an entry. A sign-in begins anew. */
function grantedResources(
  tokens: readonly KeyedEntry[],
  { accountSource, resource }: ReplyToSave,
): { readonly granted_resources?: string } {
  if (resource === undefined) return {};
  const before = accountSource === undefined ? tokens.map(({ entry }) => resourcesIn(entry)) : [];
  if (before.some((resources) => resources === undefined)) return {}; // another program's: nobody knows
  const names = new Set(before.flatMap((resources) => resources ?? []));
  if (resource !== "") names.add(nameOfResource(resource));
  return { granted_resources: [...names].join(" ") };
}

/** A token replaces those for more or for fewer scopes: nobody could tell which of them are still valid. */
function accessTokenChanges({ document, reply, app, identity }: ReplyContext): CacheChange[] {
  const { result, capabilities, extension } = reply;
  const { homeAccountId, environment, clientId, realm } = identity;
  const scopes = scopesOf(targetOf(result.scopes));
  const old = document.ofAccount("AccessToken", homeAccountId).filter(({ entry }) => {
    const others = scopesOf(entry.target);
    const end = endOf(entry);
    // Tokens of agents' sessions that are over are removed once they have expired.
    const own = end <= app.now ? text(entry.ext_cache_key) : extension;
    if (!isOfApp(entry, app) || !isPlainToken(entry, own) || others.length === 0 || end === 0) return false;
    const isSubset = scopes.every((scope) => others.includes(scope));
    const isSuperset = others.every((scope) => scopes.includes(scope));
    return end <= app.now || isOfRealm(entry, realm) && (isSubset || isSuperset);
  });
  return replace(document, "AccessToken", old, accessTokenKey(identity, result.scopes, extension), {
    credential_type: "AccessToken",
    secret: result.accessToken,
    home_account_id: homeAccountId,
    environment,
    client_id: clientId,
    realm,
    target: targetOf(result.scopes),
    token_type: result.tokenType,
    cached_at: epochSeconds(app.now),
    expires_on: epochSeconds(result.expiresOn.getTime()),
    extended_expires_on: epochSeconds((result.extendedExpiresOn ?? result.expiresOn).getTime()),
    ...(capabilities && { client_capabilities: capabilities }),
    ...(extension && { ext_cache_key: extension }),
    ...(result.refreshOn && { refresh_on: epochSeconds(result.refreshOn.getTime()) }),
  });
}

function isOfRealm({ realm }: CacheEntry, wanted: string): boolean {
  return (text(realm) ?? "").toLowerCase() === wanted.toLowerCase();
}

/** Writes an entry in place of old ones. */
function replace(
  document: CacheDocument,
  section: CacheSection,
  old: readonly KeyedEntry[],
  key: string,
  entry: CacheEntry,
): CacheChange[] {
  const before = Object.entries(document.entry(section, key) ?? {})
    .filter(([field]) => !OWN_FIELDS[section]?.includes(field));
  const removals = old.filter((each) => each.key !== key).map(({ key }) => ({ section, key }));
  return [...removals, { section, key, entry: { ...Object.fromEntries(before), ...entry } }];
}

/**
 * Returns a document without tokens for `CacheStore.readAccounts`; the same text if it is damaged, so that a reader
 * sees that.
 */
export function accountsExcerpt(json: string): string {
  try {
    const { Account, LatchkeySignedOut } = JSON.parse(json);
    return JSON.stringify({ Account, LatchkeySignedOut });
  } catch {
    return json;
  }
}

/**
 * Accounts: their identity, and when two of them are the same.
 *
 * @module
 */
import { isMicrosoftHost } from "./authority.ts";
import { isGuid } from "./encoding.ts";
import { ArgumentError } from "./errors.ts";

/** An account of the broker or the cache. It is plain data: a program may store it and pass it to a later call. */
export interface AccountInfo {
  /**
   * Identity of the account: `<object id>.<tenant id>` in the home tenant. Outside Microsoft's authorities it is the subject,
   * which is unique within one issuer only: compare it together with `environment`.
   */
  readonly homeAccountId: string;
  /** Object id of the account in the tenant `tenantId`. */
  readonly localAccountId: string;
  /** Host of the cloud, such as `login.microsoftonline.com`; an OpenID provider's issuer, without `https://`. */
  readonly environment: string;
  /** Tenant id. */
  readonly tenantId: string;
  /** The same tenant id, by its name in MSAL's cache. */
  readonly realm: string;
  /** User principal name, such as `jane@contoso.com`; empty if unknown. */
  readonly username: string;
  /** Display name of the person, if known. */
  readonly name?: string;
  /** The source that knows the account. */
  readonly source: "broker" | "cache";
}

/** Returns the name of an account for people: the user name, or the home account id if the user name is unknown. */
export function nameOf({ username, homeAccountId }: Pick<AccountInfo, "username" | "homeAccountId">): string {
  return username || homeAccountId;
}

/** Returns true if two accounts are one person's, in any tenants: a guest has the id of the home tenant everywhere. */
export function isSameAccount(one: AccountInfo, other: AccountInfo): boolean {
  return accountKey({ ...one, realm: "" }) === accountKey({ ...other, realm: "" });
}

/** Returns a text that is unique to an account of one tenant. It begins with the {@linkcode idKey} and a line feed. */
export function accountKey(
  { homeAccountId, environment = "", realm = "" }: Pick<AccountInfo, "homeAccountId" | "environment" | "realm">,
): string {
  const id = idKey(homeAccountId);
  const host = environment.toLowerCase();
  // Microsoft's tenants compare without case, and an account has one id in all of the clouds' names.
  return isMicrosoftHost(host) || host === "" ? `${id}\n${realm.toLowerCase()}\n` : `${id}\n${realm}\n${environment}`;
}

/** Returns true if two user names are the same: they compare without case. */
export function isSameUsername(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** Returns true if an account has the wanted user name, or any is wanted. */
export function hasUsername({ username }: Pick<AccountInfo, "username">, wanted: string | undefined): boolean {
  return wanted === undefined || isSameUsername(username, wanted);
}

/** One pattern, since a cached token takes several checks: to split the id and check two GUIDs takes three times as long. */
const ENTRA_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Returns true if a name is an account's user name: no home account id of Microsoft Entra ID has an at sign. */
export function isUsername(nameOrId: string): boolean {
  return nameOrId.includes("@");
}

/** Returns true if a text has the form of a home account id of Microsoft Entra ID: `<object id>.<tenant id>`. */
export function isEntraId(id: string): boolean {
  return ENTRA_ID.test(id);
}

/** Returns an account's home tenant. Ids of ADFS and other providers have none. */
export function homeTenantOf(homeAccountId: string): string | undefined {
  const tenant = homeAccountId.slice(homeAccountId.lastIndexOf(".") + 1);
  return tenant.length < homeAccountId.length && isGuid(tenant) ? tenant.toLowerCase() : undefined;
}

/**
 * Returns a home account id in the form in which equal ids are equal texts. Ids of Microsoft Entra ID compare without case.
 * Ids of other providers do not (OpenID Connect Core, 2: `sub` is case sensitive), or one person would get another's token.
 */
export function idKey(homeAccountId: string): string {
  return isEntraId(homeAccountId) ? homeAccountId.toLowerCase() : homeAccountId;
}

/** Returns a client id in the form in which equal ids are equal texts. Only GUIDs compare without case. */
export function clientKey(clientId: string): string {
  return isGuid(clientId) ? clientId.toLowerCase() : clientId;
}

/**
 * Checks an account. Returns it with both names of its tenant: a stored one of MSAL for Node has only `tenantId`.
 *
 * @throws {TypeError} if it is not an account.
 */
export function checkAccount(account: AccountInfo | undefined): AccountInfo {
  if (typeof account?.homeAccountId !== "string") {
    throw new ArgumentError("account is missing, or is not one of getAccounts");
  }
  const { realm, tenantId }: Partial<AccountInfo> = account;
  const tenant = realm ?? tenantId;
  if (tenant === undefined || realm === tenantId) return account;
  return { ...account, realm: tenant, tenantId: tenant };
}

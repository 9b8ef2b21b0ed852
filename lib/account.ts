/**
 * Accounts, as broker and cache know them.
 *
 * @module
 */
import { isMicrosoftHost } from "./authority.ts";

const GUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** `<object id>.<tenant id>`: a home account id of Microsoft Entra ID. */
const ENTRA_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** An account that tokens can be had for. Plain data: it may be stored and given back later. */
export interface AccountInfo {
  /**
   * The account's identity: `<object id>.<tenant id>` in the home tenant. Outside Microsoft's authorities it is the subject, which
   * means one person at one issuer only: compare it together with `environment`.
   */
  readonly homeAccountId: string;
  /** Object id of the account in the tenant of `realm`. */
  readonly localAccountId: string;
  /** Host of the cloud, such as `login.microsoftonline.com`; an OpenID provider's issuer, without `https://`. */
  readonly environment: string;
  /** Tenant id. */
  readonly realm: string;
  /** User principal name, such as `jane@contoso.com`; empty when it is not known. */
  readonly username: string;
  /** The person's display name, when it is known. */
  readonly name?: string;
  /** Who knows the account. */
  readonly source: "broker" | "cache";
}

/** Returns true if two accounts are one person's, in whatever tenants: a guest has the id of the home tenant everywhere. */
export function isSameAccount(one: AccountInfo, other: AccountInfo): boolean {
  return accountKey({ ...one, realm: "" }) === accountKey({ ...other, realm: "" });
}

/** Returns the text that tells an account of one tenant from all others. It begins with the {@linkcode idKey} and a line feed. */
export function accountKey(
  { homeAccountId, environment = "", realm = "" }: Pick<AccountInfo, "homeAccountId" | "environment" | "realm">,
): string {
  const id = idKey(homeAccountId), host = environment.toLowerCase();
  // Microsoft's tenants compare without case, and an account has one id in all of the clouds' names.
  return isMicrosoftHost(host) || host === "" ? `${id}\n${realm.toLowerCase()}\n` : `${id}\n${realm}\n${environment}`;
}

/** The account, or else the user name, that an answer has to be for. */
export interface ExpectedAccount {
  readonly account?: AccountInfo | undefined;
  readonly username?: string | undefined;
}

/** Returns true if an answer is for whom it was asked for. One without a user name is not for whoever was named. */
export function isExpectedAccount(answered: AccountInfo, { account, username }: ExpectedAccount): boolean {
  if (account) return isSameAccount(answered, account);
  return username === undefined || isSameUsername(answered.username, username);
}

/** Returns true if two user names are the same: they compare without case. */
export function isSameUsername(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** Returns true if a text has the form of the home account ids of Microsoft Entra ID. */
export function isEntraId(id: string): boolean {
  return ENTRA_ID.test(id);
}

/**
 * Returns a home account id such that equal ones are the same text. Those of Microsoft Entra ID compare without case. Those of
 * other providers do not (OpenID Connect Core, 2: `sub` is case sensitive), or one person would get another's token.
 */
export function idKey(homeAccountId: string): string {
  return isEntraId(homeAccountId) ? homeAccountId.toLowerCase() : homeAccountId;
}

/** Returns a client id such that equal ones are the same text. GUIDs compare without case, other providers' ids do not. */
export function clientKey(clientId: string): string {
  return GUID.test(clientId) ? clientId.toLowerCase() : clientId;
}

/**
 * Accounts, as broker and cache know them.
 *
 * @module
 */

const GUID_OR_TWO = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}(?:\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})?$/i;

/** An account that tokens can be had for. Plain data: it may be stored and given back later. */
export interface AccountInfo {
  /** `<object id>.<tenant id>` in the account's home tenant: the account's identity everywhere. */
  readonly homeAccountId: string;
  /** Object id of the account in the tenant of `realm`. */
  readonly localAccountId: string;
  /** Host of the cloud, such as `login.microsoftonline.com`. */
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

/** What tells an account from all others. */
export function accountKey({ homeAccountId, realm }: AccountInfo): string {
  return `${homeAccountId} ${realm}`.toLowerCase();
}

/** The account, or else the user name, that an answer has to be for. */
export interface ExpectedAccount {
  readonly account?: AccountInfo | undefined;
  readonly username?: string | undefined;
}

/** Returns true if an answer is for whom it was asked for. One without a user name is not for whoever was named. */
export function isExpectedAccount(answered: AccountInfo, { account, username }: ExpectedAccount): boolean {
  if (account) return idKey(answered.homeAccountId) === idKey(account.homeAccountId);
  return username === undefined || isSameUsername(answered.username, username);
}

/** Whether two user names are one: they compare without case. */
export function isSameUsername(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/**
 * An id such that equal ones are the same text. GUIDs compare without case; another provider's ids do not (OpenID Connect
 * Core, 2: `sub` is case sensitive), or one person would have another's token.
 */
export function idKey(id: string): string {
  return GUID_OR_TWO.test(id) ? id.toLowerCase() : id;
}

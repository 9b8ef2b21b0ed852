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

/** Whether two accounts are one person's in the same tenant: a guest has the id of the home tenant everywhere. */
export function isSameAccount(one: AccountInfo, other: AccountInfo): boolean {
  return accountKey(one) === accountKey(other);
}

/** What tells an account from all others. */
export function accountKey({ homeAccountId, realm }: AccountInfo): string {
  return `${homeAccountId} ${realm}`.toLowerCase();
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

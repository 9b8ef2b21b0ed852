/**
 * The choice of an account, of several: the only place that decides which account a name and a tenant mean. Pure.
 *
 * @module
 */
import { type AccountInfo, hasUsername, homeTenantOf, idKey, isSameUsername, nameOf } from "../account.ts";
import { realmOf } from "../authority.ts";
import { isGuid } from "../encoding.ts";
import { firstNames } from "../control_characters.ts";
import { LatchkeyError } from "../errors.ts";
import type { TokenQuery } from "../request.ts";

/** The name and tenant of the account that a caller wants. */
export interface AccountWish {
  /** User name, compared without case. @default any */
  readonly username?: string | undefined;
  /** User name or home account id. @default any */
  readonly nameOrId?: string | undefined;
  /** Tenant id. It chooses among the accounts of one user, and never between users. @default none */
  readonly tenant?: string | undefined;
}

/** Returns the wish of a query without an account: its user name, and the tenant of its authority. */
export function wishOf({ username, authority }: Pick<TokenQuery, "username" | "authority">): AccountWish {
  return { username, tenant: realmOf(authority) };
}

/** Returns true if a query names its account, by the account or a user name. Otherwise the device's only account is meant. */
export function isAccountChosen({ account, username }: Pick<TokenQuery, "account" | "username">): boolean {
  return account !== undefined || username !== undefined;
}

/** Returns true if a name is an account's user name or home account id. */
export function isNamed({ username, homeAccountId }: AccountInfo, nameOrId: string): boolean {
  return isSameUsername(username, nameOrId) || idKey(homeAccountId) === idKey(nameOrId);
}

/**
 * Returns the accounts that a wish can mean: one if it chooses, several if it does not.
 *
 * 1. The accounts with the user name, or the home account id.
 * 2. If these are one user's, in several tenants: the account in the wished tenant, if there is one.
 * 3. If they have one home account id, and that was the name: the account in the home tenant, so that the id is unique.
 */
export function accountsMeant<Account extends AccountInfo>(
  accounts: readonly Account[],
  { username, nameOrId, tenant }: AccountWish,
): readonly Account[] {
  const named = accounts.filter((account) =>
    hasUsername(account, username) &&
    (nameOrId === undefined || isNamed(account, nameOrId))
  );
  if (named.length < 2 || !isOneUser(named)) return named;
  const inTenant = tenant === undefined ? [] : accountsIn(named, tenant);
  if (inTenant.length > 0) return inTenant;
  const isById = nameOrId !== undefined && named.every(({ homeAccountId }) => idKey(homeAccountId) === idKey(nameOrId));
  const atHome = named.filter(({ realm, homeAccountId }) => realm.toLowerCase() === homeTenantOf(homeAccountId));
  return isById && atHome.length > 0 ? atHome : named;
}

/** Returns the account that a wish means; `undefined` if it means none, or can mean several. */
export function onlyAccountMeant<Account extends AccountInfo>(
  accounts: readonly Account[],
  wish: AccountWish,
): Account | undefined {
  const [only, ...more] = accountsMeant(accounts, wish);
  return more.length === 0 ? only : undefined;
}

/** Returns the account with a home account id. */
export function accountWithId<Account extends AccountInfo>(
  accounts: readonly Account[],
  homeAccountId: string,
): Account | undefined {
  return accounts.find((account) => idKey(account.homeAccountId) === idKey(homeAccountId));
}

/** Returns the account that a call without one means, if there is one: the only one of the broker, which comes first, or the only one. */
export function defaultAccount<Account extends AccountInfo>(accounts: readonly Account[]): Account | undefined {
  const ofBroker = accounts.filter(({ source }) => source === "broker");
  return onlyAccountMeant(ofBroker.length > 0 ? ofBroker : accounts, {});
}

/** Returns the accounts in a tenant. One without a tenant is in its home tenant. */
export function accountsIn<Account extends AccountInfo>(
  accounts: readonly Account[],
  tenant: string,
): readonly Account[] {
  return accounts.filter(({ realm, homeAccountId }) =>
    isSameTenant(realm || homeTenantOf(homeAccountId) || "", tenant)
  );
}

/** Returns true if all accounts have one user name, or one home account id: then a tenant chooses. */
export function isOneUser([first, ...others]: readonly AccountInfo[]): boolean {
  return others.every(({ username, homeAccountId }) =>
    username !== "" && isSameUsername(username, first!.username) || idKey(homeAccountId) === idKey(first!.homeAccountId)
  );
}

function isSameTenant(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/**
 * Returns names for a list of accounts: the user name and the tenant; where two accounts have both in common, the home account id
 * as well. A single account needs only its user name.
 */
export function accountNames(accounts: readonly AccountInfo[]): readonly string[] {
  return accounts.map((account) => {
    const { username, homeAccountId, realm } = account;
    const name = nameOf(account);
    const tenant = isGuid(realm) ? `tenant ${realm}` : "";
    if (accounts.length === 1) return name;
    const alike = accounts.filter((other) => isSameUsername(other.username, username));
    const isUnique = alike.filter((other) => isSameTenant(other.realm, realm)).length === 1;
    if (!username || isUnique && tenant) return tenant ? `${name} (${tenant})` : name;
    if (alike.length === 1) return name;
    return `${homeAccountId} (${[username, tenant].filter(Boolean).join(", ")})`;
  });
}

/** Returns the error of a query whose account is not signed in. */
export function signInRequired(
  { account, username, correlationId }: Pick<TokenQuery, "account" | "username" | "correlationId">,
): LatchkeyError {
  const who = account?.username || username;
  const message = who ? `${who} must sign in` : "No user is signed in";
  return new LatchkeyError("interaction_required", message, { correlationId, remedy: { kind: "sign_in" } });
}

/** Returns the error of a query that can mean several accounts. */
export function ambiguousAccount(accounts: readonly AccountInfo[], correlationId: string): LatchkeyError {
  const names = firstNames(accountNames(accounts));
  return new LatchkeyError("interaction_required", `Several accounts are signed in: ${names}`, {
    correlationId,
    remedy: { kind: "choose_account", among: isOneUser(accounts) ? "tenants" : "users" },
  });
}

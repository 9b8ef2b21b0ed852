/**
 * The account that a command line means: by `--account` and `--tenant`, or by the choice of the user at the terminal.
 *
 * @module
 */
import { type AccountInfo, idKey, isEntraId, isUsername } from "../../lib/account.ts";
import type { PublicClientApplication } from "../../lib/application.ts";
import { isTenant } from "../../lib/authority.ts";
import type { CacheCall } from "../../lib/cache/store.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import { readEnvironment } from "../../lib/runtime/host.ts";
import { canAsk } from "../../lib/runtime/terminal.ts";
import { accountNames, accountsIn, accountsMeant, accountWithId, isOneUser } from "../../lib/sources/account_choice.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { readAnswer, say, sayLine } from "./output.ts";

/** Returns true if a command without --interactive may ask its user: at a terminal, unless the option's variable forbids it. */
export function mayAskUser(): boolean {
  return canAsk() && readEnvironment("LATCHKEY_INTERACTIVE") !== "never";
}

/** The account that a command line asks for: its user name or home account id, and its tenant. */
interface AccountOptions extends CacheCall {
  readonly nameOrId: string | undefined;
  /** Tenant that chooses among the accounts of one user. The account can be in another one. @default none */
  readonly tenant?: string | undefined;
  /** Tenant that the account must be in. @default none */
  readonly requiredTenant?: string | undefined;
  /** Takes any account of the one user with a home account id: the command has the same effect on each. @default false */
  readonly takesAnyTenant?: boolean;
  /** Lets the user at the terminal choose one of several accounts. @default false */
  readonly mayAsk?: boolean;
  /** The accounts, if the command has listed them. @default they are listed */
  readonly listed?: readonly AccountInfo[];
}

/**
 * Returns the account options of a command that acts on an account. A tenant on the command line is the account's; one from the
 * environment or a profile is for all commands, and only chooses among the accounts of one user.
 */
export function accountOptionsOf(
  line: CommandLine,
): Pick<AccountOptions, "nameOrId" | "tenant" | "requiredTenant" | "mayAsk"> {
  const tenant = line.text("tenant");
  const isRequired = line.origin("tenant") === "command line";
  return {
    nameOrId: line.text("account"),
    tenant,
    requiredTenant: isRequired ? tenant : undefined,
    mayAsk: mayAskUser(),
  };
}

/**
 * Chooses the account with a user name or home account id, or the only account. The tenant chooses where one user has accounts in
 * several. Otherwise a user at a terminal chooses.
 *
 * @throws {UsageError} if there are several, and no user can choose; if the required tenant is neither an id nor a domain.
 * @throws {LatchkeyError} `account_not_found` if no account matches; `broker_unavailable` if a required broker cannot be used.
 */
export async function chooseAccount(
  app: PublicClientApplication,
  { nameOrId, tenant, requiredTenant, takesAnyTenant, mayAsk = false, listed, signal }: AccountOptions,
): Promise<AccountInfo> {
  if (requiredTenant !== undefined && !isTenant(requiredTenant)) {
    throw new UsageError(`--tenant takes a tenant's id, not ${JSON.stringify(requiredTenant)}`);
  }
  const all = listed ?? await app.getAccounts({ signal });
  const meant = accountsMeant(all, { nameOrId, tenant });
  const inTenant = requiredTenant === undefined ? meant : accountsIn(meant, requiredTenant);
  if (meant.length > 0 && inTenant.length === 0) {
    throw new LatchkeyError(
      "account_not_found",
      `No account is in the tenant ${requiredTenant}: there is ${accountNames(meant).join(", ")}`,
      { remedy: { kind: "list_accounts", when: "To find the id of the account's tenant" } },
    );
  }
  const accounts = takesAnyTenant ? oneOfEachUser(inTenant) : inTenant;
  if (accounts.length > 1 && mayAsk) return await askForAccount(accounts, signal);
  if (accounts.length > 1) throw new UsageError(ambiguous(accounts, { nameOrId, tenant }));
  if (accounts[0]) return accounts[0];
  const why = await whyNoAccount(app, nameOrId, signal);
  throw new LatchkeyError("account_not_found", noAccount(nameOrId, why), {
    remedy: { kind: "list_accounts", or: { kind: "sign_in" } },
  });
}

/**
 * Resolves `--account` for a token: a user name, or a home account id, which tells two accounts of one user name apart. An OpenID
 * provider's can be any string. If `mayAsk`, a user at a terminal chooses one of several accounts: a browser that opened would not
 * say why. A broker has a choice of its own.
 *
 * @throws {LatchkeyError} `account_not_found` if no account has this home account id.
 */
export async function accountMeant(
  app: PublicClientApplication,
  wish: AccountOptions,
): Promise<Pick<AcquireTokenRequest, "account" | "username">> {
  const { nameOrId, tenant, mayAsk, signal } = wish;
  if (nameOrId !== undefined && isEntraId(nameOrId)) return { account: await chooseAccount(app, wish) };
  let listed: readonly AccountInfo[] | undefined;
  if (nameOrId !== undefined && !isUsername(nameOrId)) {
    listed = await app.getAccounts({ signal });
    const account = accountWithId(listed, nameOrId);
    if (account) return { account };
  }
  if (!mayAsk || (await app.brokerStatus({ signal })).state === "active") return { username: nameOrId };
  const accounts = accountsMeant(listed ?? await app.getAccounts({ signal }), { username: nameOrId, tenant });
  return accounts.length < 2 ? { username: nameOrId } : { account: await askForAccount(accounts, signal) };
}

/** Returns the user name of `--account`, which must sign in: for a home account id, that of the account. */
export async function usernameOf(
  app: PublicClientApplication,
  line: CommandLine,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const nameOrId = line.text("account");
  if (nameOrId === undefined || !isEntraId(nameOrId)) return nameOrId;
  const wish = { nameOrId, tenant: line.text("tenant"), mayAsk: mayAskUser(), signal };
  return (await chooseAccount(app, wish)).username;
}

/** Returns the message that no account matches, with the reason of {@linkcode whyNoAccount}. */
export function noAccount(nameOrId: string | undefined, why: string | undefined): string {
  const who = nameOrId === undefined ? "" : ` ${nameOrId}`;
  return `There is no account${who}${why === undefined ? "" : `: ${why}`}`;
}

/**
 * Explains why there is no account; `undefined` with an active broker: there is no more to say than that it has none.
 *
 * @throws {LatchkeyError} `broker_unavailable` if a broker is installed and cannot be started: it may have the account.
 */
export async function whyNoAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { state, reason, failure } = await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (failure) throw failure;
  if (state === "active") return undefined;
  const why = `nothing is stored ${given === undefined ? "for this app" : "of it for this app"}`;
  return state === "off" ? why : `${why}, and no broker could be asked: ${reason}`;
}

/** Returns one account for each home account id: in the home tenant, or the first one. */
function oneOfEachUser(accounts: readonly AccountInfo[]): readonly AccountInfo[] {
  const users = [...Map.groupBy(accounts, ({ homeAccountId }) => idKey(homeAccountId)).values()];
  return users.map((ofUser) => accountsMeant(ofUser, { nameOrId: ofUser[0]!.homeAccountId })[0]!);
}

/** Lists the accounts so that each can be chosen. */
function ambiguous(
  accounts: readonly AccountInfo[],
  { nameOrId, tenant }: Pick<AccountOptions, "nameOrId" | "tenant">,
): string {
  const names = accountNames(accounts).join(", ");
  const tenants = new Set(accounts.map(({ realm }) => realm.toLowerCase()));
  const canTenantChoose = isOneUser(accounts) && tenants.size === accounts.length;
  const account = nameOrId === undefined ? "--account is missing" : `--account ${nameOrId} is ambiguous`;
  if (!canTenantChoose) return `${account}: there are ${names}`;
  const missing = nameOrId === undefined ? "--tenant is missing" : account;
  const why = tenant === undefined ? missing : `No account is in the tenant ${tenant}`;
  const canIdChoose = accounts.every(({ homeAccountId }) =>
    accountsMeant(accounts, { nameOrId: homeAccountId }).length === 1
  );
  const otherWay = canIdChoose ? ", or with the home account id (latchkey accounts)" : "";
  return `${why}: there are ${names}; choose one with --tenant and the tenant's id${otherWay}`;
}

/** Number of answers that are read before a choice is given up. */
const MAX_ANSWERS = 3;

/**
 * Has the user at the terminal choose an account by its number. The choice is for this run only.
 *
 * @throws {LatchkeyError} `user_canceled` if the input ends.
 * @throws {UsageError} if no answer was a number of an account.
 */
async function askForAccount(
  accounts: readonly AccountInfo[],
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  say("several accounts are signed in:");
  accountNames(accounts).forEach((name, index) => sayLine(`${String(index + 1).padStart(3)}  ${name}`));
  for (let left = MAX_ANSWERS; left > 0; left--) {
    const question = `type the number of one (1 to ${accounts.length}) and press Enter; Ctrl-C cancels: `;
    const answer = await readAnswer(question, signal);
    if (answer === undefined) throw new LatchkeyError("user_canceled", "No account was chosen");
    const account = /^\d{1,6}$/.test(answer) ? accounts[Number(answer) - 1] : undefined;
    if (account) return account;
  }
  throw new UsageError("No account was chosen: name one with --account");
}

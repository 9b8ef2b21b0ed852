/**
 * The account that a command is for.
 *
 * @module
 */
import { type AccountInfo, LatchkeyError, type PublicClientApplication } from "../mod.ts";
import { idKey, isSameUsername } from "../lib/account.ts";
import { UsageError } from "./command_line.ts";

/**
 * The account of a user name or home account id, or the only one there is.
 *
 * @param app The application.
 * @param given The user name or home account id, if one was given.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when several could be meant.
 * @throws {LatchkeyError} `account_not_found` when there is none; `broker_unavailable` when a broker is needed.
 */
export async function chooseAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  return await chooseAmong(await app.getAccounts({ signal }), { app, given, signal });
}

/**
 * The same among the accounts of the device's broker, those included that have signed out of this app.
 *
 * @param app An application that requires the broker.
 * @param given The user name or home account id, if one was given.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when several could be meant.
 * @throws {LatchkeyError} `account_not_found` when there is none; `broker_unavailable` when there is no broker.
 */
export async function chooseBrokerAccount(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  return await chooseAmong(await app.getAccounts({ includeSignedOut: true, signal }), { app, given, signal });
}

async function chooseAmong(
  accounts: readonly AccountInfo[],
  { app, given, signal }: {
    readonly app: PublicClientApplication;
    readonly given: string | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<AccountInfo> {
  const [account, ...more] = given === undefined ? accounts : accounts.filter((each) => isCalled(each, given));
  if (account && more.length === 0) return account;
  if (account) throw new UsageError(whichOf([account, ...more], given));
  const why = await whyNobody(app, given, signal), who = given === undefined ? "" : ` ${given}`;
  throw new LatchkeyError("account_not_found", `There is no account${who}${why === undefined ? "" : `: ${why}`}`, {
    hint: "See latchkey accounts for those that there are, or sign in: latchkey login",
  });
}

/**
 * Why there is no account, in words.
 *
 * @param app The application that has none.
 * @param given The user name or home account id that it has none of, if one was given.
 * @param signal Gives up, with its reason.
 * @returns `undefined` where a broker serves: it has none, and there is no more to say.
 */
export async function whyNobody(
  app: PublicClientApplication,
  given: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { state, reason } = await app.brokerStatus({ signal });
  signal?.throwIfAborted();
  if (state === "active") return undefined;
  const why = `nothing is kept ${given === undefined ? "for this app" : "of it for this app"}`;
  return state === "off" ? why : `${why}, and there was no broker to ask: ${reason}`;
}

function isCalled({ username, homeAccountId }: AccountInfo, given: string): boolean {
  return isSameUsername(username, given) || idKey(homeAccountId) === idKey(given);
}

/** A user name that several have is of no use: they are told apart by their home account ids. */
function whichOf(accounts: readonly AccountInfo[], given: string | undefined): string {
  const byName = Map.groupBy(accounts, ({ username }) => username.toLowerCase());
  const names = accounts.map(({ username, homeAccountId }) => {
    if (!username) return homeAccountId;
    return byName.get(username.toLowerCase())!.length === 1 ? username : `${homeAccountId} (${username})`;
  });
  const why = given === undefined ? "is missing" : `${given} can be several`;
  return `--account ${why}: there are ${names.join(", ")}`;
}

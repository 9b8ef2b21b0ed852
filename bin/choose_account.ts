/**
 * The account that a command is for.
 *
 * @module
 */
import { type AccountInfo, LatchkeyError, type PublicClientApplication } from "../mod.ts";
import { UsageError } from "./command_line.ts";

/**
 * The account of a user name, or the only one there is.
 *
 * @param app The application.
 * @param username The user name, if one was given.
 * @param signal Gives up, with its reason.
 * @throws {UsageError} when several could be meant.
 * @throws {LatchkeyError} `account_not_found` when there is none; `broker_unavailable` when a broker is needed.
 */
export async function chooseAccount(
  app: PublicClientApplication,
  username: string | undefined,
  signal: AbortSignal | undefined,
): Promise<AccountInfo> {
  const [account, ...more] = await app.getAccounts({ username, signal });
  if (account && more.length === 0) return account;
  if (account) {
    const names = [account, ...more].map((each) => each.username || each.homeAccountId);
    throw new UsageError(`--account is missing: there are ${names.join(", ")}`);
  }
  const { reason } = await app.brokerStatus({ signal }), who = username === undefined ? "" : ` ${username}`;
  signal?.throwIfAborted();
  throw new LatchkeyError("account_not_found", `There is no account${who}${reason === null ? "" : `: ${reason}`}`, {
    hint: "See latchkey accounts for those that there are, or sign in: latchkey login",
  });
}

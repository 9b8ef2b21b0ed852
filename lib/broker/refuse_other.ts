/**
 * Whose token a broker gave.
 *
 * @module
 */
import { type AccountInfo, isExpectedAccount } from "../account.ts";
import { LatchkeyError } from "../errors.ts";
import type { AuthenticationResult } from "../token.ts";
import { printable } from "../json_values.ts";

/**
 * The account of the device, or of a confused broker, may be another person's than the one who is expected.
 *
 * @param result What the broker answered.
 * @param account The account that was asked for.
 * @param username The user name that was asked for, when no account was.
 * @throws {LatchkeyError} `interaction_required` when it is somebody else's.
 */
export function refuseOther(
  result: AuthenticationResult,
  account: AccountInfo | undefined,
  username: string | undefined,
): void {
  if (isExpectedAccount(result.account, { account, username })) return;
  const [answered, expected] = [result.account.username, account?.username ?? username!].map(printable);
  throw new LatchkeyError(
    "interaction_required",
    `The broker answered for ${answered || "another account"}, not for ${expected}`,
    {
      correlationId: result.correlationId,
      hint: `Sign in to the device's broker as ${expected}`,
    },
  );
}

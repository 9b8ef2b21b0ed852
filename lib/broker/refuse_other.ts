/**
 * Answers of a broker that are not what was asked for: another person's, or of a sign-in too long ago.
 *
 * @module
 */
import { type AccountInfo, isSameAccount, isSameUsername } from "../account.ts";
import { LatchkeyError } from "../errors.ts";
import type { AuthenticationResult } from "../token.ts";
import { printable } from "./json_values.ts";

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
  const isExpected = account
    ? isSameAccount(account, { ...result.account, realm: account.realm })
    : username === undefined || isSameUsername(result.account.username, username);
  if (isExpected) return;
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

/**
 * Refuses an answer of somebody who signed in too long ago, or who knows when.
 *
 * @param result What the broker answered.
 * @param maxAge How many seconds ago the person may have typed a password at most.
 * @param now The time, in milliseconds since 1970.
 * @throws {LatchkeyError} `interaction_required`
 */
export function refuseOld(result: AuthenticationResult, maxAge: number, now: number): void {
  const at = result.idTokenClaims?.auth_time;
  if (typeof at === "number" && now / 1000 - at <= maxAge) return;
  throw new LatchkeyError("interaction_required", `The sign-in is not known to be of the last ${maxAge} seconds`, {
    correlationId: result.correlationId,
    hint: "Sign in again: latchkey login, or acquireTokenInteractive",
  });
}

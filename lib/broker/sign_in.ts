/**
 * A sign-in through a broker: silently first, then by a window.
 *
 * @module
 */
import { type AccountInfo, isSameUsername } from "../account.ts";
import { LatchkeyError, PERSON_NEEDED } from "../errors.ts";
import type { Prompt } from "../request.ts";
import type { AuthenticationResult } from "../token.ts";
import { refuseOther } from "./refuse_other.ts";

/** What decides over the way to a token. */
export interface SignIn {
  /** What the person is asked for. */
  readonly prompt?: Prompt | undefined;
  /** User name of the person who is expected. */
  readonly loginHint?: string | undefined;
}

/** The steps that a sign-in is made of. */
export interface SignInSteps {
  /** The accounts that the broker knows. */
  accounts(): Promise<readonly AccountInfo[]>;
  /** A token without a window: for an account, else for the one that is signed in to the device. */
  silently(account: AccountInfo | undefined): Promise<AuthenticationResult>;
  /** A token by a window. */
  byWindow(): Promise<AuthenticationResult>;
}

/** The broker's own words for "a person has to sign in": interaction required, account unusable. */
const WINDOW_HELPS: readonly number[] = [2, 13];

/**
 * Signs in as MSAL Python does: a window only where the prompt asks for one, or nothing else gave a token.
 *
 * @param signIn What decides over the way.
 * @param steps The steps.
 * @param signal Ends it with its reason.
 * @returns The token.
 * @throws {LatchkeyError} any refusal that a window would not mend; with the prompt `none`, every one.
 */
export async function signIn(
  { prompt, loginHint }: SignIn,
  steps: SignInSteps,
  signal: AbortSignal,
): Promise<AuthenticationResult> {
  if (prompt !== undefined && prompt !== "none") return await steps.byWindow();
  if (loginHint !== undefined) {
    try {
      const [account, ...more] = (await steps.accounts()).filter(({ username }) => isSameUsername(username, loginHint));
      if (account && more.length === 0) return await steps.silently(account);
    } catch (error) {
      if (signal.aborted || !(error instanceof LatchkeyError)) throw error;
    }
  }
  try {
    const result = await steps.silently(undefined);
    refuseOther(result, undefined, loginHint);
    return result;
  } catch (error) {
    if (prompt === "none" || signal.aborted || !isMendedByWindow(error)) throw error;
  }
  return await steps.byWindow();
}

/** Refusals of our own, without a status, say that the answer was another's, or not to be used. */
function isMendedByWindow(error: unknown): boolean {
  if (!(error instanceof LatchkeyError)) return false;
  return error.broker ? WINDOW_HELPS.includes(error.broker.status) : PERSON_NEEDED.has(error.code);
}

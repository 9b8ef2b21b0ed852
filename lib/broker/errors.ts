/**
 * A broker's status numbers as error codes.
 *
 * @module
 */
import { errorCodesIn, type HintContext, hintFor } from "../aadsts.ts";
import { escapeControlCharacters } from "../encoding.ts";
import { LatchkeyError, type LatchkeyErrorCode } from "../errors.ts";

/** MSALRuntime's statuses, by their number. */
const CODES: readonly LatchkeyErrorCode[] = [
  "unexpected", //              0 unexpected
  "unexpected", //              1 reserved
  "interaction_required", //    2 interaction required
  "no_network", //              3 no network
  "temporarily_unavailable", // 4 network temporarily unavailable
  "temporarily_unavailable", // 5 server temporarily unavailable
  "refused", //                 6 API contract violation
  "user_canceled", //           7 user cancelled
  "user_canceled", //           8 application cancelled
  "configuration", //           9 incorrect configuration
  "unexpected", //             10 insufficient buffer
  "untrusted_authority", //    11 authority untrusted
  "account_unusable", //       12 user switched
  "account_unusable", //       13 account unusable
  "account_unusable", //       14 user data removal required
  "unexpected", //             15 key not found
  "account_not_found", //      16 account not found
  "temporarily_unavailable", // 17 transient error
  "interaction_required", //   18 account switch
  "broker_unavailable", //     19 required broker missing
  "refused", //                20 device not registered
  "broker_unavailable", //     21 fall back to native MSAL
];

/** What stands on the wire from 15 on; up to 14 the numbers agree. */
const WIRE: Readonly<Record<number, number>> = { 15: 17, 16: 18, 17: 20, 18: 15, 19: 16, 20: 19, 21: 21 };

/**
 * Translates a status of the wire.
 *
 * @param wireStatus The number that a broker sent.
 * @returns MSALRuntime's number for it; 0 for one that has no meaning.
 */
export function statusOfWire(wireStatus: number): number {
  if (Number.isInteger(wireStatus) && wireStatus >= 0 && wireStatus <= 14) return wireStatus;
  return WIRE[wireStatus] ?? 0;
}

/**
 * The error code of a status.
 *
 * @param status MSALRuntime's number.
 * @returns The code; `unexpected` for a number that has no meaning.
 */
export function codeOfStatus(status: number): LatchkeyErrorCode {
  return CODES[status] ?? "unexpected";
}

const SIGN_IN = "A person has to sign in: latchkey login, or acquireTokenInteractive";
const SIGN_IN_AGAIN = "Sign in again: latchkey login, or acquireTokenInteractive";
const LATER = "Try again in a minute";
const REGISTER = "Register the device in the Intune app (Company Portal); dsreg --status tells how it stands";

/** What to do where the server gave no number of its own. */
const HINTS: Readonly<Record<number, string>> = {
  2: SIGN_IN,
  3: "See that the machine is online, and that its proxy lets login.microsoftonline.com through",
  4: LATER,
  5: LATER,
  9: "Check the client id, the tenant and the redirect URIs of the app registration",
  11: "Check --authority (authority): the broker does not know its host",
  12: SIGN_IN_AGAIN,
  13: SIGN_IN_AGAIN,
  14: SIGN_IN_AGAIN,
  15: "Unlock the login keyring (latchkey doctor), then sign in again",
  16: "See latchkey accounts (getAccounts) for the accounts that there are, or sign in: latchkey login",
  17: LATER,
  18: SIGN_IN,
  19: "Install microsoft-identity-broker, which comes with the Intune app",
  20: REGISTER,
  21: "Go without the broker: --broker never",
};

/**
 * What to do about a status.
 *
 * @param status MSALRuntime's number.
 * @returns A sentence, or `undefined` when nothing is known.
 */
export function hintOfStatus(status: number): string | undefined {
  return HINTS[status];
}

/** How a broker refused. */
interface BrokerRefusal {
  /** MSALRuntime's number. */
  readonly status: number;
  /** What the status was narrowed down to. @default 0 */
  readonly subStatus?: number | undefined;
  /** The place in the broker's code. */
  readonly tag?: number | undefined;
  /** Platform error number. */
  readonly errorCode?: number | undefined;
  /** What the broker says of it, as it came. */
  readonly text: string;
  /** Microsoft Entra's `suberror`, as it came. */
  readonly subError?: string | undefined;
  /** A claims challenge, as JSON text. */
  readonly claims?: string | undefined;
}

/** What a refusal is told with. */
export interface RefusalContext extends HintContext {
  /** UUID of the request. */
  readonly correlationId: string;
}

/** Makes the error of a refusal. */
export function refusalError(refusal: BrokerRefusal, context: RefusalContext): LatchkeyError {
  const { status, subStatus = 0, tag, errorCode, claims } = refusal;
  const errorDescription = escapeControlCharacters(refusal.text), errorCodes = errorCodesIn(errorDescription);
  const subError = escapeControlCharacters(refusal.subError ?? "") || undefined;
  return new LatchkeyError(codeOfStatus(status), `The broker refused: ${errorDescription || `status ${status}`}`, {
    errorDescription,
    errorCodes,
    subError,
    claims,
    correlationId: context.correlationId,
    broker: { status, subStatus, ...(tag !== undefined && { tag }), ...(errorCode !== undefined && { errorCode }) },
    hint: hintFor({ errorCodes, subError, text: errorDescription }, context) ?? hintOfStatus(status),
  });
}

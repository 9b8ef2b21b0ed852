/**
 * A broker's status numbers as error codes.
 *
 * @module
 */
import type { LatchkeyErrorCode } from "../errors.ts";

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

import { describe, expect, test } from "bun:test";
import { commandWords, EXIT } from "../../../bin/cli/failures.ts";
import { codeOfStatus, remedyOfStatus, statusOfWire } from "../../../lib/broker/errors.ts";
import type { LatchkeyErrorCode } from "../../../lib/errors.ts";
import { hintOf } from "../../../lib/remedies.ts";

type Row = [status: number, meaning: string, code: LatchkeyErrorCode, exit: number, hint: RegExp | undefined];

/** MSALRuntime's statuses: all that there are. */
const ROWS: readonly Row[] = [
  [0, "unexpected", "unexpected", 1, undefined],
  [1, "reserved", "unexpected", 1, undefined],
  [2, "interaction required", "interaction_required", 3, /Sign in: latchkey login$/],
  [3, "no network", "no_network", 5, /network.*proxy.*login\.microsoftonline\.com/],
  [4, "network temporarily unavailable", "temporarily_unavailable", 5, /in a minute/],
  [5, "server temporarily unavailable", "temporarily_unavailable", 5, /in a minute/],
  [6, "API contract violation", "refused", 1, undefined],
  [7, "user cancelled", "user_canceled", 4, undefined],
  [8, "application cancelled", "user_canceled", 4, undefined],
  [9, "incorrect configuration", "configuration", 1, /--client-id.*--tenant.*redirect URI/],
  [10, "insufficient buffer", "unexpected", 1, undefined],
  [11, "authority untrusted", "untrusted_authority", 1, /--authority/],
  [12, "user switched", "account_unusable", 3, /Sign in again: latchkey login/],
  [13, "account unusable", "account_unusable", 3, /Sign in again: latchkey login/],
  [14, "user data removal required", "account_unusable", 3, /Sign in again: latchkey login/],
  [15, "key not found", "unexpected", 1, /keyring.*latchkey doctor/],
  [16, "account not found", "account_not_found", 3, /latchkey accounts.*latchkey login/],
  [17, "transient error", "temporarily_unavailable", 5, /in a minute/],
  [18, "account switch", "interaction_required", 3, /Sign in: latchkey login/],
  [19, "required broker missing", "broker_unavailable", 5, /Install microsoft-identity-broker/],
  [20, "device not registered", "refused", 1, /Register the device.*dsreg --status/],
  [21, "fall back to native MSAL", "broker_unavailable", 5, /--broker never/],
];

test.each(ROWS as Row[])("codeOfStatus(%d), %s, is %s, and the command line exits with %d", (status, _, code, exit) => {
  expect(codeOfStatus(status)).toBe(code);
  expect(EXIT[code]).toBe(exit);
});

test.each(ROWS as Row[])(
  "remedyOfStatus(%d), %s, says what helps, in the command line's words",
  (status, _, __, ___, hint) => {
    const remedy = remedyOfStatus(status, "linux");
    expect(remedy && hintOf(remedy, commandWords())).toEqual(hint && expect.stringMatching(hint));
  },
);

describe("A number without meaning", () => {
  test.each([22, 99, -1, 2.5, NaN, Infinity])("%p is unexpected", (status) => {
    expect(codeOfStatus(status)).toBe("unexpected");
    expect(remedyOfStatus(status, "linux")).toBeUndefined();
    expect(statusOfWire(status)).toBe(0);
  });
});

describe("statusOfWire()", () => {
  test.each(Array.from({ length: 15 }, (_, status) => [status]))("%d means the same on the wire", (status) => {
    expect(statusOfWire(status)).toBe(status);
  });

  // Seen by feeding each number to Microsoft's client.
  test.each([[15, 17], [16, 18], [17, 20], [18, 15], [19, 16], [20, 19], [21, 21]])(
    "%d on the wire means %d",
    (wire, status) => {
      expect(statusOfWire(wire)).toBe(status);
    },
  );
});

import { expect, test } from "bun:test";
import { codeOfStatus, statusOfWire } from "../../../lib/broker/broker_status.ts";

// wire, meaning, code: the wire's numbers agree with MSALRuntime's up to 14.
const ROWS = [
  [0, 0, "unexpected"],
  [1, 1, "unexpected"],
  [2, 2, "interaction_required"],
  [3, 3, "no_network"],
  [4, 4, "temporarily_unavailable"],
  [5, 5, "temporarily_unavailable"],
  [6, 6, "refused"],
  [7, 7, "user_canceled"],
  [8, 8, "user_canceled"],
  [9, 9, "configuration"],
  [10, 10, "unexpected"],
  [11, 11, "untrusted_authority"],
  [12, 12, "account_unusable"],
  [13, 13, "account_unusable"],
  [14, 14, "account_unusable"],
  [15, 17, "temporarily_unavailable"],
  [16, 18, "interaction_required"],
  [17, 20, "refused"],
  [18, 15, "unexpected"],
  [19, 16, "account_not_found"],
  [20, 19, "broker_unavailable"],
  [21, 21, "broker_unavailable"],
  [22, 0, "unexpected"],
  [99, 0, "unexpected"],
  [-1, 0, "unexpected"],
  [2.5, 0, "unexpected"],
  [1e300, 0, "unexpected"],
] as const;

test.each(ROWS as unknown as [number, number, string][])("status %d on the wire means %d: %s", (wire, status, code) => {
  expect(statusOfWire(wire)).toBe(status);
  expect(codeOfStatus(status)).toBe(code as ReturnType<typeof codeOfStatus>);
});

test("codeOfStatus() of a number without meaning is unexpected", () => {
  expect(codeOfStatus(22)).toBe("unexpected");
  expect(codeOfStatus(-1)).toBe("unexpected");
});

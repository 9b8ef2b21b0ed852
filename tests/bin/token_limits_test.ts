// The time that `latchkey token --min-ttl` gives to a renewal.
import { expect, test } from "bun:test";
import { renewalLimitMs } from "../../bin/commands/token.ts";

// A renewal was given up before it was sent if the token had 5 s or less left.
test.each([[-1, 2_000], [0, 2_000], [5, 2_000], [7, 2_000], [8, 3_000], [69, 64_000], [70, undefined]])(
  "renewalLimitMs() of a token with %p s left is %p",
  (secondsLeft, limitMs) => {
    expect(renewalLimitMs(secondsLeft)).toBe(limitMs);
  },
);

import { describe, expect, test } from "bun:test";
import { holderOf, isStale, type LockSigns, lockText } from "../../../lib/platform/lock_holder.ts";

describe("holderOf()", () => {
  test("reads the number that latchkey and MSAL write", () => {
    expect([lockText(1234), "1234", "1234 /usr/bin/az", "1234\n"].map(holderOf)).toEqual([1234, 1234, 1234, 1234]);
  });

  test("reads no number that no process has", () => {
    expect(["", "0", "-1", "1e3", "12a", " 12", "2147483648", "99999999999", "az"].map(holderOf)).toEqual(
      Array(9).fill(undefined),
    );
  });
});

describe("isStale()", () => {
  const signs: LockSigns = { text: "1234 latchkey", isGone: () => false, ageMs: 0, watchedMs: 0, staleMs: 60_000 };
  const stale = (more: Partial<LockSigns>) => isStale({ ...signs, ...more });

  test("believes the lock of a process that lives, until it did not change for staleMs and was seen not to for 2 seconds", () => {
    expect(stale({ ageMs: 59_999, watchedMs: 59_999 })).toBe(false);
    expect(stale({ ageMs: 3_600_000, watchedMs: 1999 })).toBe(false);
    expect(stale({ ageMs: 60_000, watchedMs: 2000 })).toBe(true);
    expect(stale({ ageMs: -3_600_000, watchedMs: 60_000 })).toBe(true);
  });

  test("believes the lock of a process that is gone for 2 seconds, seen or by the file's time", () => {
    const isGone = () => true;
    expect(stale({ isGone, ageMs: 1999, watchedMs: 1999 })).toBe(false);
    expect(stale({ isGone, ageMs: 2000 })).toBe(true);
    expect(stale({ isGone, ageMs: -3_600_000, watchedMs: 2000 })).toBe(true);
  });

  test("believes a lock of latchkey's for 5 seconds in which it is seen not to change, when no more can be known", () => {
    const isGone = () => undefined;
    expect(stale({ isGone, ageMs: 3_600_000, watchedMs: 1999 })).toBe(false);
    expect(stale({ isGone, watchedMs: 4999 })).toBe(false);
    expect(stale({ isGone, watchedMs: 5000 })).toBe(true);
    // MSAL's give no signs of life.
    expect(stale({ isGone, text: "1234 /usr/bin/az", watchedMs: 59_999 })).toBe(false);
    expect(stale({ isGone, text: "1234 /usr/bin/az", watchedMs: 60_000 })).toBe(true);
  });

  test("believes an empty lock for 10 seconds", () => {
    for (const text of ["", "az", "99999999999"]) {
      expect(stale({ text, ageMs: 9999, watchedMs: 9999 })).toBe(false);
      expect(stale({ text, ageMs: 10_000 })).toBe(true);
    }
  });

  test("believes a lock that it may not read for staleMs", () => {
    expect(stale({ text: undefined, ageMs: 59_999, watchedMs: 3000 })).toBe(false);
    expect(stale({ text: undefined, ageMs: 60_000, watchedMs: 3000 })).toBe(true);
  });

  test("asks for the process no sooner than it matters", () => {
    const isGone = () => {
      throw new Error("asked");
    };
    expect(stale({ isGone, ageMs: 1999, watchedMs: 1999 })).toBe(false);
    expect(() => stale({ isGone, ageMs: 2000 })).toThrow("asked");
  });
});

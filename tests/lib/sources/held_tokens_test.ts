import { expect, spyOn, test } from "bun:test";
import { MemoryCache } from "../../../lib/sources/broker.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

const MINUTE = 60_000;
const endingAt = (time: number) => ({ expiresOn: new Date(time) }) as AuthenticationResult;

test("HeldTokens.find() gives what is good for five more minutes", () => {
  const held = new MemoryCache(), token = endingAt(10 * MINUTE);
  held.hold(["a", "b"], token, 0);
  expect(held.find("a", 5 * MINUTE - 1)).toBe(token);
  expect(held.find("b", 5 * MINUTE - 1)).toBe(token);
  expect(held.find("a", 5 * MINUTE)).toBeUndefined();
  expect(held.find("c", 0)).toBeUndefined();
});

test("HeldTokens.findOld() gives what is held, good or not, until it has ended and another is held", () => {
  const held = new MemoryCache(), token = endingAt(MINUTE);
  held.hold(["a"], token, 0);
  expect([held.find("a", 0), held.findOld("a")]).toEqual([undefined, token]);
  held.hold(["b"], endingAt(20 * MINUTE), MINUTE);
  expect(held.findOld("a")).toBeUndefined();
});

test("HeldTokens.hold() puts a new token in the place of an old one", () => {
  const held = new MemoryCache(), token = endingAt(20 * MINUTE);
  held.hold(["a"], endingAt(10 * MINUTE), 0);
  held.hold(["a"], token, 0);
  expect(held.find("a", 0)).toBe(token);
});

// After the clock had been a day ahead for a while, a token that it was received in counted as good for 25 hours.
test("HeldTokens.find() bounds a token by what was left of it when it was received", () => {
  const held = new MemoryCache(), DAY = 24 * 60 * MINUTE, ahead = DAY;
  const token = { ...endingAt(ahead + 60 * MINUTE), accessToken: "one" };
  const clock = spyOn(performance, "now").mockReturnValue(0);
  try {
    held.hold(["a"], token, ahead);
    expect(held.find("a", ahead)).toBe(token);
    expect(held.find("a", 0)!.expiresOn).toEqual(new Date(60 * MINUTE)); // the clock was set right
    clock.mockReturnValue(50 * MINUTE);
    expect(held.find("a", 50 * MINUTE)!.expiresOn).toEqual(new Date(60 * MINUTE));
    clock.mockReturnValue(55 * MINUTE);
    expect(held.find("a", 55 * MINUTE)).toBeUndefined();
  } finally {
    clock.mockRestore();
  }
});

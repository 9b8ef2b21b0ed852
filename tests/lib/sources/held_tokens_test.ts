import { expect, spyOn, test } from "bun:test";
import { MemoryCache } from "../../../lib/sources/broker.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

const MINUTE = 60_000;
const endingAt = (time: number) => ({ expiresOn: new Date(time) }) as AuthenticationResult;

test("MemoryCache.find() returns what is good for five more minutes", () => {
  const cache = new MemoryCache(), token = endingAt(10 * MINUTE);
  cache.save(["a", "b"], token, 0);
  expect(cache.find("a", 5 * MINUTE - 1)).toBe(token);
  expect(cache.find("b", 5 * MINUTE - 1)).toBe(token);
  expect(cache.find("a", 5 * MINUTE)).toBeUndefined();
  expect(cache.find("c", 0)).toBeUndefined();
});

test("MemoryCache.findAny() returns what is cached, good or not, until it has ended and another is saved", () => {
  const cache = new MemoryCache(), token = endingAt(MINUTE);
  cache.save(["a"], token, 0);
  expect([cache.find("a", 0), cache.findAny("a")]).toEqual([undefined, token]);
  cache.save(["b"], endingAt(20 * MINUTE), MINUTE);
  expect(cache.findAny("a")).toBeUndefined();
});

test("MemoryCache.save() puts a new token in the place of an old one", () => {
  const cache = new MemoryCache(), token = endingAt(20 * MINUTE);
  cache.save(["a"], endingAt(10 * MINUTE), 0);
  cache.save(["a"], token, 0);
  expect(cache.find("a", 0)).toBe(token);
});

// After the clock had been a day ahead for a while, a token that it was received in counted as good for 25 hours.
test("MemoryCache.find() bounds a token by what was left of it when it was received", () => {
  const cache = new MemoryCache(), DAY = 24 * 60 * MINUTE, ahead = DAY;
  const token = { ...endingAt(ahead + 60 * MINUTE), accessToken: "one" };
  const clock = spyOn(performance, "now").mockReturnValue(0);
  try {
    cache.save(["a"], token, ahead);
    expect(cache.find("a", ahead)).toBe(token);
    expect(cache.find("a", 0)!.expiresOn).toEqual(new Date(60 * MINUTE)); // the clock was set right
    clock.mockReturnValue(50 * MINUTE);
    expect(cache.find("a", 50 * MINUTE)!.expiresOn).toEqual(new Date(60 * MINUTE));
    clock.mockReturnValue(55 * MINUTE);
    expect(cache.find("a", 55 * MINUTE)).toBeUndefined();
  } finally {
    clock.mockRestore();
  }
});

// A token stands under up to three keys. With another one under the last of them, it was good for 25 hours again.
test("MemoryCache.find() bounds a token by each of its keys, also after another one was saved, or it ended", () => {
  const cache = new MemoryCache(), DAY = 24 * 60 * MINUTE;
  const token = (name: string) => ({ ...endingAt(DAY + 60 * MINUTE), accessToken: name });
  const clock = spyOn(performance, "now").mockReturnValue(0);
  try {
    cache.save(["a", "b"], token("one"), DAY);
    cache.save(["b"], token("other"), DAY);
    clock.mockReturnValue(50 * MINUTE);
    expect(cache.find("a", 50 * MINUTE)!.expiresOn).toEqual(new Date(60 * MINUTE)); // the clock was set right
    clock.mockReturnValue(60 * MINUTE);
    cache.save(["c"], endingAt(2 * 60 * MINUTE), 60 * MINUTE);
    expect([cache.find("a", 60 * MINUTE), cache.findAny("a")]).toEqual([undefined, undefined]);
  } finally {
    clock.mockRestore();
  }
});

import { expect, test } from "bun:test";
import { currentRuntime, isAtLeast } from "../../../lib/runtime/host.ts";

test("currentRuntime() is Bun here", () => {
  expect(currentRuntime()).toEqual({ name: "Bun", version: Bun.version, oldest: "1.3" });
});

test.each([
  ["2.6", "2.6", true],
  ["2.6.10", "2.6", true],
  ["2.10.0", "2.6", true],
  ["3.0.0", "2.6", true],
  ["22.18.0", "22.18", true],
  ["1.3.0-canary.1", "1.3", true],
  ["2.5.9", "2.6", false],
  ["1.46.0", "2.6", false],
  ["22.9.0", "22.18", false],
])("isAtLeast() of %s and %s is %p", (version, oldest, is) => {
  expect(isAtLeast(version, oldest)).toBe(is);
});

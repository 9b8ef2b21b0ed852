import { expect, test } from "bun:test";
import type { TestCase } from "./junit_report.ts";
import { matrixOf } from "./matrix.ts";

const testCase = (group: string, outcome: TestCase["outcome"]): TestCase => ({ name: "t", group, outcome });

test("matrixOf() counts what passed, by shape and path", () => {
  const columns = new Map([
    ["Deno + libdbus", [testCase("with a-1", "passed"), testCase("with a-1", "failed"), testCase("with b", "passed")]],
    ["Bun", [testCase("removal with a-1", "skipped"), testCase("with b", "passed"), testCase("", "passed")]],
  ]);
  const { text, missing } = matrixOf(["a-1", "b"], columns);
  expect(text.split("\n")).toEqual([
    "     Deno + libdbus  Bun",
    "a-1  1/2             0/1",
    "b    1/1             1/1",
    "",
  ]);
  expect(missing).toEqual([]);
});

test("matrixOf() names the cells without a test", () => {
  const columns = new Map([["Bun", [testCase("with a", "passed")]], ["Node", []]]);
  expect(matrixOf(["a", "b"], columns).missing).toEqual(["a on Node", "b on Bun", "b on Node"]);
});

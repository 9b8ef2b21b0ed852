import { expect, test } from "bun:test";
import { lineOfMistake } from "../../lib/line_of_mistake.ts";

test.each([
  ["", 1],
  ["nonsense", 1],
  ['{\n  "a": 1,\n  "b" 2\n}', 3],
  ['{\n  "a": 1\n  "b": 2\n}', 3],
  ['{\n  "a": 1,\n}', 3],
  ['{\n  "a": [1,\n  2}\n', 3],
  ['{\n  "a": "x\n}', 2],
  ['{\n  // why\n  "a": 1\n}', 2],
  ['{"a": {"b": [true, null, -1.5e3, ""]}}\n\n{}', 3],
  ['{\n"a": 1\n', 3],
  ["{a: 1}", 1],
  ["[1,\n,2]", 2],
])("lineOfMistake(%j) is %i", (text, line) => {
  expect(() => JSON.parse(text)).toThrow();
  expect(lineOfMistake(text)).toBe(line);
});

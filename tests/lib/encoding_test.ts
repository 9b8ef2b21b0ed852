import { expect, test } from "bun:test";
import { parseJson, readBase64Json, readTime } from "../../lib/encoding.ts";

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

test("parseJson() takes what a broker sends, and nothing that could not be written again", () => {
  expect(parseJson('{"a":[{"b":null}]}')).toEqual({ a: [{ b: null }] });
  expect(parseJson(nested(50))).toBeArray();
  for (const json of ["", "{", nested(51), nested(100_000), `{"a":${nested(60)}}`]) {
    expect(() => parseJson(json)).toThrow();
  }
});

test("readBase64Json() reads no claims that are too deep", () => {
  expect(readBase64Json(btoa('{"a":1}'))).toEqual({ a: 1 });
  expect(readBase64Json(btoa(`{"a":${nested(1000)}}`))).toBeUndefined();
});

test("readTime() takes no number that is no time", () => {
  for (const none of [undefined, null, "", "soon", 0, -1, NaN, Infinity, 1e300, [], {}, true, "1e400"]) {
    expect(readTime(none)).toBeUndefined();
  }
  expect([readTime(1_700_000_000), readTime(1_700_000_000_000), readTime("1700000000")]).toEqual(
    Array(3).fill(1_700_000_000_000),
  );
});

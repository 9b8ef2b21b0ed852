import { expect, test } from "bun:test";
import { escapeControlCharacters, parseJson, readBase64Json, readTime } from "../../lib/encoding.ts";
import { HOSTILE_TEXTS, UNSAFE } from "../fakes/hostile_texts.ts";

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

test.each(Object.entries(HOSTILE_TEXTS))("printable() takes out %s", (_what, hostile) => {
  expect(escapeControlCharacters(`a${hostile}z`)).not.toMatch(UNSAFE);
  expect(escapeControlCharacters(`a${hostile}z`)).toMatch(/^a.*z$/);
});

test("printable() takes out tokens, also those that are cut, and keeps the rest", () => {
  const token = "eyJhbGciOiJub25lIn0.c2VjcmV0.c2ln";
  expect(escapeControlCharacters(`the token ${token} is bad`)).toBe("the token [concealed] is bad");
  expect(escapeControlCharacters("x".repeat(3_990) + token)).toBe(`${"x".repeat(3_990)}[concealed]`);
  expect(escapeControlCharacters("AADSTS50076: eyes only, see https://contoso.com/")).toBe(
    "AADSTS50076: eyes only, see https://contoso.com/",
  );
});

test("readTime() takes no number that is no time", () => {
  for (const none of [undefined, null, "", "soon", 0, -1, NaN, Infinity, 1e300, [], {}, true, "1e400"]) {
    expect(readTime(none)).toBeUndefined();
  }
  expect([readTime(1_700_000_000), readTime(1_700_000_000_000), readTime("1700000000")]).toEqual(
    Array(3).fill(1_700_000_000_000),
  );
});

import { expect, test } from "bun:test";
import { escapeControlCharacters } from "../../lib/control_characters.ts";
import { HOSTILE_TEXTS, UNSAFE } from "../fakes/hostile_texts.ts";

test.each(Object.entries(HOSTILE_TEXTS))("escapeControlCharacters() takes out %s", (_what, hostile) => {
  expect(escapeControlCharacters(`a${hostile}z`)).not.toMatch(UNSAFE);
  expect(escapeControlCharacters(`a${hostile}z`)).toMatch(/^a.*z$/);
});

test("escapeControlCharacters() takes out tokens, also those that are cut, and keeps the rest", () => {
  const token = "eyJhbGciOiJub25lIn0.c2VjcmV0.c2ln";
  expect(escapeControlCharacters(`the token ${token} is bad`)).toBe("the token [concealed] is bad");
  expect(escapeControlCharacters("x".repeat(3_990) + token)).toBe(`${"x".repeat(3_990)}[concealed]`);
  expect(escapeControlCharacters("AADSTS50076: eyes only, see https://contoso.com/")).toBe(
    "AADSTS50076: eyes only, see https://contoso.com/",
  );
});

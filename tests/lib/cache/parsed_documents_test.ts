import { expect, test } from "bun:test";
import { ParsedDocuments } from "../../../lib/cache/parsed_documents.ts";

const key = "appmetadata-login.microsoftonline.com-app";

test("ParsedDocuments.parse() reads a text once, and a damaged one never", () => {
  const documents = new ParsedDocuments(), document = documents.parse("{}");
  expect(document).toBeDefined();
  expect(documents.parse("{}")).toBe(document!);
  expect(documents.parse('{"a":1}')).not.toBe(document!);
  expect([documents.parse("{"), documents.parse("[]")]).toEqual([undefined, undefined]);
  expect(documents.parse("{}")).toBe(document!);
});

test("ParsedDocuments.replace() holds the new document in the place of the old one", () => {
  const documents = new ParsedDocuments(), old = documents.parse("{}")!;
  const changed = old.with([{ section: "AppMetadata", key, entry: { client_id: "app" } }]);
  const text = documents.replace("{}", changed);
  expect(JSON.parse(text)).toEqual({ AppMetadata: { [key]: { client_id: "app" } } });
  expect(documents.parse(text)).toBe(changed);
  expect(documents.parse("{}")).not.toBe(old);
  expect(old.entry("AppMetadata", key)).toBeUndefined();
});

test("ParsedDocuments.parse() forgets what was used longest ago, and keeps the last however long it is", () => {
  const documents = new ParsedDocuments(), long = (name: string) => `{"${name}":"${"x".repeat(20_000_000)}"}`;
  const texts = [long("a"), long("b")], [first, second] = texts.map((text) => documents.parse(text));
  expect(documents.parse(texts[1])).toBe(second!);
  expect(documents.parse(texts[0])).not.toBe(first!);
  const longer = `{"c":"${"x".repeat(40_000_000)}"}`, document = documents.parse(longer);
  expect(documents.parse(longer)).toBe(document!);
});

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("what CI runs begins with the checks", () => {
  expect(read(".ci/run")).toContain("\nfor script in check test ");
});

test("biome.json excuses no file from a rule", () => {
  expect(JSON.parse(read("biome.json"))).not.toHaveProperty("overrides");
});

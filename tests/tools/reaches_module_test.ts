import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reachesModule } from "./reaches_module.ts";

const root = mkdtempSync(join(tmpdir(), "latchkey-modules-"));
afterAll(() => rmSync(root, { recursive: true }));
mkdirSync(join(root, "a"));
for (
  const [path, text] of Object.entries({
    "a/suite.ts": 'import { two } from "../two.ts"; import "bun:test"; two();',
    "two.ts": 'import type { Bus } from "./bus.ts"; import "./three.ts"; export const two = (): Bus | void => {};',
    "three.ts": 'import "./two.ts"; export const later = () => import("./four.ts");',
    "four.ts": "export {};",
    "bus.ts": "export interface Bus {}",
  })
) writeFileSync(join(root, path), text);

test.each([
  ["a module that it imports", "two.ts", true],
  ["one that its imports do, in a circle and by import()", "four.ts", true],
  ["itself", "a/suite.ts", true],
  ["no module that is imported for its types alone", "bus.ts", false],
  ["no module that is not there", "five.ts", false],
])("reachesModule() finds %s", (_, to, isReached) => {
  expect(reachesModule("a/suite.ts", to, root)).toBe(isReached);
});

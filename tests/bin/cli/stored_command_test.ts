import { expect, test } from "bun:test";
import { isPackageCopy } from "../../../bin/cli/stored_command.ts";

test("isPackageCopy() knows what npx and bunx make", () => {
  const copies = ["/home/jane/.npm/_npx/0a1b/node_modules/.bin/latchkey", "/tmp/bunx-1000-@latchkey/latchkey/x.js"];
  const kept = ["/usr/lib/node_modules/@latchkey/latchkey/dist/x.js", "/home/jane/_npx", "/opt/bunx/latchkey"];
  expect(copies.every(isPackageCopy)).toBe(true);
  expect(isPackageCopy("C:\\Users\\jane\\AppData\\Local\\npm-cache\\_npx\\0a1b\\latchkey.js")).toBe(true);
  expect(kept.filter(isPackageCopy)).toEqual([]);
});

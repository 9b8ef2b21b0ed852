import { expect, test } from "bun:test";
import { packageFoldersAbove } from "../../../lib/runtime/installation.ts";

test.each([
  ["/app/src/main.ts", ["/app/src/node_modules/@a/b", "/app/node_modules/@a/b", "/node_modules/@a/b"]],
  ["/main.ts", ["/node_modules/@a/b"]],
  ["C:\\app\\src\\main.ts", ["C:\\app\\src\\node_modules\\@a\\b", "C:\\app\\node_modules\\@a\\b"]],
  ["C:\\main.ts", []],
  ["\\\\server\\share\\app\\main.ts", ["\\\\server\\share\\app\\node_modules\\@a\\b"]],
  [
    "/app/node_modules/@latchkey/latchkey/dist/x.js",
    [
      "/app/node_modules/@latchkey/latchkey/dist/node_modules/@a/b",
      "/app/node_modules/@latchkey/latchkey/node_modules/@a/b",
      "/app/node_modules/@latchkey/node_modules/@a/b",
      "/app/node_modules/@a/b",
      "/node_modules/@a/b",
    ],
  ],
])("packageFoldersAbove(%j) is where Node looks", (file, folders) => {
  expect(packageFoldersAbove(file, "@a/b")).toEqual(folders);
});

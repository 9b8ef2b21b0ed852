import { expect, test } from "bun:test";
import { isPackageCopy, shimText } from "../../bin/az_shim.ts";
import { UsageError } from "../../bin/cli/command_line.ts";

test("shimText() quotes what a POSIX shell would read", () => {
  const text = shimText(["/opt/it's here/latchkey", "az", "--account=$(reboot)", "--"], false);
  expect(text.split("\n").slice(-2)).toEqual([
    `exec '/opt/it'\\''s here/latchkey' az '--account=$(reboot)' -- "$@"`,
    "",
  ]);
});

test("shimText() quotes what cmd would read", () => {
  const text = shimText(["C:\\Program Files\\latchkey.exe", "az", "--account=%PATH%&reboot", "--"], true);
  expect(text).toBe('@"C:\\Program Files\\latchkey.exe" az "--account=%%PATH%%&reboot" -- %*\r\n');
  expect(() => shimText(['a"b'], true)).toThrow(UsageError);
});

test("isPackageCopy() knows what npx and bunx make", () => {
  const copies = ["/home/jane/.npm/_npx/0a1b/node_modules/.bin/latchkey", "/tmp/bunx-1000-@latchkey/latchkey/x.js"];
  const kept = ["/usr/lib/node_modules/@latchkey/latchkey/dist/x.js", "/home/jane/_npx", "/opt/bunx/latchkey"];
  expect(copies.every(isPackageCopy)).toBe(true);
  expect(isPackageCopy("C:\\Users\\jane\\AppData\\Local\\npm-cache\\_npx\\0a1b\\latchkey.js")).toBe(true);
  expect(kept.filter(isPackageCopy)).toEqual([]);
});

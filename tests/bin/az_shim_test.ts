import { expect, test } from "bun:test";
import { shimText } from "../../bin/az_shim.ts";
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

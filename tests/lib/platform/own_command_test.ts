import { expect, test } from "bun:test";
import { moduleWord } from "../../../lib/platform/own_command.ts";

test.each([
  ["file:///home/jane/my%20tools/bin/latchkey.ts", "/home/jane/my tools/bin/latchkey.ts"],
  [`https://${["jsr", "io"].join(".")}/@latchkey/latchkey/0.1.0/bin/latchkey.ts`, "jsr:@latchkey/latchkey@0.1.0/cli"],
  ["https://contoso.com/bin/latchkey.ts", "https://contoso.com/bin/latchkey.ts"],
])("moduleWord() names %s as %s", (url, word) => {
  expect(moduleWord(url)).toBe(word);
});

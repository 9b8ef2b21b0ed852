import { expect, test } from "bun:test";
import { commandLineLength, MAX_COMMAND_LINE } from "../../../lib/broker/wsl.ts";

/** Words as Microsoft's C runtime takes them out of a command line: backslashes mean something before a quotation mark alone. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined, isQuoted = false;
  for (let at = 0; at < line.length;) {
    const backslashes = /^\\*/.exec(line.slice(at))![0].length, next = line[at + backslashes];
    if (next === '"') {
      word = (word ?? "") + "\\".repeat(backslashes >> 1);
      if (backslashes % 2 === 1) word += '"';
      else isQuoted = !isQuoted;
      at += backslashes + 1;
    } else if (backslashes > 0) {
      word = (word ?? "") + "\\".repeat(backslashes);
      at += backslashes;
    } else if (/[ \t]/.test(next!) && !isQuoted) {
      if (word !== undefined) words.push(word);
      word = undefined;
      at += 1;
    } else {
      word = (word ?? "") + next;
      at += 1;
    }
  }
  return word === undefined ? words : [...words, word];
}

test.each([
  [["program", "word"], "program word"],
  [["C:\\Program Files\\WSL\\a.exe", ""], '"C:\\Program Files\\WSL\\a.exe" ""'],
  [["p", '{"a":"b c"}'], 'p "{\\"a\\":\\"b c\\"}"'],
  [["p", '{"claims":"{\\"a\\":1}"}'], 'p "{\\"claims\\":\\"{\\\\\\"a\\\\\\":1}\\"}"'],
  [["p", "C:\\folder\\", "a b\\"], 'p C:\\folder\\ "a b\\\\"'],
  [["p", "𝒜"], "p 𝒜"],
  [["p", 'a\\\\b \\\\"\\'], 'p "a\\\\b \\\\\\\\\\"\\\\"'],
])("commandLineLength() of %j is the length that Windows sees", (words, line) => {
  expect(wordsOf(line)).toEqual(words);
  expect(commandLineLength(words)).toBe(line.length + 1);
});

test("commandLineLength() is linear in backslashes", () => {
  const backslashes = "\\".repeat(30_000);
  expect(commandLineLength([`${backslashes} "`])).toBe(30_000 + 2 + 1 + 2 + 1);
  expect(commandLineLength([` ${backslashes}`])).toBe(60_000 + 1 + 2 + 1);
  expect(commandLineLength([`"${"\\".repeat(1_000_000)}`])).toBe(2_000_005);
});

test("commandLineLength() counts UTF-16 units, and the zero at the end", () => {
  expect(commandLineLength(["x".repeat(MAX_COMMAND_LINE - 1)])).toBe(MAX_COMMAND_LINE);
  expect(commandLineLength(["💡"])).toBe(3);
});

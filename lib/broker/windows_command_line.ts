/**
 * Command lines as Windows has them: one text, of limited length. Pure.
 *
 * @module
 */

/** Characters that one may have (CreateProcess), the zero at its end included. */
export const MAX_COMMAND_LINE = 32_767;

/**
 * How long a command line becomes when its words are put in quotes as Windows' programs take them out again: quotation marks
 * and the backslashes before them get one more backslash each.
 *
 * @param words The program and its arguments.
 * @returns Its length in UTF-16 units, the zero at its end included; without the quotes where that is too long already.
 */
export function commandLineLength(words: readonly string[]): number {
  const bare = words.reduce((length, word) => length + word.length + 1, 0);
  return bare > MAX_COMMAND_LINE ? bare : words.reduce((length, word) => length + quotedLength(word) + 1, 0);
}

function quotedLength(word: string): number {
  if (word !== "" && !/[\s"]/.test(word)) return word.length;
  let length = word.length + 2, backslashes = 0;
  for (let at = 0; at <= word.length; at++) {
    if (word[at] === "\\") {
      backslashes++;
      continue;
    }
    if (word[at] === '"') length += backslashes + 1;
    if (at === word.length) length += backslashes; // the closing quotation mark comes next
    backslashes = 0;
  }
  return length;
}

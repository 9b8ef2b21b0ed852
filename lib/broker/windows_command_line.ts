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
 * @returns Its length in UTF-16 units, the zero at its end included.
 */
export function commandLineLength(words: readonly string[]): number {
  return words.reduce((length, word) => length + quotedLength(word) + 1, 0);
}

function quotedLength(word: string): number {
  if (word !== "" && !/[\s"]/.test(word)) return word.length;
  const escaped = word.replaceAll(/(\\*)"/g, '$1$1\\"').replace(/\\+$/, "$&$&");
  return escaped.length + 2;
}

/**
 * Words of a command that a person is to type. Pure.
 *
 * @module
 */

/** Returns a word, or the value of an assignment, as a shell takes it: in quotation marks if it needs them. */
export function shellWord(word: string): string {
  // zsh reads =name at the start of a word, and after a colon in an assignment.
  return /^[\w./@%+=:,-]+$/.test(word) && !/(^|:)=/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

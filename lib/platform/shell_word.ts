/**
 * Words of a command that a person is to type. Pure.
 *
 * @module
 */

/** A word as a POSIX shell takes it, in quotation marks when it needs them. */
export function shellWord(word: string): string {
  return /^[\w./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

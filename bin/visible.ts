/**
 * Foreign text made safe to print: no control characters, marks of writing direction or invisible characters reach a
 * terminal.
 *
 * @module
 */

/** Made when it is first needed: a token alone needs it not, and Unicode's classes take 0.3 ms. */
function invisible(): RegExp {
  return /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
}

/** Text for a line on a terminal. */
export function visible(foreign: string): string {
  return foreign.toWellFormed().replaceAll(invisible(), "\u{FFFD}");
}

/** JSON in which such characters stand as `\uXXXX`, so that its reader has them and a terminal does not. */
export function visibleJson(value: unknown): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replaceAll(invisible(), (character) => character.split("").map(escape).join(""));
}

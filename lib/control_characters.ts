/**
 * Control characters in strings of servers, brokers and files: removed from messages, and replaced or escaped for a terminal.
 *
 * @module
 */

const MAX_DESCRIPTION_LENGTH = 4_000;

/**
 * Returns text of a server or broker without control characters, writing direction marks, lone surrogates and JWTs, and cuts it
 * to a length fit for messages.
 */
export function escapeControlCharacters(foreign: string): string {
  return foreign.slice(0, MAX_DESCRIPTION_LENGTH).toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll(/eyJ[\w.-]+/g, "[concealed]").trim(); // a JWT, or the beginning of one
}

const MAX_NAMES = 5;

/** Returns the first of some names that a server chose, and the number of the others. */
export function firstNames(names: readonly string[]): string {
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : "";
  return names.slice(0, MAX_NAMES).map(escapeControlCharacters).join(", ") + more;
}

/** Created on first use: a silent token does not need it, and Unicode's classes take 0.3 ms. */
function invisible(): RegExp {
  return /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
}

/** Replaces characters that a line on a terminal must not have: control characters, marks of writing direction, invisible ones. */
export function escapeForTerminal(foreign: string): string {
  return foreign.toWellFormed().replaceAll(invisible(), String.fromCodePoint(0xFFFD));
}

/** Returns JSON with such characters as `\uXXXX`, so that its reader gets them and a terminal does not. */
export function jsonForTerminal(value: unknown, { indent }: { readonly indent?: number } = {}): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  // Only the indentation has line ends: in a string they are escaped.
  return JSON.stringify(value, undefined, indent).replaceAll(
    invisible(),
    (character) => character === "\n" ? character : character.split("").map(escape).join(""),
  );
}

/**
 * Where things are in a document of the token cache, found without reading what they say: of MSAL's one file, which can have
 * tens of thousands of tokens, one account needs a thousandth. Pure.
 *
 * @module
 */

/** An entry of a section, by places in the bytes. */
export interface EntryPlace {
  /** Where the entry begins: the first quote of its key. */
  readonly start: number;
  /** Where its key ends, with the last quote. */
  readonly keyEnd: number;
  /** Where the entry ends. */
  readonly end: number;
  /** Where the text of its `home_account_id` begins, with the first quote; -1 when it has none. */
  readonly holderStart: number;
  /** Where that text ends. */
  readonly holderEnd: number;
}

/** A section of a document. */
export interface SectionPlace {
  /** Where its value begins. */
  readonly start: number;
  /** Where it ends. */
  readonly end: number;
  /** Its entries, in order. */
  readonly entries: readonly EntryPlace[];
}

/** Sections by their names. Of several of one name it is the last, which is the one that counts. */
export type DocumentIndex = ReadonlyMap<string, SectionPlace>;

/** What is looked at is no JSON. */
class NotJson extends Error {}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a;
const BRACE = 0x7b, BRACE_END = 0x7d, BRACKET = 0x5b, BRACKET_END = 0x5d;
const HOLDER = "home_account_id", HOLDER_BYTES = new TextEncoder().encode(`"${HOLDER}"`);
/** How many bytes of a string are looked at one by one, before the rest is searched for its end: a call costs as much. */
const SHORT = 40;

/**
 * Finds the sections of a document, and the entries of some.
 *
 * @param bytes The document, in UTF-8.
 * @param names The sections whose entries are wanted.
 * @returns Where they are; `undefined` when it is no JSON object. Whether what is in an entry is JSON is not looked at, as long
 * as its end can be told.
 */
export function indexDocument(bytes: Uint8Array, names: readonly string[]): DocumentIndex | undefined {
  const sections = new Map<string, SectionPlace>();
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf; // the byte order mark of UTF-8
  try {
    let at = firstKey(bytes, afterBlank(bytes, hasMark ? 3 : 0));
    while (at > 0) {
      const keyEnd = afterString(bytes, at), start = valueAfter(bytes, keyEnd), entries: EntryPlace[] = [];
      const name = textOf(bytes, at, keyEnd);
      if (name === undefined) return undefined;
      const isWanted = names.includes(name) && bytes[start] === BRACE;
      const end = isWanted ? findEntries(bytes, start, entries) : afterValue(bytes, start);
      sections.set(name, { start, end, entries });
      at = nextKey(bytes, end);
    }
    return afterBlank(bytes, -at) === bytes.length ? sections : undefined;
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

/** Finds the entries of a section that begins there. @returns Where it ends. */
function findEntries(bytes: Uint8Array, section: number, entries: EntryPlace[]): number {
  let at = firstKey(bytes, section);
  while (at > 0) {
    const keyEnd = afterString(bytes, at), value = valueAfter(bytes, keyEnd);
    let end = value, holderStart = -1, holderEnd = -1;
    if (bytes[value] === BRACE) {
      let field = firstKey(bytes, value);
      while (field > 0) {
        const fieldEnd = afterString(bytes, field), start = valueAfter(bytes, fieldEnd);
        end = afterValue(bytes, start);
        // Of several fields of one name the last counts.
        if (isHolder(bytes, field, fieldEnd)) holderStart = bytes[start] === QUOTE ? start : -1, holderEnd = end;
        field = nextKey(bytes, end);
      }
      end = -field;
    } else end = afterValue(bytes, value);
    entries.push({ start: at, keyEnd, end, holderStart, holderEnd });
    at = nextKey(bytes, end);
  }
  return -at;
}

/** Where an object's first key begins; where it has none, the object's end with a minus. */
function firstKey(bytes: Uint8Array, object: number): number {
  const at = afterBlank(bytes, after(bytes, object, BRACE));
  return bytes[at] === BRACE_END ? -(at + 1) : at;
}

/** Where the key after a value begins; where there is none, the object's end with a minus. */
function nextKey(bytes: Uint8Array, valueEnd: number): number {
  const at = afterBlank(bytes, valueEnd);
  return bytes[at] === BRACE_END ? -(at + 1) : afterBlank(bytes, after(bytes, at, COMMA));
}

function valueAfter(bytes: Uint8Array, keyEnd: number): number {
  return afterBlank(bytes, after(bytes, afterBlank(bytes, keyEnd), COLON));
}

function afterValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first === QUOTE) return afterString(bytes, at);
  if (first !== BRACE && first !== BRACKET) return afterLiteral(bytes, at);
  for (let depth = 0;;) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = afterString(bytes, at);
      continue;
    }
    if (byte === undefined) throw new NotJson();
    at += 1;
    if (byte === BRACE || byte === BRACKET) depth += 1;
    else if ((byte === BRACE_END || byte === BRACKET_END) && --depth === 0) return at;
  }
}

function afterLiteral(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isOfLiteral(bytes[at])) at += 1;
  if (at === start) throw new NotJson();
  return at;
}

/** A string ends with the first quote that no backslash, or an even number of them, stands before. */
function afterString(bytes: Uint8Array, at: number): number {
  const start = after(bytes, at, QUOTE), near = start + SHORT;
  for (at = start; at < near && bytes[at] !== QUOTE;) at += 1;
  for (;; at += 1) {
    if (bytes[at] !== QUOTE) at = bytes.indexOf(QUOTE, at);
    if (at < 0) throw new NotJson();
    let before = at - 1;
    while (before >= start && bytes[before] === BACKSLASH) before -= 1;
    if ((at - before) % 2 === 1) return at + 1;
  }
}

function after(bytes: Uint8Array, at: number, byte: number): number {
  if (bytes[at] !== byte) throw new NotJson();
  return at + 1;
}

function afterBlank(bytes: Uint8Array, at: number): number {
  while (isBlank(bytes[at])) at += 1;
  return at;
}

/** White space as JSON has it. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isOfLiteral(byte: number | undefined): boolean {
  return byte !== undefined && byte !== COMMA && byte !== BRACE_END && byte !== BRACKET_END && !isBlank(byte);
}

function isHolder(bytes: Uint8Array, start: number, end: number): boolean {
  let length = 0;
  while (length < HOLDER_BYTES.length && bytes[start + length] === HOLDER_BYTES[length]) length += 1;
  if (length === HOLDER_BYTES.length) return true; // the quote at its end is the key's
  return bytes[start + length] === BACKSLASH && textOf(bytes, start, end) === HOLDER;
}

/** The text that a JSON string stands for; `undefined` when it is none. */
export function textOf(bytes: Uint8Array, start: number, end: number): string | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes.subarray(start, end)));
  } catch {
    return undefined; // the parser's message would quote it
  }
}

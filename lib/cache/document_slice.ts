/**
 * What one account needs of a document of the token cache, cut out of its bytes: MSAL's one file can have 25 MB, and to parse
 * all of that takes longer than all else that a token takes. Pure.
 *
 * @module
 */
import { idKey } from "../account.ts";
import type { CacheSection } from "./cache_schema.ts";
import { type DocumentIndex, type EntryPlace, indexDocument, type SectionPlace, textOf } from "./document_index.ts";

/** A document that is asked for its parts. */
export interface SlicedDocument {
  /** All of it, as text. */
  whole(): string;
  /** Whether it is JSON, and no part of it is missing at its end. */
  isWhole(): boolean;
  /** A document with the accounts alone, and what tells whether they are signed in. */
  accounts(): string;
  /**
   * A document with what is one account's.
   *
   * @param homeAccountId Whose.
   */
  account(homeAccountId: string): string;
}

/** The sections that accounts have entries in. */
const OF_ACCOUNTS: readonly CacheSection[] = ["AccessToken", "RefreshToken", "IdToken", "Account", "LatchkeySignedOut"];
/** Of apps, and hence of every account. */
const OF_ALL: CacheSection = "AppMetadata";
/** What is shorter is parsed before it could have been gone through. */
const MIN_BYTES = 256 * 1024;
/** How many accounts' slices are held. */
const MAX_HELD = 200;

const QUOTE = 0x22, BACKSLASH = 0x5c;

/** How it is cut. */
export interface SliceOptions {
  /** What is shorter stays whole, in bytes. @default 256 KiB */
  readonly minBytes?: number | undefined;
}

/**
 * Makes a document ready to be cut. All its parts answer every question about them as the whole does. What is no JSON object
 * stays whole, so that whoever parses it finds that out.
 *
 * @param bytes The document, in UTF-8. They must not change any more.
 * @param options From which size on.
 */
export function sliceDocument(bytes: Uint8Array, { minBytes = MIN_BYTES }: SliceOptions = {}): SlicedDocument {
  const held = new Map<string, string>();
  let text: string | undefined, accounts: string | undefined;
  const isShort = bytes.length < minBytes;
  let index: DocumentIndex | undefined, isIndexed = isShort, isWhole: boolean | undefined;

  const whole = () => text ??= new TextDecoder().decode(bytes);
  const sections = (): DocumentIndex | undefined => {
    if (!isIndexed) index = indexDocument(bytes, OF_ACCOUNTS);
    isIndexed = true;
    return index;
  };
  return {
    whole,
    isWhole: () => isWhole ??= isShort ? isJson(whole()) : sections() !== undefined,
    accounts() {
      const found = sections();
      return found ? accounts ??= documentOf(sectionTexts(bytes, found, sectionsAboutAccounts(found))) : whole();
    },
    account(homeAccountId) {
      const found = sections(), holder = idKey(homeAccountId);
      if (!found) return whole();
      let slice = held.get(holder);
      if (slice === undefined) {
        slice = sliceOf(bytes, found, holder);
        if (slice === undefined) return whole();
        if (held.size >= MAX_HELD) held.clear();
        held.set(holder, slice);
      }
      return slice;
    },
  };
}

function isJson(text: string): boolean {
  try {
    return JSON.parse(text) !== undefined;
  } catch {
    return false;
  }
}

/** What is an account's; `undefined` when it takes all entries to tell. */
function sliceOf(bytes: Uint8Array, index: DocumentIndex, holder: string): string | undefined {
  const texts = sectionTexts(bytes, index, [OF_ALL]), isOf = holderTest(bytes, holder);
  for (const name of OF_ACCOUNTS) {
    const entries = (index.get(name)?.entries ?? []).filter(isOf);
    if (entries.length === 0) continue;
    if (isNamedTwice(bytes, index.get(name)!, entries)) return undefined;
    texts.push([name, `{${entries.map(({ start, end }) => decode(bytes, start, end)).join(",")}}`]);
  }
  return documentOf(texts);
}

/** Whether who signed out has signed in again shows in the refresh tokens, which are many. */
function sectionsAboutAccounts(index: DocumentIndex): readonly CacheSection[] {
  const hasSignedOut = index.get("LatchkeySignedOut")?.entries.length;
  return hasSignedOut ? ["Account", "LatchkeySignedOut", "RefreshToken"] : ["Account"];
}

function sectionTexts(bytes: Uint8Array, index: DocumentIndex, names: readonly CacheSection[]): [string, string][] {
  return names.flatMap((name): [string, string][] => {
    const section = index.get(name);
    return section ? [[name, decode(bytes, section.start, section.end)]] : [];
  });
}

function documentOf(sections: readonly (readonly [name: string, json: string])[]): string {
  return `{${sections.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  return new TextDecoder().decode(bytes.subarray(start, end));
}

/** Tells whether an entry is an account's, as {@linkcode idKey} compares. */
function holderTest(bytes: Uint8Array, holder: string): (entry: EntryPlace) => boolean {
  const wanted = new TextEncoder().encode(holder), capitals = holder.toUpperCase();
  const ignoresCase = idKey(capitals) !== capitals;
  return ({ holderStart, holderEnd }) => {
    if (holderStart < 0) return false;
    const first = holderStart + 1, length = holderEnd - 1 - first;
    for (let at = 0; at < length; at++) {
      const byte = bytes[first + at]!;
      if (isOdd(byte)) return idKey(textOf(bytes, holderStart, holderEnd) ?? "") === holder;
      if (byte !== wanted[at] && !(ignoresCase && isCapital(byte) && byte + 0x20 === wanted[at])) return false;
    }
    return length === wanted.length;
  };
}

/**
 * Whether another account's entry in the section has the name of one of these: which of them counts is what the last of that
 * name decides.
 */
function isNamedTwice(bytes: Uint8Array, { entries }: SectionPlace, own: readonly EntryPlace[]): boolean {
  const [first, ...more] = own, owned = new Set(own);
  // Names of one account begin alike, so that nearly all others are told from all of them by their beginnings.
  const alike = more.reduce((least, entry) => Math.min(least, likeness(bytes, first!, entry) ?? 0), Infinity);
  const suspects = entries.filter((entry) =>
    !owned.has(entry) && (likeness(bytes, first!, entry) ?? Infinity) >= alike
  );
  if (suspects.length === 0) return false;
  const nameOf = ({ start, keyEnd }: EntryPlace): string | undefined => textOf(bytes, start, keyEnd);
  const names = new Set(own.map(nameOf));
  return suspects.some((entry) => names.has(nameOf(entry)));
}

/** How many bytes two entries' names begin alike with, infinitely many when they are equal; `undefined`: not to be told so. */
function likeness(bytes: Uint8Array, one: EntryPlace, other: EntryPlace): number | undefined {
  for (let at = 1;; at++) {
    const here = bytes[one.start + at]!, there = bytes[other.start + at]!;
    if (isOdd(here) || isOdd(there)) return undefined;
    if (here !== there) return at;
    if (here === QUOTE) return Infinity;
  }
}

/** Whether a byte is not what it stands for by itself. */
function isOdd(byte: number): boolean {
  return byte === BACKSLASH || byte >= 0x80;
}

function isCapital(byte: number): boolean {
  return byte >= 0x41 && byte <= 0x5a;
}

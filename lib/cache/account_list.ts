/**
 * The list that a store of many documents keeps beside them, so that the accounts can be listed without reading all of
 * them. Pure.
 *
 * It is a line of JSON with the names of the documents that are to be looked into, because they are being changed or a change
 * was cut short, and then a document that has what the others say of accounts: their sections Account and LatchkeySignedOut.
 *
 * @module
 */
import { ACCOUNT_SECTIONS } from "./accounts_excerpt.ts";
import { CacheDocument } from "./cache_document.ts";
import type { CacheEntry } from "./cache_schema.ts";

/** A list that was read. */
export interface AccountList {
  /** Names of the documents that are to be looked into. */
  readonly unsure: readonly string[];
  /** A document that has the accounts of all others. */
  readonly accounts: string;
}

/** An empty list. */
export const NO_ACCOUNTS: AccountList = { unsure: [], accounts: "{}" };

/** Reads a list; `undefined` when it is none. */
export function readAccountList(text: string): AccountList | undefined {
  const end = text.indexOf("\n");
  try {
    const unsure: unknown = JSON.parse(text.slice(0, Math.max(end, 0)));
    const isList = Array.isArray(unsure) && unsure.every((name) => typeof name === "string");
    return isList ? { unsure, accounts: text.slice(end + 1) } : undefined;
  } catch {
    return undefined;
  }
}

/** A list as it is kept. */
export function writeAccountList({ unsure, accounts }: AccountList): string {
  return `${JSON.stringify(unsure)}\n${accounts}`;
}

/** What a document says of accounts, as one text: when two say the same, the list need not be changed. */
export function accountsOf(document: string | undefined): string {
  const parsed = CacheDocument.parse(document);
  return JSON.stringify(
    ACCOUNT_SECTIONS.map((section) => parsed?.entries(section).map(({ key, entry }) => [key, entry]) ?? []),
  );
}

/** The list after it is known that a document is about to change. */
export function withUnsure(list: AccountList, name: string): AccountList {
  return changed(list, new Map([[name, undefined]]), [...new Set([...list.unsure, name])]);
}

/** The list after documents have changed, by their names; `undefined` when one is not there any more. */
export function withDocuments(list: AccountList, documents: ReadonlyMap<string, string | undefined>): AccountList {
  return changed(list, documents, list.unsure.filter((name) => !documents.has(name)));
}

/** Keys begin with the name of the document that they are from: what is of one is found by that, and none is in another's way. */
function changed(
  { accounts }: AccountList,
  documents: ReadonlyMap<string, string | undefined>,
  unsure: readonly string[],
): AccountList {
  const all = CacheDocument.parse(accounts) ?? CacheDocument.parse(undefined)!;
  const parsed = [...documents].flatMap(([name, document]) => {
    const one = document === undefined ? undefined : CacheDocument.parse(document);
    return one ? [{ name, one }] : [];
  });
  const changes = ACCOUNT_SECTIONS.flatMap((section) => [
    ...all.entries(section).filter(({ key }) => documents.has(key.split(" ", 1)[0]!))
      .map(({ key }) => ({ section, key })),
    ...parsed.flatMap(({ name, one }) =>
      one.entries(section).map(({ entry }, number) => ({ section, key: `${name} ${number}`, entry: inShort(entry) }))
    ),
  ]);
  return { unsure, accounts: all.with(changes).toString() };
}

/** Without what is long and tells no account from another. */
function inShort({ client_info: _, ...entry }: CacheEntry): CacheEntry {
  return entry;
}

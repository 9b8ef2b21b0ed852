/**
 * The part of a document that tells who is signed in. Pure.
 *
 * @module
 */
import type { CacheSection } from "./cache_schema.ts";

/** The sections of a document that tell it. */
export const ACCOUNT_SECTIONS: readonly CacheSection[] = ["Account", "LatchkeySignedOut"];

/**
 * What a store of many documents keeps for its `readAccounts`.
 *
 * @param json A document's text.
 * @returns The text of one without tokens; the same text when it is damaged, so that it is told of there.
 */
export function accountsExcerpt(json: string): string {
  try {
    const document = JSON.parse(json);
    return JSON.stringify(Object.fromEntries(ACCOUNT_SECTIONS.map((section) => [section, document[section]])));
  } catch {
    return json;
  }
}

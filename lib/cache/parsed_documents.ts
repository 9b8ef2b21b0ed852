/**
 * Documents by their text, so that one that has not changed is not read again.
 *
 * @module
 */
import { CacheDocument } from "./cache_document.ts";

/** How many characters of documents are held at most; the last one is, be it longer. */
const MAX_LENGTH = 32_000_000;

/** Documents that were read of late. */
export class ParsedDocuments {
  readonly #documents = new Map<string, CacheDocument>();
  #length = 0;

  /**
   * Reads a document.
   *
   * @param json Its text, if there is one.
   * @returns The document; `undefined` when it is damaged.
   */
  parse(json: string = ""): CacheDocument | undefined {
    const held = this.#documents.get(json), document = held ?? CacheDocument.parse(json);
    this.#drop(json);
    if (document) this.#hold(json, document);
    return document;
  }

  /**
   * Holds the document that takes the place of another.
   *
   * @param json The text of the other.
   * @param document What takes its place.
   * @returns Its text.
   */
  replace(json: string = "", document: CacheDocument): string {
    const text = document.toString();
    this.#drop(json);
    this.#drop(text);
    this.#hold(text, document);
    return text;
  }

  /** The last that was used is the last in the map, and the first is the first to go. */
  #hold(json: string, document: CacheDocument): void {
    this.#documents.set(json, document);
    this.#length += json.length;
    for (const old of this.#documents.keys()) {
      if (this.#length <= MAX_LENGTH || old === json) break;
      this.#drop(old);
    }
  }

  #drop(json: string): void {
    if (this.#documents.delete(json)) this.#length -= json.length;
  }
}

/**
 * Base64: bytes as text, and texts that are it. Pure.
 *
 * @module
 */

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/;

/** Whether a text is base64, of one byte or more, with all that belongs to its end. */
export function isBase64(text: string): boolean {
  return BASE64.test(text);
}

/** Bytes as base64: a few, such as a key or a header field. */
export function base64Of(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/**
 * Texts that are base64. Pure.
 *
 * @module
 */

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/;

/** Whether a text is base64, of one byte or more, with all that belongs to its end. */
export function isBase64(text: string): boolean {
  return BASE64.test(text);
}

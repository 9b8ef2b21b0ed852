/**
 * Values that a server or a person's browser sent, any of which may be other than it should be. Pure.
 *
 * @module
 */

const MAX_DESCRIPTION_LENGTH = 4_000;

/** A JSON object as a peer sent it. */
export type JsonObject = { readonly [key: string]: unknown };

/** Whether it is an object and no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text, unless it is empty or none. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The JSON object that a text is. */
export function readJson(json: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message would quote it
  }
}

/** The JSON object that was encoded as base64url or base64. */
export function readBase64Json(encoded: string): JsonObject | undefined {
  try {
    const bytes = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
    return readJson(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
  } catch {
    return undefined;
  }
}

/** What a JWT says. Nothing of it is proven. */
export function readJwt(jwt: string | undefined): JsonObject | undefined {
  return readBase64Json(jwt?.split(".")[1] ?? "");
}

/** Foreign text without control characters, marks of writing direction and lone surrogates, and of bearable length. */
export function printable(foreign: string): string {
  return foreign.slice(0, MAX_DESCRIPTION_LENGTH).toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
}

/**
 * Values in JSON that a peer sent, any of which may be of another type than it should be. Pure.
 *
 * @module
 */

const MAX_DESCRIPTION_LENGTH = 4_000;
/** Brokers' replies are five deep. What is much deeper can be parsed but not written again: that overflows the stack. */
const MAX_DEPTH = 50;
/** A JWT, or the part of one that is there. */
const JWT = /eyJ[\w.-]+/g;

/** A JSON object as a peer sent it. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parses JSON.
 *
 * @throws {Error} when it is none, or values stand in each other deeper than any broker has them.
 */
export function parseJson(json: string): unknown {
  const value: unknown = JSON.parse(json);
  if (isTooDeep(value)) throw new SyntaxError("The JSON is too deep");
  return value;
}

/** Whether values stand in each other deeper than any broker has them. */
export function isTooDeep(value: unknown): boolean {
  return isDeeper(value, MAX_DEPTH);
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((item) => isDeeper(item, depth - 1));
}

/** Whether it is an object and no array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text, unless it is empty or none. */
export function readText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The number, unless it is none. */
export function readNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** A time in milliseconds since 1970, from milliseconds or, as himmelblau has some, seconds. */
export function readTime(value: unknown): number | undefined {
  const time = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof time !== "number" || !(time > 0)) return undefined;
  const milliseconds = time < 100_000_000_000 ? time * 1000 : time;
  return milliseconds <= 8_640_000_000_000_000 ? milliseconds : undefined; // the last time that a Date has
}

/** The JSON object that a text is. */
export function readJson(json: string): JsonObject | undefined {
  try {
    const value = parseJson(json);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message would quote it
  }
}

/** The JSON object that was encoded as base64url or base64. */
export function readBase64Json(encoded: string | undefined): JsonObject | undefined {
  if (!encoded) return undefined;
  try {
    return readJson(new TextDecoder().decode(base64UrlBytes(encoded)));
  } catch {
    return undefined; // it is not base64
  }
}

/** What a JWT says. Nothing of it is proven. */
export function readJwt(jwt: string | undefined): JsonObject | undefined {
  return readBase64Json(jwt?.split(".")[1]);
}

/** Uint8Array.fromBase64 is not everywhere yet; where it is, it saves the 0.7 ms that Deno takes to load `atob`. */
function base64UrlBytes(encoded: string): Uint8Array {
  const base64 = encoded.replaceAll("-", "+").replaceAll("_", "/");
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array };
  if (fromBase64) return fromBase64.call(Uint8Array, base64);
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/**
 * Foreign text without control characters, marks of writing direction, lone surrogates and tokens, which servers and brokers
 * now and then quote, and of bearable length.
 */
export function escapeControlCharacters(foreign: string): string {
  return foreign.slice(0, MAX_DESCRIPTION_LENGTH).toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll(JWT, "[concealed]").trim();
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/;

/** Whether a text is base64, of one byte or more, with all that belongs to its end. */
export function isBase64(text: string): boolean {
  return BASE64.test(text);
}

/** Bytes as base64: a few, such as a key or a header field. */
export function encodeBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

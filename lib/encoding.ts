/**
 * Text, JSON and base64 of servers and brokers. Any value can be of another type than its protocol says.
 *
 * @module
 */

/** Brokers' replies have five levels. JSON with many levels can be parsed, but `JSON.stringify` overflows the stack. */
const MAX_DEPTH = 50;

/** A JSON object of unknown content. */
export type JsonObject = { readonly [key: string]: unknown };

/** Parses JSON. Throws a `SyntaxError` if it is invalid, or nested too deeply. */
export function parseJson(json: string): unknown {
  const value: unknown = JSON.parse(json);
  if (isTooDeep(value)) throw new SyntaxError("The JSON is too deep");
  return value;
}

/** Returns true if a value is nested more deeply than any broker's reply. */
export function isTooDeep(value: unknown, maxDepth: number = MAX_DEPTH): boolean {
  if (typeof value !== "object" || value === null) return false;
  return maxDepth === 0 || Object.values(value).some((item) => isTooDeep(item, maxDepth - 1));
}

/** Returns true if a value is an object and not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns a value if it is a text that is not empty. */
export function readText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Returns a value if it is a finite number. */
export function readNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** Returns a time in milliseconds since 1970. The value can be in seconds, as himmelblau has some. */
export function readTime(value: unknown): number | undefined {
  const time = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof time !== "number" || !(time > 0)) return undefined;
  const milliseconds = time < 100_000_000_000 ? time * 1000 : time;
  return milliseconds <= 8_640_000_000_000_000 ? milliseconds : undefined; // the latest time of a Date
}

/** Parses a JSON object. Returns `undefined` if the text is anything else. */
export function readJson(json: string | Uint8Array): JsonObject | undefined {
  try {
    const text = typeof json === "string" ? json : new TextDecoder("utf-8", { fatal: true }).decode(json);
    const value = parseJson(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // the parser's message quotes the text
  }
}

/** Decodes a JSON object from base64url or base64. */
export function readBase64Json(encoded: string | undefined): JsonObject | undefined {
  if (!encoded) return undefined;
  try {
    return readJson(new TextDecoder().decode(base64UrlBytes(encoded)));
  } catch {
    return undefined; // not base64
  }
}

/** Decodes the claims of a JWT without verifying them. */
export function readJwt(jwt: string | undefined): JsonObject | undefined {
  return readBase64Json(jwt?.split(".")[1]);
}

/** Prefers `Uint8Array.fromBase64`, which not all runtimes have: Deno takes 0.7 ms to load `atob`. */
function base64UrlBytes(encoded: string): Uint8Array {
  const base64 = encoded.replaceAll("-", "+").replaceAll("_", "/");
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array };
  if (fromBase64) return fromBase64.call(Uint8Array, base64);
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at); // Uint8Array.from() takes twenty times as long
  return bytes;
}

/** Decodes an even number of hexadecimal digits. */
export function decodeHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));
}

/** Returns true if a text is padded base64 of one or more bytes. */
export function isBase64(text: string): boolean {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$/.test(text);
}

/** Encodes a few bytes, such as a key or a header field, as base64. */
export function encodeBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Encodes bytes as hexadecimal digits, in lower case. */
export function encodeHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Joins bytes. A single piece is returned as it is. */
export function joinBytes(pieces: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let end = 0;
  for (const piece of pieces) {
    whole.set(piece, end);
    end += piece.length;
  }
  return whole;
}

/** Returns true if a text is a GUID (a UUID). */
export function isGuid(text: string): boolean {
  return /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text);
}

/** Returns the name that a misspelled one probably stands for; `undefined` if none is near. */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  const completes = (candidate: string) => Number(candidate.startsWith(name));
  const [nearest] = names.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate: { length }, distance }) => distance <= Math.max(Math.min(2, length / 2), length / 3))
    .toSorted((one, other) => one.distance - other.distance || completes(other.candidate) - completes(one.candidate));
  return nearest?.candidate;
}

function editDistance(one: string, other: string): number {
  let before: readonly number[] = [];
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 0; i < one.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const swap = one[i] === other[j - 1] && one[i - 1] === other[j] ? before[j - 1]! + 1 : Infinity;
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + Number(one[i] !== other[j]), swap));
    }
    [before, row] = [row, next];
  }
  return row[other.length]!;
}

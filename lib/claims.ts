/**
 * Claims challenges: what a resource or the server wants to see in the next token (continuous access evaluation, step-up).
 * Pure.
 *
 * @module
 */
import { ArgumentError } from "./errors.ts";
import { isObject, readBase64Json, readJson } from "./json_values.ts";

/** What a header is made of (RFC 9110, 11.2): quoted strings, which may be cut off, words, and what joins them. */
const PART = /"((?:[^"\\]|\\.)*)(?:"|\\?$)|[^\s",=]+|[,=]/gs;

/**
 * The claims request in a challenge.
 *
 * @param challenge A whole `WWW-Authenticate` header, whose `claims` are JSON or, as a rule, base64 of it; or either by itself.
 * @returns JSON text; `undefined` when there is no challenge.
 * @throws {TypeError} when it has no claims in it. The message does not repeat it.
 */
export function readClaims(challenge: string | undefined): string | undefined {
  if (challenge === undefined || challenge.trim() === "") return undefined;
  const claims = challenge.trimStart().startsWith("{")
    ? readJson(challenge)
    : claimsOfHeader(challenge) ?? readBase64Json(challenge.trim());
  if (claims) return JSON.stringify(claims);
  throw new ArgumentError(
    "Cannot acquire a token: claims has to be a JSON object, or base64 of one, or a WWW-Authenticate header with claims in it",
  );
}

/** A header may have several challenges; the first whose claims can be read counts. */
function claimsOfHeader(header: string): object | undefined {
  const parts = [...header.matchAll(PART)];
  for (const [index, [name]] of parts.entries()) {
    if (name.toLowerCase() !== "claims" || parts[index + 1]?.[0] !== "=") continue;
    const [plain = "", quoted] = parts[index + 2] ?? [], value = quoted?.replaceAll(/\\(.)/gs, "$1") ?? plain;
    const claims = readJson(value) ?? readBase64Json(value);
    if (claims) return claims;
  }
  return undefined;
}

/**
 * The client capabilities that a claims request tells of, such as `cp1`: tokens for it are for who has them.
 *
 * @param claims A claims request as JSON text.
 * @returns The capabilities, in one order; empty when there are none.
 */
export function capabilitiesOf(claims: string | undefined): string {
  const accessToken = claims === undefined ? undefined : readJson(claims)?.access_token;
  const capabilities = isObject(accessToken) && isObject(accessToken.xms_cc) ? accessToken.xms_cc.values : undefined;
  return Array.isArray(capabilities) ? capabilities.map((each) => String(each).toLowerCase()).toSorted().join(" ") : "";
}

/**
 * Claims requests: challenges of services, client capabilities, and the session of an agent.
 *
 * @module
 */
import { isObject, type JsonObject, readBase64Json, readJson } from "./encoding.ts";
import { ArgumentError } from "./errors.ts";

/**
 * Merges a claims challenge with client capabilities (OpenID Connect Core, 5.5).
 *
 * @param challenge A whole `WWW-Authenticate` header, whose `claims` are JSON or, usually, base64 of it; or either by itself.
 * @returns JSON text; `undefined` if there is neither.
 * @throws {TypeError} if the challenge has no claims. The message does not quote it.
 */
export function claimsRequest(challenge: string | undefined, capabilities: readonly string[] = []): string | undefined {
  const claims = parseChallenge(challenge);
  if (capabilities.length === 0) return claims && JSON.stringify(claims);
  const accessToken = isObject(claims?.access_token) ? claims.access_token : {};
  return JSON.stringify({ ...claims, access_token: { ...accessToken, xms_cc: { values: capabilities } } });
}

function parseChallenge(challenge: string | undefined): JsonObject | undefined {
  if (challenge === undefined || challenge.trim() === "") return undefined;
  const claims = challenge.trimStart().startsWith("{")
    ? readJson(challenge)
    : parseHeader(challenge) ?? readBase64Json(challenge.trim());
  if (claims) return claims;
  throw new ArgumentError(
    "Cannot acquire a token: claims must be a JSON object, or base64 of one, or a WWW-Authenticate header with claims in it",
  );
}

/** Parts of a header (RFC 9110, 11.2): quoted strings, which may be cut off, words, and separators. */
const PART = /"((?:[^"\\]|\\.)*)(?:"|\\?$)|[^\s",=]+|[,=]/gs;

/** A header may have several challenges; the first with valid claims counts. */
function parseHeader(header: string): JsonObject | undefined {
  for (const { name, value } of challengeParameters(header)) {
    const claims = name === "claims" ? readJson(value) ?? readBase64Json(value) : undefined;
    if (claims) return claims;
  }
  return undefined;
}

/** Yields the parameters of all challenges in a `WWW-Authenticate` header, their names in lower case. */
export function* challengeParameters(header: string): Generator<{ readonly name: string; readonly value: string }> {
  const parts = [...header.matchAll(PART)];
  for (const [index, [name]] of parts.entries()) {
    if (parts[index + 1]?.[0] !== "=") continue;
    const [plain = "", quoted] = parts[index + 2] ?? [];
    yield { name: name.toLowerCase(), value: quoted?.replaceAll(/\\(.)/gs, "$1") ?? plain };
  }
}

/**
 * Returns a claims request that also marks the token with an agent's session. A broker passes it on, and keeps tokens by their
 * claims.
 */
export function withAgentSession(claims: string | undefined, agentSession: string | undefined): string | undefined {
  if (agentSession === undefined) return claims;
  const request = claims === undefined ? {} : readJson(claims) ?? {};
  const accessToken = isObject(request.access_token) ? request.access_token : {};
  return JSON.stringify({ ...request, access_token: { ...accessToken, xms_cli_sid: { values: [agentSession] } } });
}

/**
 * Returns the client capabilities that a claims request names, in lower case and sorted, and the resource. A token for some of
 * them is not used for others.
 */
export function capabilitiesOf(claims: string | undefined, resource?: string): string {
  const accessToken = claims === undefined ? undefined : readJson(claims)?.access_token;
  const capabilities = isObject(accessToken) && isObject(accessToken.xms_cc) ? accessToken.xms_cc.values : undefined;
  const names = Array.isArray(capabilities) ? capabilities.map((each) => String(each).toLowerCase()).toSorted() : [];
  return [...names, ...resource === undefined ? [] : [`resource=${resource}`]].join(" ");
}

/**
 * Checks client capabilities.
 *
 * @throws {TypeError} if they are not a list of strings.
 */
export function checkCapabilities(capabilities: unknown): void {
  if (capabilities === undefined) return;
  if (Array.isArray(capabilities) && capabilities.every((one) => typeof one === "string" && one !== "")) return;
  throw new ArgumentError('clientCapabilities must be a list of strings, such as ["cp1"]');
}

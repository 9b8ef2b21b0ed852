/** Tokens that look like Microsoft's and are signed by nobody. */
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import type { Behaviour } from "./behaviour.ts";
import { accountValues, type Person } from "./fake_directory.ts";
import type { JsonObject } from "./request_rules.ts";

const GRAPH = "00000003-0000-0000-c000-000000000000";
const EXTENDED_SECONDS = 3600;

/** A token's values for the wire's templates. */
export type TokenValues = Readonly<Record<string, unknown>> & {
  readonly accessToken: string;
  readonly expiresOnMs: number;
};

/** The broker's own cache: the same question has the same answer until the caller wants that very token renewed. */
export class FakeTokens {
  readonly #cache = new Map<string, TokenValues>();

  silent(person: Person, parameters: JsonObject, behaviour: Behaviour): TokenValues {
    const held = this.#cache.get(keyOf(person, parameters));
    const isUsable = held && held.expiresOnMs > Date.now() && held.accessToken !== parameters.accessTokenToRenew;
    // A proof of possession is for one request, so each has its own.
    return isUsable && !isBound(parameters) ? held : this.issue(person, parameters, behaviour);
  }

  issue(person: Person, parameters: JsonObject, behaviour: Behaviour): TokenValues {
    const token = issueToken(person, parameters, behaviour.tokenLifetimeSeconds ?? 4000);
    if (!isBound(parameters)) this.#cache.set(keyOf(person, parameters), token);
    return token;
  }
}

function isBound({ popParams, kid }: JsonObject): boolean {
  return Boolean(popParams) || kid !== undefined;
}

function keyOf({ oid }: Person, { authority, decodedClaims, requestedScopes }: JsonObject): string {
  return JSON.stringify([oid, authority, decodedClaims, (requestedScopes as string[]).toSorted()]);
}

function issueToken(person: Person, parameters: JsonObject, lifetimeSeconds: number): TokenValues {
  const nowMs = Date.now(), iat = Math.floor(nowMs / 1000), exp = iat + lifetimeSeconds;
  const { oid, username, name } = person;
  const scopes = parameters.requestedScopes as string[];
  const tid = /[0-9a-f-]{36}/i.exec(String(parameters.authority ?? ""))?.[0] ?? person.tid;
  const times = { iat: iat - 300, nbf: iat - 300, exp }; // Entra dates tokens back, for clocks that are late
  const accessToken = jwt({
    aud: audienceOf(scopes),
    scp: scopes.join(" "),
    oid,
    tid,
    upn: username,
    ...times,
    uti: randomUUID(),
    ...(parameters.kid !== undefined && { cnf: { kid: parameters.kid } }),
  });
  const pop = parameters.popParams as JsonObject | null | undefined;
  const idToken = {
    ...{ iss: `https://login.microsoftonline.com/${tid}/v2.0`, aud: parameters.clientId ?? GRAPH, sub: oid },
    ...{ oid, tid, preferred_username: username, name, auth_time: person.signedInAt, ver: "2.0", ...times },
  };
  return {
    ...accountValues(person),
    accessToken: pop ? signHttpRequest(accessToken, pop) : accessToken,
    accessTokenType: pop ? 1 : 0,
    expiresOnMs: nowMs + lifetimeSeconds * 1000,
    extendedExpiresOnMs: nowMs + (lifetimeSeconds + EXTENDED_SECONDS) * 1000,
    extendedExpiresOnSeconds: exp + EXTENDED_SECONDS,
    issuedAtMsPlusLifetimeSeconds: nowMs + lifetimeSeconds,
    grantedScopes: scopes.join(" "),
    grantedScopeList: scopes,
    isAccessTokenSigned: Boolean(pop),
    idToken: jwt(idToken),
    idTokenPayload: base64url(idToken),
  };
}

/** A signed HTTP request: a JWT that carries the access token and what it may be used for. */
export function signHttpRequest(accessToken: string, pop: JsonObject): string {
  const { httpMethod: m, uriHost: u, uriPath: p, nonce } = pop;
  return jwt({ at: accessToken, ts: Math.floor(Date.now() / 1000), m, u, p, nonce }, "pop");
}

/** What the SSO cookie carries. */
export function cookieContent(person: Person, ssoUrl: unknown): string {
  return jwt({ upn: person.username, ssoUrl, iat: Math.floor(Date.now() / 1000) });
}

/** `https://graph.microsoft.com/.default` is for the host, a scope without a URL for Microsoft Graph. */
function audienceOf(scopes: readonly string[]): string {
  return scopes.flatMap((scope) => /^(.+:\/\/.+)\/[^/]*$/.exec(scope)?.[1] ?? [])[0] ?? GRAPH;
}

function jwt(payload: object, typ = "JWT"): string {
  return [{ alg: "RS256", typ }, payload].map(base64url).join(".") + "." + Buffer.from("fake").toString("base64url");
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

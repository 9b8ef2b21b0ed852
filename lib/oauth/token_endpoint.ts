/**
 * The token endpoint: one request for all grants, its response as a result, and the refresh token grant.
 *
 * @module
 */
import {
  type AuthorizationServer,
  type Client,
  getValidatedIdTokenClaims,
  None,
  processRefreshTokenResponse,
  refreshTokenGrantRequest,
  type TokenEndpointResponse,
} from "@panva/oauth4webapi";
import { type AccountInfo, isEntraId, isSameAccount } from "../account.ts";
import { type Authority, environmentOf, isMicrosoftAuthority, isMicrosoftHost, isTenant } from "../authority.ts";
import { loopbackRedirectUri } from "../redirect_uris.ts";
import { type JsonObject, readBase64Json, readJson, readJwt, readText } from "../encoding.ts";
import { firstNames } from "../control_characters.ts";
import { LatchkeyError } from "../errors.ts";
import { advice, type Remedy } from "../remedies.ts";
import type { TokenQuery } from "../request.ts";
import { RESERVED_SCOPES, withoutReserved } from "../scopes.ts";
import { type AuthenticationResult, redacted, redactTokens } from "../token.ts";
import { invalidResponse, type RefusalContext, refusalOf } from "./errors.ts";
import {
  clientOf,
  type HttpOptions,
  retryAfterMs,
  type SendOptions,
  sendOptions,
  translateErrors,
} from "./bounded_fetch.ts";
import { type Provider, scopesToAsk, serverOfToken } from "./provider.ts";

/** A token, and the data to renew it. Inspecting or logging it does not show the tokens. */
export interface TokenReply {
  readonly result: AuthenticationResult;
  readonly refreshToken?: string;
  /** Family of Microsoft's apps that can use the refresh token, such as `1`. */
  readonly familyId?: string;
  /** Ids of the account in its home tenant, as Microsoft's servers send them (base64url JSON). */
  readonly clientInfo?: string;
  /** Requested scopes that the provider did not grant (RFC 6749, 3.3). @default it granted all */
  readonly declinedScopes?: readonly string[];
}

function declinedRemedy(clientId: string): Remedy {
  const text =
    `Consent to these scopes at the sign-in, or ask the provider's administrator to allow them for the app ${clientId}. ` +
    'Keycloak does not name a scope that it grants if the switch "Include in token scope" of that client scope is off: turn it on';
  const note = "A request without these scopes needs no new sign-in";
  return { ...advice(text), note, then: { kind: "sign_in_again", with: "scopes" } };
}

/**
 * Throws `interaction_required` if a provider granted less than was requested. With a resource (RFC 8707), one of the scopes is
 * enough: they are what its server proposes, and it says which one a request lacks (RFC 6750, 3.1).
 */
export function refuseDeclined(
  { declinedScopes: declined = [], result }: Pick<TokenReply, "declinedScopes"> & Partial<Pick<TokenReply, "result">>,
  { scopes, resource, correlationId }: Pick<TokenQuery, "scopes" | "resource" | "correlationId">,
  clientId: string,
): void {
  if (declined.length === 0) return;
  const isUseful = withoutReserved(scopes).some((scope) => !declined.includes(scope));
  if (resource !== undefined && isUseful) return;
  const granted = result ? `. It granted ${firstNames(result.scopes)}` : "";
  const message = `The identity provider has not granted ${declined.join(", ")}${granted}`;
  throw new LatchkeyError("interaction_required", message, { correlationId, remedy: declinedRemedy(clientId) });
}

/** Facts about a token request that all grants share. */
export interface TokenContext extends RefusalContext {
  /** Claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Account that the token must be of. */
  readonly account?: AccountInfo | undefined;
  /** Address of the resource that the token is for (RFC 8707). */
  readonly resource?: string | undefined;
  /** Id of the agent's session that the token is marked with. */
  readonly agentSession?: string | undefined;
}

/** Differences between the grants: the two functions that oauth4webapi has for each. */
interface Grant {
  readonly send: (
    server: AuthorizationServer,
    client: Client,
    options: SendOptions & { readonly additionalParameters: Record<string, string> },
  ) => Promise<Response>;
  /** Parameters beside those of the grant. */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly read: (server: AuthorizationServer, client: Client, response: Response) => Promise<TokenEndpointResponse>;
  /**
   * True for a refresh token: the request may be sent twice. The times in the response are compared with the server's clock if
   * it names its time, since a refresh token may be good once and must not be lost because of this machine's wrong clock.
   *
   * @default false
   */
  readonly isRenewal?: boolean;
}

/**
 * Requests a token.
 *
 * @throws {LatchkeyError} the provider's refusal; `no_network`, `timed_out`, `temporarily_unavailable`, `invalid_response`;
 * `configuration` if the clock is wrong.
 */
export async function requestToken(
  provider: Provider,
  grant: Grant,
  { context, http }: { readonly context: TokenContext; readonly http: HttpOptions },
): Promise<TokenReply> {
  const { now = Date.now } = http;
  const { clientId, correlationId, claims: claimsRequest, agentSession } = context;
  const { isRenewal = false } = grant;
  const step = { ...http, correlationId };
  const client = clientOf(clientId, now);
  const isMicrosoft = isMicrosoftAuthority(provider.authority);
  const options = {
    ...sendOptions(provider.authority.url, step, { retry: isRenewal }),
    // Microsoft's servers know these beside the standards: the account's home, claims at the token endpoint, an agent's session.
    additionalParameters: {
      ...(context.resource !== undefined && { resource: context.resource }),
      ...(isMicrosoft && {
        client_info: "1",
        ...(claimsRequest !== undefined && { claims: claimsRequest }),
        ...(agentSession !== undefined && { client_session: agentSession }),
      }),
      ...grant.parameters,
    },
  };
  const response = await translateErrors(() => grant.send(provider.server, client, options), step);
  const { status, headers } = response;
  const body = await response.text();
  if (status !== 200) throw refusalOf({ status, body }, context, retryAfterMs(response, now()));
  const date = Date.parse(headers.get("date") ?? "");
  const serverTime = Number.isNaN(date) ? undefined : date;
  const server = serverOfToken(provider, readText(readJson(body)?.id_token), correlationId);
  const reader = isRenewal && serverTime !== undefined ? clientOf(clientId, () => serverTime) : client;
  const read = () => grant.read(server, reader, new Response(body, { headers }));
  const reply = await translateErrors(read, { ...step, serverTime });
  const claims = getValidatedIdTokenClaims(reply) as JsonObject | undefined;
  return tokenReply(reply, { ...context, provider, claims, now: now() });
}

export interface RefreshRequest
  extends Pick<TokenContext, "clientId" | "scopes" | "claims" | "account" | "resource" | "agentSession"> {
  /** Refresh token of the app, or of one of its family. */
  readonly refreshToken: string;
}

/**
 * Redeems a refresh token (RFC 6749, 6). A failure of the network or the server is retried once. The refresh token may be good
 * once: so `http` has no signal that could end the call before its reply is stored.
 *
 * @param provider The authority of the tenant that the token is to be of.
 * @returns The reply. Its refresh token, if there is one, replaces the old one.
 * @throws {LatchkeyError} `interaction_required` if the refresh token is refused, with the server's `subError`, `claims` and
 * `errorCodes`; else as {@linkcode requestToken}.
 */
export async function refreshTokens(
  provider: Provider,
  request: RefreshRequest,
  http: Omit<HttpOptions, "signal">,
): Promise<TokenReply> {
  const { refreshToken, ...rest } = request;
  const { correlationId = crypto.randomUUID() } = http;
  const isMicrosoft = isMicrosoftAuthority(provider.authority);
  // Elsewhere the sign-in may have been without the profile, and a refresh cannot request more than was granted.
  const scope = scopesToAsk(provider, request.scopes).filter((each) => each !== "profile" || isMicrosoft).join(" ");
  const app = { flow: "browser", redirectUri: loopbackRedirectUri(provider.authority) } as const;
  const context: TokenContext = {
    ...{ ...rest, ...app, correlationId, secrets: [refreshToken] },
    sentScopes: scope.split(" "),
  };
  try {
    return await requestToken(provider, {
      isRenewal: true,
      parameters: { scope },
      send: (server, client, options) => refreshTokenGrantRequest(server, client, None(), refreshToken, options),
      read: processRefreshTokenResponse,
    }, { context, http });
  } catch (error) {
    if (isMicrosoft || !(error instanceof LatchkeyError)) throw error;
    const remedy = REFRESH_REFUSALS.get(error.error ?? "");
    if (remedy === undefined) throw error;
    throw new LatchkeyError("interaction_required", error.message, { ...error, claims: error.claims, remedy });
  }
}

/** Remedy of each refusal of a refresh, in addition to `invalid_grant`, that a sign-in resolves. */
const REFRESH_REFUSALS: ReadonlyMap<string, Remedy> = new Map([
  // A refresh token covers only the granted scopes and resources (RFC 6749, 6; RFC 8707, 2.2). The user can grant more.
  ["invalid_scope", { kind: "sign_in_again", with: "scopes" }],
  ["invalid_target", { kind: "sign_in_again", with: "scopes" }],
  // Dex's for a refresh token that is not valid. The request itself is well-formed: it has the parameters of RFC 6749, 6.
  [
    "invalid_request",
    {
      kind: "sign_in_again",
      because:
        "The provider does not accept the refresh token. It may keep one for each user and app, as Dex does: then a sign-in " +
        "on another machine ends this one",
    },
  ],
]);

/** Facts that complete a token response. The account's data replace what the response omits. */
export interface TokenReplyContext extends Pick<TokenContext, "scopes" | "account" | "correlationId"> {
  readonly provider: Provider;
  /** Validated claims of the id token; `undefined` if the reply has no id token. */
  readonly claims: JsonObject | undefined;
  /** In milliseconds since 1970. */
  readonly now: number;
}

/** RFC 6750, 2.1: other characters cannot be sent in a header. */
const TOKEN = /^[\w.~+/-]+=*$/;
/** RFC 6749, 5.1: the lifetime may be omitted. */
const DEFAULT_LIFETIME_S = 600;
/** Limit that keeps the end within the range of a Date. */
const MAX_LIFETIME_S = 100 * 365 * 24 * 60 * 60;

/**
 * Returns the reply for a response that oauth4webapi has validated.
 *
 * @throws {LatchkeyError} `invalid_response` if a token is malformed or names no account, `interaction_required` if it is of
 * another account than the requested one.
 */
export function tokenReply(body: TokenEndpointResponse, context: TokenReplyContext): TokenReply {
  const { provider: { authority }, claims, correlationId, now } = context;
  const { access_token: accessToken, id_token: idToken, refresh_token: refreshToken } = body;
  if (!TOKEN.test(accessToken)) throw invalidResponse("the access token is malformed", correlationId);
  if (body.token_type !== "bearer") throw invalidResponse("the access token is of an unknown type", correlationId);
  const isMicrosoft = isMicrosoftAuthority(authority);
  const clientInfo = isMicrosoft ? readText(body.client_info) : undefined;
  const familyId = readText(body.foci);
  const account = accountOf(clientInfo, context);
  const lifetime = readSeconds(body.expires_in) ?? DEFAULT_LIFETIME_S;
  const extended = readSeconds(body.ext_expires_in);
  const refresh = readSeconds(body.refresh_in);
  const after = (seconds: number) => new Date(now + seconds * 1000);
  const named = body.scope?.split(/\s+/).filter(Boolean) ?? [];
  // RFC 6749, 5.1: omitted if equal to the requested ones.
  const granted = named.length > 0 ? grantedScopes(named, accessToken, context) : context.scopes;
  const declinedScopes = comparesScopes(context.provider) ? without(context.scopes, granted) : [];
  const result: AuthenticationResult = {
    accessToken,
    tokenType: "Bearer",
    expiresOn: after(lifetime),
    ...(extended !== undefined && extended > lifetime && { extendedExpiresOn: after(extended) }),
    ...(refresh !== undefined && { refreshOn: after(refresh) }),
    scopes: granted,
    ...(idToken && { idToken }),
    ...(claims && { idTokenClaims: claims }),
    account,
    tenantId: (isMicrosoft && readText(claims?.tid)) || account.realm,
    source: "identity_provider",
    correlationId,
  };
  const safe = {
    result: redactTokens(result),
    ...(familyId && { familyId }),
    ...(declinedScopes.length > 0 && { declinedScopes }),
  };
  const reply: TokenReply = { ...safe, ...(refreshToken && { refreshToken }), ...(clientInfo && { clientInfo }) };
  return redacted(reply, () => ({ ...safe, ...(refreshToken && { refreshToken: "[concealed]" }) }));
}

/**
 * Scopes that name claims and not access (OpenID Connect Core, 5.4 and 11). A provider may ignore them, or grant them by another
 * name: Google's for `email` is a URL.
 */
const CLAIMS_SCOPES: readonly string[] = [...RESERVED_SCOPES, "email", "address", "phone"];

/** Returns the granted scopes, to which the requested ones are added that name claims, or that the access token has. */
function grantedScopes(
  named: readonly string[],
  accessToken: string,
  { provider, scopes }: Pick<TokenReplyContext, "provider" | "scopes">,
): readonly string[] {
  const omitted = without(scopes, named);
  const inToken = omitted.length > 0 && comparesScopes(provider) ? scopesOfJwt(accessToken) : [];
  const missing = without(omitted, inToken);
  return [
    ...new Set([...named, ...scopes.filter((scope) => CLAIMS_SCOPES.includes(scope)), ...without(omitted, missing)]),
  ];
}

/** Returns the scopes of an access token that is a JWT (RFC 9068, 2.2.3). Okta names them `scp`, and some servers send a list. */
function scopesOfJwt(accessToken: string): readonly string[] {
  const { scope, scp } = readJwt(accessToken) ?? {};
  return [scope, scp].flat().flatMap((names) => typeof names === "string" ? names.split(" ") : []);
}

/**
 * Returns true if a provider's granted scopes can be compared with the requested ones. Microsoft's servers refuse instead of
 * granting less, and name scopes in several ways: `.default`, with and without the resource, by the resource's URI or GUID.
 */
function comparesScopes({ authority, server }: Provider): boolean {
  return authority.kind === "oidc" && !isMicrosoftHost(new URL(server.issuer).hostname);
}

/** Returns the scopes that are not among others. Case does not count, as in the token cache. */
function without(scopes: readonly string[], others: readonly string[]): readonly string[] {
  const names = new Set(others.map((scope) => scope.toLowerCase()));
  return scopes.filter((scope) => !names.has(scope.toLowerCase()));
}

function accountOf(clientInfo: string | undefined, context: TokenReplyContext): AccountInfo {
  const { provider: { authority }, account: expected, correlationId } = context;
  const claims = context.claims ?? {};
  const { oid, tid, uid, utid } = isMicrosoftAuthority(authority) ? microsoftIds(claims, clientInfo) : NO_IDS;
  // Without a tenant: `adfs` for ADFS, else the authority's path, so that the realms of one host differ.
  const path = authority.kind === "oidc" ? authority.url.slice(authority.origin.length + 1) : authority.tenant;
  const realm = tid ?? expected?.realm ?? utid ?? path;
  if (authority.kind === "entra" && !isTenant(realm)) throw invalidResponse("the tenant is invalid", correlationId);
  const subject = readText(claims.sub);
  const homeAccountId = (uid && utid ? `${uid}.${utid}` : subjectId(subject, authority)) ?? expected?.homeAccountId;
  if (!homeAccountId) throw invalidResponse("it does not name the account", correlationId);
  const name = readText(claims.name) ?? expected?.name;
  const account: AccountInfo = {
    homeAccountId,
    localAccountId: oid ?? subject ?? expected?.localAccountId ?? homeAccountId.split(".")[0]!,
    environment: environmentOf(authority),
    tenantId: realm,
    realm,
    username: usernameIn(claims) ?? expected?.username ?? "",
    ...(name && { name }),
    source: "cache",
  };
  if (!expected || isSameAccount(account, expected)) return account;
  throw new LatchkeyError("interaction_required", "The server answered for another account", { correlationId });
}

/** Ids in Microsoft's tenants: where an account signed in, and at home. */
interface MicrosoftIds {
  readonly oid: string | undefined;
  readonly tid: string | undefined;
  readonly uid: string | undefined;
  readonly utid: string | undefined;
}

/** Another provider's are ignored: it could impersonate a Microsoft account. */
const NO_IDS: MicrosoftIds = { oid: undefined, tid: undefined, uid: undefined, utid: undefined };

function microsoftIds(claims: JsonObject, clientInfo: string | undefined): MicrosoftIds {
  const home = readBase64Json(clientInfo);
  const oid = readText(claims.oid);
  const tid = readText(claims.tid);
  return { oid, tid, uid: readText(home?.uid) ?? oid, utid: readText(home?.utid) ?? tid };
}

/**
 * Returns the home account id of an account that has a subject only, as in MSAL. A subject is unique at its issuer only (OpenID
 * Connect Core, 5.7), so one that looks like a Microsoft id gets the issuer added.
 */
function subjectId(subject: string | undefined, authority: Authority): string | undefined {
  const isAmbiguous = subject !== undefined && isEntraId(subject) && !isMicrosoftAuthority(authority);
  return isAmbiguous ? `${subject}#${environmentOf(authority)}` : subject;
}

function usernameIn(claims: JsonObject): string | undefined {
  const [email] = Array.isArray(claims.emails) ? claims.emails : []; // B2C has a list
  return [claims.preferred_username, claims.upn, claims.email, email].map(readText).find(Boolean);
}

/** Older servers send seconds as text. */
function readSeconds(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && number >= 0 ? Math.min(number, MAX_LIFETIME_S) : undefined;
}

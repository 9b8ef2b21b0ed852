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
import { type Authority, environmentOf, isMicrosoftAuthority, isTenant, loopbackRedirectUri } from "../authority.ts";
import { type JsonObject, readBase64Json, readJson, readText } from "../encoding.ts";
import { LatchkeyError } from "../errors.ts";
import { type AuthenticationResult, redacted, redactTokens } from "../token.ts";
import { invalidResponse, type RefusalContext, refusalOf } from "./errors.ts";
import { clientOf, type HttpOptions, retryAfterMs, type SendOptions, sendOptions, translateErrors } from "./fetch.ts";
import { type Provider, scopesToAsk, serverOfToken } from "./provider.ts";

/** A token, and the data to renew it. Inspecting or logging it does not show the tokens. */
export interface TokenReply {
  /** The token. */
  readonly result: AuthenticationResult;
  /** Refresh token. */
  readonly refreshToken?: string;
  /** Family of Microsoft's apps that can use the refresh token, such as `1`. */
  readonly familyId?: string;
  /** Ids of the account in its home tenant, as Microsoft's servers send them (base64url JSON). */
  readonly clientInfo?: string;
}

/** Facts about a token request that all grants share. */
export interface TokenContext extends RefusalContext {
  /** Claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Account that the token must be of. */
  readonly account?: AccountInfo | undefined;
}

/** Differences between the grants: the two functions that oauth4webapi has for each. */
interface Grant {
  /** Sends the request. */
  readonly send: (
    server: AuthorizationServer,
    client: Client,
    options: SendOptions & { readonly additionalParameters: Record<string, string> },
  ) => Promise<Response>;
  /** Validates the response. */
  readonly read: (server: AuthorizationServer, client: Client, response: Response) => Promise<TokenEndpointResponse>;
  /** True if the request may be sent twice. @default false */
  readonly retry?: boolean;
  /**
   * True to compare the times in the response with the server's clock, if it names its time: a refresh token may be good
   * once, and must not be lost because of this machine's wrong clock. @default false
   */
  readonly byServerTime?: boolean;
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
  const { now = Date.now } = http, { clientId, correlationId, claims: claimsRequest } = context;
  const { retry = false, byServerTime = false } = grant;
  const step = { ...http, correlationId }, client = clientOf(clientId, now);
  const options = {
    ...sendOptions(provider.authority.url, step, { retry }),
    // Microsoft's servers know these beside the standards: the account's home, and claims at the token endpoint.
    additionalParameters: isMicrosoftAuthority(provider.authority)
      ? { client_info: "1", ...(claimsRequest !== undefined && { claims: claimsRequest }) }
      : {},
  };
  const response = await translateErrors(() => grant.send(provider.server, client, options), step);
  const { status, headers } = response, body = await response.text();
  if (status !== 200) throw refusalOf({ status, body }, context, retryAfterMs(response, now()));
  const date = Date.parse(headers.get("date") ?? ""), serverTime = Number.isNaN(date) ? undefined : date;
  const server = serverOfToken(provider, readText(readJson(body)?.id_token), correlationId);
  const reader = byServerTime && serverTime !== undefined ? clientOf(clientId, () => serverTime) : client;
  const reply = await translateErrors(() => grant.read(server, reader, new Response(body, { headers })), {
    ...step,
    serverTime,
  });
  const claims = getValidatedIdTokenClaims(reply) as JsonObject | undefined;
  return tokenReply(reply, { ...context, provider, claims, now: now() });
}

/** Parameters of the refresh token grant. */
export interface RefreshRequest extends Pick<TokenContext, "clientId" | "scopes" | "claims" | "account"> {
  /** Refresh token of the app, or of one of its family. */
  readonly refreshToken: string;
}

/**
 * Redeems a refresh token (RFC 6749, 6). A failure of the network or the server is retried once. The refresh token may be good
 * once: so `http` has no signal that could end the call before its reply is stored.
 *
 * @param provider The provider: the authority of the tenant that the token is to be of.
 * @returns The reply. Its refresh token, if there is one, replaces the old one.
 * @throws {LatchkeyError} `interaction_required` if the refresh token is refused, with the server's `subError`, `claims` and
 * `errorCodes`; else as {@linkcode requestToken}.
 */
export async function refreshTokens(
  provider: Provider,
  request: RefreshRequest,
  http: Omit<HttpOptions, "signal">,
): Promise<TokenReply> {
  const { refreshToken, ...rest } = request, { correlationId = crypto.randomUUID() } = http;
  const isMicrosoft = isMicrosoftAuthority(provider.authority);
  // Elsewhere the sign-in may have been without the profile, and a refresh cannot request more than was granted.
  const scope = scopesToAsk(provider, request.scopes).filter((each) => each !== "profile" || isMicrosoft).join(" ");
  const context: TokenContext = {
    ...rest,
    ...{ flow: "browser", redirectUri: loopbackRedirectUri(provider.authority) },
    ...{ correlationId, secrets: [refreshToken] },
  };
  try {
    return await requestToken(provider, {
      retry: true,
      byServerTime: true,
      send: (server, client, options) =>
        refreshTokenGrantRequest(server, client, None(), refreshToken, {
          ...options,
          additionalParameters: { ...options.additionalParameters, scope },
        }),
      read: processRefreshTokenResponse,
    }, { context, http });
  } catch (error) {
    // A refresh token covers only the granted scopes (RFC 6749, 6). The person can grant more.
    if (!(error instanceof LatchkeyError) || error.error !== "invalid_scope" || isMicrosoft) throw error;
    throw new LatchkeyError("interaction_required", error.message, {
      ...error,
      claims: error.claims,
      hint: "Sign in again: acquireTokenInteractive with these scopes",
    });
  }
}

/** Facts that complete a token response. The account's data replace what the response omits. */
export interface TokenReplyContext extends Pick<TokenContext, "scopes" | "account" | "correlationId"> {
  /** Provider that answered. */
  readonly provider: Provider;
  /** Validated claims of the id token; `undefined` if there is none. */
  readonly claims: JsonObject | undefined;
  /** Current time, in milliseconds since 1970. */
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
  const clientInfo = isMicrosoft ? readText(body.client_info) : undefined, familyId = readText(body.foci);
  const account = accountOf(clientInfo, context);
  const lifetime = readSeconds(body.expires_in) ?? DEFAULT_LIFETIME_S;
  const extended = readSeconds(body.ext_expires_in), refresh = readSeconds(body.refresh_in);
  const after = (seconds: number) => new Date(now + seconds * 1000);
  const granted = body.scope?.split(/\s+/).filter(Boolean) ?? [];
  const result: AuthenticationResult = {
    accessToken,
    tokenType: "Bearer",
    expiresOn: after(lifetime),
    ...(extended !== undefined && extended > lifetime && { extendedExpiresOn: after(extended) }),
    ...(refresh !== undefined && { refreshOn: after(refresh) }),
    // RFC 6749, 5.1: omitted if equal to the requested ones.
    scopes: granted.length > 0 ? granted : context.scopes,
    ...(idToken && { idToken }),
    ...(claims && { idTokenClaims: claims }),
    account,
    tenantId: (isMicrosoft && readText(claims?.tid)) || account.realm,
    source: "identity_provider",
    correlationId,
  };
  const safe = { result: redactTokens(result), ...(familyId && { familyId }) };
  const reply: TokenReply = { ...safe, ...(refreshToken && { refreshToken }), ...(clientInfo && { clientInfo }) };
  return redacted(reply, () => ({ ...safe, ...(refreshToken && { refreshToken: "[concealed]" }) }));
}

function accountOf(clientInfo: string | undefined, context: TokenReplyContext): AccountInfo {
  const { provider: { authority }, account: expected, correlationId } = context, claims = context.claims ?? {};
  const { uid, utid, oid, tid } = entraIdsOf(clientInfo, context), subject = readText(claims.sub);
  const realm = tid ?? expected?.realm ?? utid ?? realmOf(authority);
  if (authority.kind === "entra" && !isTenant(realm)) throw invalidResponse("the tenant is invalid", correlationId);
  const [email] = Array.isArray(claims.emails) ? claims.emails : []; // B2C has a list
  const [username] = [claims.preferred_username, claims.upn, claims.email, email].map(readText).filter(Boolean);
  const name = readText(claims.name) ?? expected?.name;
  const homeAccountId = (uid && utid ? `${uid}.${utid}` : subject && subjectId(subject, authority)) ??
    expected?.homeAccountId;
  if (!homeAccountId) throw invalidResponse("it does not name the account", correlationId);
  const account: AccountInfo = {
    homeAccountId,
    localAccountId: oid ?? subject ?? expected?.localAccountId ?? homeAccountId.split(".")[0]!,
    environment: environmentOf(authority),
    realm,
    username: username ?? expected?.username ?? "",
    ...(name && { name }),
    source: "cache",
  };
  if (!expected || isSameAccount(account, expected)) return account;
  throw new LatchkeyError("interaction_required", "The server answered for another account", { correlationId });
}

/**
 * Returns the ids of an account in Microsoft's tenants: at home (`client_info`, else the id token's) and where it signed in.
 * These claims of another provider are ignored: it could impersonate an account of Microsoft's.
 */
function entraIdsOf(clientInfo: string | undefined, { provider, claims }: TokenReplyContext): {
  readonly [name in "uid" | "utid" | "oid" | "tid"]?: string | undefined;
} {
  if (!isMicrosoftAuthority(provider.authority)) return {};
  const info = readBase64Json(clientInfo ?? ""), oid = readText(claims?.oid), tid = readText(claims?.tid);
  return { uid: readText(info?.uid) ?? oid, utid: readText(info?.utid) ?? tid, oid, tid };
}

/**
 * Returns the home account id of a subject: the subject itself, as with MSAL. It is unique at its issuer only (OpenID Connect
 * Core, 5.7), so one that looks like an id of Microsoft's gets the issuer added.
 */
function subjectId(subject: string, authority: Authority): string {
  return isEntraId(subject) && !isMicrosoftAuthority(authority) ? `${subject}#${environmentOf(authority)}` : subject;
}

/** Returns the realm of a token without a tenant: `adfs` for ADFS, else the authority's path, so that those of one host differ. */
function realmOf({ kind, url, origin, tenant }: Authority): string {
  return kind === "oidc" ? url.slice(origin.length + 1) : tenant;
}

/** Older servers send seconds as text. */
function readSeconds(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && number >= 0 ? Math.min(number, MAX_LIFETIME_S) : undefined;
}

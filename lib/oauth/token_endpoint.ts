/**
 * A token endpoint's answer as a result. Pure.
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
import { type RefusalContext, refusalOf } from "./errors.ts";
import { clientOf, type HttpOptions, retryAfterMs, type SendOptions, sendOptions, shielded } from "./fetch.ts";
import { isMicrosoft, type Provider, scopesToAsk, serverOfToken } from "./provider.ts";

/** A token, and what renews it. Inspecting or logging it does not show the tokens. */
export interface TokenReply {
  /** The token and what is known of it. */
  readonly result: AuthenticationResult;
  /** What the next token is had for without a person. */
  readonly refreshToken?: string;
  /** The family of Microsoft's apps that can use the refresh token, such as `1`. */
  readonly familyId?: string;
  /** Who the account is in its home tenant, as Microsoft's servers say it (base64url JSON). */
  readonly clientInfo?: string;
}

/** What an answer is read with. */
export interface TokenReplyContext {
  /** Who answered. */
  readonly provider: Provider;
  /** The id token's claims, validated; none when no id token came. */
  readonly claims: JsonObject | undefined;
  /** What was asked for. */
  readonly scopes: readonly string[];
  /** Whose token was asked for; its data stand in for what the answer does not say. */
  readonly account?: AccountInfo | undefined;
  /** UUID of the request. */
  readonly correlationId: string;
  /** The time, in milliseconds since 1970. */
  readonly now: number;
}

/** RFC 6750, 2.1: what else there were could not be put into a header. */
const TOKEN = /^[\w.~+/-]+=*$/;
/** RFC 6749, 5.1 lets the lifetime be left out. */
const UNSAID_LIFETIME_S = 600;
/** Seconds that a Date can still hold. */
const MAX_LIFETIME_S = 100 * 365 * 24 * 60 * 60;

/**
 * Reads an answer that the library has validated.
 *
 * @param body The answer.
 * @param context What it is read with.
 * @throws {LatchkeyError} `invalid_response` when a token is malformed or of nobody, `interaction_required` when it is
 * another person's than the one who was asked for.
 */
export function tokenReply(body: TokenEndpointResponse, context: TokenReplyContext): TokenReply {
  const { claims, correlationId, now } = context, { access_token: accessToken, id_token: idToken } = body;
  if (!TOKEN.test(accessToken)) throw invalidResponse("the access token is malformed", correlationId);
  if (body.token_type !== "bearer") throw invalidResponse("the access token is of an unknown type", correlationId);
  const clientInfo = isMicrosoft(context.provider) ? readText(body.client_info) : undefined;
  const account = accountOf(clientInfo, context);
  const lifetime = seconds(body.expires_in) ?? UNSAID_LIFETIME_S;
  const extended = seconds(body.ext_expires_in), refresh = seconds(body.refresh_in);
  const after = (seconds: number) => new Date(now + seconds * 1000);
  const granted = body.scope?.split(/\s+/).filter(Boolean) ?? [];
  const result: AuthenticationResult = {
    accessToken,
    tokenType: "Bearer",
    expiresOn: after(lifetime),
    ...(extended !== undefined && extended > lifetime && { extendedExpiresOn: after(extended) }),
    ...(refresh !== undefined && { refreshOn: after(refresh) }),
    // RFC 6749, 5.1: left out when it is what was asked for.
    scopes: granted.length > 0 ? granted : context.scopes,
    ...(idToken && { idToken }),
    ...(claims && { idTokenClaims: claims }),
    account,
    tenantId: (isMicrosoft(context.provider) && readText(claims?.tid)) || account.realm,
    source: "identity_provider",
    correlationId,
  };
  const familyId = readText(body.foci);
  return concealReply({
    result: redactTokens(result),
    ...(body.refresh_token && { refreshToken: body.refresh_token }),
    ...(familyId && { familyId }),
    ...(clientInfo && { clientInfo }),
  });
}

/** Keeps the refresh token out of inspection. */
function concealReply(reply: TokenReply): TokenReply {
  return redacted(reply, () => {
    const { refreshToken, clientInfo: _, ...shown } = reply;
    return { ...shown, ...(refreshToken && { refreshToken: "[concealed]" }) };
  });
}

function accountOf(clientInfo: string | undefined, context: TokenReplyContext): AccountInfo {
  const { provider: { authority }, account: asked, correlationId } = context, claims = context.claims ?? {};
  const { uid, utid, oid, tid } = entraIdsOf(clientInfo, context), subject = readText(claims.sub);
  const homeAccountId = uid && utid ? `${uid}.${utid}` : subject && subjectId(subject, authority);
  const realm = tid ?? asked?.realm ?? utid ?? realmOf(authority);
  if (authority.kind === "entra" && !isTenant(realm)) {
    throw invalidResponse("the account's tenant is none", correlationId);
  }
  const [emails] = Array.isArray(claims.emails) ? claims.emails : []; // B2C has a list
  const username = readText(claims.preferred_username) ?? readText(claims.upn) ?? readText(claims.email) ??
    readText(emails);
  const name = readText(claims.name) ?? asked?.name;
  const id = homeAccountId ?? asked?.homeAccountId;
  if (!id) throw invalidResponse("it does not say whose token it is", correlationId);
  const account: AccountInfo = {
    homeAccountId: id,
    localAccountId: oid ?? subject ?? asked?.localAccountId ?? id.split(".")[0]!,
    environment: environmentOf(authority),
    realm,
    username: username ?? asked?.username ?? "",
    ...(name && { name }),
    source: "cache",
  };
  if (!asked || isSameAccount(account, asked)) return account;
  throw new LatchkeyError("interaction_required", "The server answered for another account", { correlationId });
}

/**
 * Returns the ids of an account in Microsoft's tenants: at home (`client_info`, else the id token's) and where it signed in.
 * Another provider can write what it likes there, and would choose whose account it is taken for.
 */
function entraIdsOf(clientInfo: string | undefined, { provider, claims }: TokenReplyContext): {
  readonly [name in "uid" | "utid" | "oid" | "tid"]?: string | undefined;
} {
  if (!isMicrosoft(provider)) return {};
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

/** What tells tenants of one host apart where the token does not: with ADFS `adfs`, elsewhere the authority's path. */
function realmOf({ kind, url, origin, tenant }: Authority): string {
  return kind === "oidc" ? url.slice(origin.length + 1) : tenant;
}

/** Seconds as a number, or as text with older servers. */
function seconds(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && number >= 0 ? Math.min(number, MAX_LIFETIME_S) : undefined;
}

function invalidResponse(why: string, correlationId: string): LatchkeyError {
  return new LatchkeyError("invalid_response", `The server's answer is not valid: ${why}`, { correlationId });
}

const GRANT_MORE = "Sign in for these scopes: latchkey login --scope, or acquireTokenInteractive";

/** What a token is asked for with, whatever is given for it. */
export interface TokenContext extends RefusalContext {
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Whose token. */
  readonly account?: AccountInfo | undefined;
}

/** How one grant differs from others: the library's two halves of it. */
interface Grant {
  /** Sends the request. */
  readonly send: (
    server: AuthorizationServer,
    client: Client,
    options: SendOptions & { readonly additionalParameters: Record<string, string> },
  ) => Promise<Response>;
  /** Validates the answer. */
  readonly read: (server: AuthorizationServer, client: Client, response: Response) => Promise<TokenEndpointResponse>;
  /** Whether the request does no harm when it is sent twice. @default false */
  readonly retry?: boolean;
  /**
   * Whether the times in the answer are compared with the server's clock, where it tells its time: what was given may be
   * good once, and must not be lost to a wrong clock of this machine. @default false
   */
  readonly byServerTime?: boolean;
}

/**
 * Asks for a token.
 *
 * @param provider Who is asked.
 * @param grant What is given for it.
 * @param options What it is asked for with, and how the provider is reached.
 * @throws {LatchkeyError} the provider's refusal; `no_network`, `timed_out`, `temporarily_unavailable`,
 * `invalid_response`; `configuration` when the clock is wrong.
 */
export async function requestToken(
  provider: Provider,
  grant: Grant,
  { context, http }: { readonly context: TokenContext; readonly http: HttpOptions },
): Promise<TokenReply> {
  const { now = Date.now } = http, { correlationId, scopes, account } = context;
  const step = { ...http, correlationId };
  const client = clientOf(context.clientId, now), { retry = false, byServerTime = false } = grant;
  const options = {
    ...sendOptions(provider.authority.url, step, { retry }),
    additionalParameters: ownParameters(provider, context),
  };
  const response = await shielded(() => grant.send(provider.server, client, options), step);
  const { status, headers } = response, body = await response.text();
  if (status !== 200) throw refusalOf({ status, body }, context, retryAfterMs(response, now()));
  const date = Date.parse(headers.get("date") ?? ""), serverTime = Number.isNaN(date) ? undefined : date;
  const server = serverOfToken(provider, readText(readJson(body)?.id_token), correlationId);
  const reader = byServerTime && serverTime !== undefined ? clientOf(context.clientId, () => serverTime) : client;
  const answer = await shielded(() => grant.read(server, reader, new Response(body, { headers })), {
    ...step,
    serverTime,
  });
  const claims = getValidatedIdTokenClaims(answer) as JsonObject | undefined;
  return tokenReply(answer, { provider, claims, scopes, account, correlationId, now: now() });
}

/** What Microsoft's servers understand beside the standards: the account's home, and claims at the token endpoint. */
function ownParameters(provider: Provider, { claims }: TokenContext): Record<string, string> {
  return isMicrosoft(provider) ? { client_info: "1", ...(claims !== undefined && { claims }) } : {};
}

/** What a new token is had for. */
export interface RefreshRequest {
  /** The app. */
  readonly clientId: string;
  /** The refresh token: the app's, or one of its family. */
  readonly refreshToken: string;
  /** What is asked for. */
  readonly scopes: readonly string[];
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Whose token: an answer for another account is refused. */
  readonly account?: AccountInfo | undefined;
}

/**
 * A new token for a refresh token (RFC 6749, 6). A failure of the network or the server is tried again once. The refresh
 * token may be good once: `http` has no signal that could end the call before its answer is stored.
 *
 * @param provider Who is asked: the authority of the tenant that the token is to be of.
 * @param request What is asked for.
 * @param http How the provider is reached.
 * @returns The answer; its refresh token, if there is one, takes the old one's place.
 * @throws {LatchkeyError} `interaction_required` when the refresh token is refused, with the server's `subError`, `claims`
 * and numbers; else as {@linkcode requestToken}.
 */
export async function refreshTokens(
  provider: Provider,
  request: RefreshRequest,
  http: Omit<HttpOptions, "signal">,
): Promise<TokenReply> {
  const { clientId, refreshToken, scopes, claims, account } = request, { correlationId = crypto.randomUUID() } = http;
  // A person may have been asked for less than the profile elsewhere, and no more than was granted may be asked for here.
  const wanted = scopesToAsk(provider, scopes).filter((scope) => scope !== "profile" || isMicrosoft(provider));
  const reply = requestToken(provider, {
    retry: true,
    byServerTime: true,
    send: (server, client, options) =>
      refreshTokenGrantRequest(server, client, None(), refreshToken, {
        ...options,
        additionalParameters: { ...options.additionalParameters, scope: wanted.join(" ") },
      }),
    read: processRefreshTokenResponse,
  }, {
    context: {
      ...{ flow: "browser", redirectUri: loopbackRedirectUri(provider.authority) },
      ...{ clientId, scopes, claims, account, correlationId, secrets: [refreshToken] },
    },
    http,
  });
  return await reply.catch((error) => {
    // Elsewhere a refresh token is for what the person granted, and no more (RFC 6749, 6): they can grant it.
    const isForMore = error instanceof LatchkeyError && error.error === "invalid_scope" && !isMicrosoft(provider);
    throw isForMore
      ? new LatchkeyError("interaction_required", error.message, { ...error, claims: error.claims, hint: GRANT_MORE })
      : error;
  });
}

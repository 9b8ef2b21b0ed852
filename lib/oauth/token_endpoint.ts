/**
 * What all grants have in common at the token endpoint (RFC 6749, 3.2), and the refresh of tokens (6).
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
import type { AccountInfo } from "../account.ts";
import { LatchkeyError } from "../errors.ts";
import { scopesToAsk } from "./authorization_request.ts";
import { type HttpOptions, retryAfterMs } from "./bounded_fetch.ts";
import { serverOfToken } from "./issuer.ts";
import { type JsonObject, readJson, text } from "../json_values.ts";
import { loopbackRedirectUri } from "../redirect_uris.ts";
import { type RefusalContext, refusalOf } from "./oauth_error.ts";
import { clientOf, type SendOptions, sendOptions, shielded } from "./protocol.ts";
import { isMicrosoft, type Provider } from "./provider.ts";
import { type TokenReply, tokenReply } from "./token_reply.ts";

const GRANT_MORE = "Sign in for these scopes: latchkey login --scope, or acquireTokenInteractive";

/** What a token is asked for with, whatever is given for it. */
export interface TokenContext extends RefusalContext {
  /** A claims request as JSON text, client capabilities included. */
  readonly claims?: string | undefined;
  /** Whose token. */
  readonly account?: AccountInfo | undefined;
}

/** How one grant differs from others: the library's two halves of it. */
export interface Grant {
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
  const server = serverOfToken(provider, text(readJson(body)?.id_token), correlationId);
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

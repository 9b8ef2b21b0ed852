/**
 * Authorization code grant with PKCE in two steps (RFC 6749, 4.1; RFC 7636; OpenID Connect Core, 3.1). Between them the person
 * signs in; the second may run in another process.
 *
 * @module
 */
import {
  authorizationCodeGrantRequest,
  AuthorizationResponseError,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomNonce,
  generateRandomState,
  None,
  processAuthorizationCodeResponse,
  validateAuthResponse,
} from "@panva/oauth4webapi";
import { isMicrosoftAuthority } from "../authority.ts";
import { isAtRedirectUri, redirectPath, uriToRegister } from "../redirect_uris.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { isSignInRecent, redacted } from "../token.ts";
import { oauthError } from "./errors.ts";
import { clientOf, type HttpOptions, translateErrors } from "./bounded_fetch.ts";
import {
  type AuthorizationRequest,
  authorizationUrl,
  type Provider,
  scopesToAsk,
  serverOfResponse,
} from "./provider.ts";
import { requestToken, type TokenContext, type TokenReply } from "./token_endpoint.ts";

/**
 * State of a sign-in until its response arrives: plain JSON. It belongs to the person and is secret: only the browser that
 * signs in may lead to it.
 */
export interface AuthorizationFlow {
  /** URL of the authority. */
  readonly authority: string;
  /** Application (client) id. */
  readonly clientId: string;
  /** Address that receives the response. */
  readonly redirectUri: string;
  /** Requested scopes. */
  readonly scopes: readonly string[];
  /** Value that ties the response to this sign-in. */
  readonly state: string;
  /** Value that ties the id token to this sign-in. */
  readonly nonce: string;
  /** Secret of PKCE, which proves that the code is redeemed by the app that requested it. */
  readonly codeVerifier: string;
  /** Claims request as JSON text. */
  readonly claims?: string;
  /** Address of the resource that the token is for (RFC 8707). */
  readonly resource?: string;
  /** Id of the agent's session that the token is marked with. */
  readonly agentSession?: string;
  /** Longest time since the person last entered a credential, in seconds. */
  readonly maxAge?: number;
  /** Start of the sign-in, in milliseconds since 1970. */
  readonly startedOn: number;
  /** UUID of the sign-in. */
  readonly correlationId: string;
}

/** A sign-in that was started, and the address to send the person to. */
export interface AuthCodeFlow extends AuthorizationFlow {
  /** Address at which the person signs in. */
  readonly authUri: string;
}

const FLOW_LIFETIME_MS = 60 * 60_000;
/**
 * Accepted difference between the clocks in the time of a sign-in. `refuseOld` accepts none, as its refusal leads to a sign-in;
 * a sign-in refused here would fail each time if this clock is ahead.
 */
const AUTH_TIME_TOLERANCE_MS = 2 * 60_000;

/** Starts a sign-in. Throws as {@linkcode authorizationUrl}. */
export async function startAuthorization(
  provider: Provider,
  request: AuthorizationRequest & Pick<HttpOptions, "now">,
): Promise<AuthCodeFlow> {
  const { clientId, scopes, redirectUri, claims, resource, agentSession, maxAge, now = Date.now } = request;
  const modes = provider.server.response_modes_supported;
  const mode = request.responseMode ?? (Array.isArray(modes) && modes.includes("form_post") ? "form_post" : "query");
  const flow: AuthorizationFlow = {
    authority: provider.authority.url,
    clientId,
    redirectUri,
    scopes,
    state: generateRandomState(),
    nonce: generateRandomNonce(),
    codeVerifier: generateRandomCodeVerifier(),
    ...(claims !== undefined && { claims }),
    ...(resource !== undefined && { resource }),
    ...(agentSession !== undefined && { agentSession }),
    ...(maxAge !== undefined && { maxAge }),
    startedOn: now(),
    correlationId: request.correlationId ?? crypto.randomUUID(),
  };
  const authUri = authorizationUrl(provider, request, {
    // The default is not sent: not every server knows the parameter.
    ...(mode !== "query" && { response_mode: mode }),
    state: flow.state,
    nonce: flow.nonce,
    code_challenge: await calculatePKCECodeChallenge(flow.codeVerifier),
    code_challenge_method: "S256",
    ...(isMicrosoftAuthority(provider.authority) && { client_info: "1", "client-request-id": flow.correlationId }),
  });
  return redacted({ ...flow, authUri }, () => ({ authority: flow.authority, correlationId: flow.correlationId }));
}

/**
 * Protects a web app's sign-in against the mix-up attack (RFC 9700, 4.4): it must not take another authority's response, whose
 * code it would send to this authority. The two requests of a sign-in may share only the flow, so the flow and the metadata
 * decide.
 *
 * - Microsoft's authorities do not steal codes, so they may share a redirect URI with all that name themselves.
 * - An authority whose metadata promises `iss` (RFC 9207) must send it: `finishAuthorization` refuses a response without.
 * - Any other authority needs a redirect URI that ends in its own path, and the response must have arrived there.
 *
 * @param options `answered`: `undefined` before the sign-in, then the address at which the response arrived, if the app passed it.
 * @throws {LatchkeyError} `configuration` if another authority can have the redirect URI, or the address is missing;
 * `invalid_response` if the response arrived at another address.
 */
export function checkRedirectUri(
  { authority, server }: Provider,
  redirectUri: string,
  { correlationId, answered }: {
    readonly correlationId: string;
    readonly answered?: { readonly address: string | undefined } | undefined;
  },
): void {
  if (answered?.address !== undefined && !isAtRedirectUri(answered.address, redirectUri)) {
    throw new LatchkeyError("invalid_response", "The response arrived at another address than the redirect URI", {
      correlationId,
      remedy: "Pass the URL as the user's browser had it, and let the user sign in again",
    });
  }
  const namesItself = server.authorization_response_iss_parameter_supported === true;
  if (namesItself || isMicrosoftAuthority(authority)) return;
  const path = redirectPath(authority.url);
  if (!URL.canParse(redirectUri) || !new URL(redirectUri).pathname.endsWith(path)) {
    throw new LatchkeyError("configuration", `${authority.url} needs a redirect URI of its own`, {
      correlationId,
      remedy: `Register one that ends in ${path}, only for this authority: its responses do not name their issuer`,
    });
  }
  if (answered && answered.address === undefined) {
    throw new LatchkeyError("configuration", `A response of ${authority.url} needs the address that it arrived at`, {
      correlationId,
      remedy: "Pass it: acquireTokenByAuthCodeFlow(flow, response, { redirectUri: request.url })",
    });
  }
}

/** Returns true if a response has the state of a sign-in. The time does not depend on how much of the state is right. */
export function isAnswerTo({ state }: AuthorizationFlow, parameters: URLSearchParams): boolean {
  const [answered, ...others] = parameters.getAll("state");
  if (answered?.length !== state.length || others.length > 0) return false;
  let difference = 0;
  for (let index = 0; index < state.length; index++) difference |= state.charCodeAt(index) ^ answered.charCodeAt(index);
  return difference === 0;
}

/**
 * Finishes a sign-in: checks the response, redeems its code, and validates the id token.
 *
 * @param flow Flow of {@linkcode startAuthorization}. Use it once.
 * @throws {LatchkeyError} `user_canceled` and the provider's other refusals; `interaction_required` also if the person signed
 * in longer ago than `maxAge`; `invalid_response` if the response is not to this sign-in or not this provider's, or the id
 * token is invalid; `timed_out` if the sign-in started an hour ago; else as `requestToken`.
 * @throws {TypeError} if the flow is invalid, or is another provider's.
 */
export async function finishAuthorization(
  provider: Provider,
  flow: AuthorizationFlow,
  parameters: URLSearchParams,
  http: HttpOptions = {},
): Promise<TokenReply> {
  checkFlow(flow, provider);
  const { clientId, redirectUri, scopes, claims, resource, agentSession } = flow;
  const { codeVerifier, state, nonce, maxAge, startedOn } = flow;
  const { correlationId = flow.correlationId, now = Date.now, signal } = http;
  const { authority } = provider;
  const context: TokenContext = {
    ...{ flow: "browser", redirectUri: uriToRegister(redirectUri), clientId, scopes, claims, correlationId },
    resource,
    agentSession,
    sentScopes: scopesToAsk(provider, scopes),
    secrets: [parameters.get("code") ?? "", codeVerifier, state, nonce],
  };
  const failure = (code: "invalid_response" | "timed_out" | "interaction_required", message: string) =>
    new LatchkeyError(code, message, { correlationId, remedy: "Sign in again" });

  signal?.throwIfAborted();
  if (!isAnswerTo(flow, parameters)) throw failure("invalid_response", "The answer is not to this sign-in");
  if (now() - startedOn > FLOW_LIFETIME_MS) throw failure("timed_out", "The sign-in took too long");
  const issuer = parameters.get("iss");
  const server = serverOfResponse(provider, issuer);
  const response = await translateErrors(() => {
    try {
      return validateAuthResponse(server, clientOf(clientId, now), parameters, state);
    } catch (error) {
      if (!(error instanceof AuthorizationResponseError)) throw error;
      throw oauthError(Object.fromEntries(error.cause), context);
    }
  }, { ...http, correlationId });

  // The person consents to extra scopes at sign-in only: Entra gives a token for one resource at a time. B2C gives none
  // without scopes.
  const needsScope = isMicrosoftAuthority(authority) || authority.kind === "b2c";
  const reply = await requestToken(provider, {
    parameters: needsScope ? { scope: scopesToAsk(provider, scopes).join(" ") } : {},
    send: (server, client, options) =>
      authorizationCodeGrantRequest(server, client, None(), response, redirectUri, codeVerifier, options),
    read: (server, client, response) =>
      processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true }),
  }, { context, http });

  const { iss, auth_time: authTime } = reply.result.idTokenClaims ?? {};
  // An authority for many tenants has many issuers: the response and the id token must agree.
  if (issuer !== null && issuer !== iss) {
    throw failure("invalid_response", "The response and the id token are of different issuers");
  }
  // Relative to the start, so that the time to consent does not count. oauth4webapi allows its clock tolerance of minutes
  // instead, which is too much for a `maxAge` of one minute.
  const since = startedOn - AUTH_TIME_TOLERANCE_MS;
  const isRecent = maxAge === undefined || isSignInRecent(authTime, maxAge, { since, now: now() });
  if (!isRecent) {
    throw failure("interaction_required", `The sign-in is not known to be of the last ${maxAge} seconds`);
  }
  return reply;
}

function checkFlow(flow: AuthorizationFlow, { authority }: Provider): void {
  const { state, nonce, codeVerifier, clientId, redirectUri, scopes, startedOn } = flow ?? {};
  const texts = [state, nonce, codeVerifier, clientId, redirectUri];
  const isFlow = texts.every((value) => typeof value === "string" && value !== "") && Array.isArray(scopes) &&
    typeof startedOn === "number";
  if (!isFlow) throw new ArgumentError("Cannot finish a sign-in: the flow is not one that was started");
  if (flow.authority !== authority.url) {
    throw new ArgumentError("Cannot finish a sign-in: it was started at another authority");
  }
}

/**
 * Authorization code and PKCE in two halves (RFC 6749, 4.1; RFC 7636; OpenID Connect Core, 3.1): what happens between them is
 * the person's, and may happen in another process.
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
import {
  isAtRedirectUri,
  isMicrosoftAuthority,
  loopbackRedirectUri,
  redirectPath,
  uriToRegister,
} from "../authority.ts";
import { ArgumentError, LatchkeyError } from "../errors.ts";
import { redacted } from "../token.ts";
import { oauthError, type RefusalContext } from "./errors.ts";
import { clientOf, type HttpOptions, shielded } from "./fetch.ts";
import {
  type AuthorizationRequest,
  authorizationUrl,
  isMicrosoft,
  type Provider,
  scopesToAsk,
  serverOfResponse,
} from "./provider.ts";
import { requestToken, type TokenReply } from "./token_endpoint.ts";

/** What a sign-in asks for. */
export interface AuthCodeRequest extends AuthorizationRequest {
  /**
   * How the answer comes back: as a form that the browser posts, or in the query. A web app whose cookies are `SameSite=Lax`
   * does not get them with a post from another site.
   *
   * @default "form_post" where the provider offers it, else "query"
   */
  readonly responseMode?: "form_post" | "query" | undefined;
  /** UUID under which the sign-in can be found in the server's logs. @default a new one */
  readonly correlationId?: string | undefined;
  /** The time, in milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/**
 * What has to be kept of a sign-in until its answer comes: plain JSON. It is the person's own, and secret: keep it where the
 * browser that signs in, and no other, leads to it.
 */
export interface AuthorizationFlow {
  /** URL of the authority that was asked. */
  readonly authority: string;
  /** The app. */
  readonly clientId: string;
  /** Where the answer comes to. */
  readonly redirectUri: string;
  /** What was asked for. */
  readonly scopes: readonly string[];
  /** Ties the answer to this sign-in. */
  readonly state: string;
  /** Ties the id token to this sign-in. */
  readonly nonce: string;
  /** Shows that the code is given back by who asked for it. */
  readonly codeVerifier: string;
  /** The claims request, as JSON text. */
  readonly claims?: string;
  /** How many seconds ago the person may have typed a password at most. */
  readonly maxAge?: number;
  /** When the sign-in began, in milliseconds since 1970. */
  readonly startedOn: number;
  /** UUID of the sign-in. */
  readonly correlationId: string;
}

/** A sign-in under way, with the address that the person is sent to. */
export interface AuthCodeFlow extends AuthorizationFlow {
  /** Where the person signs in. */
  readonly authUri: string;
}

/** How long the answer may take to come, in milliseconds: what lies around longer is nobody's sign-in. */
const FLOW_LIFETIME_MS = 60 * 60_000;
/** How much later than it was the server's clock may show a sign-in, in seconds. */
const AUTH_TIME_TOLERANCE_S = 120;

/**
 * Begins a sign-in.
 *
 * @param provider Who is asked.
 * @param request What is asked for.
 * @returns The address that the person opens, and what {@linkcode finishAuthorization} has to be given with the answer.
 * @throws {TypeError} when `extraQueryParameters` would override what the protocol itself says, or a prompt is none.
 * @throws {RangeError} for a `maxAge` below 0.
 */
export async function startAuthorization(
  provider: Provider,
  request: AuthCodeRequest,
): Promise<{ readonly url: string; readonly flow: AuthorizationFlow }> {
  const { clientId, scopes, redirectUri = loopbackRedirectUri(provider.authority) } = request;
  const { claims, maxAge, now = Date.now } = request;
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
    ...(maxAge !== undefined && { maxAge }),
    startedOn: now(),
    correlationId: request.correlationId ?? crypto.randomUUID(),
  };
  const url = authorizationUrl(provider, { ...request, redirectUri }, {
    // What is the default is not said: not every server knows the word.
    ...(mode !== "query" && { response_mode: mode }),
    state: flow.state,
    nonce: flow.nonce,
    code_challenge: await calculatePKCECodeChallenge(flow.codeVerifier),
    code_challenge_method: "S256",
    ...(isMicrosoft(provider) && { client_info: "1", "client-request-id": flow.correlationId }),
  });
  return { url, flow: redacted(flow, () => ({ authority: flow.authority, correlationId: flow.correlationId })) };
}

/**
 * Checks that a web app's sign-in cannot be given another authority's answer, whose code this authority would get (the mix-up
 * attack, RFC 9700, 4.4). The two requests of a sign-in may share nothing but the flow, so the flow and the metadata decide.
 *
 * - Microsoft's authorities steal no codes, so they may share a redirect URI with all that name themselves.
 * - An authority whose metadata promises to name itself (RFC 9207) is held to it: an answer without its `iss` is refused.
 * - Any other authority needs a redirect URI that ends in its own path, and the answer has to have come to it.
 *
 * @param provider Who is asked.
 * @param redirectUri Where its answer comes to.
 * @param answered Where an answer came to, once there is one: `address`, if the app told it.
 * @throws {LatchkeyError} `configuration` if the redirect URI can be another authority's, or the address is not told;
 * `invalid_response` if the answer came to another address.
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
    throw new LatchkeyError("invalid_response", "The answer came to another address than the sign-in's redirect URI", {
      correlationId,
      hint: "Pass the address as the person's browser had it, and let them sign in again",
    });
  }
  const namesItself = server.authorization_response_iss_parameter_supported === true;
  if (namesItself || isMicrosoftAuthority(authority)) return;
  const path = redirectPath(authority.url);
  if (!URL.canParse(redirectUri) || !new URL(redirectUri).pathname.endsWith(path)) {
    throw new LatchkeyError("configuration", `${authority.url} needs a redirect URI of its own`, {
      correlationId,
      hint: `Register one that ends in ${path}, for this authority alone: its answers do not say whose they are`,
    });
  }
  if (answered && answered.address === undefined) {
    throw new LatchkeyError("configuration", `An answer of ${authority.url} needs the address that it came to`, {
      correlationId,
      hint: "Pass it: acquireTokenByAuthCodeFlow(flow, response, { redirectUri: request.url })",
    });
  }
}

/** Whether an answer is to this sign-in. It takes as long for a wrong state as for one that is nearly right. */
export function isAnswerTo({ state }: AuthorizationFlow, parameters: URLSearchParams): boolean {
  const [answered, ...others] = parameters.getAll("state");
  if (answered?.length !== state.length || others.length > 0) return false;
  let difference = 0;
  for (let index = 0; index < state.length; index++) difference |= state.charCodeAt(index) ^ answered.charCodeAt(index);
  return difference === 0;
}

/**
 * Ends a sign-in: checks the answer, exchanges its code, and validates the id token.
 *
 * @param provider Who was asked.
 * @param flow What {@linkcode startAuthorization} gave. Use it once.
 * @param parameters The answer: of the redirect's query, or of the form that was posted.
 * @param http How the provider is reached.
 * @throws {LatchkeyError} `user_canceled` and the provider's other refusals; `interaction_required`, too, when the person
 * signed in longer ago than `maxAge`; `invalid_response` for an answer that is not to this sign-in or not this provider's,
 * or an id token that is not valid; `timed_out` when the sign-in began an hour ago; else as `requestToken`.
 * @throws {TypeError} when the flow is none, or another provider's.
 */
export async function finishAuthorization(
  provider: Provider,
  flow: AuthorizationFlow,
  parameters: URLSearchParams,
  http: HttpOptions = {},
): Promise<TokenReply> {
  checkFlow(flow, provider);
  const { clientId, redirectUri, scopes, claims, codeVerifier, state, nonce } = flow;
  const correlationId = http.correlationId ?? flow.correlationId;
  const secrets = [parameters.get("code") ?? "", codeVerifier, state, nonce];
  const context = {
    ...{ flow: "browser", redirectUri: uriToRegister(redirectUri) } as const,
    ...{ clientId, scopes, claims, correlationId, secrets },
  };
  const answer = await readAnswer(provider, flow, { parameters, context, http: { ...http, correlationId } });
  const reply = await requestToken(provider, {
    send: (server, client, options) =>
      authorizationCodeGrantRequest(server, client, None(), answer, redirectUri, codeVerifier, {
        ...options,
        additionalParameters: { ...options.additionalParameters, ...scopeOf(provider, scopes) },
      }),
    read: (server, client, response) =>
      processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true }),
  }, { context, http });
  const { iss, auth_time: authTime } = reply.result.idTokenClaims ?? {};
  // Where many tenants answer, the answer may have been another's than the one whose token came.
  if (parameters.has("iss") && parameters.get("iss") !== iss) {
    throw failure("invalid_response", "The answer and the id token are of different issuers", correlationId);
  }
  if (flow.maxAge !== undefined && !isRecent(authTime, flow.maxAge, flow.startedOn)) {
    const message = `The sign-in is not known to be of the last ${flow.maxAge} seconds`;
    throw failure("interaction_required", message, correlationId);
  }
  return reply;
}

/** The answer's parameters, once they are known to be the provider's answer to this sign-in, and none of refusal. */
async function readAnswer(
  provider: Provider,
  flow: AuthorizationFlow,
  { parameters, context, http }: {
    readonly parameters: URLSearchParams;
    readonly context: RefusalContext;
    readonly http: HttpOptions;
  },
): Promise<URLSearchParams> {
  const { now = Date.now, signal } = http, { correlationId } = context;
  signal?.throwIfAborted();
  if (!isAnswerTo(flow, parameters)) {
    throw failure("invalid_response", "The answer is not to this sign-in", correlationId);
  }
  if (now() - flow.startedOn > FLOW_LIFETIME_MS) throw failure("timed_out", "The sign-in took too long", correlationId);
  const server = serverOfResponse(provider, parameters.get("iss")), client = clientOf(flow.clientId, now);
  return await shielded(() => {
    try {
      return validateAuthResponse(server, client, parameters, flow.state);
    } catch (error) {
      if (!(error instanceof AuthorizationResponseError)) throw error;
      throw oauthError(Object.fromEntries(error.cause), context);
    }
  }, http);
}

/** Extra scopes to consent to are for the person's eyes: Entra gives a token for one resource at a time, B2C none without. */
function scopeOf(provider: Provider, scopes: readonly string[]): Record<string, string> {
  return isMicrosoft(provider) || provider.authority.kind === "b2c"
    ? { scope: scopesToAsk(provider, scopes).join(" ") }
    : {};
}

/**
 * Whether the person signed in late enough, seen from when they were asked to: how long they take to consent does not count.
 * Ours, since the library allows as much as it allows for a wrong clock, which for a `maxAge` of a minute is too much.
 */
function isRecent(authTime: unknown, maxAge: number, startedOn: number): boolean {
  return typeof authTime === "number" && authTime + maxAge + AUTH_TIME_TOLERANCE_S >= startedOn / 1000;
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

function failure(
  code: "invalid_response" | "timed_out" | "interaction_required",
  message: string,
  correlationId: string,
): LatchkeyError {
  return new LatchkeyError(code, message, { correlationId, hint: "Sign in again" });
}
